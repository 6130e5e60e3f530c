"""A finding as a row of a custom table in the Log Analytics workspace: the columns, and what stands in them.

Every text is made visible, since an analyst reads it, and every field is cut to what the table takes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from rare_audit.detection.finding import Evidence, Finding, content_id
from rare_audit.detection.rule import Rule
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.incident import app_of
from rare_audit.reporting.sentinel_bodies import headline, user_id
from rare_audit.reporting.text import one_line

TABLE: Final = "RareAuditFindings_CL"
STREAM: Final = f"Custom-{TABLE}"
"""What a data collection rule calls the way into the table."""
COLUMNS: Final[Mapping[str, str]] = {
    "TimeGenerated": "datetime",
    "FindingId": "string",
    "Revision": "string",
    "RuleId": "string",
    "RuleName": "string",
    "Day": "string",
    "Severity": "string",
    "Headline": "string",
    "AppName": "string",
    "AppId": "string",
    "ServicePrincipalId": "string",
    "OperationName": "string",
    "TargetUserPrincipalName": "string",
    "TargetUserId": "string",
    "TargetResourceName": "string",
    "IPAddress": "string",
    "HostName": "string",
    "PropertyNames": "dynamic",
    "Evidence": "dynamic",
    "Tactics": "dynamic",
    "Techniques": "dynamic",
    "Events": "int",
    "StartTime": "datetime",
    "EndTime": "datetime",
    "Coverage": "string",
    "IncidentId": "string",
    "RunId": "string",
}
"""The table's columns with their types, of which infra/findings-columns.json is a copy.

Title and some others are reserved: https://learn.microsoft.com/azure/azure-monitor/logs/create-custom-table.

TimeGenerated is when a row was sent, not when something happened: what is older than two days, the workspace would
replace (https://learn.microsoft.com/azure/azure-monitor/logs/log-standard-columns#timegenerated).
"""
FIELD_CAP: Final = 64_000
"""Bytes of a field, in UTF-8 or UTF-16, whichever is more: 64 KB are kept, and the rest is cut without a word.

Source: https://learn.microsoft.com/azure/azure-monitor/service-limits#logs-ingestion-api.
"""
_NAME_CAP: Final = 1_000
_VALUE_CAP: Final = 2_000
_ROOM_TO_SAY: Final = 200
T = TypeVar("T")


class FindingRow(msgspec.Struct, frozen=True):
    """A row but for its TimeGenerated, by the names of its columns."""

    values: Mapping[str, Any]

    @property
    def finding_id(self) -> str:
        """The id of the finding, the same for ever."""
        return str(self.values["FindingId"])

    @property
    def revision(self) -> str:
        """An id of all the row says but for the run: equal revisions, nothing to tell."""
        return str(self.values["Revision"])


def finding_row(rule: Rule, finding: Finding, *, incident_id: str, run_id: str, coverage: Coverage) -> FindingRow:
    """Return a finding's row; `run_id` is the last run that changed it, `coverage` the health of its baseline.

    `incident_id` is that of the app and the day, whether or not such an incident is raised.
    """
    content = _content(rule, finding, incident_id, coverage)
    revision = content_id("revision", msgspec.json.encode(content).decode())
    values = {**content, "Revision": revision, "RunId": run_id}
    return FindingRow({name: values[name] for name in COLUMNS if name in values})


def _content(rule: Rule, finding: Finding, incident_id: str, coverage: Coverage) -> dict[str, Any]:
    app = app_of(finding)
    names = {
        "RuleName": rule.name,
        "AppName": app.name,
        "AppId": app.app_id,
        "ServicePrincipalId": app.service_principal_id,
        "OperationName": finding.operation_name,
        "TargetUserPrincipalName": finding.target_user_principal_name,
        "TargetUserId": user_id(finding),
        "TargetResourceName": finding.target_resource_name,
        "IPAddress": finding.initiated_by_ip_address,
        "HostName": finding.host,
    }
    properties, left_out = _fitting([one_line(name, _NAME_CAP) for name in finding.property_names])
    left_out += finding.left_out.property_names
    return {
        **{column: one_line(text, _NAME_CAP) for column, text in names.items()},
        "FindingId": finding.id,
        "RuleId": rule.id,
        "Day": finding.day,
        "Severity": rule.severity,
        "Headline": headline(finding),
        "PropertyNames": [*properties, f"… and {left_out} more (cut to fit)"] if left_out else properties,
        "Evidence": _evidence(finding),
        "Tactics": list(rule.tactics),
        "Techniques": list(rule.relevant_techniques),
        "Events": finding.events,
        "StartTime": finding.start_time,
        "EndTime": finding.end_time,
        "Coverage": str(coverage),
        "IncidentId": incident_id,
    }


def _evidence(finding: Finding) -> list[dict[str, str]]:
    """Return what was changed, the earliest first; where not all of it is there, the last element says so."""
    changes, left_out = _fitting([_change(one) for one in finding.evidence])
    said = [f"{left_out} more changes are left out to fit"] if left_out else []
    if finding.cut:
        said.append("others were not kept")
    if finding.left_out.texts:
        said.append(f"{finding.left_out.texts} long texts were cut")
    return [*changes, {"Cut": "; ".join(said)}] if said else changes


def _change(evidence: Evidence) -> dict[str, str]:
    values: dict[str, str] = msgspec.to_builtins(evidence)
    return {name: one_line(text, _VALUE_CAP) for name, text in values.items()}


def _fitting(items: Sequence[T]) -> tuple[list[T], int]:
    """Return as many of the first items as a field holds, and how many are left out."""
    room = FIELD_CAP - _ROOM_TO_SAY
    for taken, item in enumerate(items):
        room -= weight(item)
        if room < 0:
            return list(items[:taken]), len(items) - taken
    return list(items), 0


def weight(value: Any) -> int:
    """Return the bytes a value takes as JSON text with a comma, in UTF-8 or UTF-16, whichever is more."""
    text = msgspec.json.encode(value)
    return max(len(text), len(text.decode().encode("utf-16-le"))) + 2
