"""Runs and deliveries of a flood: longer than a row may be, and still one value that is there or is not."""

import logging
import random
import uuid
from typing import Final

import msgspec
import pytest

from rare_audit.ports import Table
from rare_audit.records import Changes, Delivery, Run
from rare_audit.stores.bodies import LONGEST
from rare_audit.stores.deliveries import Deliveries
from rare_audit.stores.properties import encode
from rare_audit.stores.retention import sweep
from rare_audit.stores.runs import Runs
from tests.builders import delivery, run
from tests.fakes import FailingTable, Killed, MemoryTable

_RANDOM: Final = random.Random(7)
_MANY: Final = tuple(str(uuid.UUID(int=_RANDOM.getrandbits(128), version=5)) for _ in range(70_000))
_SHORT: Final = run()
_LONG: Final = run(state="done", changes=Changes(new=_MANY))
_LONGER: Final = run(state="failed", changes=Changes(new=_MANY, withdrawn=_MANY[::-1]), error="no")
_MEMO: Final = delivery(memo=msgspec.json.encode(dict(zip(_MANY, _MANY, strict=True))).decode())


def test_a_run_of_any_length(table: Table) -> None:
    """Tens of thousands of findings are kept with their run, in whichever order it grows and shrinks."""
    runs = Runs(table)
    for one in (_SHORT, _LONG, _LONGER, _LONG, _SHORT):
        runs.save(one)
        assert runs.get(one.id) == one
        assert runs.latest(2) == (one,)


def test_a_delivery_of_any_length(table: Table) -> None:
    """So is a delivery with all that its sink has to remember."""
    Deliveries(table).put(_MEMO)
    assert Deliveries(table).get(_MEMO.incident_id) == _MEMO
    assert Deliveries(table).pending(_MEMO.rule_id) == (_MEMO,)


def test_every_row_is_one_that_azure_takes() -> None:
    """Whatever the text is made of, no row is more than the service keeps."""
    table = MemoryTable()
    wild = "".join(chr(_RANDOM.randrange(0x10000, 0x110000)) for _ in range(3 * LONGEST))
    Runs(table).save(run(reason=wild))
    Deliveries(table).put(_MEMO)
    seen = {partition for partition, _ in table.contents()}
    for partition in seen:
        for entity in table.query(partition):
            encode(entity, "mark")
    assert Runs(table).get("run 1") == run(reason=wild)


@pytest.mark.parametrize("before", [_SHORT, _LONGER], ids=["short", "longer"])
def test_killed_at_any_call(before: Run) -> None:
    """Killed at any call, the run is what it was before or what it is to be; saved again, it is that."""
    Runs(first := MemoryTable()).save(before)
    undisturbed = FailingTable(first)
    Runs(undisturbed).save(_LONG)
    assert undisturbed.calls > len(_MANY) * 36 / LONGEST
    for call in range(1, undisturbed.calls + 1):
        Runs(table := MemoryTable()).save(before)
        with pytest.raises(Killed):
            Runs(FailingTable(table, call)).save(_LONG)
        assert Runs(table).get("run 1") in (before, _LONG)
        Runs(table).save(_LONG)
        assert Runs(table).get("run 1") == _LONG


def test_not_all_of_it(caplog: pytest.LogCaptureFixture) -> None:
    """A body of which a part is missing is set aside, never a shorter body."""
    Runs(table := MemoryTable()).save(_LONG)
    partition, row = next(key for key in table.contents() if key[0].startswith("parts."))
    table.delete(partition, row)
    with caplog.at_level(logging.WARNING):
        assert Runs(table).get("run 1") is None
    assert "has 13 of its 14 parts" in caplog.text


def test_retention_takes_all_of_it() -> None:
    """With the row go all parts that bodies of it ever went into; killed between, the next sweep takes the rest."""
    Runs(table := MemoryTable()).save(_LONGER)
    Runs(table).save(_LONG)
    Deliveries(table).put(_MEMO)
    Deliveries(table).put(_forgotten(_MEMO))
    swept = FailingTable(table, 9)
    with pytest.raises(Killed):
        sweep(swept, "2027-01-01")
    while sweep(table, "2027-01-01", most=5).more:
        pass
    assert table.contents() == {}


def test_retention_killed_at_any_call() -> None:
    """Killed at any call, what is listed and pending can still be read, and the next sweep takes the rest."""
    filled = _filled()
    counting = FailingTable(filled)
    assert sweep(counting, "2027-01-01").undelivered == 1
    assert filled.contents() == {}
    assert counting.calls > 20
    for call in range(1, counting.calls + 1):
        table = _filled()
        with pytest.raises(Killed):
            sweep(FailingTable(table, call), "2027-01-01")
        assert Runs(table).latest(50) in ((), (_LONG,))
        assert Deliveries(table).pending(_MEMO.rule_id) in ((), (_MEMO,))
        sweep(table, "2027-01-01")
        assert table.contents() == {}


def _filled() -> MemoryTable:
    Runs(table := MemoryTable()).save(_LONG)
    Deliveries(table).put(_MEMO)
    return table


def test_a_memo_that_grows_leaves_nothing_behind() -> None:
    """Of a delivery that is written again and again, the parts of one body are there, however it grew."""
    deliveries = Deliveries(table := MemoryTable())
    for length in range(LONGEST, 4 * LONGEST, LONGEST // 2):
        deliveries.put(delivery(memo="m" * length))
        parts = [key for key in table.contents() if key[0].startswith("parts.")]
        assert len(parts) == length // LONGEST + 1
        assert deliveries.get(delivery().incident_id) == delivery(memo="m" * length)


def _forgotten(one: Delivery) -> Delivery:
    return msgspec.structs.replace(one, memo="")
