"""From kept findings to rows of a table: queued first, then uploaded, then recorded as uploaded.

All findings of a day are one delivery, whose memo says which revision of each is there: so a flood costs the store no
more than a quiet day. Incidents and the choice among them have no part in it. What was withdrawn before it was uploaded
is not told; what was withdrawn since stays as it was told.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from rare_audit.detection.finding import content_id
from rare_audit.detection.rule import Rule
from rare_audit.errors import ServiceError
from rare_audit.job.delivery import MOST_FAILURES
from rare_audit.job.outcome import ROWS, Outcome
from rare_audit.ports import FindingSink, Stores
from rare_audit.records import Delivery
from rare_audit.reporting.finding_rows import FindingRow, finding_row

SINK: Final = ROWS
"""What deliveries of rows are called."""


@dataclass(frozen=True, slots=True)
class Uploads:
    """Where a rule's rows are made and sent from."""

    rule: Rule
    stores: Stores

    def rows(self, day: str) -> tuple[FindingRow, ...]:
        """Return the rows of a UTC day's findings that are kept and still hold."""
        return tuple(
            finding_row(self.rule, one.finding, incident_id=one.incident_id, run_id=one.last_run, coverage=one.coverage)
            for one in self.stores.findings.of_day(self.rule.id, day)
            if one.held
        )

    def queue(self, day: str) -> None:
        """Queue a day whose rows are not those that are queued already."""
        rows, id_ = self.rows(day), content_id(SINK, self.rule.id, day)
        delivery, digest = self.stores.deliveries.get(id_), _digest(rows)
        if delivery is None:
            if not rows:
                return
            delivery = Delivery(id_, self.rule.id, day, wanted="", sink=SINK)
        if delivery.wanted != digest:
            self.stores.deliveries.put(msgspec.structs.replace(delivery, wanted=digest))

    def deliver(self, sink: FindingSink, still_held: Callable[[], None], outcome: Outcome, day: str = "") -> None:
        """Upload what is queued, by whichever run, into `outcome`; with a `day`, what is of that and never failed.

        As with incidents, days that failed before come last, after MOST_FAILURES no more is tried, and nothing twice.
        `still_held` raises once the lease is lost.
        """
        pending = self.stores.deliveries.pending(self.rule.id, SINK)
        for delivery in sorted(pending, key=lambda each: each.failures):
            if len(outcome.failed_uploads) >= MOST_FAILURES:
                break
            is_due = not day or (delivery.day == day and not delivery.failures)
            if is_due and delivery.incident_id not in outcome.tried:
                outcome.tried.add(delivery.incident_id)
                self._upload(sink, delivery, still_held, outcome)

    def _upload(self, sink: FindingSink, delivery: Delivery, still_held: Callable[[], None], outcome: Outcome) -> None:
        """Upload a day, and record each part of it once it is there."""
        rows = self.rows(delivery.day)
        parts = sink.upload(rows, delivery.memo)
        while True:
            try:
                part = next(parts, None)
            except ServiceError as error:
                still_held()
                self.stores.deliveries.put(msgspec.structs.replace(delivery, failures=delivery.failures + 1))
                outcome.failed_uploads.append(error)
                return
            still_held()
            if part is None:
                break
            outcome.uploaded += part.rows
            for told in part.refused:
                outcome.refuse_row(delivery.day, told)
            delivery = msgspec.structs.replace(delivery, memo=part.memo)
            self.stores.deliveries.put(delivery)
        digest = _digest(rows)
        self.stores.deliveries.put(msgspec.structs.replace(delivery, wanted=digest, written=digest, failures=0))


def _digest(rows: tuple[FindingRow, ...]) -> str:
    return content_id(SINK, *(text for row in rows for text in (row.finding_id, row.revision)))
