"""The table of findings in an independent KQL engine, with the analytics rule's query on it.

Two things the engine lacks are put in by text: `now()` is a literal, `ingestion_time()` a column.
"""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import duckdb_kql

from rare_audit.reporting.finding_rows import COLUMNS, TABLE
from tests.azure.ingestion_server import Arrived

QUERY: Final = Path(__file__).parents[2] / "infra/rules/findings-to-incidents.kql"
_TYPES: Final = {"string": "VARCHAR", "datetime": "TIMESTAMP", "dynamic": "JSON", "int": "BIGINT"}
_ARRIVED: Final = "_IngestionTime"
_SOME_TIME: Final = "2001-01-01T00:00:00.000000Z"
_SHAPE: Final = {**{name: _TYPES[kind] for name, kind in COLUMNS.items()}, _ARRIVED: "TIMESTAMP"}


class FindingsKql:
    """The table in memory."""

    def __init__(self) -> None:
        """Create it, empty, and translate the query."""
        self._connection = duckdb_kql.connect()
        columns = ", ".join(f'"{name}" {kind}' for name, kind in _SHAPE.items())
        self._connection.execute(f"create table {TABLE}({columns})")
        text = re.sub(r"\bnow\(\)", f"datetime({_SOME_TIME})", QUERY.read_text(encoding="utf-8"))
        text = re.sub(r"\bingestion_time\(\)", _ARRIVED, text)
        self._sql = str(duckdb_kql.to_sql(text, schema={TABLE: list(_SHAPE)}))
        assert _SOME_TIME in self._sql

    def fill(self, arrived: Iterable[Arrived]) -> None:
        """Replace the rows by what arrived."""
        lines = [json.dumps({**each.row, _ARRIVED: each.at.isoformat()}) for each in arrived]
        self._connection.execute(f"delete from {TABLE}")  # noqa: S608 - a table of the tests' own
        self._connection.execute(
            f"insert into {TABLE} select unnest(json_transform(line, ?)) from (select unnest(?::varchar[]) as line)",  # noqa: S608 - as above
            [json.dumps(_SHAPE), lines],
        )

    def reported(self, at: datetime) -> list[dict[str, Any]]:
        """Return the rows that a run of the rule at a time gives, by their columns."""
        sql = self._sql.replace(_SOME_TIME, f"{at:%Y-%m-%dT%H:%M:%S.%f}Z")
        cursor = self._connection.execute(sql)
        names = [each[0] for each in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
