"""Kept findings: by day, and nothing written twice."""

from typing import Any

import msgspec
import pytest

from rare_audit.detection.finding import Evidence, content_id
from rare_audit.ports import Entity, Table
from rare_audit.stores.findings import Findings
from rare_audit.stores.set_aside import SetAside
from tests.builders import DAY, RULE_ID, finding, kept
from tests.fakes import FailingTable, Killed, MemoryTable

_IDS = sorted(content_id(f"{number}") for number in range(5))
_OTHER_DAY = "2026-03-01"
_OTHER_APP = {"initiated_by_app": "Zoë's / #? 'App'", "app_ids": (), "service_principal_ids": ()}


def test_nothing_kept(table: Table) -> None:
    """A day of which nothing is known is empty."""
    assert Findings(table).of_day(RULE_ID, DAY) == ()


def test_of_day(table: Table) -> None:
    """A day's findings come back whole, withdrawn ones too, by id; those of other days and rules do not."""
    findings = Findings(table)
    those = [kept(finding(id=id_), held=id_ != _IDS[0]) for id_ in _IDS]
    others = [kept(finding(id=_IDS[0], day=_OTHER_DAY)), kept(finding(rule_id="another / rule"))]
    findings.keep([*reversed(those), *others])
    assert findings.of_day(RULE_ID, DAY) == tuple(those)
    assert findings.of_day(RULE_ID, _OTHER_DAY) == (others[0],)
    assert findings.of_day("another / rule", DAY) == (others[1],)


def test_large_and_strange_findings(table: Table) -> None:
    """A finding keeps all its evidence and every letter of it."""
    text = "😀\0\x1b[2J\u202e'\"" * 250
    evidence = tuple(Evidence(DAY, f"{number}", text, text, text, "", "") for number in range(50))
    one = kept(finding(evidence=evidence, cut=True, operation_name=text))
    Findings(table).keep([one])
    assert Findings(table).of_day(RULE_ID, DAY) == (one,)


def test_keep_replaces(table: Table) -> None:
    """What is kept under an id is what was kept last, within one call too."""
    findings = Findings(table)
    findings.keep([kept()])
    findings.keep([kept(held=False, last_run="run 2"), kept(finding(events=7), last_run="run 2")])
    assert findings.of_day(RULE_ID, DAY) == (kept(finding(events=7), last_run="run 2"),)


def test_repeated_day_writes_nothing() -> None:
    """A second run of a day that finds the same writes no row; what it changes it writes alone."""
    table = MemoryTable()
    those = [kept(finding(id=id_)) for id_ in _IDS]
    Findings(table).keep(those)
    before = table.contents()
    again = list(those)
    counting = FailingTable(table)
    Findings(counting).keep(again)
    assert counting.written == 0
    assert table.contents() == before
    again[3] = msgspec.structs.replace(again[3], held=False)
    Findings(counting).keep(again)
    assert counting.written == 2  # the finding, and the index of its day
    assert Findings(table).of_day(RULE_ID, DAY) == (*those[:3], again[3], those[4])


@pytest.mark.parametrize(
    "change", [{"held": False}, {"first_run": "run 0"}, {"incident_id": "another"}, {"finding": finding(cut=True)}]
)
def test_every_difference_counts(table: Table, change: dict[str, Any]) -> None:
    """Any of them is reason to write."""
    Findings(table).keep([kept()])
    changed = kept(last_run="run 2", **change)
    Findings(table).keep([changed])
    assert Findings(table).of_day(RULE_ID, DAY) == (changed,)


def test_killed_at_any_call() -> None:
    """Killed at any call and repeated, keeping ends as if undisturbed; retention finds all that is kept."""
    those = [kept(finding(id=id_, day=day)) for day, id_ in zip([DAY, DAY, _OTHER_DAY], _IDS, strict=False)]
    those.append(kept(finding(id=_IDS[4], **_OTHER_APP)))
    undisturbed = FailingTable(expected := MemoryTable())
    Findings(undisturbed).keep(those)
    for call in range(1, undisturbed.calls + 1):
        table = MemoryTable()
        with pytest.raises(Killed):
            Findings(FailingTable(table, call)).keep(those)
        found = {key for key in table.contents() if key[0].startswith("findings.")}
        assert found <= set(Findings(table).expired("9999-01-01"))
        Findings(table).keep(msgspec.structs.replace(one, last_run="run 1") for one in those)
        assert table.contents() == expected.contents()


@pytest.mark.parametrize("values", [{}, {"body": ""}, {"body": "{}"}, {"body": 1}, {"body": "{"}])
def test_unreadable_row(table: Table, values: dict[str, str | int]) -> None:
    """A row that holds no finding is set aside and named; the others are there, and kept again it is mended."""
    aside = SetAside()
    Findings(table).keep([kept()])
    partition = _partition()
    table.put(Entity(partition, "r", values))
    assert Findings(table, aside).of_day(RULE_ID, DAY) == (kept(),)
    assert aside.notes() == (f"1 stored rows can't be read and were set aside: {partition} r",)
    table.put(Entity(partition, finding().id, values))
    assert Findings(table, aside).of_day(RULE_ID, DAY) == ()
    Findings(table, aside).keep([kept()])
    assert Findings(table).of_day(RULE_ID, DAY) == (kept(),)


def _partition() -> str:
    table = MemoryTable()
    Findings(table).keep([kept()])
    return next(partition for partition, row in table.contents() if row == finding().id)
