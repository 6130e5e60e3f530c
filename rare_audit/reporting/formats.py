"""Findings as JSON, as CSV, and as the rows a Kusto client gives."""

import csv
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import msgspec

from rare_audit.detection.bounds import bounded
from rare_audit.detection.finding import Finding
from rare_audit.detection.result import Detection
from rare_audit.detection.rule import Rule
from rare_audit.detection.ticks import format_ticks
from rare_audit.detection.windows import Windows
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.text import csv_cell, json_safe

_CSV_COLUMNS: Final = (
    "day", "InitiatedByApp", "OperationName", "TargetUserPrincipalName", "InitiatedByIpAddress", "TargetResourceName",
    "StartTime", "EndTime", "events", "set_PropertyName", "appIds", "servicePrincipalIds", "appDaysSeen", "appLastSeen",
    "HostCustomEntity", "id", "baselineDays", "lookbackDays", "degraded",
)  # fmt: skip


def ndjson_lines(detection: Detection) -> Iterator[str]:
    """Yield one JSON object a finding, with exactly the rule's 13 columns in their order, whole however long."""
    for finding in detection.findings:
        yield json_safe(msgspec.json.encode(finding.row()).decode())


def jsonl_lines(detection: Detection, coverage: Mapping[str, Coverage], degraded: Collection[str]) -> Iterator[str]:
    """Yield one JSON object a finding, bounded: all of it, and how complete the baseline of its day was."""
    for finding in map(bounded, detection.findings):
        values = msgspec.to_builtins(finding) | {"baseline": _baseline(finding.day, coverage, degraded)}
        yield json_safe(msgspec.json.encode(values).decode())


def json_document(
    rule: Rule,
    windows: Windows,
    detection: Detection,
    coverage: Mapping[str, Coverage],
    degraded: Collection[str],
) -> str:
    """Return all there is to say: the rule, the windows, the data, the funnel and every finding, bounded."""
    document = {
        "rule": {"id": rule.id, "name": rule.name, "tactics": rule.tactics, "techniques": rule.relevant_techniques},
        "windows": {
            "start": format_ticks(windows.start),
            "end": None if windows.is_open else format_ticks(windows.end),
            "daily": windows.daily,
            "lookbackDays": windows.lookback_days,
        },
        "data": detection.data,
        "coverage": {day: _baseline(day, coverage, degraded) for day in coverage},
        "funnel": detection.funnel,
        "findings": [bounded(finding) for finding in detection.findings],
    }
    return json_safe(msgspec.json.format(msgspec.json.encode(document).decode()))


def _baseline(day: str, coverage: Mapping[str, Coverage], degraded: Collection[str]) -> dict[str, Any]:
    known = coverage.get(day, Coverage())
    return {"days": known.days, "of": known.of, "missing": known.missing, "degraded": day in degraded}


def csv_lines(detection: Detection, coverage: Mapping[str, Coverage], degraded: Collection[str]) -> Iterator[str]:
    """Yield a header and one line a finding, safe for spreadsheets; bounded; lists are joined by `; `."""
    writer = csv.writer(_Echo(), lineterminator="")
    yield writer.writerow(_CSV_COLUMNS)
    for finding in map(bounded, detection.findings):
        cells = _cells(finding, coverage.get(finding.day, Coverage()), is_degraded=finding.day in degraded)
        yield writer.writerow([csv_cell(text) for text in cells])


class _Echo:
    """What csv writes to: hands each line back."""

    def write(self, line: str) -> str:
        """Return the line."""
        return line


def _cells(finding: Finding, coverage: Coverage, *, is_degraded: bool) -> list[str]:
    values: dict[str, Any] = msgspec.to_builtins(finding)
    if finding.left_out.property_names:
        values["set_PropertyName"] += (f"… and {finding.left_out.property_names} more",)
    values["appDaysSeen"], values["appLastSeen"] = finding.history.app.days, finding.history.app.last
    values["baselineDays"], values["lookbackDays"] = coverage.days, coverage.of
    values["degraded"] = "yes" if is_degraded else "no"
    return [_cell(values[column]) for column in _CSV_COLUMNS]


def _cell(value: Any) -> str:
    return "; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
