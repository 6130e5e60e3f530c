"""One day of a run after the other: kept, queued, delivered."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from rare_audit.detection.finding import Finding
from rare_audit.detection.rule import Rule
from rare_audit.job import days
from rare_audit.job.delivery import Desk
from rare_audit.job.options import Options
from rare_audit.job.outcome import Outcome
from rare_audit.job.uploads import Uploads
from rare_audit.ports import FindingSink, IncidentSink, Stores
from rare_audit.records import Run
from rare_audit.reporting.coverage import coverage_of


@dataclass(frozen=True, slots=True)
class DayWork:
    """What a run does with each of its days; what becomes of it goes into `outcome`.

    `still_held` raises once the lease is lost.
    """

    rule: Rule
    stores: Stores
    options: Options
    sink: IncidentSink | None
    table: FindingSink | None
    still_held: Callable[[], None]
    outcome: Outcome

    def keep(self, run: Run, name: str, findings: Sequence[Finding], *, is_whole: bool) -> Run:
        """Keep the findings of a UTC day (`YYYY-MM-DD`) and queue its incidents and rows; return the run with these.

        `is_whole` says that all of the day's events could be read. Raises ServiceError.
        """
        coverage = coverage_of(name, self.rule.lookback_days, run.coverage)
        stored = {kept.finding.id: kept for kept in self.stores.findings.of_day(self.rule.id, name)}
        day = days.Day(stored, coverage, is_whole)
        incidents = self._desk.grouped(findings, day.raised, coverage)
        refused_before = self.outcome.refused
        changes = days.keep(self.stores, run, day, incidents, self.outcome)
        if self.sink:
            is_all_kept = self.outcome.refused == refused_before
            raised = self._desk.chosen(incidents, coverage) if is_all_kept else self._desk.incidents(name)
            self._desk.queue(raised)
            run = msgspec.structs.replace(run, incidents=(*run.incidents, *(incident.id for incident in raised)))
        if self.table:
            self._uploads.queue(name)
        return msgspec.structs.replace(
            run,
            changes=days.joined(run.changes, changes),
            degraded=(*run.degraded, *[name] * coverage.is_degraded(self.options.min_days)),
        )

    def deliver(self, day: str = "") -> None:
        """Deliver what is queued of a day and never failed; without a day, whatever is queued."""
        if self.sink:
            self._desk.deliver(self.sink, self.still_held, self.outcome, day)
        if self.table:
            self._uploads.deliver(self.table, self.still_held, self.outcome, day)

    @property
    def _desk(self) -> Desk:
        return Desk(self.rule, self.stores, self.options)

    @property
    def _uploads(self) -> Uploads:
        return Uploads(self.rule, self.stores)
