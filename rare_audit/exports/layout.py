"""How an export is laid out, recognised from the beginning of its content."""

import io
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import msgspec

from rare_audit.detection import kql
from rare_audit.errors import InputError
from rare_audit.exports.csv_header import header_of
from rare_audit.exports.json_stream import EndsEarlyError, JsonStream
from rare_audit.exports.shapes import AUDIT, LOOKED_FOR, ROW, Shape, shape_of
from rare_audit.reporting.text import one_line

ENVELOPES: Final = frozenset({"records", "value", "Value", "results", "Results", "data", "items", "rows", "events"})
"""Members that are known to hold records, so that an empty one is an export of no events."""
_BLANK: Final = b" \t\r\n"
_MARK: Final = b"\xef\xbb\xbf"
_MOST_NESTED: Final = 3
_SHOWN: Final = 200
_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Container(Enum):
    """What holds the records."""

    LINES = auto()
    DOCUMENTS = auto()
    ANSWER = auto()
    CSV = auto()


@dataclass(frozen=True)
class Layout:
    """What holds the records, how they look at first, and the member of documents that holds many, "" for none."""

    container: Container
    shape: Shape = ROW
    envelope: str = ""


@dataclass(frozen=True)
class _Object:
    """What the head shows of an object: its members, its own shape, and an array in it whose elements have one."""

    members: frozenset[str]
    shape: Shape | None
    envelope: str
    is_whole: bool


def recognise(head: bytes, name: str) -> Layout:
    """Return the layout of a file from its first bytes; InputError where it is not known."""
    text = head.lstrip(_BLANK)
    if not head:
        raise InputError(f"{name} is empty")
    try:
        layout = _of_text(head, text, name)
    except EndsEarlyError:
        layout = None
    except InputError:  # not JSON as a whole, but its lines may be
        layout = _of_later_lines(text)
        if layout is None:
            raise
    layout = layout or _of_later_lines(text)
    if layout is None:
        raise InputError(f"{name} is not an export of audit events: {_what_it_is(text)}; looked for {LOOKED_FOR}")
    return layout


def _of_text(head: bytes, text: bytes, name: str) -> Layout | None:
    """Return the layout that a beginning shows, None for none. Raises InputError for JSON that is none."""
    if text.startswith(b"["):
        return _of_array(JsonStream(io.BytesIO(text), name))
    if text.startswith(b"{"):
        return _of_object(text, name)
    return Layout(Container.CSV) if header_of(head) else None


def _what_it_is(text: bytes) -> str:
    """Return what a file that is not known begins with."""
    line = text.partition(b"\n")[0]
    members = _members_of_line(line) if line.startswith(b"{") else None
    if members:
        return f"its first record has the fields {one_line(', '.join(sorted(members)), _SHOWN)}"
    return f"it begins with {one_line(line.decode('utf-8', 'replace').strip(), _SHOWN // 2)!r}"


def _of_array(stream: JsonStream) -> Layout | None:
    """Read an array by the first of its objects that shows a shape; an empty one is an export of no events."""
    is_empty = True
    for _ in stream.elements():
        is_empty = False
        if stream.peek() != "{":
            stream.drop()
            continue
        found = _object(stream)
        if found.shape:
            return Layout(Container.DOCUMENTS, found.shape, found.envelope)
        if not found.is_whole:  # whoever reads on finds out what it is, or that it ends early
            return Layout(Container.DOCUMENTS, AUDIT)
    return Layout(Container.DOCUMENTS) if is_empty else None


def _of_object(head: bytes, name: str) -> Layout | None:
    """Read objects: one a line where the first line is one, or seems to be one longer than the head; else documents."""
    line, newline, _ = head.partition(b"\n")
    first = _whole(line)
    if first is not None and first.shape and not _is_answer(first):
        return Layout(Container.LINES, first.shape, first.envelope)
    found = _object(JsonStream(io.BytesIO(head), name))
    if _is_answer(found):
        return Layout(Container.ANSWER)
    if found.shape is None:
        return None
    is_document = found.is_whole or newline or found.envelope
    return Layout(Container.DOCUMENTS if is_document else Container.LINES, found.shape, found.envelope)


def _is_answer(found: _Object) -> bool:
    """Tell whether an object is an answer of the query API, or the error in place of one."""
    return bool({"tables", "Tables"} & found.members) or (found.shape is None and "error" in found.members)


def _whole(line: bytes) -> _Object | None:
    """Return what a line shows that is one object and nothing else."""
    stream = JsonStream(io.BytesIO(line), "")
    try:
        found = _object(stream)
        return found if found.is_whole and not stream.peek() else None
    except InputError:
        return None


def _object(stream: JsonStream, depth: int = 0) -> _Object:
    """Read an object as far as the head goes. Raises InputError where it is not JSON."""
    members: set[str] = set()
    in_array: Shape | None = None
    in_object: Shape | None = None
    envelope = ""
    is_whole = True
    try:
        for member in stream.members():
            members.add(member)
            opening = stream.peek() if depth < _MOST_NESTED else ""
            if opening == "[" and in_array is None:
                in_array, is_whole = _shape_in_array(stream, depth + 1, is_known=member in ENVELOPES)
                envelope = member if in_array else ""
            elif opening == "{" and in_object is None:
                inner = _object(stream, depth + 1)
                in_object, is_whole = inner.shape, inner.is_whole
            else:
                stream.drop()
            if not is_whole:
                break
    except EndsEarlyError:
        is_whole = False
    # A record may hold objects that look like records of their own; an array of records makes it an envelope.
    return _Object(frozenset(members), in_array or shape_of(members) or in_object, envelope, is_whole)


def _shape_in_array(stream: JsonStream, depth: int, *, is_known: bool) -> tuple[Shape | None, bool]:
    """Return the shape of an array's elements, as far as the head goes, and whether it goes to its end.

    One that is empty, or cut in its first element, has some shape where its name is known.
    """
    found: Shape | None = None
    is_empty = True
    try:
        for _ in stream.elements():
            is_empty = False
            if found is not None or stream.peek() != "{":
                stream.drop()
                continue
            inner = _object(stream, depth)
            found = inner.shape
            if not inner.is_whole:
                return found or (AUDIT if is_known else None), False
    except EndsEarlyError:
        return found or (AUDIT if is_known else None), False
    return AUDIT if is_empty and is_known else found, True


def _of_later_lines(head: bytes) -> Layout | None:
    """Find objects, one a line, after lines that are none."""
    for line in head.split(b"\n"):
        text = line.removeprefix(_MARK)
        found = _whole(text) if text.startswith(b"{") else None
        if found and found.shape:
            return Layout(Container.LINES, found.shape, found.envelope)
    return None


def _members_of_line(line: bytes) -> set[str] | None:
    try:
        return set(_decode_members(line))
    except kql.NOT_JSON:
        return None
