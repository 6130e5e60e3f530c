"""A run in a few lines: what was read, and what became of it."""

from collections.abc import Iterator, Mapping, Sequence

from rare_audit.detection.data import Data
from rare_audit.detection.funnel import Funnel
from rare_audit.reporting.coverage import Coverage, spans
from rare_audit.reporting.text import one_line

_MOST = 200
_LONGEST = 500
_MOST_DAYS = 5


def data_line(data: Data) -> str:
    """Return what was read: how many events, from when to when, and how many of them apps started."""
    if not data.events:
        return "0 events"
    first, last = (instant[:16].replace("T", " ") for instant in (data.first, data.last))
    return f"{_count(data.events, 'event')}, {first} to {last} UTC, {data.by_apps:,} by apps"


def coverage_lines(coverage: Mapping[str, Coverage], degraded: Sequence[str], least: str) -> Iterator[str]:
    """Yield how complete the baselines of some days are, and a warning for those too incomplete to rely on.

    `degraded` are the latter, and `least` is the number of days with data that they lack, or the setting that says it.
    """
    lacking = {day: one for day, one in coverage.items() if one.missing}
    if coverage and not lacking:
        of = next(iter(coverage.values())).of
        yield f"coverage: {of} of {of} days had data" + (", before each of the days" if len(coverage) > 1 else "")
    for day, one in list(lacking.items())[:_MOST_DAYS]:
        without = f", none on {', '.join(spans(one.missing))}" if one.days else ""
        yield one_line(f"coverage before {day}: {one}{without}", _LONGEST)
    if len(lacking) > _MOST_DAYS:
        fewest = min(lacking.values(), key=lambda one: one.days)
        more = len(lacking) - _MOST_DAYS
        yield f"coverage before {more:,} more days is incomplete as well; of all days the least is {fewest}"
    if degraded:
        days = ", ".join(spans(degraded)[:_MOST_DAYS])
        yield one_line(
            f"warning: baseline incomplete, fewer than {least} days with data before {days}: "
            "what looks rare there may not be",
            _LONGEST,
        )


def funnel_lines(funnel: Funnel, places: Mapping[str, str], details: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield the lines of a funnel.

    `places` says where the first record was that could not be read for each reason, `details` what was found there.
    """
    reading, baseline, current = funnel.reading, funnel.baseline, funnel.current
    yield f"read {_count(reading.events, 'event')}, {funnel.outside:,} of them outside all windows"
    lost = [(_count(count, "record"), reason) for reason, count in reading.unreadable.items()]
    lost += [(_count(count, "file"), reason) for reason, count in reading.files.items()]
    for counted, reason in lost:
        detail = (details or {}).get(reason, "")
        line = f"  not read: {counted}, {reason}, first at {places.get(reason, '?')}"
        yield one_line(f"{line}: {detail}" if detail else line, _LONGEST)
    for reason, odd in funnel.odd.items():
        yield one_line(
            f"  not read: {_count(odd, 'event')} by apps, {reason}, first {funnel.first_odd.get(reason, '?')}", _MOST
        )
    for reason, skipped in reading.skipped.items():
        yield one_line(f"  skipped: {_count(skipped, 'record')}, {reason}", _MOST)
    yield (
        f"baseline: {_count(baseline.events, 'event')}, {baseline.app_initiated:,} by apps, "
        f"{_count(baseline.combinations, 'distinct combination')}"
    )
    yield f"current: {_count(current.events, 'event')}, {current.app_initiated:,} by apps; of these"
    if current.repeated:
        yield f"  repeated, the same Id and content as one before: {current.repeated:,}"
    dropped = ", ".join(f"{drop} {count:,}" for drop, count in current.dropped.items() if count)
    yield f"  dropped by the rule: {sum(current.dropped.values()):,}" + (f" ({dropped})" if dropped else "")
    yield f"  on the window's first tick, which the rule counts as known: {current.on_first_tick:,}"
    yield f"  known: {current.known:,}"
    yield f"  rare: {current.rare:,}"
    for name, count in current.excluded.items():
        yield one_line(f"    excluded by {name}: {count:,}", _MOST)
    yield f"findings: {funnel.findings:,}, from {_count(current.reported, 'event')}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
