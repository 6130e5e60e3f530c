"""Log Analytics exports as CSV, with dynamic columns as JSON text."""

import csv
import io
import re
from collections.abc import Iterator
from functools import partial
from typing import Final

from rare_audit.detection.event import AuditEvent
from rare_audit.errors import InputError
from rare_audit.exports.shapes import instant
from rare_audit.sources.tally import Tally, UnreadableError

LONGEST_LINE: Final = 4 << 20
TIME_COLUMNS: Final = ("TimeGenerated", "TimeGenerated [UTC]")

_PORTAL_TIME: Final = re.compile(
    r"(?P<month>\d\d?)/(?P<day>\d\d?)/(?P<year>\d{4}),? "
    r"(?P<hour>\d\d?)(?P<rest>:\d\d:\d\d(?:\.\d+)?)[ \u202f](?P<half>[AP])M",
    re.ASCII,
)


def csv_rows(file: io.BufferedReader, name: str, tally: Tally) -> Iterator[AuditEvent]:
    """Yield the events of a CSV export; columns that no event needs are ignored, and so is their order.

    Raises InputError where the header has no TimeGenerated in UTC.
    """
    text = io.TextIOWrapper(file, encoding="utf-8", errors="surrogateescape", newline="")
    rows = _numbered_rows(text, name)
    header = next((row for _, row in rows if isinstance(row, list)), [])
    convert = partial(_event, header, _time_column(header, name))
    for place, row in rows:
        if isinstance(row, csv.Error):
            tally.reject(UnreadableError("not CSV"), place)
            continue
        event = tally.take(convert, row, place)
        if event is not None:
            yield event


def _numbered_rows(text: io.TextIOWrapper, name: str) -> Iterator[tuple[str, list[str] | csv.Error]]:
    """Yield each row that is not blank, or why it is none, with the line it begins at."""
    reader = csv.reader(_lines(text, name), strict=True)
    while True:
        place = f"{name}:{reader.line_num + 1}"
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield place, error
            continue
        if len(row) > 1 or "".join(row).strip():
            yield place, row


def _lines(text: io.TextIOWrapper, name: str) -> Iterator[str]:
    for line in iter(partial(text.readline, LONGEST_LINE), ""):
        if len(line) == LONGEST_LINE:
            raise InputError(f"{name} has a line longer than 4 MiB, as no CSV export has")
        yield line


def _time_column(header: list[str], name: str) -> str:
    for column in TIME_COLUMNS:
        if column in header:
            return column
    raise InputError(f"{name} has no TimeGenerated column, in UTC, in its header")


def _event(header: list[str], time_column: str, row: list[str]) -> AuditEvent:
    """Return a row's event; an empty cell is null, as is a column that is not there. Raises UNREADABLE."""
    if len(row) != len(header):
        raise UnreadableError("wrong number of columns")
    cells = dict(zip(header, row, strict=True))
    return AuditEvent(
        time_generated=_instant(cells[time_column]),
        operation_name=_text(cells, "OperationName"),
        category=_text(cells, "Category"),
        id=_text(cells, "Id"),
        correlation_id=_text(cells, "CorrelationId"),
        result=_text(cells, "Result"),
        resource_group=_text(cells, "ResourceGroup"),
        type=_text(cells, "Type"),
        initiated_by=_text(cells, "InitiatedBy"),
        target_resources=_text(cells, "TargetResources"),
    )


def _text(cells: dict[str, str], column: str) -> str | None:
    cell = cells.get(column, "")
    if not cell.isascii():
        cell.encode()  # raises UnicodeEncodeError for bytes that were no UTF-8
    return cell or None


def _instant(cell: str) -> str:
    """Return a time as the query API prints it, or as the portal's CSV does: `8/2/2021, 1:29:25.983 PM`."""
    found = _PORTAL_TIME.fullmatch(cell)
    if found is None:
        return instant(cell)
    hour = int(found["hour"])
    if not 1 <= hour <= 12:
        raise UnreadableError("no readable time")
    hour = hour % 12 + (12 if found["half"] == "P" else 0)
    day = f"{found['year']}-{int(found['month']):02d}-{int(found['day']):02d}"
    return instant(f"{day}T{hour:02d}{found['rest']}")
