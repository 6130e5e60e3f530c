"""From kept findings to incidents that analysts see: queued first, then delivered, then recorded as delivered."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from rare_audit.detection.finding import Finding
from rare_audit.detection.rule import Rule
from rare_audit.errors import RefusedError, ServiceError
from rare_audit.job.options import Options
from rare_audit.job.outcome import Outcome
from rare_audit.ports import IncidentSink, Stores
from rare_audit.records import Delivery
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.incident import Incident, group
from rare_audit.reporting.roll_up import choose, flood_id

MOST_FAILURES: Final = 10


@dataclass(frozen=True, slots=True)
class Desk:
    """Where a rule's incidents are made and sent from."""

    rule: Rule
    stores: Stores
    options: Options

    def incidents(self, day: str) -> tuple[Incident, ...]:
        """Return a UTC day's incidents, made of the findings that are kept and still hold."""
        held = [kept for kept in self.stores.findings.of_day(self.rule.id, day) if kept.held]
        raised = {kept.finding.id: kept.incident_id for kept in held}
        coverage = held[0].coverage if held else Coverage()
        return self.chosen(self.grouped((kept.finding for kept in held), raised, coverage), coverage)

    def grouped(
        self, findings: Iterable[Finding], raised: Mapping[str, str], coverage: Coverage
    ) -> tuple[Incident, ...]:
        """Return the incidents of a day's findings, all of them; `raised` as reporting.incident.group has it."""
        return group(self.rule, findings, raised, coverage)

    def chosen(self, incidents: tuple[Incident, ...], coverage: Coverage) -> tuple[Incident, ...]:
        """Return those of a day's incidents that are raised, and the roll-up of the others."""
        if not incidents:
            return ()
        degraded = coverage if coverage.is_degraded(self.options.min_days) else None
        # Who was told in a roll-up is not told again by an incident, even if there were room for one now.
        rolled_up = self.stores.deliveries.get(flood_id(self.rule.id, incidents[0].day)) is not None
        if not degraded and not rolled_up and len(incidents) <= self.options.max_incidents:
            return incidents
        raised = {each.id for each in incidents if self.stores.deliveries.get(each.id)}
        most = 0 if rolled_up else self.options.max_incidents
        chosen, roll_up = choose(incidents, most, raised=raised, degraded=degraded)
        return (*chosen, roll_up) if roll_up else chosen

    def queue(self, incidents: Iterable[Incident]) -> None:
        """Queue the incidents whose content is not what is queued already; one without findings as it is.

        What was refused before is queued again: whoever has its day run again wants it tried again.
        """
        for incident in incidents:
            delivery = self.stores.deliveries.get(incident.id)
            if delivery is None:
                delivery = Delivery(incident.id, incident.rule_id, incident.day, wanted="")
            if delivery.wanted != incident.digest or delivery.refused:
                notice = None if incident.findings else incident
                self.stores.deliveries.put(
                    msgspec.structs.replace(delivery, wanted=incident.digest, notice=notice, refused="")
                )

    def deliver(self, sink: IncidentSink, still_held: Callable[[], None], outcome: Outcome, day: str = "") -> None:
        """Deliver what is queued, by whichever run, into `outcome`; with a `day`, what is of that and never failed.

        Those that failed before come last, and after MOST_FAILURES no more is tried: a service that is away must not
        outlast the run. Nothing is tried twice for one `outcome`. `still_held` raises once the lease is lost.
        """
        for delivery, incident in self._due(day):
            if len(outcome.failures) >= MOST_FAILURES:
                break
            if incident is None:  # no finding of it holds any more
                self.stores.deliveries.put(msgspec.structs.replace(delivery, wanted=delivery.written))
                continue
            if incident.id in outcome.tried:
                continue
            outcome.tried.add(incident.id)
            try:
                memo = sink.deliver(incident, delivery.memo)
            except ServiceError as error:
                still_held()
                if isinstance(error, RefusedError) and error.is_for_content:
                    outcome.refusals.append((delivery, incident, error))
                else:
                    self._fail(delivery, error, outcome)
            else:
                still_held()
                self._record(delivery, incident.digest, memo)
                outcome.delivered.append(incident.id)

    def settle(self, outcome: Outcome, raised: Iterable[str]) -> None:
        """Leave what was refused for what it holds, where the sink took something else; to be called in the end.

        A sink that took nothing may well refuse all, for a reason of its own: then it stays queued. `raised` are ids of
        the incidents of the run's days, some of which an earlier run may have delivered.
        """
        others = {*raised} - {incident.id for _, incident, _ in outcome.refusals}
        is_taking = bool(outcome.delivered) or (bool(outcome.refusals) and any(map(self._is_written, others)))
        for delivery, incident, error in outcome.refusals:
            if is_taking:
                self.stores.deliveries.put(
                    msgspec.structs.replace(delivery, wanted=incident.digest, refused=incident.digest, failures=0)
                )
                outcome.refuse_incident(incident, error)
            else:
                self._fail(delivery, error, outcome)

    def _record(self, delivery: Delivery, digest: str, memo: str) -> None:
        self.stores.deliveries.put(
            msgspec.structs.replace(delivery, wanted=digest, written=digest, memo=memo, failures=0, refused="")
        )

    def _is_written(self, incident_id: str) -> bool:
        delivery = self.stores.deliveries.get(incident_id)
        return bool(delivery and delivery.written)

    def _fail(self, delivery: Delivery, error: ServiceError, outcome: Outcome) -> None:
        outcome.failures.append(error)
        self.stores.deliveries.put(msgspec.structs.replace(delivery, failures=delivery.failures + 1))

    def _due(self, day: str) -> list[tuple[Delivery, Incident | None]]:
        """Return what is queued, with the incidents as they are now; fewest failures first, then by day and incident.

        What is raised of a day may have changed since it was queued, by a setting or by a late event: it is queued
        anew, so that nobody who was in a roll-up is dropped with it.
        """
        queued = self._pending(day)
        incidents: dict[str, Incident] = {}
        for each in sorted({delivery.day for delivery in queued if not delivery.notice}):
            raised = self.incidents(each)
            self.queue(raised)
            incidents |= {incident.id: incident for incident in raised}
        due = self._pending(day) if incidents else queued
        paired = [(delivery, delivery.notice or incidents.get(delivery.incident_id)) for delivery in due]
        return sorted(paired, key=lambda pair: pair[0].failures)

    def _pending(self, day: str) -> tuple[Delivery, ...]:
        pending = self.stores.deliveries.pending(self.rule.id)
        return tuple(one for one in pending if one.day == day and not one.failures) if day else pending
