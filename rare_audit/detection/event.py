"""One audit event, decoded no deeper than its combination needs."""

import re
from functools import lru_cache
from typing import Any, Final

import msgspec

from rare_audit.detection import kql
from rare_audit.detection.ticks import format_ticks, parse_ticks

NULL: Final = msgspec.Raw(b"null")


class AuditEvent(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A row of AuditLogs: the columns the rule and its findings use.

    Columns: https://learn.microsoft.com/azure/azure-monitor/reference/tables/auditlogs. The dynamic ones stay raw
    JSON: either the value itself or, as Log Analytics sends them, a string that holds its JSON text. TimeGenerated is
    text that `utc_text` has passed: its hour can be read off, and `ticks` gives the instant to whoever needs it all.
    """

    time_generated: str
    operation_name: str | None = None
    category: str | None = None
    id: str | None = None
    correlation_id: str | None = None
    result: str | None = None
    resource_group: str | None = None
    type: str | None = None
    initiated_by: msgspec.Raw = NULL
    target_resources: msgspec.Raw = NULL

    @property
    def ticks(self) -> int:
        """TimeGenerated in 100 ns ticks, exactly."""
        return parse_ticks(self.time_generated)


HOUR: Final = slice(0, 13)
"""Where the hour stands in the text of an instant: `2026-03-15T08`."""
_is_utc_text: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:[0-5]\d:[0-5]\d(?:\.\d{1,7})?Z", re.ASCII).fullmatch
_decoder: Final = msgspec.json.Decoder(AuditEvent)


def utc_text(text: str) -> str:
    """Return an instant as Log Analytics writes it, in UTC with `T` and `Z`; unchanged where it is that already.

    Raises ValueError as `parse_ticks` does.
    """
    if _is_utc_text(text) and _is_hour(text[HOUR]):
        return text
    return format_ticks(parse_ticks(text))


@lru_cache(maxsize=1 << 14)
def _is_hour(text: str) -> bool:
    try:
        parse_ticks(f"{text}:00")
    except ValueError:
        return False
    return True


def decode_event(row: bytes | str) -> AuditEvent:
    """Decode one Log Analytics row; raises msgspec.DecodeError, UnicodeDecodeError or RecursionError."""
    return _checked(_decoder.decode(row))


def decode_events(rows: bytes) -> list[AuditEvent]:
    """Decode Log Analytics rows, one a line; raises as `decode_event` does, whichever row it is that can't be read."""
    events = _decoder.decode_lines(rows)
    return [
        # utc_text's own test, without its call: it is asked of every event
        event if _is_utc_text(event.time_generated) and _is_hour(event.time_generated[HOUR]) else _checked(event)
        for event in events
    ]


def _checked(event: AuditEvent) -> AuditEvent:
    try:
        return msgspec.structs.replace(event, time_generated=utc_text(event.time_generated))
    except ValueError as error:
        raise msgspec.ValidationError(f"{error} - at `$.TimeGenerated`") from error


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
    """One row that `mv-expand` makes of `modifiedProperties`; absent members are null."""

    display_name: Any = None
    old_value: Any = None
    new_value: Any = None


class Target(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One element of `TargetResources`."""

    id: Any = None
    type: Any = None
    display_name: Any = None
    user_principal_name: Any = None
    modified_properties: list[Property] | None = None

    @property
    def rows(self) -> list[Property]:
        """The rows of `mv-expand ModProps`: null is one row of nulls."""
        return _ROW_OF_NULLS if self.modified_properties is None else self.modified_properties


_ROW_OF_NULLS: Final = [Property()]
NO_TARGET: Final = Target()
_decode_text: Final = msgspec.json.Decoder(str).decode
_decode_targets: Final = msgspec.json.Decoder(list[Target]).decode


def targets_of(target_resources: bytes) -> list[Target]:
    """Return the elements of `TargetResources` (raw JSON); none where the column is no array."""
    text: bytes | str = target_resources
    try:
        if target_resources[:1] == b'"':
            text = _decode_text(target_resources)
        return _decode_targets(text)
    except msgspec.ValidationError:
        return _odd_targets(kql.parse_json(text))
    except kql.NOT_JSON:
        return []


def _odd_targets(value: Any) -> list[Target]:
    """Read targets that do not look as they should, member by member, as KQL does."""
    return [_odd_target(element) for element in value] if isinstance(value, list) else []


def _odd_target(element: Any) -> Target:
    rows = [
        Property(*(kql.member(row, name) for name in ("displayName", "oldValue", "newValue")))
        for row in kql.expand(kql.member(element, "modifiedProperties"))
    ]
    id_, kind, name, upn = (kql.member(element, of) for of in ("id", "type", "displayName", "userPrincipalName"))
    return Target(id_, kind, name, upn, rows)


_has_escapes: Final = re.compile(b"u00").search  # many times as fast here as `in`


def head_of(target_resources: bytes) -> bytes | None:
    r"""Return the part of `TargetResources` that says who the first target is, or None where that can't be told.

    It ends where the first `modifiedProperties` begins. Two columns with the same head have the same first
    userPrincipalName: no such member stands behind it, nor one spelled with `\u00` escapes.
    """
    end = target_resources.find(b"modifiedProperties")
    if end < 0 or target_resources.find(b"userPrincipalName", end) >= 0 or _has_escapes(target_resources):
        return None
    return target_resources[:end]


_ARRAY_VALUE: Final = re.compile(rb'newValue[\\"\snrt]*:[\\"\snrt]*\[')


def may_count(target_resources: bytes) -> bool:
    r"""Tell, without decoding, whether a property of `TargetResources` may have a new value in an array.

    False is certain: no `newValue` is followed by a bracket with nothing but quotes, white space and their escapes in
    between, and nothing is spelled with `\u00` escapes.
    """
    return _ARRAY_VALUE.search(target_resources) is not None or _has_escapes(target_resources) is not None
