"""A report as the page shows it, all but its findings: banners, figures, baselines, incidents."""

from collections.abc import Iterator
from typing import Final

import msgspec

from rare_audit.detection.ticks import TICKS_PER_DAY, format_day, format_ticks
from rare_audit.detection.windows import Windows
from rare_audit.reporting.report import Delivered, Report
from rare_audit.reporting.report.funnel import Step, steps, unread
from rare_audit.reporting.report.heat import HeatMap, days_without_activity, heat_map
from rare_audit.reporting.report.ranking import Novelty, novelty
from rare_audit.reporting.report.words import Piece, plural, sentence
from rare_audit.reporting.text import one_line

_MOST: Final = 50
_LONGEST: Final = 300
TIERS: Final = {
    Novelty.APP: "An application never seen before",
    Novelty.OPERATION: "A known application, a new kind of operation",
    Novelty.COMBINATION: "A known operation, from a new address or for a new user",
    Novelty.PROPERTY: "A known activity, with a new property",
}


class Banner(msgspec.Struct, frozen=True):
    """Something to know before anything is believed."""

    title: str
    text: str


class BaselineRow(msgspec.Struct, frozen=True):
    """A day, and what it was compared with."""

    day: str
    told: str
    missing: tuple[str, ...]
    state: str


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What the template reads."""

    covers: str
    rule_name: str
    rule_id: str
    severity: str
    lookback_days: int
    is_daily: bool
    banners: tuple[Banner, ...]
    figures: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    heat: HeatMap
    funnel: tuple[Step, ...]
    run_covers: str
    unread: tuple[str, ...]
    baselines: tuple[BaselineRow, ...]
    quiet_days: tuple[str, ...]
    delivered: tuple[tuple[str, str], ...]
    waiting: tuple[str, ...]
    waiting_more: int
    withdrawn: tuple[tuple[Piece, ...], ...]
    withdrawn_more: int
    notes: tuple[str, ...]
    is_run: bool
    is_dry: bool
    has_events: bool


def view(report: Report) -> View:
    """Return all of a page but its findings."""
    days = report.windows.lookback_days
    gone = [told for told in report.findings if not told.held]
    waiting = report.delivered.waiting if report.delivered else ()
    return View(
        covers=covered(report.windows),
        rule_name=one_line(report.rule_name, _LONGEST),
        rule_id=report.rule_id,
        severity=one_line(report.severity, _LONGEST),
        lookback_days=days,
        is_daily=report.windows.daily and report.windows.last_slot > days,
        banners=tuple(_banners(report)),
        figures=tuple(_figures(report)),
        facts=tuple(_facts(report)),
        heat=heat_map(report),
        funnel=steps(report.funnel) if report.funnel else (),
        run_covers=report.run.covers if report.run else covered(report.windows),
        unread=unread(report.funnel, report.places) if report.funnel else (),
        baselines=tuple(_baselines(report)),
        quiet_days=() if report.coverage else days_without_activity(report),
        delivered=tuple(_delivered(report.delivered)) if report.delivered else (),
        waiting=waiting[:_MOST],
        waiting_more=max(0, len(waiting) - _MOST),
        withdrawn=tuple(sentence(told.finding, days, dated=True) for told in gone[:_MOST]),
        withdrawn_more=max(0, len(gone) - _MOST),
        notes=tuple(one_line(note, _LONGEST) for note in report.notes[:_MOST]),
        is_run=report.run is not None,
        is_dry=report.run is not None and report.run.dry_run,
        has_events=report.funnel is None or report.funnel.current.app_initiated > 0,
    )


def covered(windows: Windows) -> str:
    """Return what windows cover: a day, days, or instants."""
    start, is_whole = windows.start, not (windows.start % TICKS_PER_DAY or windows.end % TICKS_PER_DAY)
    if windows.is_open:
        return f"{_instant(start)} and later"
    if not is_whole:
        return f"{_instant(start)} to {_instant(windows.end)}"
    first, last = format_day(start), format_day(windows.end - TICKS_PER_DAY)
    return first if first == last else f"{first} to {last}"


def _instant(ticks: int) -> str:
    return format_ticks(ticks)[:19].replace("T", " ") if ticks % TICKS_PER_DAY else format_day(ticks)


def _banners(report: Report) -> Iterator[Banner]:
    run = report.run
    if run and run.dry_run:
        yield Banner("A dry run", "Nothing was kept, withdrawn or raised.")
    if run and run.state in {"queued", "running"}:
        yield Banner("Not finished", f"The run is {run.state}: what stands here is not all of it.")
    if run and run.error:
        yield Banner("The run failed" if run.state == "failed" else "Something failed", one_line(run.error, _LONGEST))
    yield from _incomplete(report)
    if report.silent:
        days = ", ".join(report.silent[:_MOST])
        yield Banner("No data", f"AuditLogs has no event at all of {days}. Nothing could be found there.")
    if report.degraded:
        days = ", ".join(report.degraded[:_MOST])
        yield Banner("Baseline incomplete", f"Too few days had data before {days}: what looks rare there may not be.")
    if report.delivered and report.delivered.waiting:
        count = len(report.delivered.waiting)
        told = "One incident is" if count == 1 else f"{count:,} incidents are"
        yield Banner("Not delivered", f"{told} still to be delivered; the next run tries again.")
    if report.delivered and report.delivered.rows_wait:
        days = ", ".join(report.delivered.rows_wait[:_MOST])
        yield Banner("Not uploaded", f"Findings of {days} are still to come to their table; the next run tries again.")


def _incomplete(report: Report) -> Iterator[Banner]:
    """Yield what was not read, and that there was nothing to look at: no finding means nothing then."""
    if report.funnel is None:
        return
    lost = report.funnel.lost
    if lost:
        what = "One record or file" if lost == 1 else f"{lost:,} records or files"
        yield Banner("Not everything was read", f"{what} could not be read; findings may be missing. See the notes.")
    if report.run is None and not report.funnel.current.app_initiated:
        yield Banner("No events by apps", f"No app did anything in {covered(report.windows)}: nothing could be found.")


def _figures(report: Report) -> Iterator[tuple[str, str]]:
    held = [told.finding for told in report.findings if told.held]
    apps = {finding.initiated_by_app for finding in held}
    strangers = {finding.initiated_by_app for finding in held if novelty(finding.history) is Novelty.APP}
    yield plural(len(held), "finding"), f"{len(held):,}"
    yield plural(len(apps), "application"), f"{len(apps):,}"
    yield "never seen before", f"{len(strangers):,}"
    if report.funnel:
        excluded = sum(report.funnel.current.excluded.values())
        yield f"{plural(excluded, 'event')} excluded", f"{excluded:,}"
    withdrawn = len(report.findings) - len(held)
    if withdrawn:
        yield "withdrawn", f"{withdrawn:,}"
    if report.coverage:
        worst = min(report.coverage.values(), key=lambda one: one.days)
        yield "days of data before", f"{worst.days} of {worst.of}"


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    run = report.run
    if run is None:
        return
    yield "Run", one_line(run.id, _LONGEST)
    yield "State", run.state
    yield "Covers", run.covers
    yield "Asked for by", one_line(run.asked_by, _LONGEST)
    if run.reason:
        yield "Reason", one_line(run.reason, 2 * _LONGEST)
    yield "Started", run.started[:19].replace("T", " ")
    if run.ended:
        yield "Ended", run.ended[:19].replace("T", " ")


def _baselines(report: Report) -> Iterator[BaselineRow]:
    for day, coverage in list(report.coverage.items())[:_MOST]:
        state = "silent" if day in report.silent else "degraded" if day in report.degraded else ""
        yield BaselineRow(day, str(coverage), coverage.missing, state or ("gaps" if coverage.missing else "whole"))


def _delivered(told: Delivered) -> Iterator[tuple[str, str]]:
    raised, written, waiting = set(told.raised), set(told.written), set(told.waiting)
    if raised:
        yield f"{plural(len(raised), 'incident')} of the run's days", f"{len(raised):,}"
        yield "written by this run", f"{len(raised & written):,}"
        yield "written by other runs", f"{len(raised - written - waiting):,}"
    if waiting:
        yield "not delivered yet", f"{len(waiting):,}"
    if written - raised:
        yield "of other days, written by this run", f"{len(written - raised):,}"
    if told.uploaded:
        yield f"{plural(told.uploaded, 'row')} added to the findings table", f"{told.uploaded:,}"
