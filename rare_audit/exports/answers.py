"""Answers of the Log Analytics query API, as files.

Source: https://learn.microsoft.com/azure/azure-monitor/logs/api/response-format (`error` beside `tables` says that the
result is partial). The API of Azure Data Explorer writes the same names with capital initials.
"""

from collections.abc import Iterator
from io import BufferedReader
from typing import Final

import msgspec

from rare_audit.detection import kql
from rare_audit.detection.event import AuditEvent
from rare_audit.errors import InputError
from rare_audit.exports.columns import REQUIRED
from rare_audit.exports.context import Context
from rare_audit.exports.json_stream import JsonStream
from rare_audit.exports.records import Taken, take_record
from rare_audit.exports.shapes import ROW
from rare_audit.reporting.text import one_line
from rare_audit.sources.tally import Tally, UnreadableError

LONGEST_ERROR: Final = 200


class _Column(msgspec.Struct):
    name: str = ""
    capitalised: str = msgspec.field(name="ColumnName", default="")


_decode_columns: Final = msgspec.json.Decoder(list[_Column]).decode
_decode_cells: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def answer_rows(file: BufferedReader, name: str, tally: Tally, context: Context) -> Iterator[AuditEvent]:
    """Yield the events of query API answers; InputError for an answer that is not the whole result."""
    texts = _answers(JsonStream(file, name), name, lenient=context.lenient)
    for number, text in enumerate(texts, 1):
        place = f"{name}:record {number}"
        if isinstance(text, Exception):
            tally.reject(text, place)
        else:
            yield from take_record(text, Taken(ROW, place, tally, context))


def _answers(stream: JsonStream, name: str, *, lenient: bool) -> Iterator[bytes | Exception]:
    """Yield the rows of answers as objects."""
    while stream.peek():
        found = False
        for member in stream.members():
            if member.lower() == "tables" and stream.peek() == "[":
                found = True
                for _ in stream.elements():
                    yield from _table(stream, name, lenient=lenient)
            elif member == "error":
                _refuse_partial(stream, name)
            else:
                stream.drop()
        if not found:
            yield UnreadableError("no tables")
        stream.end()


def _refuse_partial(stream: JsonStream, name: str) -> None:
    error = _value(stream)
    if error != b"null":
        text = one_line(error.decode(errors="replace"), LONGEST_ERROR) if isinstance(error, bytes) else ""
        raise InputError(f"{name} is not the whole result: the query ended with an error {text}")


def _table(stream: JsonStream, name: str, *, lenient: bool) -> Iterator[bytes | Exception]:
    columns: list[str] = []
    found = False
    for member in stream.members():
        if member.lower() == "columns":
            columns = _columns(_value(stream), name)
        elif member.lower() == "rows" and stream.peek() == "[":
            _check_columns(columns, name, lenient=lenient)
            found = True
            names = [msgspec.json.encode(column) for column in columns]
            yield from (_row(names, _value(stream)) for _ in stream.elements())
        else:
            stream.drop()
    if not found:
        yield UnreadableError("no rows")


def _check_columns(columns: list[str], name: str, *, lenient: bool) -> None:
    needed = REQUIRED[:1] if lenient else REQUIRED
    lacking = [column for column in needed if column not in columns]
    if lacking:
        raise InputError(
            f"{name} has a table without the column {', '.join(lacking)} before its rows: query all columns"
        )


def _columns(text: bytes | Exception, name: str) -> list[str]:
    try:
        if isinstance(text, Exception):
            raise text
        return [column.name or column.capitalised for column in _decode_columns(text)]
    except kql.NOT_JSON as error:
        raise InputError(f"{name} has a table whose columns can't be read") from error


def _row(columns: list[bytes], text: bytes | Exception) -> bytes | Exception:
    """Return a row as the object that an export would hold; one with another number of cells than columns is none."""
    if isinstance(text, Exception):
        return text
    try:
        cells = _decode_cells(text)
    except msgspec.ValidationError:
        return UnreadableError("not an array")
    except kql.NOT_JSON as error:
        return error
    if len(cells) != len(columns):
        return UnreadableError("wrong number of columns")
    return b"{" + b",".join([name + b":" + bytes(cell) for name, cell in zip(columns, cells, strict=True)]) + b"}"


def _value(stream: JsonStream) -> bytes | Exception:
    try:
        return stream.value()
    except RecursionError as error:
        return error
