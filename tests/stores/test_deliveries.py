"""Deliveries: nothing that is to be delivered is ever lost."""

from contextlib import suppress

import msgspec
import pytest

from rare_audit.detection.finding import content_id
from rare_audit.ports import ConflictError, Entity, Table
from rare_audit.records import Delivery
from rare_audit.stores.deliveries import Deliveries
from rare_audit.stores.set_aside import SetAside
from tests.builders import RULE_ID, delivery
from tests.fakes import FailingTable, Killed, MemoryTable

_DONE = delivery(written="digest 1")


def test_unknown(table: Table) -> None:
    """An incident nobody queued has no delivery."""
    assert Deliveries(table).get(delivery().incident_id) is None
    assert Deliveries(table).pending(RULE_ID) == ()


def test_queued_and_delivered(table: Table) -> None:
    """A delivery is pending until what was written is what is wanted, and again once something else is."""
    deliveries = Deliveries(table)
    changed = delivery(wanted="digest 2", written="digest 1")
    for step in (delivery(), delivery(), _DONE, _DONE, changed, delivery(wanted="digest 2", written="digest 2")):
        deliveries.put(step)
        assert deliveries.get(step.incident_id) == step
        assert deliveries.pending(RULE_ID) == ((step,) if step.pending else ())


def test_pending_in_order(table: Table) -> None:
    """What is pending comes by day and incident; that of other rules does not, nor what is done."""
    deliveries = Deliveries(table)
    those = [
        delivery(incident_id=content_id(f"{day} {number}"), day=f"2026-03-0{day}")
        for day in (1, 2, 3)
        for number in range(3)
    ]
    those.sort(key=lambda one: (one.day, one.incident_id))
    done = delivery(incident_id=content_id("done"), written="digest 1")
    other = delivery(incident_id=content_id("other"), rule_id="another / rule")
    for one in (*reversed(those), done, other):
        deliveries.put(one)
    assert deliveries.pending(RULE_ID) == tuple(those)
    assert deliveries.pending("another / rule") == (other,)


def test_delivered_ones_are_not_read() -> None:
    """What was delivered long ago costs nothing: one query, and a read for each that is pending."""
    table = MemoryTable()
    for number in range(50):
        Deliveries(table).put(delivery(incident_id=content_id(f"{number}"), written="digest 1"))
    Deliveries(table).put(delivery())
    counting = FailingTable(table)
    assert Deliveries(counting).pending(RULE_ID) == (delivery(),)
    assert counting.calls == 2


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, delivery()),
        (None, _DONE),
        (delivery(), _DONE),
        (_DONE, delivery(wanted="digest 2", written="digest 1")),
        (delivery(), delivery(wanted="digest 2")),
    ],
)
def test_killed_at_any_call(before: Delivery | None, after: Delivery) -> None:
    """Killed at any call, exactly what the row says is pending; repeated, all is as if undisturbed."""
    expected = _with(before)
    undisturbed = FailingTable(expected)
    Deliveries(undisturbed).put(after)
    assert undisturbed.calls == (3 if after.pending else 4)
    for call in range(1, undisturbed.calls + 1):
        table = _with(before)
        with pytest.raises(Killed):
            Deliveries(FailingTable(table, call)).put(after)
        found = Deliveries(table).get(after.incident_id)
        assert found in (before, after)
        assert Deliveries(table).pending(RULE_ID) == ((found,) if found and found.pending else ())
        Deliveries(table).put(after)
        assert table.contents() == expected.contents()


def _with(one: Delivery | None) -> MemoryTable:
    table = MemoryTable()
    if one:
        Deliveries(table).put(one)
    return table


def test_stale_marker_does_no_harm() -> None:
    """A marker too many is seen through, and gone once its incident is delivered again."""
    table = MemoryTable()
    Deliveries(table).put(delivery())
    with pytest.raises(Killed):
        Deliveries(FailingTable(table, 3)).put(_DONE)
    assert len(table.contents()) == 3
    assert Deliveries(table).pending(RULE_ID) == ()
    again = msgspec.structs.replace(_DONE, wanted="digest 2")
    Deliveries(table).put(again)
    assert Deliveries(table).pending(RULE_ID) == (again,)
    Deliveries(table).put(msgspec.structs.replace(again, written="digest 2"))
    assert len(table.contents()) == 2


def test_unreadable_delivery(table: Table) -> None:
    """A row that holds no delivery is set aside and named; the others are pending, and put anew it is mended."""
    aside = SetAside()
    deliveries = Deliveries(table, aside)
    other = delivery(incident_id=content_id("other"))
    for one in (delivery(), other):
        deliveries.put(one)
    table.put(Entity("deliveries", delivery().incident_id, {"body": "null"}))
    assert deliveries.pending(RULE_ID) == (other,)
    assert deliveries.get(delivery().incident_id) is None
    assert aside.notes() == (f"1 stored rows can't be read and were set aside: deliveries {delivery().incident_id}",)
    deliveries.put(delivery())
    assert len(Deliveries(table).pending(RULE_ID)) == 2


def test_settled() -> None:
    """Markers that killed writers left of what was delivered are removed; those of what is pending stay."""
    table = MemoryTable()
    other = delivery(incident_id=content_id("other"))
    for one in (delivery(), other):
        Deliveries(table).put(one)
    with pytest.raises(Killed):
        Deliveries(FailingTable(table, 3)).put(_DONE)
    assert len(_markers(table)) == 2
    Deliveries(table).settle(RULE_ID)
    assert len(_markers(table)) == 1
    assert Deliveries(table).pending(RULE_ID) == (other,)


@pytest.mark.parametrize("at", range(1, 8))
@pytest.mark.parametrize("stale", [delivery(wanted="digest 9"), _DONE], ids=["pending", "done"])
def test_stale_writer(stale: Delivery, at: int) -> None:
    """A writer that was paused at any call, while another took over, takes nothing back, and hides nothing pending."""
    table = MemoryTable()
    Deliveries(table).put(delivery())
    newer = delivery(wanted="digest 3", written="digest 2", memo="of the one that took over")

    class Paused(FailingTable):
        """Lets the other one do its work before the call."""

        def _count(self) -> None:
            super()._count()
            if self.calls == at + 1:
                other = Deliveries(table)
                other.settle(RULE_ID)
                other.get(delivery().incident_id)
                for step in (msgspec.structs.replace(newer, wanted="digest 2"), newer):
                    other.put(step)

    writer = Deliveries(Paused(table))
    writer.get(delivery().incident_id)
    with suppress(ConflictError):
        writer.put(stale)
    found = Deliveries(table).get(delivery().incident_id)
    assert found in {newer, stale} if at + 1 > 4 else found == newer
    assert Deliveries(table).pending(RULE_ID) == ((found,) if found and found.pending else ())


def _markers(table: MemoryTable) -> list[tuple[str, str]]:
    return [key for key in table.contents() if key[0].startswith("pending.")]
