"""A row's body: a whole value as JSON text in one column, or, where that is too long for a row, in rows of its own."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple, TypeVar

import msgspec

from rare_audit.errors import RefusedError, ServiceError
from rare_audit.ports import Entity, Table, Value
from rare_audit.reporting.secrets import error_line
from rare_audit.stores.keys import key_of

BODY: Final = "body"
LONGEST: Final = 200_000
"""Characters of a body in one row: at most 800,000 bytes, whatever they are, of the 1 MiB that a row may have."""
_DIGEST: Final = "digest"
_PARTS: Final = "parts"
T = TypeVar("T", bound=msgspec.Struct)


class LongRow(NamedTuple):
    """A row to be written with its body, however long, and other columns."""

    partition: str
    row: str
    text: str
    columns: Mapping[str, Value] = {}


class StoredRowError(ServiceError):
    """A stored row can't be read: it is of another version, or damaged. `where` has its keys."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"the stored row {where} {what}")
        self.where = where


class PartsError(StoredRowError):
    """A long row is not whole: it is just being removed, or something else removed a part of it."""


def pack(value: msgspec.Struct) -> str:
    """Return `value` as JSON text, lone surrogates as they are: an error about a file's name may hold some."""
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=False, separators=(",", ":"))


def unpack(entity: Entity, kind: type[T]) -> T:
    """Return the value that a row's body holds; StoredRowError where it holds none of that kind."""
    if entity.unreadable:
        raise StoredRowError(_where(entity), entity.unreadable)
    return _read(str(entity.values.get(BODY, "")), entity, kind)


def put_each(table: Table, rows: Iterable[LongRow]) -> dict[str, RefusedError]:
    """Write rows, each on its own; return what the table refused for what it holds, by row. All others are written.

    Raises ServiceError for what may be no fault of the row.
    """
    refused: dict[str, RefusedError] = {}
    for one in rows:
        try:
            put_long(table, *one)
        except RefusedError as error:
            if not error.is_for_content:
                raise
            refused[one.row] = error
    return refused


def put_long(table: Table, partition: str, row: str, text: str, columns: Mapping[str, Value] | None = None) -> None:
    """Write a body of any length, and other columns.

    What is too long for a row goes into others first, under a digest of its own: a row never names what is not all
    there, and who reads the old one meanwhile still has its parts. They go with the row, by `long_parts`.
    """
    table.put(long_row(table, partition, row, text, columns))


def long_row(table: Table, partition: str, row: str, text: str, columns: Mapping[str, Value] | None = None) -> Entity:
    """Write the parts of a body that is too long for a row; return the row itself, for its writer to write."""
    if len(text) <= LONGEST:
        return Entity(partition, row, {**(columns or {}), BODY: text})
    digest = _digest(text)
    chunks = [text[at : at + LONGEST] for at in range(0, len(text), LONGEST)]
    for number, chunk in enumerate(chunks):
        table.put(Entity(_place(partition, row), f"{digest}.{number:06d}", {BODY: chunk}))
    return Entity(partition, row, {**(columns or {}), _DIGEST: digest, _PARTS: len(chunks)})


def drop_old_parts(table: Table, partition: str, row: str, text: str) -> None:
    """Remove what earlier bodies of a row, long as this one, went into; for rows that nobody reads meanwhile."""
    if len(text) > LONGEST:
        digest = _digest(text)
        for part in table.query(_place(partition, row)):
            if not part.row.startswith(f"{digest}."):
                table.delete(part.partition, part.row)


def unpack_long(table: Table, entity: Entity, kind: type[T]) -> T:
    """Return the value whose body `put_long` wrote.

    StoredRowError where it holds none of that kind, PartsError where a part of it is gone.
    """
    if _DIGEST not in entity.values:
        return unpack(entity, kind)
    digest = str(entity.values[_DIGEST])
    place = _place(entity.partition, entity.row)
    found = table.query(place, first=f"{digest}.", last=f"{digest}.~")
    parts = [str(part.values[BODY]) for part in found if BODY in part.values]
    if len(parts) != entity.values.get(_PARTS):
        raise PartsError(_where(entity), f"has {len(parts)} of its {entity.values.get(_PARTS)} parts")
    return _read("".join(parts), entity, kind)


def long_parts(table: Table, partition: str, row: str) -> Iterator[tuple[str, str]]:
    """Yield the keys of all rows that bodies of this row ever went into."""
    for part in table.query(_place(partition, row)):
        yield part.partition, part.row


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _place(partition: str, row: str) -> str:
    return f"parts.{key_of(partition, row)}"


def _read(text: str, entity: Entity, kind: type[T]) -> T:
    try:
        return msgspec.convert(json.loads(text), kind)
    except (json.JSONDecodeError, msgspec.ValidationError, RecursionError) as error:
        raise StoredRowError(_where(entity), f"holds no {kind.__name__}: {error_line(str(error))}") from error


def _where(entity: Entity) -> str:
    return f"{entity.partition} {entity.row}"
