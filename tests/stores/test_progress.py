"""How far the days are done, on every backend."""

import msgspec

from rare_audit.ports import Entity, Table
from rare_audit.records import Progress
from rare_audit.stores.progress import ProgressRows
from tests.builders import DAY, RULE_ID
from tests.fakes import MemoryTable


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
    ProgressRows(table).advance(progress)
    assert ProgressRows(table).get(progress.rule_id) == progress
    later = msgspec.structs.replace(progress, due="2026-05-02")
    ProgressRows(table).advance(later)
    assert ProgressRows(table).begin(progress.rule_id, "2026-06-01") == later


def test_success_before_the_first_timer(table: Table) -> None:
    """A run by hand may succeed before any day was due: beginning keeps that."""
    ProgressRows(table).advance(Progress(RULE_ID, last_success="2026-05-01T01:30:00+00:00"))
    begun = ProgressRows(table).begin(RULE_ID, DAY)
    assert begun == Progress(RULE_ID, DAY, DAY, "2026-05-01T01:30:00+00:00")
    assert ProgressRows(table).get(RULE_ID) == begun


def test_two_begin_at_once() -> None:
    """Where a run writes between a timer's reading and writing, its row is not overwritten."""

    class Meeting(MemoryTable):
        """A table in which a run comes in between."""

        met = False

        def put(self, entity: Entity, *, unless_changed: bool = False) -> Entity:
            """Write, after the other."""
            if unless_changed and not self.met:
                self.met = True
                ProgressRows(self).advance(Progress(RULE_ID, last_success="now"))
            return super().put(entity, unless_changed=unless_changed)

    table = Meeting()
    assert ProgressRows(table).begin(RULE_ID, DAY).due == DAY
    assert ProgressRows(table).get(RULE_ID) == Progress(RULE_ID, last_success="now")
    assert ProgressRows(table).begin(RULE_ID, DAY) == Progress(RULE_ID, DAY, DAY, "now")
