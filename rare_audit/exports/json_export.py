"""Exports as JSON: an object a line, arrays and envelopes of records, answers of the query API."""

from collections.abc import Iterator, Sequence
from functools import partial
from io import BufferedReader, BytesIO
from typing import Final, TypeAlias

import msgspec

from rare_audit.detection import kql
from rare_audit.detection.event import AuditEvent, decode_event, decode_events
from rare_audit.errors import InputError
from rare_audit.exports.json_stream import JsonStream
from rare_audit.exports.layout import Container, Layout
from rare_audit.exports.shapes import Shape
from rare_audit.reporting.text import one_line
from rare_audit.sources.tally import UNREADABLE, Tally, UnreadableError

LONGEST_LINE: Final = 64 << 20
CHUNK: Final = 1 << 17
LONGEST_ERROR: Final = 200

Text: TypeAlias = bytes | Exception
"""A record's JSON, or why it can't be had."""


def row_lines(file: BufferedReader, name: str, tally: Tally) -> Iterator[Sequence[AuditEvent]]:
    """Yield the events of Log Analytics rows, one a line, some at a time.

    Large exports come this way, and here a line costs its decoding and next to nothing else: lines are decoded a chunk
    at a time, and only a chunk that does not decode is gone through line by line.
    """
    number = 0
    for chunk in _chunks(file):
        lines = chunk.count(b"\n") + (not chunk.endswith(b"\n"))
        events = _rows(chunk, lines)
        if events is None:
            events = list(_row_by_row(file, chunk, name, number, tally))
        else:
            tally.events += lines
        yield events
        number += lines


def _rows(chunk: bytes, lines: int) -> list[AuditEvent] | None:
    """Decode a chunk whole, or return None where that can't be done or a line does not hold just one row."""
    try:
        events = decode_events(chunk)
    except kql.NOT_JSON:
        return None
    return events if len(events) == lines else None


def _chunks(file: BufferedReader) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk if chunk.endswith(b"\n") else chunk + file.readline(LONGEST_LINE)


def _row_by_row(file: BufferedReader, chunk: bytes, name: str, number: int, tally: Tally) -> Iterator[AuditEvent]:
    for at, line in enumerate(BytesIO(chunk), number + 1):
        trouble = _trouble(file, line)
        if trouble is not None:
            tally.reject(trouble, f"{name}:{at}")
        elif not line.isspace():
            event = tally.take(decode_event, line, f"{name}:{at}")
            if event is not None:
                yield event


def records(file: BufferedReader, name: str, layout: Layout, tally: Tally) -> Iterator[AuditEvent]:
    """Yield the events of an export laid out in any other way."""
    for place, text in _texts(file, name, layout):
        for record in _unwrapped(text, layout.shape, tally, place):
            event = tally.take(layout.shape.convert, record, place)
            if event is not None:
                yield event


def _unwrapped(text: Text, shape: Shape, tally: Tally, place: str) -> Sequence[bytes]:
    try:
        if isinstance(text, Exception):
            raise text
        return shape.unwrapped(text)
    except UNREADABLE as error:
        tally.reject(error, place)
        return ()


def _texts(file: BufferedReader, name: str, layout: Layout) -> Iterator[tuple[str, Text]]:
    """Yield each record and its place: the line, or in documents, which may have none, the number of the record."""
    if layout.container is Container.LINES:
        for number, line in enumerate(iter(partial(file.readline, LONGEST_LINE), b""), 1):
            if not line.isspace():
                yield f"{name}:{number}", _trouble(file, line) or line
        return
    stream = JsonStream(file, name)
    texts = _answers(stream, name) if layout.container is Container.ANSWER else _documents(stream, layout.envelope)
    for number, text in enumerate(texts, 1):
        yield f"{name}:record {number}", text


def _trouble(file: BufferedReader, line: bytes) -> UnreadableError | None:
    """Pass over the rest of a line that is too long, so that the next is a new one."""
    if len(line) < LONGEST_LINE or line.endswith(b"\n"):
        return None
    while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
        pass
    return UnreadableError("line longer than 64 MiB")


def _documents(stream: JsonStream, envelope: str) -> Iterator[Text]:
    """Yield the records of arrays, of envelopes, or of objects one after the other."""
    while letter := stream.peek():
        if letter == "[":
            yield from (_value(stream) for _ in stream.elements())
        elif letter == "{" and envelope:
            yield from _enveloped(stream, envelope)
        else:
            yield _value(stream)


def _enveloped(stream: JsonStream, envelope: str) -> Iterator[Text]:
    found = False
    for member in stream.members():
        if member == envelope and stream.peek() == "[":
            found = True
            yield from (_value(stream) for _ in stream.elements())
        else:
            stream.drop()
    if not found:
        yield UnreadableError(f"no {envelope}")


def _value(stream: JsonStream) -> Text:
    try:
        return stream.value()
    except RecursionError as error:
        return error


def _answers(stream: JsonStream, name: str) -> Iterator[Text]:
    """Yield the rows of query API answers as objects; InputError for an answer that is not the whole result.

    Source: https://learn.microsoft.com/azure/azure-monitor/logs/api/response-format (`error` beside `tables` says that
    the result is partial).
    """
    while stream.peek():
        found = False
        for member in stream.members():
            if member == "tables" and stream.peek() == "[":
                found = True
                for _ in stream.elements():
                    yield from _table(stream, name)
            elif member == "error":
                _refuse_partial(stream, name)
            else:
                stream.drop()
        if not found:
            yield UnreadableError("no tables")


def _refuse_partial(stream: JsonStream, name: str) -> None:
    error = _value(stream)
    if error != b"null":
        told = one_line(error.decode(errors="replace"), LONGEST_ERROR) if isinstance(error, bytes) else ""
        raise InputError(f"{name} is not the whole result: the query ended with an error {told}")


def _table(stream: JsonStream, name: str) -> Iterator[Text]:
    columns: list[bytes] = []
    found = False
    for member in stream.members():
        if member == "columns":
            columns = _columns(_value(stream), name)
        elif member == "rows" and stream.peek() == "[":
            if b'"TimeGenerated"' not in columns:
                raise InputError(f"{name} has a table without a TimeGenerated column before its rows")
            found = True
            yield from (_row(columns, _value(stream)) for _ in stream.elements())
        else:
            stream.drop()
    if not found:
        yield UnreadableError("no rows")


class _Column(msgspec.Struct):
    name: str


_decode_columns: Final = msgspec.json.Decoder(list[_Column]).decode
_decode_cells: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def _columns(text: Text, name: str) -> list[bytes]:
    try:
        if isinstance(text, Exception):
            raise text
        return [msgspec.json.encode(column.name) for column in _decode_columns(text)]
    except kql.NOT_JSON as error:
        raise InputError(f"{name} has a table whose columns can't be read") from error


def _row(columns: list[bytes], text: Text) -> Text:
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
