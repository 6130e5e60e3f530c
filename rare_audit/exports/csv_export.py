"""Exports as CSV: of Log Analytics, of the Entra portal, of the unified audit log."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Final

import msgspec

from rare_audit.detection.event import AuditEvent
from rare_audit.errors import InputError
from rare_audit.exports import portal_csv, unified
from rare_audit.exports.context import Context, checked
from rare_audit.exports.csv_header import (
    TIME_COLUMNS,
    Header,
    Kind,
    check_columns,
    header_of,
    kind_of,
    says_nothing,
)
from rare_audit.exports.opening import HEAD
from rare_audit.sources.tally import Tally, UnreadableError

LONGEST_LINE: Final = 4 << 20
csv.field_size_limit(LONGEST_LINE)  # the library's own limit is 128 KiB, which a long TargetResources passes

_COLUMNS: Final = tuple(field.encode_name for field in msgspec.structs.fields(AuditEvent))[1:]
"""The columns of an event but for its time."""
_MARKS: Final = {Kind.ROWS: "InitiatedBy", Kind.PORTAL: portal_csv.TIME_COLUMN, Kind.UNIFIED: unified.AUDIT_DATA_COLUMN}
"""A column's name that stands in a row only where that is a header again."""
Convert = Callable[[list[str]], AuditEvent | str]


def csv_rows(file: io.BufferedReader, name: str, tally: Tally, context: Context) -> Iterator[AuditEvent]:
    """Yield the events of a CSV export; columns that no event needs are ignored, and so is their order.

    Raises InputError where the header lacks a column that the rule reads.
    """
    header = header_of(file.peek()[:HEAD])
    if header is None:
        raise InputError(f"{name} has no header with the columns of an export")
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    _pass_before(text, header, name, tally)
    convert = _converter(header, name, context)
    rows = _numbered_rows(text, name, header)
    next(rows, None)  # the header itself
    for place, lines, row in rows:
        if isinstance(row, list) and _MARKS[header.kind] in row and (again := _header_again(row, header)):
            header, convert = again, _converter(again, name, context)
            continue
        error = _trouble(row, header)
        if error is not None or isinstance(row, csv.Error):
            # Up to the next quotation mark everything is one cell: each line that it took may have been a record.
            tally.reject(error or UnreadableError("not CSV"), place, max(1, lines))
            continue
        event = tally.take(convert, row, place)
        if event is not None:
            if not tally.has_text and not "".join(row).isascii():
                tally.has_text = True
            yield event


def _pass_before(text: io.TextIOWrapper, header: Header, name: str, tally: Tally) -> None:
    """Pass over what stands before the header, and count what no program writes there for another."""
    for number in range(1, header.before + 1):
        line = text.readline(LONGEST_LINE)
        if not says_nothing(line.removeprefix("\ufeff")):
            tally.reject(UnreadableError("line before the header"), f"{name}:{number}")


def _trouble(row: list[str] | csv.Error, header: Header) -> UnreadableError | None:
    if isinstance(row, csv.Error):
        return UnreadableError("not CSV", str(row))
    if len(row) != len(header.columns):
        return UnreadableError("wrong number of columns", f"found {len(row)} for {len(header.columns)}")
    return None


def _numbered_rows(
    text: io.TextIOWrapper, name: str, header: Header
) -> Iterator[tuple[str, int, list[str] | csv.Error]]:
    """Yield each row that is not blank, or why it is none, with the line it begins at and how many lines it takes."""
    reader = csv.reader(_lines(text, name), delimiter=header.separator, strict=True)
    while True:
        before = reader.line_num
        place = f"{name}:{header.before + before + 1}"
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield place, reader.line_num - before, error
            continue
        if len(row) > 1 or "".join(row).strip():
            yield place, reader.line_num - before, row


def _lines(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    for line in iter(partial(text.readline, LONGEST_LINE), ""):
        if len(line) == LONGEST_LINE:
            raise InputError(f"{name} has a line longer than 4 MiB, as no CSV export has")
        yield line.removeprefix("\ufeff")


def _header_again(row: list[str], header: Header) -> Header | None:
    """Return the header that stands in the middle of a file that was joined from several."""
    columns = tuple(cell.strip() for cell in row)
    if columns == header.columns:
        return header
    # A record's own cells may hold one such name; no record holds a header's.
    needed = (
        {"OperationName", "InitiatedBy", "TargetResources"} if header.kind is Kind.ROWS else set(header.columns[:3])
    )
    kind = kind_of(columns) if needed.issubset(columns) else None
    return Header(columns, header.separator, kind, header.before) if kind else None


def _converter(header: Header, name: str, context: Context) -> Convert:
    """Return what makes an event of a row. Raises InputError where a column is missing."""
    check_columns(header, name, lenient=context.lenient)
    if header.kind is Kind.PORTAL:
        context.notes.add(portal_csv.LACKS)
        return lambda row: checked(portal_csv.portal_event(_cells(header, row), context.clock), context)
    if header.kind is Kind.UNIFIED:
        context.notes.add(unified.LACKS)
        return lambda row: _unified_event(_cells(header, row), context)
    pick = _picker(header)
    return lambda row: checked(_row_event(pick((*_decoded(row), "")), context), context)


def _picker(header: Header) -> Callable[[Sequence[str]], Sequence[str]]:
    """Return what takes the columns of an event out of a row with one empty cell more, for those that are not there."""
    time_column = next(column for column in TIME_COLUMNS if column in header.columns)
    places = {column: place for place, column in enumerate(header.columns)}
    return itemgetter(places[time_column], *(places.get(column, len(header.columns)) for column in _COLUMNS))


def _decoded(row: list[str]) -> list[str]:
    """Return a row of a file that is UTF-8; UnicodeEncodeError for bytes that were not."""
    text = "".join(row)
    if not text.isascii():
        text.encode()
    return row


def _cells(header: Header, row: list[str]) -> dict[str, str]:
    return dict(zip(header.columns, _decoded(row), strict=True))


def _unified_event(cells: dict[str, str], context: Context) -> AuditEvent | str:
    event = unified.unified_event(cells[unified.AUDIT_DATA_COLUMN], context.clock)
    return event if isinstance(event, str) else checked(event, context)


def _row_event(cells: Sequence[str], context: Context) -> AuditEvent:
    """Return the event of its time and its columns, in the order of AuditEvent; an empty cell is null."""
    time, *columns = cells
    return AuditEvent(context.clock(time), *(cell or None for cell in columns))
