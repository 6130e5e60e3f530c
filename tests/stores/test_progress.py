"""How far the days are done, on every backend."""

import json

import msgspec
import pytest

from rare_audit.errors import ServiceError
from rare_audit.ports import Entity, Table
from rare_audit.records import Progress
from rare_audit.stores.keys import key_of
from rare_audit.stores.progress import ProgressRows
from tests.builders import DAY, RULE_ID
from tests.fakes import FailingTable, MemoryTable


def test_nothing_was_ever_due(table: Table) -> None:
    """A rule that no timer ever asked for is nowhere."""
    assert ProgressRows(table).get(RULE_ID) == Progress(RULE_ID)


def test_begins_once(table: Table) -> None:
    """The first day ever stays the first, whoever begins again."""
    assert ProgressRows(table).begin(RULE_ID, DAY) == Progress(RULE_ID, DAY, DAY)
    assert ProgressRows(table).begin(RULE_ID, "2026-05-01") == Progress(RULE_ID, DAY, DAY)
    assert ProgressRows(table).get("another") == Progress("another")


def test_advances(table: Table) -> None:
    """What is written is read, the names of rules being any text."""
    progress = Progress("a rule/of#any?name", DAY, "2026-05-01", "2026-05-01T01:30:00+00:00")
    ProgressRows(table).change(progress.rule_id, first=DAY, due="2026-05-01", last_success=progress.last_success)
    assert ProgressRows(table).get(progress.rule_id) == progress
    later = msgspec.structs.replace(progress, due="2026-05-02")
    ProgressRows(table).change(progress.rule_id, due="2026-05-02")
    assert ProgressRows(table).begin(progress.rule_id, "2026-06-01") == later


def test_success_before_the_first_timer(table: Table) -> None:
    """A run by hand may succeed before any day was due: beginning keeps that."""
    ProgressRows(table).change(RULE_ID, last_success="2026-05-01T01:30:00+00:00")
    begun = ProgressRows(table).begin(RULE_ID, DAY)
    assert begun == Progress(RULE_ID, DAY, DAY, "2026-05-01T01:30:00+00:00")
    assert ProgressRows(table).get(RULE_ID) == begun


@pytest.mark.parametrize(
    "field",
    [
        {"lastSuccess": "2026-03-15T01:30:00"},
        {"lastSuccess": "soon"},
        {"due": "soon"},
        {"first": "2026-3-1"},
        {"silentSince": "2026-02-30"},
    ],
)
def test_garbled(table: Table, field: dict[str, str]) -> None:
    """What no writer writes is an error that names the row: days are neither skipped nor done again in silence."""
    ProgressRows(table).begin(RULE_ID, DAY)
    row = key_of(RULE_ID)
    table.put(Entity("progress", row, {"body": json.dumps({"ruleId": RULE_ID, **field})}))
    with pytest.raises(ServiceError, match=f"the stored row progress {row} holds no Progress"):
        ProgressRows(table).get(RULE_ID)


def _success(number: int) -> str:
    return f"2026-05-01T01:30:{number % 60:02d}+00:00"


class Meeting(MemoryTable):
    """A table in which a run writes between another's reading and writing, `times` times."""

    times = 1

    def put(self, entity: Entity, *, unless_changed: bool = False) -> Entity:
        """Write, after the other."""
        if self.times:
            self.times -= 1
            body = json.dumps({"ruleId": RULE_ID, "lastSuccess": _success(self.times)})
            super().put(Entity(entity.partition, entity.row, {"body": body}))
        return super().put(entity, unless_changed=unless_changed)


def test_two_write_at_once() -> None:
    """Neither takes the other's fields back."""
    table = Meeting()
    assert ProgressRows(table).begin(RULE_ID, DAY) == Progress(RULE_ID, DAY, DAY, _success(0))
    table.times = 3
    ProgressRows(table).change(RULE_ID, silent_since=DAY)
    assert ProgressRows(table).get(RULE_ID) == Progress(RULE_ID, "", "", _success(0), DAY)


def test_others_write_all_the_time() -> None:
    """Who never comes to write says so."""
    table = Meeting()
    table.times = 1_000
    with pytest.raises(ServiceError, match="others write it as well"):
        ProgressRows(table).begin(RULE_ID, DAY)


def test_nothing_to_change_writes_nothing(table: Table) -> None:
    """What is so already is not written again."""
    ProgressRows(table).begin(RULE_ID, DAY)
    counting = FailingTable(table)
    ProgressRows(counting).change(RULE_ID, due=DAY)
    ProgressRows(counting).begin(RULE_ID, "2026-05-01")
    assert counting.written == 0
