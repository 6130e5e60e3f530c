"""The stand-in's table: what it answers to the rule's own text."""

import json
from typing import Any, Final

import pytest

from rare_audit.detection.query import render
from rare_audit.detection.ticks import TICKS_PER_DAY, day_ticks
from tests.azure.kql_table import KqlTable
from tests.azure.local_stack import SAMPLE
from tests.job_world import RULE
from tests.terminal import COLUMNS

START: Final = day_ticks("2026-03-16")


@pytest.fixture(scope="module")
def table() -> KqlTable:
    """The bundled sample."""
    table = KqlTable()
    table.load(str(SAMPLE))
    return table


def _rows(table: KqlTable, text: str) -> list[dict[str, Any]]:
    result = table.run(text)
    names = [column["name"] for column in result.columns]
    return [dict(zip(names, cells, strict=True)) for cells in result.rows]


@pytest.mark.parametrize("by_property", [False, True])
def test_the_rule(table: KqlTable, by_property: bool) -> None:
    """The rule's own text gives exactly its 13 columns; bags are objects with its four keys, in arrays as JSON text."""
    text = render(RULE, START, START + TICKS_PER_DAY, by_property=by_property)
    assert "make_bag(" in text
    assert [column["name"] for column in table.run(text).columns] == COLUMNS
    rows = _rows(table, text)
    assert len(rows) == 9 + by_property
    for row in rows:
        bags = json.loads(row["set_Activity"])
        assert {tuple(bag) for bag in bags} == {("PropertyName", "newValue", "Id", "CorrelationId")}
        assert {bag["PropertyName"] for bag in bags} == set(json.loads(row["set_PropertyName"]))


def test_a_bag_is_one_of_its_group(table: KqlTable) -> None:
    """What stands for make_bag is a bag that the group has; values of different events are never in one."""
    packed = "pack('Id', Id, 'CorrelationId', CorrelationId)"
    those = "AuditLogs | where OperationName == 'Update user'"
    (kept,) = _rows(table, f"{those} | summarize Bag = make_bag({packed}) by OperationName")
    every = _rows(table, f"{those} | project Bag = {packed}")
    assert len(every) > 1
    assert json.loads(kept["Bag"]) in [json.loads(row["Bag"]) for row in every]
