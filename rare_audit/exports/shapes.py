"""The record shapes that audit events come in, each converted to an AuditEvent.

Log Analytics rows: https://learn.microsoft.com/azure/azure-monitor/reference/tables/auditlogs.
Diagnostic-settings records: https://learn.microsoft.com/azure/azure-monitor/platform/resource-logs-schema, with the
audit event as Microsoft Graph words it in `properties`.
Graph: https://learn.microsoft.com/graph/api/resources/directoryaudit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from rare_audit.detection import kql
from rare_audit.detection.event import AuditEvent, decode_event, utc_text
from rare_audit.sources.tally import UnreadableError

AUDIT_LOGS: Final = "AuditLogs"


def instant(value: Any) -> str:
    """Return the instant that a time column's text names, as an event holds it; UnreadableError where it names none."""
    if not isinstance(value, str):
        raise UnreadableError("no readable time")
    try:
        return utc_text(value)
    except ValueError as error:
        raise UnreadableError("no readable time") from error


class _Activity(msgspec.Struct, rename="camel"):
    activity_display_name: Any = None


class _Properties(msgspec.Struct, rename="camel"):
    activity_display_name: str | None = None
    operation_name: str | None = None
    category: str | None = None
    correlation_id: str | None = None
    id: str | None = None
    result: str | None = None
    initiated_by: Any = None
    target_resources: Any = None


class _DirectoryAudit(_Properties, rename="camel"):
    activity_date_time: Any = None


class _DiagnosticRecord(msgspec.Struct, rename="camel"):
    time: Any = None
    category: str | None = None
    operation_name: str | None = None
    correlation_id: str | None = None
    properties: msgspec.Raw = msgspec.Raw(b"null")


_decode_activity: Final = msgspec.json.Decoder(_Activity).decode
_decode_properties: Final = msgspec.json.Decoder(_Properties).decode
_decode_audit: Final = msgspec.json.Decoder(_DirectoryAudit).decode
_decode_record: Final = msgspec.json.Decoder(_DiagnosticRecord).decode


def diagnostic_event(record: bytes) -> AuditEvent | str:
    """Return the event of a diagnostic-settings record, or its category where it is no audit event.

    Columns that the record itself has come first, as Log Analytics takes OperationName and CorrelationId from there;
    the category is the one in `properties`, since the record's own is the name of the log. Raises UNREADABLE.
    """
    outer = _decode_record(record)
    category = outer.category or ""
    in_audit_log = category.lower() == AUDIT_LOGS.lower()
    if not in_audit_log and not _has_activity(outer.properties):
        if not category:
            raise UnreadableError("no category")
        return category
    inner = _decode_properties(outer.properties)
    return AuditEvent(
        time_generated=instant(outer.time),
        operation_name=outer.operation_name or inner.operation_name or inner.activity_display_name,
        category=inner.category or (None if in_audit_log else outer.category),
        id=inner.id,
        correlation_id=outer.correlation_id or inner.correlation_id,
        result=inner.result,
        type=AUDIT_LOGS,
        initiated_by=inner.initiated_by,
        target_resources=inner.target_resources,
    )


def _has_activity(properties: msgspec.Raw) -> bool:
    try:
        return _decode_activity(properties).activity_display_name is not None
    except kql.NOT_JSON:
        return False


def graph_event(audit: bytes) -> AuditEvent:
    """Return the event of a Graph directoryAudit; raises UNREADABLE."""
    read = _decode_audit(audit)
    return AuditEvent(
        time_generated=instant(read.activity_date_time),
        operation_name=read.activity_display_name,
        category=read.category,
        id=read.id,
        correlation_id=read.correlation_id,
        result=read.result,
        type=AUDIT_LOGS,
        initiated_by=read.initiated_by,
        target_resources=read.target_resources,
    )


class _Records(msgspec.Struct):
    inner: list[msgspec.Raw] | None = msgspec.field(name="records", default=None)


class _Value(msgspec.Struct):
    inner: list[msgspec.Raw] | None = msgspec.field(name="value", default=None)


@dataclass(frozen=True)
class Shape:
    """How records look: the members that tell, the one that envelops many of them, and how one becomes an event."""

    members: frozenset[str]
    convert: Callable[[bytes], AuditEvent | str]
    envelope: str = ""
    _decode_envelope: Callable[[bytes], _Records | _Value] | None = None

    def unwrapped(self, text: bytes) -> Sequence[bytes]:
        """Return the records in an envelope, or the text itself where it is none; raises UNREADABLE."""
        if self._decode_envelope is None:
            return (text,)
        inner = self._decode_envelope(text).inner
        return (text,) if inner is None else inner


ROW: Final = Shape(frozenset({"TimeGenerated", "OperationName", "InitiatedBy", "TargetResources"}), decode_event)
RECORD: Final = Shape(
    frozenset({"records", "time", "properties"}), diagnostic_event, "records", msgspec.json.Decoder(_Records).decode
)
DIRECTORY_AUDIT: Final = Shape(
    frozenset({"value", "activityDateTime", "activityDisplayName"}),
    graph_event,
    "value",
    msgspec.json.Decoder(_Value).decode,
)
SHAPES: Final = (ROW, RECORD, DIRECTORY_AUDIT)


def shape_of(members: set[str]) -> Shape | None:
    """Return the shape that an object with these members has, or None."""
    return next((shape for shape in SHAPES if not shape.members.isdisjoint(members)), None)
