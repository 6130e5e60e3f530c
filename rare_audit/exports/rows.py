"""Log Analytics rows: the columns of AuditLogs as JSON, by their own names.

Source: https://learn.microsoft.com/azure/azure-monitor/reference/tables/auditlogs.
"""

from typing import Any, Final

import msgspec

from rare_audit.detection.event import AuditEvent, decode_events
from rare_audit.exports.columns import defect, look_sound
from rare_audit.exports.context import Context, checked, missing


class _Row(AuditEvent, frozen=True, gc=False, rename="pascal", kw_only=True):
    """A row that has every column the rule reads, though it may be null."""

    operation_name: str | None
    initiated_by: Any
    target_resources: Any


class _AnyRow(msgspec.Struct, gc=False, rename="pascal"):
    """A row before its time is read and its columns are looked at."""

    time_generated: Any = msgspec.UNSET
    operation_name: str | msgspec.UnsetType | None = msgspec.UNSET
    category: str | None = None
    id: str | None = None
    correlation_id: str | None = None
    result: str | None = None
    resource_group: str | None = None
    type: str | None = None
    initiated_by: Any = msgspec.UNSET
    target_resources: Any = msgspec.UNSET


_decode_lines: Final = msgspec.json.Decoder(_Row).decode_lines
_decode_row: Final = msgspec.json.Decoder(_AnyRow).decode


def quick_rows(chunk: bytes) -> list[AuditEvent] | None:
    """Return the events of rows, one a line, where each is as Log Analytics writes it; None where one is not.

    Raises what msgspec raises for text that is not JSON.
    """
    events = decode_events(chunk, _decode_lines)
    return None if not look_sound(events) and any(map(defect, events)) else events


def row_event(row: bytes, context: Context) -> AuditEvent:
    """Return the event of a row; raises UNREADABLE."""
    read = _decode_row(row)
    if read.time_generated is msgspec.UNSET:
        raise missing("TimeGenerated")
    if not context.lenient:
        for name, value in (
            ("OperationName", read.operation_name),
            ("InitiatedBy", read.initiated_by),
            ("TargetResources", read.target_resources),
        ):
            if value is msgspec.UNSET:
                raise missing(name)
    return checked(
        AuditEvent(
            time_generated=context.clock(read.time_generated),
            operation_name=_or_null(read.operation_name),
            category=read.category,
            id=read.id,
            correlation_id=read.correlation_id,
            result=read.result,
            resource_group=read.resource_group,
            type=read.type,
            initiated_by=_or_null(read.initiated_by),
            target_resources=_or_null(read.target_resources),
        ),
        context,
    )


def _or_null(value: Any) -> Any:
    return None if value is msgspec.UNSET else value
