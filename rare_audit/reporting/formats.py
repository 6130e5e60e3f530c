"""Findings as JSON, as CSV, and as the rows a Kusto client gives."""

import csv
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from rare_audit.detection.finding import Finding
from rare_audit.detection.result import Detection
from rare_audit.detection.rule import Rule
from rare_audit.detection.ticks import format_ticks
from rare_audit.detection.windows import Windows
from rare_audit.reporting.text import csv_cell, json_safe

_CSV_COLUMNS: Final = (
    "day", "InitiatedByApp", "OperationName", "TargetUserPrincipalName", "InitiatedByIpAddress", "TargetResourceName",
    "StartTime", "EndTime", "events", "set_PropertyName", "appIds", "servicePrincipalIds", "appDaysSeen", "appLastSeen",
    "HostCustomEntity", "id",
)  # fmt: skip


def kql_lines(detection: Detection) -> Iterator[str]:
    """Yield one JSON object a finding, with exactly the rule's 13 columns in their order."""
    for finding in detection.findings:
        yield json_safe(msgspec.json.encode(finding.row()).decode())


def json_document(rule: Rule, windows: Windows, detection: Detection) -> str:
    """Return all there is to tell: the rule, the windows, the funnel and every finding with its evidence."""
    document = {
        "rule": {"id": rule.id, "name": rule.name, "tactics": rule.tactics, "techniques": rule.relevant_techniques},
        "windows": {
            "start": format_ticks(windows.start),
            "end": None if windows.is_open else format_ticks(windows.end),
            "daily": windows.daily,
            "lookbackDays": windows.lookback_days,
        },
        "funnel": detection.funnel,
        "findings": detection.findings,
    }
    return json_safe(msgspec.json.format(msgspec.json.encode(document).decode()))


def csv_lines(detection: Detection) -> Iterator[str]:
    """Yield a header and one line a finding, safe for spreadsheets; lists are joined by `; `."""
    writer = csv.writer(_Echo(), lineterminator="")
    yield writer.writerow(_CSV_COLUMNS)
    for finding in detection.findings:
        yield writer.writerow([csv_cell(text) for text in _cells(finding)])


class _Echo:
    """What csv writes to: hands each line back."""

    def write(self, line: str) -> str:
        """Return the line."""
        return line


def _cells(finding: Finding) -> list[str]:
    values: dict[str, Any] = msgspec.to_builtins(finding)
    values["appDaysSeen"], values["appLastSeen"] = finding.history.app.days, finding.history.app.last
    return [_cell(values[column]) for column in _CSV_COLUMNS]


def _cell(value: Any) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
