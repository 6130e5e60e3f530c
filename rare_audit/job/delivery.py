"""From kept findings to incidents that analysts see: queued first, then delivered, then recorded as delivered."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby

import msgspec

from rare_audit.detection.finding import Finding
from rare_audit.detection.rule import Rule
from rare_audit.errors import ServiceError
from rare_audit.job.options import Options
from rare_audit.ports import IncidentSink, Stores
from rare_audit.records import Delivery
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.incident import Incident, group
from rare_audit.reporting.roll_up import choose


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
        degraded = coverage if self.is_degraded(coverage) else None
        if not degraded and len(incidents) <= self.options.max_incidents:
            return incidents
        raised = {each.id for each in incidents if self.stores.deliveries.get(each.id)}
        chosen, roll_up = choose(incidents, self.options.max_incidents, raised=raised, degraded=degraded)
        return (*chosen, roll_up) if roll_up else chosen

    def is_degraded(self, coverage: Coverage) -> bool:
        """Tell whether a baseline has too few days with data to say what is rare."""
        return 0 <= coverage.days < min(self.options.min_days, coverage.of)

    def queue(self, incidents: Iterable[Incident]) -> None:
        """Queue the incidents whose content is not what is queued already; one without findings as it is."""
        for incident in incidents:
            delivery = self.stores.deliveries.get(incident.id)
            if delivery is None:
                notice = None if incident.findings else incident
                delivery = Delivery(incident.id, incident.rule_id, incident.day, wanted="", notice=notice)
            if delivery.wanted != incident.digest:
                self.stores.deliveries.put(msgspec.structs.replace(delivery, wanted=incident.digest))

    def deliver(self, sink: IncidentSink, still_held: Callable[[], None]) -> tuple[tuple[str, ...], list[ServiceError]]:
        """Deliver what is queued, by whichever run; return what was delivered, and what failed and stays queued.

        `still_held` raises once the lease is lost.
        """
        delivered: list[str] = []
        failures: list[ServiceError] = []
        for day, deliveries in groupby(self.stores.deliveries.pending(self.rule.id), key=lambda each: each.day):
            incidents = {incident.id: incident for incident in self.incidents(day)}
            for delivery in deliveries:
                incident = delivery.notice or incidents.get(delivery.incident_id)
                if incident is None:  # all its findings have been withdrawn since
                    self.stores.deliveries.put(msgspec.structs.replace(delivery, wanted=delivery.written))
                    continue
                try:
                    memo = sink.deliver(incident, delivery.memo)
                except ServiceError as error:
                    failures.append(error)
                    continue
                still_held()
                digest = incident.digest
                self.stores.deliveries.put(msgspec.structs.replace(delivery, wanted=digest, written=digest, memo=memo))
                delivered.append(incident.id)
        return tuple(delivered), failures
