"""Findings as JSON, CSV and rows: what stands where, and that it reads back as it was."""

import csv
import io
import json
from typing import Any, Final

import msgspec
import pytest

from rare_audit.detection.finding import COLUMNS, Finding
from rare_audit.detection.result import Detection
from rare_audit.detection.ticks import TICKS_PER_DAY, parse_ticks
from rare_audit.detection.windows import Windows
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.formats import csv_lines, json_document, jsonl_lines, ndjson_lines
from rare_audit.rules import load_rule
from tests.builders import DAY, RULE_ID, finding, funnel
from tests.terminal import assert_nothing_obeyed

RULE: Final = load_rule()
START: Final = parse_ticks(DAY)
DAYS: Final = Windows.days(START, START + 2 * TICKS_PER_DAY, RULE.lookback_days)
COVERAGE: Final = {DAY: Coverage(3, 14, ("2026-03-01",))}
DEGRADED: Final = (DAY,)
HOSTILE: Final = '=1+1\x00\x1b[31m"quoted", \u202e\u2028\r\n\\ \U000e0041 \u00e9 \U0001f600; \x9b'


def _detection(*findings: Finding) -> Detection:
    return Detection(findings, funnel())


def _csv(*findings: Finding) -> list[list[str]]:
    text = "\r\n".join(csv_lines(_detection(*findings), COVERAGE, DEGRADED))
    return list(csv.reader(io.StringIO(text, newline="")))


def _hostile() -> Finding:
    texts = ("initiated_by_app", "operation_name", "target_user_principal_name", "target_resource_name", "host")
    lists = ("property_names", "categories", "app_ids", "service_principal_ids")
    return finding(**dict.fromkeys(texts, HOSTILE), **dict.fromkeys(lists, (HOSTILE, HOSTILE)))


def test_kql_line() -> None:
    """One line holds exactly the thirteen columns, in the rule's order."""
    (line,) = ndjson_lines(_detection(finding(target_user_principal_name="ann@x.example", host="payroll")))
    row = json.loads(line)
    assert list(row) == list(COLUMNS)
    assert row == {
        "InitiatedByApp": "Backup Agent",
        "OperationName": "Add service principal credentials",
        "TargetUserPrincipalName": "ann@x.example",
        "InitiatedByIpAddress": "203.0.113.7",
        "TargetResourceName": "Payroll",
        "StartTime": f"{DAY}T08:15:30.1234567Z",
        "EndTime": f"{DAY}T08:15:30.1234567Z",
        "set_Activity": [
            {"PropertyName": "KeyDescription", "newValue": '["new"]', "Id": "e1", "CorrelationId": "c1"},
        ],
        "set_PropertyName": ["KeyDescription"],
        "timestamp": f"{DAY}T08:15:30.1234567Z",
        "AccountCustomEntity": "ann@x.example",
        "HostCustomEntity": "payroll",
        "IPCustomEntity": "203.0.113.7",
    }


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_line_a_finding(count: int) -> None:
    """Rows and CSV have a line for each finding, in the given order; CSV has a header more."""
    findings = [finding(id=f"{number}", operation_name=f"Operation {number}") for number in range(count)]
    names = [f"Operation {number}" for number in range(count)]
    assert [json.loads(line)["OperationName"] for line in ndjson_lines(_detection(*findings))] == names
    assert [row[2] for row in _csv(*findings)] == ["OperationName", *names]


def test_baselines_stand_beside_findings() -> None:
    """How complete the baseline of a finding's day was is in every format that has room for it."""
    header, row = _csv(finding())
    cells = dict(zip(header, row, strict=True))
    assert (cells["baselineDays"], cells["lookbackDays"], cells["degraded"]) == ("3", "14", "yes")
    expected = {"days": 3, "of": 14, "missing": ["2026-03-01"], "degraded": True}
    (line,) = jsonl_lines(_detection(finding()), COVERAGE, DEGRADED)
    whole = json.loads(line)
    assert whole.pop("baseline") == expected
    document = _document(DAYS, finding())
    assert (document["coverage"], document["findings"]) == ({DAY: expected}, [whole])
    (unknown,) = jsonl_lines(_detection(finding()), {}, ())
    assert json.loads(unknown)["baseline"] == {"days": 0, "of": 0, "missing": [], "degraded": False}


def _document(windows: Windows, *findings: Finding) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json_document(RULE, windows, _detection(*findings), COVERAGE, DEGRADED))
    return document


def test_json_document() -> None:
    """The rule, the windows, the funnel and every finding whole."""
    document = _document(DAYS, finding(), finding(cut=True))
    assert document["rule"] == {
        "id": RULE.id,
        "name": RULE.name,
        "tactics": list(RULE.tactics),
        "techniques": list(RULE.relevant_techniques),
    }
    assert document["windows"] == {
        "start": f"{DAY}T00:00:00.0000000Z",
        "end": "2026-03-04T00:00:00.0000000Z",
        "daily": True,
        "lookbackDays": 14,
    }
    assert document["funnel"] == msgspec.to_builtins(funnel(), str_keys=True)
    assert msgspec.convert(document["findings"], list[Finding]) == [finding(), finding(cut=True)]
    assert document["findings"][0]["ruleId"] == RULE_ID


def test_json_document_of_an_open_window() -> None:
    """An open window has no end."""
    windows = _document(Windows.single(START, None, 14))["windows"]
    assert windows == {"start": f"{DAY}T00:00:00.0000000Z", "end": None, "daily": False, "lookbackDays": 14}


def test_csv() -> None:
    """A header, and a cell for each column."""
    header, row = _csv(finding(host="payroll"))
    assert dict(zip(header, row, strict=True)) == {
        "day": DAY,
        "InitiatedByApp": "Backup Agent",
        "OperationName": "Add service principal credentials",
        "TargetUserPrincipalName": "",
        "InitiatedByIpAddress": "203.0.113.7",
        "TargetResourceName": "Payroll",
        "StartTime": f"{DAY}T08:15:30.1234567Z",
        "EndTime": f"{DAY}T08:15:30.1234567Z",
        "events": "1",
        "set_PropertyName": row[header.index("set_PropertyName")],  # a test of its own
        "appIds": row[header.index("appIds")],
        "servicePrincipalIds": row[header.index("servicePrincipalIds")],
        "appDaysSeen": "3",
        "appLastSeen": "2026-03-01",
        "HostCustomEntity": "payroll",
        "id": finding().id,
        "baselineDays": "3",
        "lookbackDays": "14",
        "degraded": "yes",
    }


@pytest.mark.parametrize(
    ("names", "cell"),
    [((), ""), (("one",), "one"), (("one", "two"), "one; two"), (("=1", "two"), "'=1; two"), (("it's",), "it's")],
)
def test_csv_of_lists(names: tuple[str, ...], cell: str) -> None:
    """Several values are joined by a semicolon; a first one that looks like a formula makes the cell text."""
    header, row = _csv(finding(property_names=names, app_ids=names, service_principal_ids=names))
    for column in ("set_PropertyName", "appIds", "servicePrincipalIds"):
        assert row[header.index(column)] == cell


def test_hostile_text() -> None:
    """No format lets through what a terminal obeys, no record gets a line more, and programs read what was logged."""
    detection = _detection(_hostile())
    (row,) = ndjson_lines(detection)
    document = json_document(RULE, DAYS, detection, {}, ())
    lines = list(csv_lines(detection, {}, ()))
    for text in (row, document, *lines):
        assert_nothing_obeyed(text)
    assert "\n" not in row
    assert len(lines) == 2
    assert not any("\n" in line for line in lines)
    assert json.loads(row)["InitiatedByApp"] == HOSTILE
    assert msgspec.convert(json.loads(document)["findings"], list[Finding]) == [_hostile()]
    assert _csv(_hostile())[1][1].startswith("'=1+1")
