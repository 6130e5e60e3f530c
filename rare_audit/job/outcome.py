"""What became of all that a run had to store and to deliver."""

from dataclasses import dataclass, field
from typing import Final

from rare_audit.detection.finding import Finding
from rare_audit.errors import RefusedError, ServiceError
from rare_audit.ports import DeliveryStore
from rare_audit.records import Delivery
from rare_audit.reporting.incident import Incident
from rare_audit.reporting.text import one_line

MOST_NAMED: Final = 20
"""How many refused things a run names; all are counted."""
ROWS: Final = "table"
"""What deliveries of rows of findings are called, in Delivery.sink."""
Refusal = tuple[Delivery, Incident, RefusedError]
_NAME: Final = 80
_REASON: Final = 300


@dataclass(slots=True)
class Outcome:
    """Gathered while a run goes on. `delivered` and `tried` are ids of incidents and of days' rows.

    A failure may pass: what failed stays queued, and fails the run. What was refused for what it holds does neither:
    `refused` counts it, and `notes` name it. Of incidents that is known in the end alone: `refusals` till then.
    """

    delivered: list[str] = field(default_factory=list)
    uploaded: int = 0
    tried: set[str] = field(default_factory=set)
    refusals: list[Refusal] = field(default_factory=list)
    failures: list[ServiceError] = field(default_factory=list)
    failed_uploads: list[ServiceError] = field(default_factory=list)
    refused: int = 0
    _named: list[str] = field(default_factory=list)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was refused and why, the first of them by name."""
        more = self.refused - len(self._named)
        return (*self._named, *([f"refused as well: {more} more"] if more else []))

    def refuse_finding(self, finding: Finding, error: RefusedError) -> None:
        """Take note of a finding that the store refused."""
        app, operation = (one_line(text, _NAME) for text in (finding.initiated_by_app, finding.operation_name))
        self._refuse(f"not stored: finding {finding.id} of {finding.day}, {operation} by {app}: {error}")

    def refuse_incident(self, incident: Incident, error: RefusedError) -> None:
        """Take note of an incident that its sink refused."""
        self._refuse(f"not delivered: incident {incident.id} of {incident.day}, {incident.title}: {error}")

    def refuse_row(self, day: str, told: str) -> None:
        """Take note of a row that the table of findings refused; `told` names it and says why."""
        self._refuse(f"not uploaded: finding of {day}, {told}")

    def _refuse(self, note: str) -> None:
        self.refused += 1
        if len(self._named) < MOST_NAMED:
            self._named.append(one_line(note, _REASON))


def left_over(outcome: Outcome, deliveries: DeliveryStore, rule_id: str) -> tuple[str, int]:
    """Return what to say of all that could not be delivered, "" where there was no failure, and how much that is."""
    errors, undelivered = list[str](), 0
    if outcome.failures:
        left = len(deliveries.pending(rule_id))
        errors.append(f"{left} incidents could not be delivered and stay queued: {outcome.failures[0]}")
        undelivered += left
    if outcome.failed_uploads:
        left = len(deliveries.pending(rule_id, ROWS))
        errors.append(f"findings of {left} days could not be uploaded and stay queued: {outcome.failed_uploads[0]}")
        undelivered += left
    return "; ".join(errors), undelivered
