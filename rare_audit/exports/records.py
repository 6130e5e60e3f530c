"""One record as JSON: by the shape of its file, or if it has another by its own, or what it is wrapped in."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from rare_audit.detection import kql
from rare_audit.detection.event import AuditEvent
from rare_audit.exports.context import Context
from rare_audit.exports.shapes import LOOKED_FOR, Shape, shape_of
from rare_audit.reporting.text import one_line
from rare_audit.sources.tally import UNREADABLE, Tally, UnreadableError, reason_of

LONGEST_RECORD: Final = 4 << 20
"""Bytes of the longest record. Decoded, one may take fifty times as much memory; AuditLogs holds none over 1 MiB."""
_MOST_NESTED: Final = 3
_SHOWN: Final = 160
_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_elements: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


@dataclass(frozen=True)
class Taken:
    """What a record is taken with: the shape that it should have, its place, and who counts it."""

    shape: Shape
    place: str
    tally: Tally
    context: Context


def take_record(text: bytes, taken: Taken, envelope: str = "") -> Iterator[AuditEvent]:
    """Yield the events of a record, or of the records that it holds under `envelope`, and count what became of each."""
    if len(text) > LONGEST_RECORD:
        taken.tally.reject(UnreadableError("record larger than 4 MiB"), taken.place)
        return
    try:
        inner = _enveloped(text, envelope) if envelope else [text]
    except UNREADABLE as error:
        taken.tally.reject(error, taken.place)
        return
    for record in inner:
        yield from _take(bytes(record), taken)


def _enveloped(text: bytes, envelope: str) -> list[bytes] | list[msgspec.Raw]:
    """Return the records in an envelope, or the text itself where it is none; raises UNREADABLE."""
    members = _decode_members(text)
    return _decode_elements(members[envelope]) if envelope in members else [text]


def _take(record: bytes, taken: Taken) -> Iterator[AuditEvent]:
    tally = taken.tally
    try:
        event = taken.shape.convert(record, taken.context)
    except UNREADABLE as error:
        others = _otherwise(record, taken)
        if others is None:
            tally.reject(_explained(error, record), taken.place)
            return
        yield from others
        return
    if isinstance(event, AuditEvent):
        tally.count(record)
        yield event
        return
    others = _otherwise(record, taken)
    if others is None:
        tally.skip_category(event)
    else:
        yield from others


def _otherwise(record: bytes, taken: Taken, depth: int = 0) -> list[AuditEvent] | None:
    """Return the events of a record of another shape than its file's, or of what it wraps; None where it is none."""
    try:
        members = _decode_members(record)
    except kql.NOT_JSON:
        return None
    shape = shape_of(members.keys())
    if shape is taken.shape:
        return None
    if shape is not None:
        return _counted(record, replace(taken, shape=shape))
    if depth == _MOST_NESTED:
        return None
    for raw in members.values():
        inner = _inner(bytes(raw))
        if inner and _holds_record(inner[0]):
            return [event for each in inner for event in _unwrapped(each, taken, depth + 1)]
    return None


def _unwrapped(record: bytes, taken: Taken, depth: int) -> list[AuditEvent]:
    events = _otherwise(record, taken, depth)
    return _counted(record, taken) if events is None else events


def _counted(record: bytes, taken: Taken) -> list[AuditEvent]:
    event = taken.tally.take(lambda text: taken.shape.convert(text, taken.context), record, taken.place)
    return [] if event is None else [event]


def _inner(raw: bytes) -> list[bytes]:
    """Return the objects that a member holds: one, or those of an array."""
    if raw.startswith(b"{"):
        return [raw]
    if not raw.startswith(b"["):
        return []
    return [bytes(each) for each in _decode_elements(raw)]


def _holds_record(text: bytes, depth: int = 1) -> bool:
    """Tell whether an object is a record, or wraps one."""
    try:
        members = _decode_members(text)
    except kql.NOT_JSON:
        return False
    if shape_of(members.keys()) is not None:
        return True
    if depth == _MOST_NESTED:
        return False
    return any(inner and _holds_record(inner[0], depth + 1) for inner in map(_inner, map(bytes, members.values())))


def _explained(error: Exception, record: bytes) -> Exception:
    """Return the error with what is wrong with a record that has no known shape, or a comma behind it."""
    if isinstance(error, msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError):
        if record.rstrip().endswith(b","):
            return UnreadableError("trailing comma", "a line holds one object and nothing behind it")
        return error
    try:
        members = _decode_members(record)
    except kql.NOT_JSON:
        return error
    if shape_of(members.keys()) is not None:
        return error
    names = one_line(", ".join(members), _SHOWN) or "nothing"
    return UnreadableError(reason_of(error), f"found {names}; looked for {LOOKED_FOR}")
