"""Values as properties of an Azure Tables entity, and back: any text, letter for letter, within the service's limits.

A value is a property of its own, under a prefix that keeps it apart from the service's own names. Text that is long, or
holds what may not survive the way, is packed: UTF-8, deflated, in as many binary properties as it takes.

Limits: https://learn.microsoft.com/rest/api/storageservices/understanding-the-table-service-data-model (64 KiB for a
property, 252 properties, 1 MiB for an entity and how that is counted).
"""

import re
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final

from rare_audit.errors import RefusedError
from rare_audit.ports import Entity, Value

MARK: Final = "write"
"""The property that tells writes apart, of one row and one content too."""
Property = str | bool | bytes | tuple[int, str]

_MOST_BYTES: Final = 1024 * 1024
_MOST_PROPERTIES: Final = 252
_CHUNK: Final = 60_000
_PLAIN: Final = re.compile(
    # What JSON, XML and .NET all keep: no control characters, lone surrogates or noncharacters. And no more than 4,096
    # characters: longer text nobody reads in a table, and packed it takes a quarter of the space.
    "[\t\n\r\x20-\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010fffd]{0,4096}"
)
_NAME: Final = re.compile("[A-Za-z][A-Za-z0-9_]{0,99}")
_PACKED: Final = re.compile(r"z(\d+)_(.+)")
_VALUE: Final = "v_"


def encode(entity: Entity, mark: str) -> dict[str, Property]:
    """Return an entity as azure-data-tables takes it, `mark` told as MARK.

    ValueError for a value's name that is no identifier, or a number of more than 63 bits; RefusedError where the row is
    more than the service keeps: it is never cut.
    """
    stored: dict[str, Property] = {"PartitionKey": entity.partition, "RowKey": entity.row, MARK: mark}
    for name, value in entity.values.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"not a name for a value: {name[:40]!r}")
        stored.update(_encoded(name, value))
    size = _size(stored)
    if size > _MOST_BYTES or len(stored) > _MOST_PROPERTIES:
        raise RefusedError(
            f"the row {entity.partition} {entity.row} is too large to be stored: {size:,} bytes in {len(stored)} "
            f"properties, packed, where a table keeps {_MOST_BYTES:,} in {_MOST_PROPERTIES}",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        )
    return stored


def _encoded(name: str, value: Value) -> Iterator[tuple[str, Property]]:
    if isinstance(value, bool):
        yield f"{_VALUE}{name}", value
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**63:
            raise ValueError(f"the number {name} has more than 63 bits")
        # Small ones too: a column of two types can't be filtered by everywhere (Azurite 3.35 answers 500).
        yield f"{_VALUE}{name}", (value, "Edm.Int64")
    elif _PLAIN.fullmatch(value):
        yield f"{_VALUE}{name}", value
    else:
        packed = zlib.compress(value.encode("utf-8", "surrogatepass"))
        for number, at in enumerate(range(0, len(packed), _CHUNK)):
            yield f"z{number}_{name}", packed[at : at + _CHUNK]


def _size(stored: Mapping[str, Property]) -> int:
    """Return the bytes the service counts for an entity, its Timestamp included."""
    return 4 + 40 + sum(8 + 2 * len(name) + _weight(value) for name, value in stored.items())


def _weight(value: Property) -> int:
    match value:
        case bool():
            return 1
        case str():
            return 4 + len(value.encode("utf-16-le"))
        case bytes():
            return 4 + len(value)
        case _:
            return 8


class UnpackError(Exception):
    """Packed text of a row is not whole: something else wrote it, or cut it. Nobody but the table meets it."""


def decode(stored: Mapping[str, Any]) -> dict[str, Value]:
    """Return the values of an entity that azure-data-tables read; properties that are nobody's are left out.

    UnpackError where packed text is not whole: the row was written by something else.
    """
    values: dict[str, Value] = {}
    packed: dict[str, dict[int, bytes]] = defaultdict(dict)
    for name, value in stored.items():
        if name.startswith(_VALUE):
            values[name.removeprefix(_VALUE)] = value[0] if isinstance(value, tuple) else value
        elif chunk := _PACKED.fullmatch(name):
            packed[chunk[2]][int(chunk[1])] = value
    for name, chunks in packed.items():
        try:
            text = zlib.decompress(b"".join(chunks[number] for number in range(len(chunks))))
            values[name] = text.decode("utf-8", "surrogatepass")
        except (zlib.error, UnicodeDecodeError, KeyError, TypeError) as error:
            raise UnpackError(f"has no readable {name}") from error
    return values
