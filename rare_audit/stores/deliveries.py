"""Deliveries on a table: a row for each incident, and a marker for each that is still to be delivered."""

from typing import Final

from rare_audit.ports import Delivery, Entity, Table
from rare_audit.stores.bodies import BODY, pack, unpack
from rare_audit.stores.keys import key_of

_DELIVERIES: Final = "deliveries"
_INCIDENT: Final = "incident"


class Deliveries:
    """ports.DeliveryStore. One writer at a time for each rule: the holder of its lease."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, incident_id: str) -> Delivery | None:
        """Return the delivery of an incident, or None."""
        found = self._table.get(_DELIVERIES, incident_id)
        return unpack(found, Delivery) if found else None

    def put(self, delivery: Delivery) -> None:
        """Write a delivery."""
        # A marker comes before the row that makes it true and goes after the row that makes it false. So a killed
        # writer leaves at most a marker too many, which pending() sees through, and never a pending row without one.
        marker = Entity(
            _pending(delivery.rule_id),
            f"{delivery.day}.{delivery.incident_id}",
            {_INCIDENT: delivery.incident_id},
        )
        row = Entity(_DELIVERIES, delivery.incident_id, {BODY: pack(delivery)})
        if delivery.pending:
            self._table.put(marker)
            self._table.put(row)
        else:
            self._table.put(row)
            self._table.delete(marker.partition, marker.row)

    def pending(self, rule_id: str) -> tuple[Delivery, ...]:
        """Return what is still to be delivered, ordered by day and incident."""
        # Markers too many are not removed here: the row of one might just be coming.
        marked = (self.get(str(marker.values[_INCIDENT])) for marker in self._table.query(_pending(rule_id)))
        return tuple(delivery for delivery in marked if delivery and delivery.pending)


def _pending(rule_id: str) -> str:
    return f"pending.{key_of(rule_id)}"
