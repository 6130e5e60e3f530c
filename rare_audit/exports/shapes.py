"""The shapes that audit events come in, each converted to an AuditEvent.

A record is recognised by its own members, never by what it is wrapped in.

Diagnostic-settings records: https://learn.microsoft.com/azure/azure-monitor/platform/resource-logs-schema, with the
audit event as Microsoft Graph words it in `properties`.
Graph: https://learn.microsoft.com/graph/api/resources/directoryaudit. PowerShell's Get-Mg commands write the same with
capital initials: https://github.com/microsoftgraph/msgraph-sdk-powershell/issues/886.
"""

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from rare_audit.detection import kql
from rare_audit.detection.event import AuditEvent
from rare_audit.exports.context import Context, checked, found, missing
from rare_audit.exports.rows import row_event
from rare_audit.exports.unified import LACKS, is_unified_record, unified_event
from rare_audit.sources.tally import UnreadableError

AUDIT_LOGS: Final = "AuditLogs"
_TEXT: Final = str | None


class _Audit(msgspec.Struct, rename="camel"):
    """A directoryAudit; also what stands in a diagnostic record's `properties`."""

    activity_date_time: Any = msgspec.UNSET
    activity_display_name: str | None = None
    operation_name: str | None = None
    category: str | None = None
    correlation_id: str | None = None
    id: str | None = None
    result: str | None = None
    initiated_by: Any = msgspec.UNSET
    target_resources: Any = msgspec.UNSET


class _DiagnosticRecord(msgspec.Struct, rename="camel"):
    time: Any = msgspec.UNSET
    category: str | None = None
    operation_name: str | None = None
    correlation_id: str | None = None
    properties: msgspec.Raw = msgspec.Raw(b"null")


class _Activity(msgspec.Struct, rename="camel"):
    activity_display_name: Any = None


_decode_activity: Final = msgspec.json.Decoder(_Activity).decode
_decode_audit: Final = msgspec.json.Decoder(_Audit).decode
_decode_record: Final = msgspec.json.Decoder(_DiagnosticRecord).decode
_decode_text: Final = msgspec.json.Decoder(str).decode
_decode_object: Final = msgspec.json.Decoder(dict[str, Any]).decode


def diagnostic_event(record: bytes, context: Context) -> AuditEvent | str:
    """Return the event of a diagnostic-settings record, or its category where it is not an audit event.

    Columns that the record itself has come first, as Log Analytics takes OperationName and CorrelationId from there;
    the category is the one in `properties`, since the record's own is the name of the log. Raises UNREADABLE.
    """
    outer = _decode_record(record)
    category = outer.category or ""
    in_audit_log = category.lower() == "auditlogs"
    if not in_audit_log and not _has_activity(outer.properties):
        if not category:
            raise UnreadableError("no category")
        return category
    audit = _decode_audit(_properties(outer.properties))
    audit.activity_display_name = outer.operation_name or audit.operation_name or audit.activity_display_name
    audit.category = audit.category or (None if in_audit_log else outer.category)
    audit.correlation_id = outer.correlation_id or audit.correlation_id
    if outer.time is not msgspec.UNSET:
        audit.activity_date_time = outer.time
    if audit.target_resources is msgspec.UNSET:  # some records leave out what is null
        audit.target_resources = None
    return _event(audit, context, ("time", "operationName"))


def _properties(raw: msgspec.Raw) -> msgspec.Raw | bytes:
    """Return `properties` as JSON of an object, where it is that, or JSON text of one: Event Hubs carry both."""
    if bytes(memoryview(raw)[:1]) != b'"':
        return raw
    text = _decode_text(raw)
    if not text.lstrip().startswith("{"):
        raise UnreadableError("properties is not a JSON object", found(text))
    return text.encode()


def _has_activity(properties: msgspec.Raw) -> bool:
    try:
        return _decode_activity(_properties(properties)).activity_display_name is not None
    except (*kql.NOT_JSON, UnreadableError):
        return False


def audit_event(record: bytes, context: Context) -> AuditEvent:
    """Return the event of a Graph directoryAudit, in either case of its names; raises UNREADABLE."""
    audit = _decode_audit(record)
    if audit.activity_date_time is msgspec.UNSET and audit.initiated_by is msgspec.UNSET:
        audit = _capitalised(record)
    return _event(audit, context, ("activityDateTime", "activityDisplayName"))


def _capitalised(record: bytes) -> _Audit:
    """Read an audit whose names have capital initials, as deep as the rule looks."""
    values = {_camel(name): value for name, value in _decode_object(record).items()}
    for name in ("initiatedBy", "targetResources"):
        if name in values:
            values[name] = _all_camel(values[name])
    return msgspec.convert(values, _Audit)


def _all_camel(value: Any) -> Any:
    if isinstance(value, dict):
        return {_camel(name): _all_camel(inner) for name, inner in value.items()}
    return [_all_camel(element) for element in value] if isinstance(value, list) else value


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]


def _event(audit: _Audit, context: Context, names: tuple[str, str]) -> AuditEvent:
    """Return an audit's event; `names` are those that its shape has for its time and its operation."""
    if audit.activity_date_time is msgspec.UNSET:
        raise missing(names[0])
    if _lacks(audit):
        if not context.lenient:
            raise missing(_first_missing(audit, names[1]))
        audit.initiated_by = None if audit.initiated_by is msgspec.UNSET else audit.initiated_by
        audit.target_resources = None if audit.target_resources is msgspec.UNSET else audit.target_resources
    event = AuditEvent(
        time_generated=context.clock(audit.activity_date_time),
        operation_name=audit.activity_display_name,
        category=audit.category,
        id=audit.id,
        correlation_id=audit.correlation_id,
        result=audit.result,
        type=AUDIT_LOGS,
        initiated_by=audit.initiated_by,
        target_resources=audit.target_resources,
    )
    return checked(event, context)


def _lacks(audit: _Audit) -> bool:
    if audit.initiated_by is msgspec.UNSET or audit.target_resources is msgspec.UNSET:
        return True
    return audit.activity_display_name is None


def _first_missing(audit: _Audit, operation: str) -> str:
    if audit.initiated_by is msgspec.UNSET:
        return "initiatedBy"
    return "targetResources" if audit.target_resources is msgspec.UNSET else operation


class _Wrapped(msgspec.Struct):
    """A row of Search-UnifiedAuditLog, or a record of Graph's audit search, with the record itself inside."""

    text: msgspec.Raw = msgspec.field(name="AuditData", default=msgspec.Raw())
    value: msgspec.Raw = msgspec.field(name="auditData", default=msgspec.Raw())


_decode_wrapped: Final = msgspec.json.Decoder(_Wrapped).decode


def _unified(record: bytes, context: Context) -> AuditEvent | str:
    context.notes.add(LACKS)
    wrapped = _decode_wrapped(record)
    inner = bytes(wrapped.text) or bytes(wrapped.value) or record
    event = unified_event(_decode_text(inner) if inner.startswith(b'"') else inner, context.clock)
    return event if isinstance(event, str) else checked(event, context)


@dataclass(frozen=True)
class Shape:
    """How records look, and how one becomes an event or, where it is none, the category to count it under."""

    name: str
    convert: Callable[[bytes, Context], AuditEvent | str]


ROW: Final = Shape("Log Analytics row", row_event)
DIAGNOSTIC: Final = Shape("diagnostic-settings record", diagnostic_event)
AUDIT: Final = Shape("Graph directoryAudit", audit_event)
UNIFIED: Final = Shape("unified audit log record", _unified)
LOOKED_FOR: Final = (
    "TimeGenerated, OperationName, InitiatedBy and TargetResources (a Log Analytics row); time, category and "
    "properties (a diagnostic-settings record); activityDateTime, activityDisplayName, initiatedBy and targetResources "
    "(Microsoft Graph, the Entra portal); or CreationTime, Operation and RecordType (the unified audit log)"
)
"""The fields that records are recognised by, for whoever has a file without them."""

_ROW_MEMBERS: Final = frozenset({"TimeGenerated", "OperationName", "InitiatedBy", "TargetResources"})


def shape_of(members: AbstractSet[str]) -> Shape | None:
    """Return the shape that an object with these members has, or None."""
    if "TimeGenerated" in members:
        return ROW
    if is_unified_record(set(members)) or {"AuditData", "auditData"} & members:
        return UNIFIED
    if {"activityDateTime", "activityDisplayName"} & members:
        return AUDIT
    if _is_diagnostic(members):
        return DIAGNOSTIC
    if "ActivityDateTime" in members and "OperationName" not in members:
        return AUDIT
    return ROW if _ROW_MEMBERS & members else None


def _is_diagnostic(members: AbstractSet[str]) -> bool:
    if "properties" in members:
        return bool(members & {"time", "category", "operationName", "resourceId"})
    return "time" in members and bool(members & {"category", "operationName"})
