"""Whether the workspace answers, and whether AuditLogs is alive in it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, Protocol

from rare_audit.detection.ticks import TICKS_PER_DAY, TICKS_PER_SECOND, day_ticks, format_ticks, parse_ticks
from rare_audit.doctor.check import Check, fail, ok, warn
from rare_audit.reporting.coverage import coverage_of

QUIET: Final = timedelta(hours=26)
"""A tenant with an app at work is seldom silent for longer."""
_CONNECTOR: Final = (
    "in the Microsoft Entra admin center, Monitoring & health, Diagnostic settings, send AuditLogs to this workspace"
)


class Source(Protocol):
    """What a workspace tells of its events; see sources.log_analytics."""

    def coverage(self, start: int, end: int) -> dict[str, int]:
        """Return how many events each UTC day of a range (ticks) has."""
        ...

    def last_event(self, start: int, end: int) -> int | None:
        """Return the latest TimeGenerated in a range (all ticks)."""
        ...


def look(source: Source, lookback_days: int, min_days: int, now: datetime) -> Iterator[Check]:
    """Yield when the last event was, and on how many days of a lookback that ended today there were any."""
    instant, today = parse_ticks(now.isoformat()), day_ticks(f"{now:%Y-%m-%d}")
    first = today - lookback_days * TICKS_PER_DAY
    last = source.last_event(first, instant)
    if last is None:
        yield fail(
            "AuditLogs", f"the workspace answers, and has no event of the last {lookback_days} days; {_CONNECTOR}"
        )
        return
    yield _lateness(last, timedelta(seconds=(instant - last) // TICKS_PER_SECOND))
    yield _baseline(source.coverage(first, today), lookback_days, min_days, now)


def _lateness(last: int, age: timedelta) -> Check:
    found = f"the last event is of {format_ticks(last)[:19]}Z, {ago(age)}"
    return warn("AuditLogs", f"{found}; if that is unusual: {_CONNECTOR}") if age > QUIET else ok("AuditLogs", found)


def _baseline(counts: dict[str, int], lookback_days: int, min_days: int, now: datetime) -> Check:
    coverage = coverage_of(f"{now:%Y-%m-%d}", lookback_days, counts)
    if coverage.is_degraded(min_days):
        return warn(
            "baseline",
            f"{coverage}, fewer than RARE_AUDIT_MIN_DAYS ({min_days}); until there are more, all that seems rare on a "
            "day is told in one incident",
        )
    return ok("baseline", f"{coverage}" + (f", none on {', '.join(coverage.missing)}" if coverage.missing else ""))


def ago(age: timedelta) -> str:
    """Return how long ago something was, in the largest unit of which there are two."""
    seconds = int(age.total_seconds())
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length} {unit} ago"
    return f"{max(seconds, 0)} seconds ago"
