"""The independent yardstick: the rule's own text, run by duckdb-kql."""

from collections.abc import Iterable
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


def spelled_for_duckdb(text: str) -> str:
    """Make the two edits duckdb-kql needs: a path without the dot before a bracket, and one of make_bag's choices."""
    return text.replace("TargetResources.[0]", "TargetResources[0]").replace("make_bag(", "take_any(")


class Yardstick:
    """An AuditLogs table that runs KQL."""

    def __init__(self) -> None:
        """Create the empty table."""
        self._connection = duckdb_kql.connect()
        self._connection.execute(_TABLE)

    def fill(self, rows: Iterable[dict[str, Any]]) -> None:
        """Replace the table's rows; dynamic columns are JSON text or None."""
        self._connection.execute("delete from AuditLogs")
        values = [[row.get(column) for column in COLUMNS] for row in rows]
        if values:
            self._connection.executemany("insert into AuditLogs values (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def run(self, text: str) -> list[dict[str, Any]]:
        """Return the rows of a query, each a dict of its columns."""
        relation = duckdb_kql.kql(self._connection, spelled_for_duckdb(text))
        return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
