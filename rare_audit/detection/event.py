"""One audit event, decoded no deeper than its combination needs."""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from rare_audit.detection import kql
from rare_audit.detection.ticks import format_ticks, parse_ticks


class AuditEvent(msgspec.Struct, frozen=True, gc=False, rename="pascal"):
    """A row of AuditLogs: the columns the rule and its findings use.

    Columns: https://learn.microsoft.com/azure/azure-monitor/reference/tables/auditlogs. The dynamic ones are JSON text,
    as Log Analytics sends them, or the value itself. TimeGenerated is text that `utc_text` has passed: its hour can be
    read off, and `ticks` gives the instant to whoever needs all of it.
    """

    time_generated: str
    operation_name: str | None = None
    category: str | None = None
    id: str | None = None
    correlation_id: str | None = None
    result: str | None = None
    resource_group: str | None = None
    type: str | None = None
    initiated_by: Any = None
    target_resources: Any = None

    @property
    def ticks(self) -> int:
        """TimeGenerated in 100 ns ticks, exactly."""
        return parse_ticks(self.time_generated)


DAY: Final = slice(0, 10)
HOUR: Final = slice(0, 13)
"""Where the hour stands in the text of an instant: `2026-03-15T08`."""
_is_utc_text: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:[0-5]\d:[0-5]\d(?:\.\d{1,7})?Z", re.ASCII).fullmatch
_are_utc_texts: Final = re.compile(
    r"(?:\d{4}-\d\d-\d\dT\d\d:[0-5]\d:[0-5]\d(?:\.\d{1,7})?Z(?:\n(?!\Z)|\Z))*+", re.ASCII
).fullmatch
_decoder: Final = msgspec.json.Decoder(AuditEvent)


def is_utc_text(text: str) -> bool:
    """Tell whether text is an instant as Log Analytics writes it, in UTC with `T` and `Z`."""
    return bool(_is_utc_text(text)) and _is_hour(text[HOUR])


def utc_text(text: str) -> str:
    """Return an instant as Log Analytics writes it, in UTC with `T` and `Z`; unchanged where it is that already.

    Raises ValueError as `parse_ticks` does.
    """
    if is_utc_text(text):
        return text
    return format_ticks(parse_ticks(text))


@lru_cache(maxsize=1 << 14)  # of texts of at most 13 characters
def _is_hour(text: str) -> bool:
    try:
        parse_ticks(f"{text}:00")
    except ValueError:
        return False
    return True


def decode_event(row: bytes | str) -> AuditEvent:
    """Decode one Log Analytics row; raises msgspec.DecodeError, UnicodeDecodeError or RecursionError."""
    return _checked(_decoder.decode(row))


def decode_events(
    rows: bytes, decode_lines: Callable[[bytes], Sequence[AuditEvent]] = _decoder.decode_lines
) -> list[AuditEvent]:
    """Decode Log Analytics rows, one a line; raises as `decode_event` does, whichever row it is that can't be read.

    `decode_lines` may give events of a stricter type.
    """
    events = decode_lines(rows)
    times = [event.time_generated for event in events]
    # utc_text's own test, of all times at once: it is asked of every event
    if _are_utc_texts("\n".join(times)) and all(map(_is_hour, {time[HOUR] for time in times})):
        return list(events)
    return [_checked(event) for event in events]


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


def json_text(column: Any) -> str:
    """Return a dynamic column as JSON text; most are that already."""
    return column if isinstance(column, str) else msgspec.json.encode(column).decode()


def initiator_of(initiated_by: str) -> Initiator | None:
    """Return the app behind `InitiatedBy` (JSON text), or None where no app with a name started the event.

    The rule: `parse_json(tostring(InitiatedBy.app))`, dropped where its `displayName` is empty.
    """
    app = kql.member(kql.parse_json(initiated_by), "app")
    if isinstance(app, str):
        app = kql.parse_json(app)
    name = kql.to_string(kql.member(app, "displayName"))
    if not name:
        return None
    ip_address, app_id, principal = (
        kql.to_string(kql.member(app, field)) for field in ("ipAddress", "appId", "servicePrincipalId")
    )
    return Initiator(name, ip_address, app_id, principal)


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
decode_targets: Final = msgspec.json.Decoder(list[Target]).decode
"""Reads `TargetResources` where it is as AuditLogs holds it; raises kql.NOT_JSON for anything else."""


def targets_of(target_resources: str) -> list[Target]:
    """Return the elements of `TargetResources` (JSON text); none where the column is no array."""
    try:
        return decode_targets(target_resources)
    except msgspec.ValidationError:
        return _odd_targets(kql.parse_json(target_resources))
    except kql.NOT_JSON:
        return []


def is_not_an_array(target_resources: str) -> bool:
    """Tell whether `TargetResources` (JSON text) has something in it that can't be read as a JSON array.

    No text and null are nothing. Text that is nested too deep to be read counts as not JSON, as for `kql.parse_json`.
    """
    if not target_resources.strip():
        return False
    value = kql.parse_json(target_resources)
    return value is not None and not isinstance(value, list)


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


_has_escapes: Final = re.compile("u00").search  # many times as fast here as `in`
_has_array_value: Final = re.compile(r'newValue[\\"\snrt]*:[\\"\snrt]*\[').search


def may_count(target_resources: str) -> bool:
    r"""Tell, without decoding, whether a property of `TargetResources` may have a new value in an array.

    False is certain: no `newValue` is followed by a bracket with nothing but quotes, white space and their escapes in
    between, and nothing is spelled with `\u00` escapes.
    """
    return bool(_has_array_value(target_resources) or _has_escapes(target_resources))
