"""Deliveries on a table: a row for each incident or day, and a marker for each that is still to be delivered."""

from collections.abc import Iterator
from typing import Final

from rare_audit.ports import Entity, Table
from rare_audit.records import Delivery
from rare_audit.stores.bodies import drop_old_parts, long_parts, long_row, pack, unpack_long
from rare_audit.stores.keys import key_of
from rare_audit.stores.set_aside import SetAside
from rare_audit.stores.versions import Versions

DELIVERIES: Final = "deliveries"
_DAYS: Final = "delivery-days"
_INCIDENT: Final = "incident"
_RULE: Final = "rule"


class Deliveries:
    """ports.DeliveryStore. One writer at a time for each rule: the holder of its lease."""

    def __init__(self, table: Table, aside: SetAside | None = None) -> None:
        self._table = table
        self._aside = aside or SetAside()
        self._versions = Versions(table)

    def get(self, incident_id: str) -> Delivery | None:
        """Return the delivery of an incident, or of what else has such an id, or None.

        One that can't be read is set aside: queued anew, it is delivered once more, over what is there.
        """
        return self._read(self._versions.get(DELIVERIES, incident_id))

    def put(self, delivery: Delivery) -> None:
        """Write a delivery; ConflictError where somebody else wrote it since it was read or written here."""
        # The index that retention goes by comes before all. A marker comes before the row that makes it true and goes
        # after the row that makes it false. So a killed writer leaves at most a marker too many, which pending() sees
        # through, and never a pending row without one.
        place = f"{delivery.day}.{delivery.incident_id}"
        marker = Entity(_pending(key_of(delivery.rule_id)), place, {_INCIDENT: delivery.incident_id})
        body = pack(delivery)
        self._table.put(Entity(_DAYS, place, {_RULE: key_of(delivery.rule_id)}))
        if delivery.pending:
            self._table.put(marker)
        self._versions.put(long_row(self._table, DELIVERIES, delivery.incident_id, body))
        if not delivery.pending:
            self._table.delete(marker.partition, marker.row)
            if self.is_pending(delivery.incident_id):  # whoever took the lease over has queued it meanwhile
                self._table.put(marker)
        # A memo grows with each part of an upload; nobody else reads deliveries, so what it was need not stay.
        drop_old_parts(self._table, DELIVERIES, delivery.incident_id, body)

    def pending(self, rule_id: str, sink: str = "") -> tuple[Delivery, ...]:
        """Return what is still to be delivered to a sink, as Delivery names it, ordered by day and incident."""
        # Markers too many are not removed here: the row of one might just be coming.
        marked = (self.get(_incident(marker)) for marker in self._table.query(_pending(key_of(rule_id))))
        return tuple(one for one in marked if one and one.pending and one.sink == sink)

    def settle(self, rule_id: str) -> None:
        """Remove markers of what was delivered, which killed writers have left; for the holder of the lease alone."""
        for marker in self._table.query(_pending(key_of(rule_id))):
            found = self._versions.get(DELIVERIES, _incident(marker))
            one = self._read(found)
            if found and one and not one.pending:
                # Written as it was: a former holder, paused since it put this marker, can't make it pending any more.
                self._versions.put(found)
                self._table.delete(marker.partition, marker.row)

    def is_pending(self, incident_id: str) -> bool:
        """Tell whether something is still to be delivered."""
        one = self._read(self._table.get(DELIVERIES, incident_id))
        return one is not None and one.pending

    def _read(self, found: Entity | None) -> Delivery | None:
        return self._aside.read(lambda: unpack_long(self._table, found, Delivery)) if found else None

    def expired(self, before_day: str) -> Iterator[tuple[str, str]]:
        """Yield the keys of the rows of all UTC days before `before_day` (`YYYY-MM-DD`), of all rules, pending or not.

        In the order in which they may be deleted while this goes on: what they are found by comes last.
        """
        for index in self._table.query(_DAYS, last=before_day):
            incident_id = index.row.partition(".")[2]
            yield DELIVERIES, incident_id  # before its parts: nobody may find a row that is not whole
            yield from long_parts(self._table, DELIVERIES, incident_id)
            yield _pending(str(index.values[_RULE])), index.row
            yield index.partition, index.row


def _incident(marker: Entity) -> str:
    return marker.row.partition(".")[2]


def _pending(rule: str) -> str:
    return f"pending.{rule}"
