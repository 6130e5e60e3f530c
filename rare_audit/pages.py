"""Reports of hunts and of runs as pages: what is kept is gathered, templates are read, the page is made."""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Final

from rare_audit.detection.result import Detection
from rare_audit.detection.rule import Rule
from rare_audit.detection.ticks import TICKS_PER_DAY, day_ticks
from rare_audit.detection.windows import Windows
from rare_audit.dispatch import findings_of
from rare_audit.job import uploads
from rare_audit.job.planning import days_of, windows_of
from rare_audit.ports import Stores
from rare_audit.records import Run, RunFinding
from rare_audit.reporting.coverage import Coverage, coverage_of
from rare_audit.reporting.report import Delivered, Fate, Report, RunFacts, Told
from rare_audit.reporting.report.activity import kept_activity, part_of
from rare_audit.reporting.report.press import Page, Press
from rare_audit.reporting.report.view import covered

_TEMPLATES: Final = ("report.html", "finding.html", "words.html", "report.css")
_LOOKED_BACK: Final = (50, 1_000)
"""How many of the last runs are looked through for one of a day: at first few, as it mostly is one of these."""


def hunt_page(
    rule: Rule,
    windows: Windows,
    detection: Detection,
    places: Mapping[str, str],
    *,
    coverage: Mapping[str, Coverage],
    degraded: Sequence[str] = (),
) -> Page:
    """Return the page of a hunt.

    `places` says where the first record was that could not be read for each reason; `coverage` is that of each day's
    baseline, and `degraded` are the days with too few days of data before them.
    """
    findings = detection.findings
    return press().page(
        Report(
            rule_id=rule.id,
            rule_name=rule.name,
            windows=windows,
            severity=rule.severity,
            findings=tuple(Told(finding=each) for each in findings),
            funnel=detection.funnel,
            places=places,
            attendance=kept_activity(detection.attendance, windows, findings),
            coverage=coverage,
            degraded=tuple(degraded),
        )
    )


def run_page(stores: Stores, rule: Rule, run: Run, day: str = "") -> Page:
    """Return the page of a run, or of a UTC day (`YYYY-MM-DD`) of it, from what is kept now. Raises ServiceError."""
    lookback_days = run.lookback_days or rule.lookback_days  # the rule may have changed since
    windows = whole = windows_of(run, lookback_days)
    activity = run.activity
    if day and not run.start:
        first = (day_ticks(day) - whole.start) // TICKS_PER_DAY
        windows = Windows.days(day_ticks(day), day_ticks(day) + TICKS_PER_DAY, lookback_days)
        activity = part_of(activity, first, lookback_days + 1)
    days = (day,) if day else days_of(run)[:1] if run.start else days_of(run)
    found = _of_day(stores, run, day) if day else findings_of(stores, run)
    is_ours = run.rule_id == rule.id
    delivered = None if run.dry_run else _delivered(stores, run)
    return press().page(
        Report(
            rule_id=run.rule_id,
            rule_name=rule.name if is_ours else "another than the one configured now",
            severity=rule.severity if is_ours else "",
            windows=windows,
            findings=_told(found, delivered),
            funnel=run.funnel,
            attendance=activity,
            coverage={each: coverage_of(each, lookback_days, run.coverage) for each in days} if run.funnel else {},
            degraded=tuple(each for each in run.degraded if each in days),
            silent=tuple(each for each in run.silent if each in days),
            notes=run.notes,
            run=_facts(run, covered(whole)),
            delivered=delivered,
        )
    )


def run_of_day(stores: Stores, rule: Rule, day: str) -> Run | None:
    """Return the last run over a UTC day (`YYYY-MM-DD`) that has ended, None where none is kept."""
    for count in _LOOKED_BACK:
        runs = stores.runs.latest(count)
        for run in runs:
            alike = run.rule_id == rule.id and run.state.ended and not run.dry_run
            if alike and run.funnel and run.first_day <= day <= run.last_day:
                return run
        if len(runs) < count:
            return None
    return None


@cache
def press() -> Press:
    """Return what pages are made with, its templates read and compiled once."""
    folder = files("rare_audit.reporting.report") / "templates"
    return Press({name: (folder / name).read_text(encoding="utf-8") for name in _TEMPLATES})


def _of_day(stores: Stores, run: Run, day: str) -> tuple[RunFinding, ...]:
    """Return all that is kept of a day, whichever run found it, with what this run did to it."""
    changes = run.changes.by_id()
    kept = stores.findings.of_day(run.rule_id, day)
    return tuple(RunFinding(changes.get(one.finding.id, ""), one) for one in kept)


def _delivered(stores: Stores, run: Run) -> Delivered:
    waiting = stores.deliveries.pending(run.rule_id)
    days = stores.deliveries.pending(run.rule_id, uploads.SINK)
    return Delivered(
        raised=run.incidents,
        written=run.delivered,
        waiting=tuple(delivery.incident_id for delivery in waiting),
        uploaded=run.uploaded,
        rows_wait=tuple(delivery.day for delivery in days),
    )


def _told(found: Sequence[RunFinding], delivered: Delivered | None) -> tuple[Told, ...]:
    """Return findings as they are reported; those of a dry run, which delivers nothing, without more."""
    if delivered is None:
        return tuple(Told(finding=one.kept.finding) for one in found)
    fates = dict.fromkeys(delivered.raised, Fate.STANDING)
    fates |= dict.fromkeys(delivered.written, Fate.WRITTEN)
    fates |= dict.fromkeys(delivered.waiting, Fate.WAITING)
    of_apps = {one.kept.incident_id for one in found}
    if not delivered.raised:
        otherwise = Fate.NOT_RAISED
    elif {*delivered.raised} & {*delivered.waiting} - of_apps:  # what no app's incident is, is a roll-up
        otherwise = Fate.WAITING
    else:
        otherwise = Fate.ROLLED_UP
    return tuple(
        Told(
            finding=one.kept.finding,
            change=one.change,
            held=one.kept.held,
            incident_id=one.kept.incident_id,
            fate=fates.get(one.kept.incident_id, otherwise),
        )
        for one in found
    )


def _facts(run: Run, covers: str) -> RunFacts:
    return RunFacts(
        id=run.id,
        state=run.state,
        asked_by=run.asked_by,
        reason=run.reason,
        started=run.started,
        ended=run.ended,
        error=run.error,
        dry_run=run.dry_run,
        covers=covers,
    )
