"""The independent yardstick: the rule's own text, run by duckdb-kql."""

import json
from functools import cache
from typing import Any

import duckdb_kql

COLUMNS = (
    "TimeGenerated",
    "Type",
    "OperationName",
    "Category",
    "Id",
    "CorrelationId",
    "InitiatedBy",
    "TargetResources",
)
_TABLE = (
    "create table AuditLogs(TimeGenerated TIMESTAMPTZ, Type VARCHAR, OperationName VARCHAR, Category VARCHAR, "
    "Id VARCHAR, CorrelationId VARCHAR, InitiatedBy JSON, TargetResources JSON)"
)
_INSERT = "insert into AuditLogs select " + ", ".join(["unnest(?)"] * len(COLUMNS))
Row = dict[str, Any]


def spelled_for_duckdb(text: str) -> str:
    """Spell the rule's text as duckdb-kql reads it.

    Two mechanical edits: a path without the dot before a bracket, and instead of make_bag, whose choice among equal
    keys is arbitrary, the set of all it may choose from.
    """
    return text.replace("TargetResources.[0]", "TargetResources[0]").replace("make_bag(", "make_set(")


def without_baseline(text: str) -> str:
    """Turn the baseline's window inside out, so that it holds nothing and everything is rare."""
    turned = text.replace("between(auditLookback..starttime)", "between(starttime..auditLookback)")
    assert turned != text
    return turned


@cache
def _sql(text: str) -> str:
    return str(duckdb_kql.to_sql(spelled_for_duckdb(text), schema={"AuditLogs": list(COLUMNS)}))


class Yardstick:
    """An AuditLogs table that runs KQL. Its timestamps stop at microseconds."""

    def __init__(self) -> None:
        """Create the empty table."""
        self._connection = duckdb_kql.connect()
        self._connection.execute(_TABLE)

    def fill(self, events: list[Row]) -> None:
        """Replace the table's rows; dynamic columns are plain values."""
        self._connection.execute("delete from AuditLogs")
        columns = [[event[name] for event in events] for name in COLUMNS]
        for at in (COLUMNS.index("InitiatedBy"), COLUMNS.index("TargetResources")):
            columns[at] = [json.dumps(value) for value in columns[at]]
        if events:
            self._connection.execute(_INSERT, columns)

    def run(self, text: str) -> list[Row]:
        """Return the rows of a query, each a dict of its columns."""
        result = self._connection.execute(_sql(text))
        names = [column[0] for column in result.description]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
