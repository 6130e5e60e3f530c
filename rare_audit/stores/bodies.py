"""A row's body: a whole value as JSON text in one column."""

import json
from typing import Final, TypeVar

import msgspec

from rare_audit.errors import ServiceError
from rare_audit.ports import Entity

BODY: Final = "body"
T = TypeVar("T", bound=msgspec.Struct)


def pack(value: msgspec.Struct) -> str:
    """Return `value` as JSON text, lone surrogates as they are: an error about a file's name may hold some."""
    return json.dumps(msgspec.to_builtins(value), ensure_ascii=False, separators=(",", ":"))


def unpack(entity: Entity, kind: type[T]) -> T:
    """Return the value that a row's body holds; ServiceError where it holds none of that kind."""
    try:
        return msgspec.convert(json.loads(str(entity.values.get(BODY, ""))), kind)
    except (json.JSONDecodeError, msgspec.ValidationError) as error:
        where = f"{entity.partition} {entity.row}"
        raise ServiceError(f"the stored row {where} holds no {kind.__name__}: {error}") from error
