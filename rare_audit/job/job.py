"""A run, start to finish: fetch, detect, keep, raise.

What is found is kept first, then the incidents are queued, then delivered, then the delivery is recorded. All ids come
from content. So a run that is killed anywhere and repeated ends where an undisturbed one does.
"""

import logging
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any, Final

import msgspec

from rare_audit.detection.bounds import bounded
from rare_audit.detection.detector import Detector
from rare_audit.detection.event import AuditEvent
from rare_audit.detection.finding import Finding
from rare_audit.detection.result import Detection, conclude
from rare_audit.detection.rule import Exclusion, Rule
from rare_audit.detection.windows import Windows
from rare_audit.errors import RareAuditError, ServiceError, UnforeseenError
from rare_audit.job import progress
from rare_audit.job.day_work import DayWork
from rare_audit.job.delivery import Desk
from rare_audit.job.leased import leased
from rare_audit.job.options import Options
from rare_audit.job.outcome import Outcome, left_over
from rare_audit.job.planning import days_of, new_run, whole_days, windows_of, yesterday
from rare_audit.job.sight import Sight, sight_of
from rare_audit.job.sweeping import sweep
from rare_audit.job.unwatched import Unwatched
from rare_audit.ports import (
    Clock,
    ConflictError,
    EventCounts,
    EventSource,
    FindingSink,
    IncidentSink,
    Stores,
    Watch,
)
from rare_audit.records import Changes, KeptFinding, Run, State
from rare_audit.reporting.coverage import coverage_of
from rare_audit.reporting.incident import Incident, incident_id
from rare_audit.reporting.notices import silence
from rare_audit.reporting.redaction import without_values
from rare_audit.reporting.report.activity import kept_activity
from rare_audit.reporting.secrets import cause_of, unforeseen

_BATCH: Final = 20_000
"""How many events are taken in between two looks at the lease."""
_LOOKED_BACK: Final = 50
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """The job, wired to what stands around it. Without a sink findings are kept, and no incident is raised.

    With a `table` every finding is a row of it as well, whatever becomes of incidents. With `counts` it is checked that
    the events of the source are all there.
    """

    rule: Rule
    exclusions: tuple[Exclusion, ...]
    source: EventSource
    stores: Stores
    sink: IncidentSink | None
    clock: Clock
    options: Options = field(default_factory=Options)
    table: FindingSink | None = None
    counts: EventCounts | None = None
    watch: Watch = field(default_factory=Unwatched)

    def run(self, first_day: str, last_day: str, *, asked_by: str, reason: str = "") -> Run:
        """Do the UTC days `first_day` to `last_day` (`YYYY-MM-DD`, both included) at once; return the ended run.

        Raises InputError for days that are malformed, backwards, too many or not over yet, and what `do` raises.
        """
        now = self.clock.now()
        wanted = whole_days(first_day, last_day, now)
        return self.do(new_run(self.rule.id, wanted, now, asked_by=asked_by, reason=reason))

    def do(self, run: Run) -> Run:
        """Do a run that is new, waits, or was cut short; return it as it ended. One that has ended is left so.

        Raises ConflictError while another run is at work, or where one took over; ServiceError or another
        RareAuditError for what failed, recorded in the run as well.
        """
        holder = f"{run.id}.{uuid.uuid4().hex[:12]}"  # of two messages about one run, one works
        with leased(self.stores.lease, self.rule.id, holder):
            stored = self.stores.runs.get(run.id)
            if stored and stored.state.ended:
                return stored
            attempts = stored.attempts if stored else 0
            now = self.clock.now().isoformat()
            run = msgspec.structs.replace(run, state=State.RUNNING, started=now, attempts=attempts + 1)
            with self.watch.span("run", run):
                ended = self._recorded(run, partial(self.stores.lease.renew, self.rule.id, holder))
            if ended.kept and self.options.retention_days:
                sweep(self.stores.retention, ended, self.options, self.clock.now())
            if ended.error:
                raise ServiceError(ended.error)
            return ended

    def _recorded(self, run: Run, still_held: "partial[None]") -> Run:
        """Work on a run; what fails is written into its row before it is raised."""
        try:
            self.stores.runs.save(run)
            self._close_abandoned(run)
            self.stores.deliveries.settle(run.rule_id)
            return self._work(run, still_held)
        except ConflictError:
            raise  # the lease is lost: whoever took it over goes on
        except RareAuditError as error:
            self._fail(run, str(error))
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, no run stays without an end
            text = f"failed in a way that nobody foresaw, please report it: {unforeseen(error)}"
            self._fail(run, text)
            raise UnforeseenError(text) from cause_of(error)

    def _fail(self, run: Run, error: str) -> None:
        failed = self._ended(self._noted(run), State.FAILED, error=error)
        self.watch.ended(failed)  # before it is written: a run that has ended is not told of again
        self.stores.runs.save(failed)

    def _noted(self, run: Run) -> Run:
        """Note in a run which stored rows were gone on without."""
        return msgspec.structs.replace(run, notes=(*run.notes, *self.stores.set_aside.notes()))

    def _close_abandoned(self, run: Run) -> None:
        """Say of runs that never ended that they did not: only one runs at a time, and that is this one.

        Those that wait for a message are left to it: it comes back, or the timer sends another.
        """
        for other in self.stores.runs.latest(_LOOKED_BACK):
            alike = other.rule_id == run.rule_id and other.id != run.id
            if alike and other.state is State.RUNNING and not other.queued:
                told = f"was cut short; run {run.id} took over"
                closed = self._ended(other, State.FAILED, error=told)
                self.watch.ended(closed)
                self.stores.runs.save(closed)

    def _work(self, run: Run, still_held: "partial[None]") -> Run:
        run = msgspec.structs.replace(run, lookback_days=self.rule.lookback_days)
        windows = windows_of(run, run.lookback_days)
        counts = self.source.coverage(windows.origin, windows.end)
        counted = self.counts.by_apps(windows.origin, windows.end) if self.counts else {}
        run = msgspec.structs.replace(run, coverage=counts)
        if not run.start:
            run = msgspec.structs.replace(run, silent=tuple(day for day in days_of(run) if not counts.get(day)))
        with self.watch.span("detect", run):
            detection = self._detect(windows, still_held)
        sight = sight_of(run, detection, counted)
        activity = kept_activity(detection.attendance, windows, detection.findings)
        run = self._timed(
            msgspec.structs.replace(
                run,
                funnel=detection.funnel,
                activity=activity,
                unreadable=sight.unreadable,
                notes=(*run.notes, *sight.notes),
            ),
            "detect",
        )
        _log.info("run %s: %d findings", run.id, len(detection.findings))
        by_day = self._by_day(detection.findings)
        del detection  # each day's findings are let go once they are kept
        if run.dry_run:
            return self._tell_dry(run, by_day)
        return self._kept_and_delivered(run, by_day, sight, still_held)

    def _detect(self, windows: Windows, still_held: "partial[None]") -> Detection:
        detector = Detector(self.rule, windows, exclusions=self.exclusions, floods=self.options.floods)
        self._feed(detector, windows.origin, windows.end, still_held)
        reading = self.source.reading()
        if detector.is_overflowing:
            detector.look_again()
            self._feed(detector, windows.start, windows.end, still_held)
            missing = detector.looked_again()
            if missing:
                raise ServiceError(f"{missing:,} events by apps that were there did not come when asked for once more")
        return conclude(detector, reading)

    def _feed(self, detector: Detector, start: int, end: int, still_held: "partial[None]") -> None:
        for batch in _batches(self.source.events(start, end)):
            detector.feed(batch)
            still_held()

    def _by_day(self, findings: Iterable[Finding]) -> dict[str, list[Finding]]:
        """Return findings as they may be kept, by day."""
        by_day: dict[str, list[Finding]] = defaultdict(list)
        for finding in findings:
            # Hashes first: they are of the whole values.
            hidden = without_values(finding, self.options.salt) if self.options.salt else finding
            by_day[finding.day].append(bounded(hidden))
        return by_day

    def _tell_dry(self, run: Run, by_day: dict[str, list[Finding]]) -> Run:
        kept: list[KeptFinding] = []
        degraded: dict[str, None] = {}
        for day, findings in by_day.items():
            # Bounds may lie anywhere in a day: their baseline is that of the day they begin in.
            begun = run.first_day if run.start else day
            coverage = coverage_of(begun, self.rule.lookback_days, run.coverage)
            degraded |= {begun: None} if coverage.is_degraded(self.options.min_days) else {}
            kept += [
                KeptFinding(one, incident_id(one), held=True, first_run=run.id, last_run=run.id, coverage=coverage)
                for one in findings
            ]
        outcome = Outcome()
        refused = self.stores.dry_findings.keep(run, kept)
        for one in kept:
            if one.finding.id in refused:
                outcome.refuse_finding(one.finding, refused[one.finding.id])
        changes = Changes(new=tuple(one.finding.id for one in kept if one.finding.id not in refused))
        run = msgspec.structs.replace(run, changes=changes, degraded=tuple(degraded))
        ended = self._ended(_noted(self._noted(run), outcome), _state(run))
        self.watch.ended(ended)
        self.stores.runs.save(ended)
        return ended

    def _kept_and_delivered(
        self, run: Run, by_day: dict[str, list[Finding]], sight: Sight, still_held: "partial[None]"
    ) -> Run:
        """Keep and deliver each day before the next: whatever one of them meets, those before it are done."""
        outcome = Outcome()
        work = DayWork(self.rule, self.stores, self.options, self.sink, self.table, still_held, outcome)
        refused_before = self.sink.refused if self.sink else 0
        for name in days_of(run):
            if name in run.silent:  # a day without any event is no reason to withdraw
                continue
            still_held()
            with self.watch.span("keep", run):
                run = work.keep(run, name, by_day.pop(name, []), is_whole=name not in sight.days)
            run = self._timed(run, "keep")
            if name != run.last_day:
                with self.watch.span("deliver", run):
                    work.deliver(name)
                run = self._timed(run, "deliver")
        run = self._finished(run)
        with self.watch.span("deliver", run):
            work.deliver()
            self._desk.settle(outcome, run.incidents)
            if self.sink:
                outcome.refused += self.sink.refused - refused_before
            return self._told(run, outcome)

    def _finished(self, run: Run) -> Run:
        """Note that all days are kept and queued, and queue what there is to say of silence."""
        silent = progress.silent_since(self.stores.progress, run, self.yesterday())
        told: list[Incident] = []
        if self.sink and silent:
            told.append(silence(self.rule, silent))
            self._desk.queue(told)
        run = msgspec.structs.replace(run, kept=True, incidents=(*run.incidents, *(incident.id for incident in told)))
        progress.advance(self.stores.progress, run, self.yesterday(), silent)
        return self._timed(run, "keep")

    def _told(self, run: Run, outcome: Outcome) -> Run:
        """End a run with what became of all it had to deliver."""
        error, undelivered = left_over(outcome, self.stores.deliveries, self.rule.id)
        notes = (*run.notes, *(self.sink.notes if self.sink else ()))
        run = msgspec.structs.replace(run, delivered=tuple(outcome.delivered), uploaded=outcome.uploaded, notes=notes)
        run = self._timed(_noted(self._noted(run), outcome), "deliver")
        run = self._ended(run, State.FAILED if error else _state(run), error=error)
        if run.state is State.DONE and run.last_day >= self.yesterday():
            self.stores.progress.change(self.rule.id, last_success=run.ended)
        self.watch.ended(run, undelivered)
        self.stores.runs.save(run)
        return run

    @property
    def _desk(self) -> Desk:
        return Desk(self.rule, self.stores, self.options)

    def incidents(self, day: str) -> tuple[Incident, ...]:
        """Return a UTC day's incidents, made of the findings that are kept and still hold."""
        return self._desk.incidents(day)

    def _ended(self, run: Run, state: State, **more: Any) -> Run:
        return msgspec.structs.replace(run, state=state, ended=self.clock.now().isoformat(), **more)

    def _timed(self, run: Run, phase: str) -> Run:
        """Add to how long a phase took: what is left of the time since the run was taken up, in seconds."""
        passed = (self.clock.now() - datetime.fromisoformat(run.started)).total_seconds()
        taken = run.timings.get(phase, 0.0) + passed - sum(run.timings.values())
        return msgspec.structs.replace(run, timings={**run.timings, phase: taken})

    def yesterday(self) -> str:
        """Return the last UTC day that is over."""
        return yesterday(self.clock.now())


def _state(run: Run) -> State:
    """Return how a run ends that did all it could: without data where its last day, the current one, has none."""
    return State.NO_DATA if run.last_day in run.silent else State.DONE


def _noted(run: Run, outcome: Outcome) -> Run:
    return msgspec.structs.replace(run, refused=outcome.refused, notes=(*run.notes, *outcome.notes))


def _batches(events: Iterator[AuditEvent]) -> Iterator[list[AuditEvent]]:
    while batch := list(islice(events, _BATCH)):
        yield batch
