"""Answers of the query API, decoded from their bytes.

Format: https://learn.microsoft.com/azure/azure-monitor/logs/api/response-format. Dynamic columns arrive as JSON text.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from operator import itemgetter
from types import GenericAlias
from typing import Any, Final

import msgspec

from rare_audit.detection.event import AuditEvent, decode_event, utc_text
from rare_audit.detection.ticks import parse_ticks
from rare_audit.errors import ServiceError
from rare_audit.reporting.text import one_line
from rare_audit.sources.log_analytics_client import NO_DATA, IncompleteAnswerError, told
from rare_audit.sources.log_analytics_query import ARRIVED, EVENT_COLUMNS
from rare_audit.sources.tally import UNREADABLE, Tally, UnreadableError

_TYPES: Final[dict[str, Any]] = {
    **{field.encode_name: field.type for field in msgspec.structs.fields(AuditEvent)},
    ARRIVED: str | None,
}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The events of one answer, its unreadable rows counted by reason, its size in bytes.

    `arrived` is the latest ingestion_time() of its rows, as text without its Z, or "".
    """

    events: Sequence[AuditEvent]
    unreadable: Counter[str]
    arrived: str
    size: int


class Rows(msgspec.Struct, frozen=True):
    """The rows of a whole answer to any query, as JSON holds their cells; dynamic ones are JSON text."""

    columns: tuple[str, ...]
    cells: list[tuple[Any, ...]]


class _Column(msgspec.Struct):
    name: str


class _Table(msgspec.Struct):
    columns: list[_Column]
    rows: msgspec.Raw

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


_decode_tables: Final = msgspec.json.Decoder(list[_Table]).decode
_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_EXPECTED: Final = frozenset({"tables", "statistics", "render", "dataSources"})
"""Members of an answer that say nothing of its rows: https://learn.microsoft.com/azure/azure-monitor/logs/api/prefer-options."""
_SPEAKING: Final = frozenset({"message", "innererror", "details"})
"""Members that an error says something in."""
_PART: Final = "the answer is a part of the result"
_NOTHING: Final = frozenset({b"null", b"[]", b"{}", b'""', b"false"})
_decode_rows: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_cells: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_plain: Final = msgspec.json.Decoder(list[tuple[Any, ...]]).decode


def read_events(body: bytearray) -> Answer:
    """Return the events of a whole answer.

    Raises IncompleteAnswerError where it is not whole, ServiceError where it is no such answer or lacks a column.
    """
    table = _table(body, EVENT_COLUMNS)
    try:
        rows = _row_decoder(table.names)(table.rows)
        events = _events(map(_picker(table.names, EVENT_COLUMNS), rows))
    except (*UNREADABLE, ValueError):
        return _row_by_row(table, len(body))
    arrived = ""
    if ARRIVED in table.names:
        times = map(itemgetter(table.names.index(ARRIVED)), rows)
        arrived = max((time[:-1] for time in times if time), default="")
    return Answer(events=events, unreadable=Counter(), arrived=arrived, size=len(body))


def read_days(body: bytearray) -> dict[str, int]:
    """Return the events of each UTC day from an answer to coverage_question; raises as `read_events` does."""
    rows = _plain_rows(body, ("Day", "Events"))
    try:
        return {utc_text(day)[:10]: int(events) for day, events in sorted(rows)}
    except (TypeError, ValueError) as error:
        raise ServiceError("Log Analytics answered with days or counts that can't be read") from error


def read_last(body: bytearray) -> int | None:
    """Return the instant (ticks) from an answer to last_event_question; raises as `read_events` does."""
    rows = _plain_rows(body, ("Last",))
    try:
        return max((parse_ticks(last) for (last,) in rows if last), default=None)
    except (TypeError, ValueError) as error:
        raise ServiceError("Log Analytics answered with a time that can't be read") from error


def read_rows(body: bytearray) -> Rows:
    """Return the rows of a whole answer to any query; raises as `read_events` does."""
    table = _table(body, ())
    try:
        cells = _decode_plain(table.rows)
    except msgspec.DecodeError as error:
        raise ServiceError("Log Analytics answered with rows that can't be read") from error
    if any(len(row) != len(table.names) for row in cells):
        raise ServiceError("Log Analytics answered with rows of another length than its columns")
    return Rows(table.names, cells)


def _table(body: bytearray, expected: Sequence[str]) -> _Table:
    if body == NO_DATA:
        return _Table([_Column(name) for name in expected], msgspec.Raw(b"[]"))
    try:
        members = _decode_members(body)
        tables = _decode_tables(members.get("tables", b"null"))
    except msgspec.ValidationError as error:
        raise ServiceError(f"Log Analytics sent something else than an answer to a query: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise IncompleteAnswerError(f"the answer is no whole JSON: {error}") from error
    _check_whole(members, tables)
    if not tables:
        raise ServiceError("Log Analytics answered without a table")
    missing = [name for name in expected if name not in tables[0].names]
    if missing:
        raise ServiceError(f"Log Analytics answered without the column {', '.join(missing)}")
    return tables[0]


def _check_whole(members: dict[str, msgspec.Raw], tables: list[_Table]) -> None:
    """Raise IncompleteAnswerError where anything stands beside the rows that may say that they are not all.

    `error` is the documented member; others are what Kusto and its clients are known to use, or what nobody knows yet.
    """
    for name, value in members.items():
        if name not in _EXPECTED and bytes(value).strip() not in _NOTHING:
            raise IncompleteAnswerError(f"{_PART}: {one_line(name, 40)}: {_said(value)}")
    for table in tables[1:]:
        if bytes(table.rows).strip() != b"[]":
            raise IncompleteAnswerError(f"{_PART}: there are rows in a second table")


def _said(value: msgspec.Raw) -> str:
    """Return what an error says, wherever in it that stands."""
    try:
        found = msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return "what can't be read"
    while isinstance(found, list) or (isinstance(found, dict) and not _SPEAKING & found.keys()):
        found = next(iter(found.values() if isinstance(found, dict) else found), None)
    return told(found if isinstance(found, dict) else {"message": found})


def _plain_rows(body: bytearray, columns: tuple[str, ...]) -> list[tuple[Any, ...]]:
    table = _table(body, columns)
    pick = _picker(table.names, columns)
    try:
        return list(map(pick, _decode_plain(table.rows)))
    except (msgspec.DecodeError, IndexError) as error:
        raise ServiceError("Log Analytics answered with rows that can't be read") from error


@lru_cache
def _row_decoder(names: tuple[str, ...]) -> Callable[[msgspec.Raw], list[tuple[Any, ...]]]:
    row = GenericAlias(tuple, tuple(_TYPES.get(name, Any) for name in names))
    return msgspec.json.Decoder(GenericAlias(list, (row,))).decode


@lru_cache
def _picker(names: tuple[str, ...], wanted: tuple[str, ...]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """Return what puts a row's cells in the wanted order; columns come in any."""
    places = [names.index(name) for name in wanted]
    return itemgetter(*places) if len(places) > 1 else itemgetter(slice(places[0], places[0] + 1))


def _events(rows: Any) -> list[AuditEvent]:
    """Make events of cells in AuditEvent's order; ValueError for a time that can't be read."""
    events = []
    for cells in rows:
        time = utc_text(cells[0])
        events.append(AuditEvent(*cells) if time is cells[0] else AuditEvent(time, *cells[1:]))
    return events


def _row_by_row(table: _Table, size: int) -> Answer:
    """Go through an answer of which some row can't be read."""
    names = [msgspec.json.encode(name) for name in table.names]
    try:
        rows = _decode_rows(table.rows)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ServiceError("Log Analytics answered with rows that can't be read") from error
    for row in rows:
        if bytes(row).lstrip().startswith(b"{"):  # Kusto tells in place of a row that what follows is missing
            raise IncompleteAnswerError(f"{_PART}: {_said(row)}")
    tally = Tally(strict=False)
    taken = [tally.take(partial(_odd_event, names), row, "") for row in rows]
    events = [event for event in taken if event is not None]
    return Answer(events=events, unreadable=tally.unreadable, arrived="", size=size)


def _odd_event(names: list[bytes], row: msgspec.Raw) -> AuditEvent:
    cells = _decode_cells(row)
    if len(cells) != len(names):
        raise UnreadableError("wrong number of columns")
    members = [name + b":" + bytes(cell) for name, cell in zip(names, cells, strict=True)]
    return decode_event(b"{" + b",".join(members) + b"}")
