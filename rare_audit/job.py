"""A range of whole UTC days, start to finish: fetch, detect, keep, raise.

What is found is kept first, then the incidents are queued, then delivered, then the delivery is recorded. All ids come
from content. So a run that is killed anywhere and repeated ends where an undisturbed one does.
"""

import logging
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

import msgspec

from rare_audit.detection.detector import Detector
from rare_audit.detection.event import AuditEvent
from rare_audit.detection.finding import Finding
from rare_audit.detection.result import Detection, conclude
from rare_audit.detection.rule import Exclusion, Rule
from rare_audit.detection.ticks import TICKS_PER_DAY, day_ticks, format_day
from rare_audit.detection.windows import Windows
from rare_audit.errors import InputError, RareAuditError, ServiceError
from rare_audit.ports import (
    Changes,
    Clock,
    ConflictError,
    Delivery,
    DeliveryStore,
    EventSource,
    FindingStore,
    IncidentSink,
    KeptFinding,
    Lease,
    Run,
    RunStore,
)
from rare_audit.reporting.incident import Incident, group

MOST_DAYS: Final = 31
_BATCH: Final = 20_000
"""How many events are taken in between two renewals of the lease."""
_LOOKED_BACK: Final = 50
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """The job, wired to what stands around it."""

    rule: Rule
    exclusions: tuple[Exclusion, ...]
    source: EventSource
    findings: FindingStore
    runs: RunStore
    lease: Lease
    deliveries: DeliveryStore
    sink: IncidentSink
    clock: Clock

    def run(self, first_day: str, last_day: str, *, asked_by: str, reason: str = "") -> Run:
        """Do the UTC days `first_day` to `last_day` (`YYYY-MM-DD`, both included) in one pass; return the ended run.

        Raises InputError for days that are malformed, backwards, too many or not over yet; ConflictError while another
        run is at work; ServiceError or another RareAuditError for what failed, recorded in the run as well.
        """
        windows = self._windows(first_day, last_day)
        started = self.clock.now()
        run = Run(
            id=f"{started:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}",
            rule_id=self.rule.id,
            first_day=first_day,
            last_day=last_day,
            asked_by=asked_by,
            reason=reason,
            started=started.isoformat(),
        )
        self.lease.acquire(self.rule.id, run.id)
        try:
            self.runs.save(run)
            self._close_abandoned(run)
            ended = self._work(run, windows)
        except ConflictError:
            raise  # the lease is lost: whoever took it over closes this run
        except RareAuditError as error:
            self.runs.save(self._ended(run, state="failed", error=str(error)))
            raise
        finally:
            self.lease.release(self.rule.id, run.id)
        if ended.error:
            raise ServiceError(ended.error)
        return ended

    def _windows(self, first_day: str, last_day: str) -> Windows:
        try:
            start, end = day_ticks(first_day), day_ticks(last_day) + TICKS_PER_DAY
        except ValueError as error:
            raise InputError(f"days are written YYYY-MM-DD: {error}") from error
        if not start < end <= start + MOST_DAYS * TICKS_PER_DAY:
            raise InputError(f"{first_day} to {last_day}: expected one to {MOST_DAYS} days, the first one first")
        if last_day >= f"{self.clock.now():%Y-%m-%d}":
            raise InputError(f"{last_day} is not over yet; a run covers whole UTC days")
        return Windows.days(start, end, self.rule.lookback_days)

    def _close_abandoned(self, run: Run) -> None:
        """Say of runs that never ended that they did not: only one runs at a time, and that is this one."""
        for other in self.runs.latest(_LOOKED_BACK):
            if other.state == "running" and other.id != run.id and other.rule_id == run.rule_id:
                self.runs.save(self._ended(other, state="failed", error=f"was cut short; run {run.id} took over"))

    def _work(self, run: Run, windows: Windows) -> Run:
        detection = self._detect(run, windows)
        _log.info("run %s: %d findings", run.id, len(detection.findings))
        by_day: dict[str, list[Finding]] = defaultdict(list)
        for finding in detection.findings:
            by_day[finding.day].append(finding)
        changes, incidents = Changes(), []
        for slot in range(windows.lookback_days, windows.last_slot + 1):
            self.lease.renew(self.rule.id, run.id)
            day = windows.day(slot)
            changed, raised = self._keep_day(run, day, by_day[day])
            changes = _joined(changes, changed)
            incidents += [incident.id for incident in raised]
            self._queue(raised)
        run = msgspec.structs.replace(run, funnel=detection.funnel, changes=changes, incidents=tuple(incidents))
        delivered, failures = self._deliver(run)
        error = f"{len(failures)} incidents could not be delivered and stay queued: {failures[0]}" if failures else ""
        run = msgspec.structs.replace(run, delivered=delivered)
        run = self._ended(run, state="failed" if error else "done", error=error)
        self.runs.save(run)
        return run

    def _detect(self, run: Run, windows: Windows) -> Detection:
        detector = Detector(self.rule, windows, exclusions=self.exclusions)
        for batch in _batches(self.source.events(windows.origin, windows.end)):
            detector.feed(batch)
            self.lease.renew(self.rule.id, run.id)
        return conclude(detector, self.source.reading())

    def _keep_day(self, run: Run, day: str, found: list[Finding]) -> tuple[Changes, tuple[Incident, ...]]:
        """Keep a day's findings, those withdrawn marked so; return what changed, and the day's incidents."""
        stored = {kept.finding.id: kept for kept in self.findings.of_day(self.rule.id, day)}
        incidents = group(self.rule, found, {id_: kept.incident_id for id_, kept in stored.items()})
        unfinished = self._unfinished({run_id for old in stored.values() for run_id in (old.first_run, old.last_run)})
        kept: list[KeptFinding] = []
        changes: dict[str, list[str]] = defaultdict(list)
        for incident in incidents:
            for finding in incident.findings:
                old = stored.pop(finding.id, None)
                kind, first_run = _compared(old, finding, unfinished, run.id)
                changes[kind].append(finding.id)
                last_run = old.last_run if old is not None and kind == "confirmed" else run.id
                kept.append(KeptFinding(finding, incident.id, held=True, first_run=first_run, last_run=last_run))
        for old in stored.values():
            if old.held or old.last_run in unfinished:
                changes["withdrawn"].append(old.finding.id)
                kept.append(msgspec.structs.replace(old, held=False, last_run=run.id))
        self.findings.keep(kept)
        return Changes(**{kind: tuple(ids) for kind, ids in changes.items()}), incidents

    def _unfinished(self, run_ids: set[str]) -> set[str]:
        """Return which of these runs did not end well: what they changed is still to be told, by this one."""
        runs = {run_id: self.runs.get(run_id) for run_id in sorted(run_ids)}
        return {run_id for run_id, run in runs.items() if run is None or run.state != "done"}

    def _queue(self, incidents: tuple[Incident, ...]) -> None:
        for incident in incidents:
            delivery = self.deliveries.get(incident.id)
            if delivery is None:
                delivery = Delivery(incident.id, incident.rule_id, incident.day, wanted="")
            if delivery.wanted != incident.digest:
                self.deliveries.put(msgspec.structs.replace(delivery, wanted=incident.digest))

    def _deliver(self, run: Run) -> tuple[tuple[str, ...], list[ServiceError]]:
        """Deliver what is queued, by whichever run; return what was delivered, and what failed and stays queued."""
        delivered, failures = [], []
        for delivery in self.deliveries.pending(self.rule.id):
            incident = next((each for each in self.incidents(delivery.day) if each.id == delivery.incident_id), None)
            if incident is None:  # all its findings have been withdrawn since
                self.deliveries.put(msgspec.structs.replace(delivery, wanted=delivery.written))
                continue
            try:
                memo = self.sink.deliver(incident, delivery.memo)
            except ServiceError as error:
                failures.append(error)
                continue
            self.lease.renew(self.rule.id, run.id)
            digest = incident.digest
            self.deliveries.put(msgspec.structs.replace(delivery, wanted=digest, written=digest, memo=memo))
            delivered.append(incident.id)
        return tuple(delivered), failures

    def incidents(self, day: str) -> tuple[Incident, ...]:
        """Return a UTC day's incidents, made of the findings that are kept and still hold."""
        held = [kept for kept in self.findings.of_day(self.rule.id, day) if kept.held]
        raised = {kept.finding.id: kept.incident_id for kept in held}
        return group(self.rule, (kept.finding for kept in held), raised)

    def _ended(self, run: Run, *, state: str, error: str = "") -> Run:
        return msgspec.structs.replace(run, state=state, error=error, ended=self.clock.now().isoformat())

    def yesterday(self) -> str:
        """Return the last UTC day that is over."""
        now = self.clock.now()
        return format_day(day_ticks(f"{now:%Y-%m-%d}") - TICKS_PER_DAY)


def _batches(events: Iterator[AuditEvent]) -> Iterator[list[AuditEvent]]:
    while batch := list(islice(events, _BATCH)):
        yield batch


def _compared(old: KeptFinding | None, new: Finding, unfinished: set[str], run_id: str) -> tuple[str, str]:
    """Return what became of a finding, as Changes names it, and the run that found it first."""
    if old is None or old.first_run in unfinished:
        return "new", run_id
    same = old.held and old.finding == new and old.last_run not in unfinished
    return ("confirmed" if same else "changed"), old.first_run


def _joined(one: Changes, other: Changes) -> Changes:
    return Changes(*(getattr(one, name) + getattr(other, name) for name in Changes.__struct_fields__))
