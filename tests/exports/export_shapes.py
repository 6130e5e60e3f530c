"""The same few events in every shape that exports come in."""

import csv
import io
import json
from typing import Any, Final

from rare_audit.detection.event import AuditEvent
from rare_audit.detection.ticks import parse_ticks

Json = dict[str, Any]


def _event(number: int, time: str, initiated_by: Json, **overrides: Any) -> Json:
    return {
        "time": time,
        "operation": "Add service principal credentials",
        "category": "ApplicationManagement",
        "id": f"Directory_{number}",
        "correlation": f"c-{number}",
        "result": "success",
        "initiated_by": initiated_by,
        "targets": [
            {
                "id": f"t-{number}",
                "type": "ServicePrincipal",
                "displayName": "Payroll",
                "modifiedProperties": [
                    {"displayName": "KeyDescription", "oldValue": "[]", "newValue": '["a, \\"b\\""]'}
                ],
            }
        ],
    } | overrides


EVENTS: Final = [
    _event(1, "2026-03-02T00:05:06.007Z", {"app": {"displayName": "Backup Agent", "appId": "a-1"}}),
    _event(2, "2026-03-02T12:29:25.983Z", {"app": {"displayName": "Größe\u2028\n", "appId": None}}, result="failure"),
    _event(3, "2026-03-02T23:59:59.5Z", {"user": {"userPrincipalName": "ann@x.example"}}, targets=[]),
    _event(
        4, "2026-03-13T13:00:00Z", {"app": {"displayName": "HR Sync"}}, operation="Update application \u2013 Secrets "
    ),
]
"""Times in whole milliseconds, as the portal's CSV has no more."""


def row(event: Json) -> Json:
    """Return an event as a Log Analytics row, its dynamic columns as text."""
    return {
        "TenantId": "t",
        "TimeGenerated": event["time"],
        "OperationName": event["operation"],
        "Category": event["category"],
        "Id": event["id"],
        "CorrelationId": event["correlation"],
        "Result": event["result"],
        "InitiatedBy": json.dumps(event["initiated_by"]),
        "TargetResources": json.dumps(event["targets"], ensure_ascii=False),
        "Type": "AuditLogs",
    }


def native_row(event: Json) -> Json:
    """Return an event as a Log Analytics row, its dynamic columns as values."""
    return row(event) | {"InitiatedBy": event["initiated_by"], "TargetResources": event["targets"]}


def record(event: Json) -> Json:
    """Return an event as diagnostic settings send it."""
    return {
        "time": event["time"],
        "resourceId": "/tenants/t/providers/Microsoft.aadiam",
        "operationName": event["operation"],
        "category": "AuditLogs",
        "correlationId": event["correlation"],
        "properties": {
            "id": event["id"],
            "category": event["category"],
            "correlationId": event["correlation"],
            "result": event["result"],
            "activityDisplayName": event["operation"],
            "activityDateTime": event["time"],
            "initiatedBy": event["initiated_by"],
            "targetResources": event["targets"],
        },
    }


def sign_in(number: int, category: str = "SignInLogs") -> Json:
    """Return a record of another log."""
    return {"time": "2026-03-02T00:00:00Z", "category": category, "properties": {"id": f"s-{number}"}}


def directory_audit(event: Json) -> Json:
    """Return an event as Microsoft Graph lists it."""
    return {
        "id": event["id"],
        "category": event["category"],
        "correlationId": event["correlation"],
        "result": event["result"],
        "activityDisplayName": event["operation"],
        "activityDateTime": event["time"],
        "initiatedBy": event["initiated_by"],
        "targetResources": event["targets"],
        "additionalDetails": [],
    }


def lines(values: list[Any]) -> bytes:
    """Return values as JSON, one a line."""
    return b"".join(_json(value) + b"\n" for value in values)


def _json(value: Any, indent: int | None = None) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=indent).encode()


def table(rows: list[Json]) -> bytes:
    """Return rows as CSV, as `csv` writes it: with CRLF."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def portal_row(event: Json) -> Json:
    """Return an event as a row of the portal's CSV: columns in another order, and times as people write them."""
    time = parse_ticks(event["time"])
    millisecond = time // 10_000 % 1000
    hour, minute, second = time // 36_000_000_000 % 24, time // 600_000_000 % 60, time // 10_000_000 % 60
    half = "AM" if hour < 12 else "PM"
    day = int(event["time"][8:10])
    clock = f"{hour % 12 or 12}:{minute:02d}:{second:02d}.{millisecond:03d} {half}"
    columns = dict(reversed(row(event).items()))
    columns["TimeGenerated [UTC]"] = f"3/{day}/2026, {clock}"
    del columns["TimeGenerated"]
    return columns


def answer(rows: list[Json], **members: Any) -> Json:
    """Return rows as the query API answers."""
    columns = [{"name": name, "type": "string"} for name in rows[0]]
    cells = [list(each.values()) for each in rows]
    return {"tables": [{"name": "PrimaryResult", "columns": columns, "rows": cells}], **members}


_ROWS: Final = [row(event) for event in EVENTS]
_RECORDS: Final = [record(event) for event in EVENTS]
_AUDITS: Final = [directory_audit(event) for event in EVENTS]
_CONTEXT: Final = {"@odata.context": "https://graph.example/$metadata#auditLogs/directoryAudits"}

SHAPES: Final[dict[str, bytes]] = {
    "rows, one a line": lines(_ROWS),
    "rows with native values": lines([native_row(event) for event in EVENTS]),
    "rows in an array": _json(_ROWS),
    "rows in a pretty array": _json(_ROWS, 2),
    "rows one after the other": b" ".join(map(_json, _ROWS)),
    "pretty rows one after the other": b"\n".join(_json(each, 2) for each in _ROWS),
    "csv": table(_ROWS),
    "csv of the portal": table([portal_row(event) for event in EVENTS]),
    "answer": _json(answer(_ROWS, statistics={})),
    "answer after other members": _json({"render": {}} | answer([native_row(event) for event in EVENTS]), 1),
    "records, one a line": lines(_RECORDS),
    "records in an array": _json(_RECORDS, 4),
    "records in an envelope": _json({"records": _RECORDS}),
    "records in a pretty envelope": _json({"meta": {"records": 4}, "records": _RECORDS}, 2),
    "envelopes, one a line": lines([{"records": _RECORDS[:1]}, {"records": _RECORDS[1:]}]),
    "envelopes in an array": _json([{"records": _RECORDS[:3]}, {"records": _RECORDS[3:]}]),
    "envelopes one after the other": _json({"records": _RECORDS[:2]}) + _json({"records": _RECORDS[2:]}),
    "Graph": _json(_CONTEXT | {"value": _AUDITS}),
    "Graph, value first": _json({"value": _AUDITS} | _CONTEXT, 2),
    "Graph in an array": _json(_AUDITS),
    "Graph, one a line": lines(_AUDITS),
    "pages of Graph, one a line": lines([_CONTEXT | {"value": _AUDITS[:2]}, {"value": _AUDITS[2:]}]),
}

Plain = tuple[int, str | None, str | None, str | None, str | None, str | None, str | None, Any, Any]


def plain(event: AuditEvent) -> Plain:
    """Return an event's columns, the dynamic ones as values, so that events of any shape compare."""
    return (
        event.ticks,
        event.operation_name,
        event.category,
        event.id,
        event.correlation_id,
        event.result,
        event.type,
        _dynamic(event.initiated_by),
        _dynamic(event.target_resources),
    )


def _dynamic(column: Any) -> Any:
    return json.loads(column) if isinstance(column, str) else column


def expected(events: list[Json] = EVENTS) -> list[Plain]:
    """Return what `plain` makes of the events that these are."""
    return [
        (
            parse_ticks(event["time"]),
            event["operation"],
            event["category"],
            event["id"],
            event["correlation"],
            event["result"],
            "AuditLogs",
            event["initiated_by"],
            event["targets"],
        )
        for event in events
    ]
