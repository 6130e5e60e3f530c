"""Hunting at the terminal: what is found, in every format, and nothing else on standard output."""

import csv
import gzip
import io
import json
import re
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from rare_audit.detection.query import render
from rare_audit.detection.ticks import TICKS_PER_DAY, parse_ticks
from rare_audit.rules import DEFAULT_RULE, load_rule
from rare_audit.sources.sample import planted
from tests.terminal import (
    BOTH_DAYS,
    COLUMNS,
    FIRST_HUNTED,
    LAST_HUNTED,
    NORTHWIND,
    Row,
    assert_nothing_obeyed,
    called,
    case_of,
    hunted,
    northwind,
    process,
    rows,
)
from tests.yardstick import Yardstick

RULE: Final = load_rule()
FORMATS: Final = ("table", "json", "jsonl", "csv", "ndjson")
LAST_DAY: Final = (NORTHWIND, "--start", LAST_HUNTED, "--end", "2026-03-17")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z")
_TIMES: Final = ("StartTime", "EndTime", "timestamp")
_PLAIN: Final = [name for name in COLUMNS if name not in (*_TIMES, "set_Activity", "set_PropertyName")]


# What is found


def test_equals_what_is_planted() -> None:
    """The bare rule, day by day, reports exactly the cases that it can see."""
    found = rows(*BOTH_DAYS)
    seen = {(case.day, case.app, case.operation, case.target_upn) for case in planted() if case.seen}
    assert sorted(map(case_of, found)) == sorted(seen)


def test_exclusions_take_their_cases() -> None:
    """With the exclusions the cases they are for are missing; what can't match is said, in a line each."""
    found = rows(*BOTH_DAYS, "--exclusions")
    left = {
        (case.day, case.app, case.operation, case.target_upn) for case in planted() if case.seen and not case.excluded
    }
    assert sorted(map(case_of, found)) == sorted(left)
    told = hunted(*BOTH_DAYS, "--exclusions").stderr.splitlines()
    assert sum("that part never matches" in line for line in told) == 4
    assert sum("excluded by" in line for line in told) == 5


def test_by_property_shows_the_further_case() -> None:
    """The variant reports, on top of the rest, a new property of a known combination."""
    plain, variant = rows(*BOTH_DAYS), rows(*BOTH_DAYS, "--by-property")
    further = {case_of(row) for row in variant} - {case_of(row) for row in plain}
    case = next(case for case in planted() if case.name == "new-property-of-a-known-combination")
    assert further == {(case.day, case.app, case.operation, case.target_upn)}
    assert {case_of(row) for row in plain} <= {case_of(row) for row in variant}


def test_daily_equals_the_days_alone() -> None:
    """Two days in one pass give the rows of each day by itself."""
    sunday = rows(NORTHWIND, "--start", FIRST_HUNTED, "--end", LAST_HUNTED)
    both = rows(*BOTH_DAYS)
    assert (len(sunday), len(both)) == (6, 15)
    assert sorted(map(str, both)) == sorted(map(str, sunday + rows(*LAST_DAY)))


def test_daily_without_end_goes_on_to_the_last_event() -> None:
    """With a start alone the days go on to the last one in the data."""
    assert rows(NORTHWIND, "--daily", "--start", FIRST_HUNTED) == rows(*BOTH_DAYS)


def test_by_default_every_day_that_has_a_whole_lookback() -> None:
    """Without a window all days are looked at that have 14 days of data before them, and standard error says which."""
    result = hunted(NORTHWIND, "--format", "ndjson")
    said = result.stderr.splitlines()
    assert said[:4] == [
        "4,000 events, 2026-03-01 00:39 to 2026-03-16 23:44 UTC, 2,709 by apps",
        "looking at 2026-03-15 to 2026-03-16, each day compared with the 14 days before it",
        "the first 14 days, from 2026-03-01, are the baseline and are not looked at",
        "coverage: 14 of 14 days had data, before each of the days",
    ]
    assert result.stdout == hunted(*BOTH_DAYS, "--format", "ndjson").stdout


def test_a_last_day_that_is_not_over_is_looked_at(tmp_path: Path) -> None:
    """Where the data end at noon, what was until then is looked at."""
    afternoon = tuple(b'"TimeGenerated":"%s' % time for time in (b"2026-03-16T1", b"2026-03-16T2"))
    morning = [line for line in northwind() if not any(time in line for time in afternoon)]
    export = tmp_path / "morning.ndjson"
    export.write_bytes(b"".join(morning))
    days = {case_of(row)[0] for row in rows(str(export))}
    assert days == {FIRST_HUNTED, LAST_HUNTED}


def test_open_end() -> None:
    """A start alone means a window without end: the second day's events are in it, with the first's lookback."""
    found = rows(NORTHWIND, "--start", FIRST_HUNTED)
    assert {row["StartTime"][:10] for row in found} == {FIRST_HUNTED, LAST_HUNTED}
    second = next(case for case in planted() if case.name == "backup-app-on-its-second-day")
    assert (second.day, second.app, second.operation, second.target_upn) in set(map(case_of, found))


def test_end_is_not_in_the_window() -> None:
    """An event on the end's tick is out, one tick later it is in."""
    bounds = (NORTHWIND, "--start", LAST_HUNTED, "--end")
    assert [case_of(row)[2] for row in rows(*bounds, "2026-03-16T02:41:09.0073312Z")] == ["Update device"]
    assert len(rows(*bounds, "2026-03-16T02:41:09.0073313Z")) == 2


def test_many_files_are_one_log(tmp_path: Path) -> None:
    """A log in two files, whichever comes first, is the log."""
    lines = northwind()
    halves = [tmp_path / "one.ndjson", tmp_path / "two.ndjson.gz"]
    halves[0].write_bytes(b"".join(lines[:2000]))
    halves[1].write_bytes(gzip.compress(b"".join(lines[2000:]), 1))
    expected = rows(*BOTH_DAYS)
    for names in ([*map(str, halves)], [*map(str, halves[::-1])]):
        assert rows(*names, *BOTH_DAYS[1:]) == expected


@pytest.mark.parametrize("words", [(), ("--start", LAST_HUNTED, "--end", "2026-03-17")], ids=["default", "given"])
def test_standard_input(words: tuple[str, ...]) -> None:
    """`-` is standard input, zipped or not, and read twice where the day has to be found first."""
    zipped = Path(NORTHWIND).read_bytes()
    expected = hunted(*(LAST_DAY if words else BOTH_DAYS), "--format", "kql").stdout
    assert hunted("-", *words, "--format", "kql", input_=zipped).stdout == expected
    assert process("hunt", "-", *words, "--format", "kql", stdin=gzip.decompress(zipped)).stdout == expected.encode()


def test_rule_file_with_another_ignore_list(tmp_path: Path) -> None:
    """What a rule file ignores is not reported, and the query says so too."""
    text = DEFAULT_RULE.read_text(encoding="utf-8")
    changed = text.replace("appIgnoreList: [", "appIgnoreList: [tenant MIGRATION toolkit, ")
    rule = tmp_path / "rule.yaml"
    rule.write_text(changed, encoding="utf-8")
    found = rows(*BOTH_DAYS, "--rule", str(rule))
    assert {case_of(row) for row in rows(*BOTH_DAYS)} - {case_of(row) for row in found} == {
        (case.day, case.app, case.operation, case.target_upn)
        for case in planted()
        if case.app == "Tenant Migration Toolkit"
    }
    assert '"tenant MIGRATION toolkit"' in called("kql", "--start", FIRST_HUNTED, "--rule", str(rule)).stdout


# Against an independent engine


@pytest.fixture(scope="module")
def yardstick() -> Yardstick:
    """The bundled sample in an engine that runs the rule's own text."""
    log = [json.loads(line) for line in northwind()]
    for event in log:
        event["InitiatedBy"], event["TargetResources"] = map(
            json.loads, (event["InitiatedBy"], event["TargetResources"])
        )
    filled = Yardstick()
    filled.fill(log)
    return filled


@pytest.mark.parametrize("variant", [(), ("--by-property",)], ids=["published", "by-property"])
@pytest.mark.parametrize(
    "bounds", [(FIRST_HUNTED, LAST_HUNTED), (LAST_HUNTED, "2026-03-17"), (FIRST_HUNTED, "")], ids="-".join
)
def test_equals_the_rules_own_text(yardstick: Yardstick, bounds: tuple[str, str], variant: tuple[str, ...]) -> None:
    """What `hunt` finds is what the text that `kql` prints finds. The engine's clock cuts times to microseconds."""
    start, end = bounds
    words = ("--start", start, *(("--end", end) if end else ()), *variant)
    theirs = yardstick.run(called("kql", *words).stdout)
    mine = rows(NORTHWIND, *words)
    assert len(mine) >= 6
    assert sorted(map(_cut, mine)) == sorted(map(_told, theirs))
    possible = {_told(row): json.loads(row["set_Activity"]) for row in theirs}
    for row in mine:
        assert all(activity in possible[_cut(row)] for activity in row["set_Activity"])


def _cut(row: Row) -> tuple[Any, ...]:
    times = (row[name][:26] for name in _TIMES)
    return (*(row[name] for name in _PLAIN), *times, *sorted(row["set_PropertyName"]))


def _told(row: Row) -> tuple[Any, ...]:
    times = (row[name].strftime("%Y-%m-%dT%H:%M:%S.%f") for name in _TIMES)
    return (*(row[name] for name in _PLAIN), *times, *sorted(json.loads(row["set_PropertyName"])))


# Formats


def test_kql_rows() -> None:
    """Exactly the thirteen columns in their order; times with seven decimals and Z; sorted as the rule sorts."""
    found = rows(*BOTH_DAYS)
    assert all(list(row) == COLUMNS for row in found)
    assert all(_TIME.fullmatch(row[name]) for row in found for name in ("StartTime", "EndTime", "timestamp"))
    assert all(row["timestamp"] == row["StartTime"] <= row["EndTime"] for row in found)
    assert all(row["AccountCustomEntity"] == row["TargetUserPrincipalName"] for row in found)
    assert all(row["IPCustomEntity"] == row["InitiatedByIpAddress"] for row in found)
    keys = [(row["TargetUserPrincipalName"], row["StartTime"]) for row in found]
    assert keys == sorted(keys)
    activity = found[0]["set_Activity"][0]
    assert list(activity) == ["PropertyName", "newValue", "Id", "CorrelationId"]
    assert {row["HostCustomEntity"] for row in found} == {"", "twf-win-0112"}


def test_json_holds_everything() -> None:
    """One document: the rule, the windows, the funnel, and findings that hold the rows and more."""
    document = msgspec.json.decode(hunted(*BOTH_DAYS, "--format", "json").stdout)
    assert list(document) == ["rule", "windows", "data", "coverage", "funnel", "findings"]
    assert document["rule"]["id"] == RULE.id
    assert document["windows"] == {
        "start": "2026-03-15T00:00:00.0000000Z",
        "end": "2026-03-17T00:00:00.0000000Z",
        "daily": True,
        "lookbackDays": 14,
    }
    assert (document["data"]["events"], document["data"]["byApps"]) == (4_000, 2_709)
    assert document["coverage"] == {
        day: {"days": 14, "of": 14, "missing": [], "degraded": False} for day in (FIRST_HUNTED, LAST_HUNTED)
    }
    funnel = document["funnel"]
    assert funnel["reading"]["events"] == funnel["outside"] + funnel["baseline"]["events"] + funnel["current"]["events"]
    assert funnel["findings"] == len(document["findings"]) == 15
    for finding, row in zip(document["findings"], rows(*BOTH_DAYS), strict=True):
        assert {name: finding[name] for name in row if name in finding} == {
            name: row[name] for name in row if name in finding
        }
        assert finding["evidence"]
        assert finding["history"]["combination"] == {"days": 0, "last": ""}
    assert len({finding["id"] for finding in document["findings"]}) == 15


def test_json_of_an_open_window_has_no_end() -> None:
    """An open window's end is null."""
    document = msgspec.json.decode(hunted(NORTHWIND, "--start", LAST_HUNTED, "--format", "json").stdout)
    assert (document["windows"]["end"], document["windows"]["daily"]) == (None, False)


def _cells(*words: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(hunted(*words, "--format", "csv").stdout, newline="")))


def test_csv_parses() -> None:
    """A line for each finding, with the columns of the others; times whole."""
    cells = _cells(*BOTH_DAYS)
    assert sorted(row["id"] for row in cells) == sorted(
        finding["id"] for finding in msgspec.json.decode(hunted(*BOTH_DAYS, "--format", "json").stdout)["findings"]
    )
    assert all(None not in row and None not in row.values() for row in cells)
    assert all(_TIME.fullmatch(row["StartTime"]) for row in cells)


def test_csv_joins_lists() -> None:
    """A cell of several values holds them joined by a semicolon, not as Python would write them."""
    laptop = next(row for row in _cells(*BOTH_DAYS) if row["OperationName"] == "Update device")
    assert laptop["set_PropertyName"] == "CloudDeviceOSType; IsCompliant"
    assert laptop["appIds"] == "104013ef-b1b5-5106-bc68-67b9dc79644e"


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "\uff1d", "|", "%"])
def test_csv_holds_no_formula(first: str, tmp_path: Path) -> None:
    """A cell that a spreadsheet would take for a formula is text; one that merely looks odd is as it was."""
    text = f"{first}1+cmd|' /C calc'!A0"
    cells = _cells(_hostile(tmp_path, [text]), "--start", LAST_HUNTED)
    for name in ("InitiatedByApp", "OperationName", "TargetUserPrincipalName"):
        assert cells[0][name][:1] not in {"=", "+", "-", "@", "\t", "\r", "\n", "\uff1d"}
    assert cells[0]["InitiatedByApp"].startswith("'") == (first in {"=", "+", "-", "@", "\t", "\r", "\uff1d"})


def test_table_says_what_people_ask() -> None:
    """What is rare, first and last seen, how often, in which properties, and how familiar the app is."""
    table = hunted(*BOTH_DAYS).stdout
    for text in ("2026-03-16 13:26:48", "13:27:15", "Tidewater Service", "StrongAuthentication", "Update user"):
        assert text in table
    assert "of 14 days, last" in table
    assert "not in 14 days" in table


QUIET: Final = ("--start", "2026-03-15T20:00:00Z", "--end", "2026-03-15T21:00:00Z")
"""An hour of the sample in which apps did only what they had done before."""


@pytest.mark.parametrize(("form", "empty"), [("table", "4,000 events"), ("ndjson", ""), ("json", "{"), ("csv", "day,")])
def test_nothing_found(form: str, empty: str) -> None:
    """No finding is a result too, where an app did anything."""
    result = hunted(NORTHWIND, *QUIET, "--format", form)
    assert result.stdout.startswith(empty)
    assert (form == "table") == result.stdout.endswith("\nnothing rare\n")
    assert len(result.stdout) < len(hunted(*BOTH_DAYS, "--format", form).stdout)
    assert "findings: 0, from 0 events" in result.stderr


@pytest.mark.parametrize("form", FORMATS)
def test_results_alone_on_standard_output(form: str) -> None:
    """In a process of its own: standard output is the result, the funnel is on standard error."""
    ended = process("hunt", *BOTH_DAYS, "--format", form)
    assert ended.returncode == 0
    assert ended.stdout.decode() == hunted(*BOTH_DAYS, "--format", form).stdout
    told = ended.stderr.decode().splitlines()
    assert told[0].startswith("4,000 events, 2026-03-01 00:39 to 2026-03-16 23:44 UTC")
    assert told[-1] == "findings: 15, from 18 events"


@pytest.mark.parametrize("form", FORMATS)
def test_output_to_a_file(form: str, tmp_path: Path) -> None:
    """`-o` writes what standard output would have held, and nothing there."""
    file = tmp_path / "found"
    file.write_bytes(b"what was there before")
    assert hunted(*BOTH_DAYS, "--format", form, "-o", str(file)).stdout == ""
    assert file.read_bytes().decode() == hunted(*BOTH_DAYS, "--format", form).stdout


# Text from logs


def _unsafe() -> list[str]:
    """Return texts with every kind of character that must not be obeyed, and the planted name."""
    hostile = next(case.app for case in planted() if case.name == "app-with-a-hostile-name")
    controls = "".join(map(chr, (*range(1, 32), *range(0x7F, 0xA0))))
    directions = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\ufeff\u00ad"
    return [
        hostile,
        controls,
        directions,
        "\U000e0041\U000e007f",
        "\r\nfindings: 0",
        "\x1b]0;title\x07\x1b[2J",
        "\x9b2J",
    ]


def _hostile(folder: Path, texts: list[str]) -> str:
    """Write an export in which every free text is one of these; return its path."""
    log = []
    for text in texts:
        properties = [{"displayName": text, "oldValue": json.dumps([text]), "newValue": json.dumps([text])}]
        target = {"id": text, "type": text, "displayName": text, "userPrincipalName": text}
        log.append(
            {
                "TimeGenerated": f"{LAST_HUNTED}T10:00:00Z",
                **dict.fromkeys(("OperationName", "Category", "Id", "CorrelationId", "Result", "ResourceGroup"), text),
                "InitiatedBy": {
                    "app": dict.fromkeys(("displayName", "appId", "servicePrincipalId", "ipAddress"), text),
                },
                "TargetResources": [target | {"modifiedProperties": properties}],
                "Type": "AuditLogs",
            }
        )
    file = folder / "hostile.ndjson"
    file.write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in log))
    return str(file)


@pytest.mark.parametrize("form", FORMATS)
def test_planted_hostile_name_is_shown_not_obeyed(form: str) -> None:
    """The real process on the bundled sample: no control or direction character leaves it."""
    ended = process("hunt", *BOTH_DAYS, "--format", form)
    assert_nothing_obeyed(ended.stdout.decode())
    assert_nothing_obeyed(ended.stderr.decode())
    assert "URGENT" in ended.stdout.decode()


@pytest.mark.parametrize("form", FORMATS)
def test_hostile_text_in_every_field(form: str, tmp_path: Path) -> None:
    """The same with hostile text wherever a log holds free text."""
    texts = _unsafe()
    ended = process("hunt", _hostile(tmp_path, texts), "--start", LAST_HUNTED, "--format", form)
    assert ended.returncode == 0
    assert f"findings: {len(texts)}," in ended.stderr.decode()
    assert_nothing_obeyed(ended.stdout.decode())
    assert_nothing_obeyed(ended.stderr.decode())


@pytest.mark.parametrize("form", ["json", "ndjson"])
def test_hostile_text_is_the_same_text(form: str, tmp_path: Path) -> None:
    """Escaped in JSON, a program reads the very text that was logged."""
    texts = _unsafe()
    out = hunted(_hostile(tmp_path, texts), "--start", LAST_HUNTED, "--format", form).stdout
    found = msgspec.json.decode(out)["findings"] if form == "json" else map(msgspec.json.decode, out.splitlines())
    assert sorted(finding["OperationName"] for finding in found) == sorted(texts)


# The query


def test_kql_prints_the_query() -> None:
    """`kql` prints the rule's text for a window, open or bounded, in both variants, and nothing else."""
    start = parse_ticks(FIRST_HUNTED)
    assert called("kql", "--start", FIRST_HUNTED).stdout == render(RULE, start)
    bounded = called("kql", "--start", FIRST_HUNTED, "--end", LAST_HUNTED, "--by-property")
    assert bounded.stdout == render(RULE, start, start + TICKS_PER_DAY, by_property=True)
    assert (bounded.exit_code, bounded.stderr) == (0, "")


def test_kql_takes_any_instant() -> None:
    """Instants may carry an offset; they are printed as UTC ticks."""
    text = called("kql", "--start", "2026-03-15T09:30:00.1234567+02:00").stdout
    assert "todatetime('2026-03-15T07:30:00.1234567Z')" in text
