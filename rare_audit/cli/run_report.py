"""What a run of the job tells at the terminal, wherever it ran."""

from collections.abc import Iterator, Sequence

from rare_audit.job.planning import days_of, silent_from
from rare_audit.records import Run
from rare_audit.reporting.coverage import coverage_of
from rare_audit.reporting.incident import Incident
from rare_audit.reporting.summary import coverage_lines, funnel_lines
from rare_audit.reporting.text import one_line

_MOST = 300


def sight_lines(run: Run, lookback_days: int) -> Iterator[str]:
    """Yield what a run saw and what it could not see: its funnel, its baselines, days without events, notes."""
    yield from funnel_lines(run.funnel, {}) if run.funnel else ()
    yield from _coverage_lines(run, lookback_days)
    for day in run.silent:
        due = ", and it stays due" if day >= silent_from(run) else ""
        yield f"no data: AuditLogs has no event of {day}; nothing of that day is found or withdrawn{due}"
    for note in run.notes:
        yield one_line(f"note: {note}", _MOST)


def _coverage_lines(run: Run, lookback_days: int) -> Iterator[str]:
    """Yield how complete the baselines are: one line where all are whole, else one for each day whose is not."""
    days = days_of(run)[:1] if run.start else days_of(run)
    coverages = {day: coverage_of(day, lookback_days, run.coverage) for day in days if day not in run.silent}
    yield from coverage_lines(coverages, run.degraded, "RARE_AUDIT_MIN_DAYS")


def ending_line(run: Run, incidents: Sequence[Incident]) -> str:
    """Return what a run changed; `incidents` are all that its days have now."""
    changes = run.changes
    told = (
        f"run {run.id}: {len(changes.new)} findings new, {len(changes.confirmed)} confirmed, {len(changes.changed)} "
        f"changed, {len(changes.withdrawn)} withdrawn"
    )
    written = sum(incident.id in run.delivered for incident in incidents)
    told += f"; {written} of {len(incidents)} incidents written"
    if written < len(incidents):
        told += ", the others are as they were"
    others = len(run.delivered) - written
    return told + (f"; {others} more written that were due" if others else "")
