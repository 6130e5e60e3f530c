"""Exports as JSON: an object a line, arrays and envelopes of records."""

from collections.abc import Iterator, Sequence
from functools import partial
from io import BufferedReader, BytesIO
from typing import Final, TypeAlias

from rare_audit.detection import kql
from rare_audit.detection.event import AuditEvent
from rare_audit.exports.context import Context
from rare_audit.exports.json_stream import JsonStream
from rare_audit.exports.layout import ENVELOPES, Container, Layout
from rare_audit.exports.records import LONGEST_RECORD, Taken, take_record
from rare_audit.exports.rows import quick_rows
from rare_audit.exports.shapes import ROW
from rare_audit.sources.tally import UNREADABLE, Tally, UnreadableError

LONGEST_LINE: Final = 64 << 20
"""Bytes of the longest line, which may be an envelope of many records."""
CHUNK: Final = 1 << 17
_MARK: Final = b"\xef\xbb\xbf"

Text: TypeAlias = bytes | Exception
"""A record's JSON, or why it can't be had."""


def row_lines(file: BufferedReader, name: str, tally: Tally, context: Context) -> Iterator[Sequence[AuditEvent]]:
    """Yield the events of Log Analytics rows, one a line, some at a time.

    Large exports come this way, and here a line costs its decoding and next to nothing else: lines are decoded a chunk
    at a time, and only a chunk of which a line is not as Log Analytics writes it is gone through line by line.
    """
    number = 0
    while chunk := file.read(CHUNK):
        if not chunk.endswith(b"\n"):
            chunk += file.readline(LONGEST_RECORD)
        lines = chunk.count(b"\n") + (not chunk.endswith(b"\n"))
        events = _rows(chunk, lines)
        if events is None:
            events = list(_row_by_row(file, chunk, name, number, tally, context))
        else:
            tally.events += lines
            tally.has_text = tally.has_text or not chunk.isascii()
        yield events
        number += lines


def _rows(chunk: bytes, lines: int) -> list[AuditEvent] | None:
    """Decode a chunk whole, or return None where that can't be done or a line does not hold just one row."""
    if len(chunk) > CHUNK + LONGEST_RECORD:
        return None
    try:
        events = quick_rows(chunk)
    except kql.NOT_JSON:
        return None
    return events if events is not None and len(events) == lines else None


def _row_by_row(
    file: BufferedReader, chunk: bytes, name: str, number: int, tally: Tally, context: Context
) -> Iterator[AuditEvent]:
    for at, line in enumerate(BytesIO(chunk), number + 1):
        trouble = _trouble(file, line, LONGEST_RECORD)
        if trouble is not None:
            tally.reject(trouble, f"{name}:{at}")
        elif not line.isspace():
            yield from take_record(line.removeprefix(_MARK), Taken(ROW, f"{name}:{at}", tally, context))


def records(file: BufferedReader, name: str, layout: Layout, tally: Tally, context: Context) -> Iterator[AuditEvent]:
    """Yield the events of an export laid out in any other way."""
    convert = layout.shape.convert
    envelope = layout.envelope if layout.container is Container.LINES else ""  # of documents it is opened already
    for place, text in _texts(file, name, layout):
        if isinstance(text, Exception):
            tally.reject(text, place)
            continue
        # The short way for a record as its file has them; take_record finds out about all others.
        if not envelope and len(text) <= LONGEST_RECORD:
            try:
                event = convert(text, context)
            except UNREADABLE:
                event = ""
            if isinstance(event, AuditEvent):
                tally.count(text)
                yield event
                continue
        yield from take_record(text, Taken(layout.shape, place, tally, context), envelope)


def _texts(file: BufferedReader, name: str, layout: Layout) -> Iterator[tuple[str, Text]]:
    """Yield each record and its place: the line, or in documents, which may have none, the number of the record."""
    if layout.container is Container.LINES:
        yield from _lines(file, name, layout)
        return
    for number, text in enumerate(_documents(JsonStream(file, name), layout.envelope), 1):
        yield f"{name}:record {number}", text


def _lines(file: BufferedReader, name: str, layout: Layout) -> Iterator[tuple[str, Text]]:
    longest = LONGEST_LINE if layout.envelope else LONGEST_RECORD
    for number, line in enumerate(iter(partial(file.readline, longest), b""), 1):
        place, text = f"{name}:{number}", line.removeprefix(_MARK)
        if text.isspace() or not text:
            continue
        trouble = _trouble(file, line, longest)
        if trouble is None and len(line) > LONGEST_RECORD:  # an envelope, whose records are taken one by one
            yield from ((place, record) for record in _documents(JsonStream(BytesIO(text), place), layout.envelope))
        else:
            yield place, trouble or text


def _trouble(file: BufferedReader, line: bytes, longest: int) -> UnreadableError | None:
    """Pass over the rest of a line that is too long, so that the next is a new one."""
    if len(line) < longest or line.endswith(b"\n"):
        return None
    while (rest := file.readline(longest)) and not rest.endswith(b"\n"):
        pass
    return UnreadableError(f"line longer than {longest >> 20} MiB")


def _documents(stream: JsonStream, envelope: str) -> Iterator[Text]:
    """Yield the records of arrays, of envelopes, or of objects one after the other."""
    while letter := stream.peek():
        if letter == "[":
            for _ in stream.elements():
                yield from _record(stream, envelope)
        else:
            yield from _record(stream, envelope)
        stream.end()


def _record(stream: JsonStream, envelope: str) -> Iterator[Text]:
    """Yield a record, or those of an envelope."""
    if stream.peek() != "{" or not envelope:
        yield _value(stream)
        return
    found = False
    for member in stream.members():
        if (member == envelope or member in ENVELOPES) and stream.peek() == "[":
            found = True
            for _ in stream.elements():
                yield _value(stream)
        else:
            stream.drop()
    if not found:
        yield UnreadableError(f"no {envelope}")


def _value(stream: JsonStream) -> Text:
    try:
        return stream.value()
    except RecursionError as error:
        return error
