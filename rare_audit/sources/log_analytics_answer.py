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
from rare_audit.sources.log_analytics_client import IncompleteAnswerError, told
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


class _Body(msgspec.Struct):
    tables: list[_Table]
    error: Any = None


_decode_body: Final = msgspec.json.Decoder(_Body).decode
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
    try:
        read = _decode_body(body)
    except msgspec.ValidationError as error:
        raise ServiceError(f"Log Analytics sent something else than an answer to a query: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise IncompleteAnswerError(f"the answer is no whole JSON: {error}") from error
    if read.error is not None:
        raise IncompleteAnswerError(f"the answer is a part of the result: {told(read.error)}")
    if not read.tables:
        raise ServiceError("Log Analytics answered without a table")
    missing = [name for name in expected if name not in read.tables[0].names]
    if missing:
        raise ServiceError(f"Log Analytics answered without the column {', '.join(missing)}")
    return read.tables[0]


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
