"""A run, start to finish: fetch, detect, keep, raise.

What is found is kept first, then the incidents are queued, then delivered, then the delivery is recorded. All ids come
from content. So a run that is killed anywhere and repeated ends where an undisturbed one does.
"""

import logging
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Final

import msgspec

from rare_audit.detection.detector import Detector
from rare_audit.detection.event import AuditEvent
from rare_audit.detection.finding import Finding
from rare_audit.detection.result import Detection, conclude
from rare_audit.detection.rule import Exclusion, Rule
from rare_audit.detection.ticks import day_after
from rare_audit.detection.windows import Windows
from rare_audit.errors import RareAuditError, ServiceError, UnforeseenError
from rare_audit.job import days
from rare_audit.job.delivery import Desk
from rare_audit.job.leased import leased
from rare_audit.job.options import Options
from rare_audit.job.planning import days_of, new_run, silent_from, whole_days, windows_of, yesterday
from rare_audit.job.unwatched import Unwatched
from rare_audit.job.uploads import SINK, Uploads
from rare_audit.ports import Clock, ConflictError, EventSource, FindingSink, IncidentSink, Stores, Watch
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

    With a `table` every finding is a row of it as well, whatever becomes of incidents.
    """

    rule: Rule
    exclusions: tuple[Exclusion, ...]
    source: EventSource
    stores: Stores
    sink: IncidentSink | None
    clock: Clock
    options: Options = field(default_factory=Options)
    table: FindingSink | None = None
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
                self._sweep(ended)
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
        run = msgspec.structs.replace(run, coverage=counts)
        if not run.start:
            run = msgspec.structs.replace(run, silent=tuple(day for day in days_of(run) if not counts.get(day)))
        with self.watch.span("detect", run):
            detection = self._detect(windows, still_held)
        activity = kept_activity(detection.attendance, windows, detection.findings)
        run = self._timed(msgspec.structs.replace(run, funnel=detection.funnel, activity=activity), "detect")
        _log.info("run %s: %d findings", run.id, len(detection.findings))
        by_day: dict[str, list[Finding]] = defaultdict(list)
        for finding in detection.findings:
            by_day[finding.day].append(self._redacted(finding))
        if run.dry_run:
            return self._tell_dry(run, by_day)
        with self.watch.span("keep", run):
            silent_since = self._silent_since(run)
            run = self._keep(run, by_day, silent_since, still_held)
            self._advance(run, silent_since)
        with self.watch.span("deliver", run):
            return self._delivered(self._timed(run, "keep"), still_held)

    def _detect(self, windows: Windows, still_held: "partial[None]") -> Detection:
        detector = Detector(self.rule, windows, exclusions=self.exclusions)
        for batch in _batches(self.source.events(windows.origin, windows.end)):
            detector.feed(batch)
            still_held()
        return conclude(detector, self.source.reading())

    def _redacted(self, finding: Finding) -> Finding:
        return without_values(finding, self.options.salt) if self.options.salt else finding

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
        self.stores.dry_findings.keep(run, kept)
        changes = Changes(new=tuple(one.finding.id for one in kept))
        run = msgspec.structs.replace(run, changes=changes, degraded=tuple(degraded))
        ended = self._ended(self._noted(run), _state(run))
        self.watch.ended(ended)
        self.stores.runs.save(ended)
        return ended

    def _keep(self, run: Run, by_day: dict[str, list[Finding]], silent_since: str, still_held: "partial[None]") -> Run:
        """Keep the findings of each day and queue its incidents. A day without any event is no reason to withdraw."""
        changes = Changes()
        degraded: list[str] = []
        raised: list[Incident] = []
        for name in days_of(run):
            if name in run.silent:
                continue
            still_held()
            coverage = coverage_of(name, self.rule.lookback_days, run.coverage)
            stored = {kept.finding.id: kept for kept in self.stores.findings.of_day(self.rule.id, name)}
            day = days.Day(stored, coverage)
            incidents = self._desk.grouped(by_day[name], day.raised, coverage)
            changes = days.joined(changes, days.keep(self.stores, run, day, incidents))
            degraded += [name] * coverage.is_degraded(self.options.min_days)
            if self.sink:
                chosen = self._desk.chosen(incidents, coverage)
                self._desk.queue(chosen)
                raised += chosen
            if self.table:
                self._uploads.queue(name)
        if self.sink and silent_since:
            raised.append(silence(self.rule, silent_since))
            self._desk.queue(raised[-1:])
        ids = tuple(incident.id for incident in raised)
        return msgspec.structs.replace(run, kept=True, changes=changes, degraded=tuple(degraded), incidents=ids)

    def _silent_since(self, run: Run) -> str:
        """Return the day from which on there is no event up to yesterday, "" where there is one.

        Once it was told, it stays that day until there are events again, however much of the silence can be seen.
        """
        if run.last_day not in run.silent or run.last_day < self.yesterday():
            return ""
        told = self.stores.progress.get(self.rule.id).silent_since
        return told or silent_from(run)

    def _advance(self, run: Run, silent_since: str) -> None:
        """Note that a run's days are done, but for the silent ones at its end: what was found is kept and queued."""
        progress = self.stores.progress.get(self.rule.id)
        changed: dict[str, str] = {}
        to = max(run.first_day, silent_from(run)) if run.last_day in run.silent else day_after(run.last_day)
        joins = run.first_day <= progress.due or run.resumes == progress.due
        if progress.due and joins and to > progress.due:
            changed["due"] = to
        if run.last_day >= self.yesterday():
            changed["silent_since"] = silent_since
        self.stores.progress.change(self.rule.id, **changed)

    def _delivered(self, run: Run, still_held: "partial[None]") -> Run:
        errors, undelivered = list[str](), 0
        if self.sink:
            delivered, failures = self._desk.deliver(self.sink, still_held)
            run = msgspec.structs.replace(run, delivered=delivered, notes=(*run.notes, *self.sink.notes))
            if failures:
                left = len(self.stores.deliveries.pending(self.rule.id))
                errors.append(f"{left} incidents could not be delivered and stay queued: {failures[0]}")
                undelivered += left
        if self.table:
            uploaded, refused = self._uploads.deliver(self.table, still_held)
            run = msgspec.structs.replace(run, uploaded=uploaded)
            if refused:
                left = len(self.stores.deliveries.pending(self.rule.id, SINK))
                errors.append(f"findings of {left} days could not be uploaded and stay queued: {refused[0]}")
                undelivered += left
        error = "; ".join(errors)
        run = self._ended(self._noted(self._timed(run, "deliver")), State.FAILED if error else _state(run), error=error)
        if run.state is State.DONE and run.last_day >= self.yesterday():
            self.stores.progress.change(self.rule.id, last_success=run.ended)
        self.watch.ended(run, undelivered)
        self.stores.runs.save(run)
        return run

    def _sweep(self, run: Run) -> None:
        """Remove what is kept for too long, though not what this run, asked for days so old, has just found."""
        now = self.clock.now()
        before, dry_before = (
            f"{now - timedelta(days=kept):%Y-%m-%d}"
            for kept in (self.options.retention_days, self.options.dry_retention_days)
        )
        try:
            more = True
            while more:
                swept = self.stores.retention.sweep(min(before, run.first_day), dry_before)
                if swept.undelivered:
                    _log.error("run %s: %d deliveries that never succeeded are too old now", run.id, swept.undelivered)
                more = swept.more
        except ServiceError as error:  # the next run sweeps again
            _log.warning("run %s: retention could not be applied: %s", run.id, error)

    @property
    def _desk(self) -> Desk:
        return Desk(self.rule, self.stores, self.options)

    @property
    def _uploads(self) -> Uploads:
        return Uploads(self.rule, self.stores)

    def incidents(self, day: str) -> tuple[Incident, ...]:
        """Return a UTC day's incidents, made of the findings that are kept and still hold."""
        return self._desk.incidents(day)

    def _ended(self, run: Run, state: State, **more: Any) -> Run:
        return msgspec.structs.replace(run, state=state, ended=self.clock.now().isoformat(), **more)

    def _timed(self, run: Run, phase: str) -> Run:
        """Note how long a phase took: what is left of the time since the run was taken up, in seconds."""
        passed = (self.clock.now() - datetime.fromisoformat(run.started)).total_seconds()
        return msgspec.structs.replace(run, timings={**run.timings, phase: passed - sum(run.timings.values())})

    def yesterday(self) -> str:
        """Return the last UTC day that is over."""
        return yesterday(self.clock.now())


def _state(run: Run) -> State:
    """Return how a run ends that did all it could: without data where its last day, the current one, has none."""
    return State.NO_DATA if run.last_day in run.silent else State.DONE


def _batches(events: Iterator[AuditEvent]) -> Iterator[list[AuditEvent]]:
    while batch := list(islice(events, _BATCH)):
        yield batch
