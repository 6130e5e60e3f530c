"""One audit event, decoded no deeper than its combination needs."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import msgspec

from rare_audit.detection import kql
from rare_audit.detection.ticks import Ticks, parse_ticks

NULL: Final = msgspec.Raw(b"null")


class AuditEvent(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A row of AuditLogs: the columns the rule and its findings use.

    Columns: https://learn.microsoft.com/azure/azure-monitor/reference/tables/auditlogs. The dynamic ones stay raw
    JSON: either the value itself or, as Log Analytics sends them, a string that holds its JSON text.
    """

    time_generated: Ticks
    operation_name: str | None = None
    category: str | None = None
    id: str | None = None
    correlation_id: str | None = None
    result: str | None = None
    resource_group: str | None = None
    type: str | None = None
    initiated_by: msgspec.Raw = NULL
    target_resources: msgspec.Raw = NULL


def _decode_ticks(kind: type, value: Any) -> Any:
    if kind is not Ticks or not isinstance(value, str):
        raise TypeError(f"expected an instant as text, got {type(value).__name__}")
    return parse_ticks(value)


decode_event: Final = msgspec.json.Decoder(AuditEvent, dec_hook=_decode_ticks).decode
"""Decode one Log Analytics row from JSON bytes; raises msgspec.DecodeError, UnicodeDecodeError or RecursionError."""


class Initiator(msgspec.Struct, frozen=True, gc=False):
    """The application that `InitiatedBy.app` names."""

    app: str
    ip_address: str
    app_id: str
    service_principal_id: str


@lru_cache(maxsize=1 << 13)
def initiator_of(initiated_by: bytes) -> Initiator | None:
    """Return the app behind `InitiatedBy` (raw JSON), or None where no app with a name started the event.

    The rule: `parse_json(tostring(InitiatedBy.app))`, dropped where its `displayName` is empty. Few distinct texts
    recur all day, so they are remembered.
    """
    app = kql.member(_column(initiated_by), "app")
    if isinstance(app, str):
        app = kql.parse_json(app)
    name = kql.to_string(kql.member(app, "displayName"))
    if not name:
        return None
    ip_address, app_id, principal = (
        kql.to_string(kql.member(app, field)) for field in ("ipAddress", "appId", "servicePrincipalId")
    )
    return Initiator(name, ip_address, app_id, principal)


def _column(raw: bytes) -> Any:
    value = kql.parse_json(raw)
    return kql.parse_json(value) if isinstance(value, str) else value


class Property(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One element of `modifiedProperties`; absent members are null."""

    display_name: Any = None
    old_value: Any = None
    new_value: Any = None


class Target(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One element of `TargetResources`, its properties still raw."""

    id: Any = None
    type: Any = None
    display_name: Any = None
    user_principal_name: Any = None
    modified_properties: msgspec.Raw = NULL


NO_TARGET: Final = Target()
_decode_raws: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_decode_target: Final = msgspec.json.Decoder(Target).decode
_decode_properties: Final = msgspec.json.Decoder(list[Property]).decode


def targets_of(target_resources: msgspec.Raw) -> list[msgspec.Raw]:
    """Return the elements of `TargetResources`, each still raw JSON; none where the column is no array."""
    raw: bytes | str = bytes(target_resources)
    try:
        if raw[:1] == b'"':
            raw = _decode_text(raw)
        return _decode_raws(raw)
    except kql.NOT_JSON:
        return []


def read_target(element: msgspec.Raw) -> Target:
    """Return one target; one that is no object has no members, as KQL reads it."""
    try:
        return _decode_target(element)
    except kql.NOT_JSON:
        return NO_TARGET


def properties_of(target: Target) -> Iterator[Property]:
    """Yield the rows that `mv-expand` makes of `modifiedProperties`; null is one row of nulls."""
    try:
        yield from _decode_properties(target.modified_properties)
    except kql.NOT_JSON:
        value = kql.parse_json(bytes(target.modified_properties))
        for row in kql.expand(value):
            yield Property(*(kql.member(row, name) for name in ("displayName", "oldValue", "newValue")))
