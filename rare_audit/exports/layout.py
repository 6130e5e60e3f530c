"""How an export is laid out, recognised from the beginning of its content."""

import codecs
import csv
import io
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import msgspec

from rare_audit.detection import kql
from rare_audit.errors import InputError
from rare_audit.exports.json_stream import EndsEarlyError, JsonStream
from rare_audit.exports.shapes import ROW, Shape, shape_of

HEAD: Final = 256 << 10
"""Recognition looks at so many bytes."""

_BLANK: Final = b" \t\r\n"
_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Container(Enum):
    """What holds the records."""

    LINES = auto()
    DOCUMENTS = auto()
    ANSWER = auto()
    CSV = auto()


@dataclass(frozen=True)
class Layout:
    """What holds the records, how each looks, and the member of documents that holds many of them, if they do."""

    container: Container
    shape: Shape = ROW
    envelope: str = ""


def recognise(head: bytes, name: str) -> Layout:
    """Return the layout of a file from its first bytes, without byte-order mark; InputError where there is none."""
    if not head:
        raise InputError(f"{name} is empty")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise InputError(f"{name} is UTF-16; save it as UTF-8")
    text = head.lstrip(_BLANK)
    layout = _of_array(text) if text.startswith(b"[") else _of_object(text) if text.startswith(b"{") else _of_csv(text)
    layout = layout or _of_later_lines(text)
    if layout is None:
        raise InputError(f"{name} is no Log Analytics export, diagnostic-settings log or Graph answer of audit events")
    return layout


def _of_array(head: bytes) -> Layout | None:
    """An array, by the first of its objects that tells; an empty one is an export of no events."""
    stream = JsonStream(io.BytesIO(head), "")
    members: set[str] = set()
    try:
        for _ in stream.elements():
            if stream.peek() != "{":
                stream.drop()
                continue
            _collect(stream, members)
            if shape := shape_of(members):
                return Layout(Container.DOCUMENTS, shape)
    except InputError:
        shape = shape_of(members)
        return Layout(Container.DOCUMENTS, shape) if shape else None
    return None if members else Layout(Container.DOCUMENTS)


def _of_object(head: bytes) -> Layout | None:
    """Objects: one a line where the first line is one, or seems to be one longer than the head; documents if not."""
    line, newline, _ = head.partition(b"\n")
    members = _members_of_line(line)
    if members and (shape := shape_of(members)):
        return Layout(Container.LINES, shape)
    members = set()
    whole = True
    try:
        _collect(JsonStream(io.BytesIO(head), ""), members)
    except EndsEarlyError:
        whole = False
    except InputError:
        shape = shape_of(members)
        return _of_later_lines(head) or (Layout(Container.DOCUMENTS, shape) if shape else None)
    if "tables" in members:
        return Layout(Container.ANSWER)
    shape = shape_of(members)
    if shape is None:
        return Layout(Container.ANSWER) if "error" in members else None
    envelope = shape.envelope if shape.envelope in members else ""
    is_document = whole or newline or envelope
    return Layout(Container.DOCUMENTS, shape, envelope) if is_document else Layout(Container.LINES, shape)


def _collect(stream: JsonStream, members: set[str]) -> None:
    for member in stream.members():
        members.add(member)
        stream.drop()


def _of_csv(head: bytes) -> Layout | None:
    line = head.partition(b"\n")[0].decode("utf-8", "replace")
    try:
        header = next(csv.reader([line]), [])
    except csv.Error:
        return None
    columns = {column.partition(" [")[0] for column in header}
    return Layout(Container.CSV) if shape_of(columns) is ROW else None


def _of_later_lines(head: bytes) -> Layout | None:
    """Objects, one a line, after lines that are none."""
    for line in head.split(b"\n"):
        members = _members_of_line(line) if line.startswith(b"{") else None
        if members and (shape := shape_of(members)):
            return Layout(Container.LINES, shape)
    return None


def _members_of_line(line: bytes) -> set[str] | None:
    try:
        return set(_decode_members(line))
    except kql.NOT_JSON:
        return None
