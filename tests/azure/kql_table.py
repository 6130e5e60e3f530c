"""An AuditLogs table that answers KQL as the query API words its answers; a stand-in's engine.

The KQL is run by duckdb-kql, an engine independent of this project. TimeGenerated is kept as nanoseconds, and datetime
literals are compared as such, so times are exact to the tick; arithmetic on them (`datetime(…) - 14d`, `bin`) stops at
microseconds, as DuckDB does. Two functions that duckdb-kql lacks are put in its words, and nothing else of a query is
changed but the spelling of `TargetResources.[0]`:

- `ingestion_time()` is three minutes after TimeGenerated.
- `make_bag` is `take_any`, which returns one bag of a group as it is. Kusto merges them, and which value it keeps of a
  key that several bags have is arbitrary. In the rule's query every bag has the same four keys, so that one of the bags
  is one of the results that Kusto may give; that it may take each value from another bag does not show here. Of bags
  with different keys the result is wrong.

No result is made by the package that is tested. Of it only rare_audit.detection.ticks is used, to read and write the
instants in a query: what that gets wrong, a comparison with this table does not show.
"""

import json
import re
import threading
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Final

import duckdb
import duckdb_kql

from rare_audit.detection.ticks import format_ticks, parse_ticks

STRINGS: Final = (
    "AADOperationType AADTenantId ActivityDisplayName Category CorrelationId Id Identity Level Location "
    "LoggedByService OperationName OperationVersion Resource ResourceGroup ResourceId ResourceProvider Result "
    "ResultDescription ResultReason ResultSignature ResultType SourceSystem TenantId Type"
).split()
DYNAMICS: Final = ["AdditionalDetails", "InitiatedBy", "TargetResources"]
TIMES: Final = ["ActivityDateTime", "TimeGenerated"]
COLUMNS: Final = [*TIMES, *STRINGS, "DurationMs", *DYNAMICS]
_ARRIVED: Final = "_IngestionTime"
_LACKING: Final = ((r"\bingestion_time\(\)", _ARRIVED), (r"\bmake_bag\(", "take_any("))
"""What duckdb-kql does not know, and what stands for it."""
_FIRST, _LAST = parse_ticks("1680-01-01"), parse_ticks("2260-01-01")
"""What TIMESTAMP_NS can hold, with room to spare."""
_SHAPE: Final = dict.fromkeys(COLUMNS, "VARCHAR")

_LITERAL: Final = re.compile(
    r"COALESCE\(TRY_CAST\('([^']*)' AS TIMESTAMPTZ\) AT TIME ZONE 'UTC', "
    r"try_strptime\(CAST\('\1' AS VARCHAR\), \[[^]]*\]\)\)"
)
_TYPES: Final = {
    "TIMESTAMP_NS": "datetime", "TIMESTAMP": "datetime", "TIMESTAMP WITH TIME ZONE": "datetime", "VARCHAR": "string",
    "BIGINT": "long", "HUGEINT": "long", "INTEGER": "int", "DOUBLE": "real", "BOOLEAN": "bool", "INTERVAL": "timespan",
}  # fmt: skip
"""Scalar types as the API names them; everything else is dynamic."""
_SPELLED: Final = {
    "datetime": "left(strftime({0}::TIMESTAMP_NS, '%Y-%m-%dT%H:%M:%S.%n'), 27) || 'Z'",
    "timespan": "{0}::VARCHAR",
    "dynamic": "to_json({0})::VARCHAR",
}


class QueryError(Exception):
    """A query that can't be run; `code` is the API's name for the kind."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Result:
    """A query's columns, each a name and type, and its rows, which can be taken once."""

    def __init__(self, columns: list[dict[str, str]], rows: Iterator[list[Any]]) -> None:
        self.columns = columns
        self.rows = rows


class KqlTable:
    """AuditLogs in memory. Queries may run on several threads at once."""

    def __init__(self) -> None:
        """Create the empty table."""
        self._connection = duckdb_kql.connect()
        columns = [f'"{name}" {self._type(name)}' for name in (*COLUMNS, _ARRIVED)]
        self._connection.execute(f"create table AuditLogs({', '.join(columns)})")
        self._lock = threading.Lock()

    def fill(self, rows: Iterable[dict[str, Any]]) -> None:
        """Replace the table's rows; those without a readable TimeGenerated are left out: no table could hold them."""
        lines = [json.dumps(row) for row in rows]
        read = "select unnest(json_transform(line, ?)) from (select unnest(?) as line)"
        self._replace(read, json.dumps(_SHAPE), lines or ["{}"])

    def load(self, path: str) -> None:
        """Replace the table's rows by those of an export with one JSON object a line."""
        read = "select * from read_json(?, format = 'newline_delimited', columns = ?, maximum_object_size = 67108864)"
        self._replace(read, path, _SHAPE)

    def _replace(self, read: str, *given: Any) -> None:
        cells = ", ".join(self._cell(name) for name in COLUMNS)
        readable = 'TRY_CAST("TimeGenerated" AS TIMESTAMP_NS)'
        arrived = f"({readable}::TIMESTAMP + interval 3 minute)::TIMESTAMP_NS"
        with self._lock:
            self._connection.execute("delete from AuditLogs")
            self._connection.execute(
                f"insert into AuditLogs select {cells}, {arrived} from ({read}) "  # noqa: S608 - a table of the tests' own
                f"where {readable} is not null",
                given,
            )

    @staticmethod
    def _type(name: str) -> str:
        if name in DYNAMICS:
            return "JSON"
        if name in TIMES or name == _ARRIVED:
            return "TIMESTAMP_NS"
        return "BIGINT" if name == "DurationMs" else "VARCHAR"

    @staticmethod
    def _cell(name: str) -> str:
        """Return the SQL of a cell: strings are never null, dynamic values are JSON text or native JSON."""
        text = f'"{name}"'
        if name in TIMES:
            return f"TRY_CAST({text} AS TIMESTAMP_NS)"
        if name == "DurationMs":
            return f"TRY_CAST({text} AS BIGINT)"
        if name in DYNAMICS:
            return f"CASE WHEN json_valid({text}) THEN {text}::JSON WHEN {text} IS NOT NULL THEN to_json({text}) END"
        return f"coalesce({text}, '')"

    def run(self, query: str, timespan: tuple[int, int] | None = None) -> Result:
        """Run a query, its table confined to a timespan (ticks, both ends included). Raises QueryError."""
        cursor = self._connection.cursor()
        try:
            sql = _sql(query, timespan)
            described = cursor.execute(f"describe {sql}").fetchall()
            columns = [{"name": name, "type": _TYPES.get(kind, "dynamic")} for name, kind, *_ in described]
            spelled = ", ".join(_spelled(name, kind) for name, kind, *_ in described)
            cursor.execute(f"select {spelled} from ({sql})")  # noqa: S608 - the query is what it is
        except duckdb_kql.KqlSyntaxError as error:
            raise QueryError("SyntaxError", str(error)) from error
        except (duckdb_kql.KqlError, duckdb.Error) as error:
            raise QueryError("SemanticError", str(error)) from error
        return Result(columns, _rows(cursor))


def _spelled(name: str, kind: str) -> str:
    """Return the SQL that words a column as the API does; JSON is text already, and keeps every letter."""
    wording = "{0}::VARCHAR" if kind == "JSON" else _SPELLED.get(_TYPES.get(kind, "dynamic"), "{0}")
    return wording.format(f'"{name}"')


def _rows(cursor: Any) -> Iterator[list[Any]]:
    while rows := cursor.fetchmany(5_000):
        yield from map(list, rows)


@lru_cache(maxsize=1_000)
def _sql(query: str, timespan: tuple[int, int] | None) -> str:
    text = query.replace("TargetResources.[0]", "TargetResources[0]")
    for lacking, instead in _LACKING:
        text = re.sub(lacking, instead, text)
    sql = str(duckdb_kql.to_sql(text, schema={"AuditLogs": [*COLUMNS, _ARRIVED]}))
    sql = _LITERAL.sub(lambda literal: _nanoseconds(literal[1]), sql)
    # epoch() is a double, which takes the last tick of a day for the first of the next
    sql = sql.replace('epoch("TimeGenerated")', '(epoch_ns("TimeGenerated") // 1000 / 1000000)')
    if timespan is None:
        return sql
    first, last = (_nanoseconds(format_ticks(ticks)) for ticks in timespan)
    within = f'(select * from "AuditLogs" where "TimeGenerated" between {first} and {last})'  # noqa: S608 - see above
    return sql.replace('FROM "AuditLogs"', f"FROM {within}")


def _nanoseconds(instant: str) -> str:
    try:
        ticks = parse_ticks(instant)
    except ValueError:
        return "NULL::TIMESTAMP_NS"
    return f"TIMESTAMP_NS '{format_ticks(min(max(ticks, _FIRST), _LAST))}'"
