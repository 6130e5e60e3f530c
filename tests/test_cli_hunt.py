"""What `hunt` looks at, what it says of it, and how it ends: an empty answer is never an all-clear."""

import csv
import io
import json
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from rare_audit.cli.hunt_windows import densest
from rare_audit.detection.ticks import TICKS_PER_DAY, day_ticks
from rare_audit.detection.windows import MOST_DAYS
from tests.exports.trio import RARE, ROWS, changed, ndjson
from tests.terminal import (
    BOTH_DAYS,
    COLUMNS,
    FIRST_HUNTED,
    LAST_HUNTED,
    NORTHWIND,
    assert_refused,
    called,
    case_of,
    hunted,
    rows,
)

BY_PERSON: Final = json.dumps({"user": {"userPrincipalName": "ann@x.example"}})


def _row(time: str, operation: str = "Add user", number: int = 0, **members: Any) -> dict[str, Any]:
    return ROWS[0] | {"TimeGenerated": time, "OperationName": operation, "Id": f"Directory_{time}{number}"} | members


def _export(folder: Path, *content: dict[str, Any], name: str = "export.ndjson") -> str:
    path = folder / name
    path.write_bytes(ndjson(list(content)))
    return str(path)


def _operations(*words: str) -> list[str]:
    return [row["OperationName"] for row in rows(*words)]


# Windows


DAYS: Final = [f"2026-03-{day:02d}T12:00:00Z" for day in range(1, 21)]


def test_all_days_with_a_whole_lookback(tmp_path: Path) -> None:
    """Of twenty days the last six are looked at, a rare event in any of them is found, and those before are not."""
    rare = [_row(DAYS[at], f"Rare {at}") for at in (3, 14, 17, 19)]
    export = _export(tmp_path, *map(_row, DAYS), *rare)
    assert _operations(export) == ["Rare 14", "Rare 17", "Rare 19"]
    assert "looking at 2026-03-15 to 2026-03-20, each day compared" in hunted(export).stderr


def test_shorter_than_the_lookback(tmp_path: Path) -> None:
    """All days with events by apps are looked at, marked as compared with an incomplete baseline."""
    export = _export(tmp_path, *map(_row, DAYS[4:6]), _row(DAYS[5], "Rare"), _row(DAYS[0], InitiatedBy=BY_PERSON))
    result = hunted(export, "--format", "ndjson")
    assert [msgspec.json.decode(line)["OperationName"] for line in result.stdout.splitlines()] == ["Add user", "Rare"]
    said = result.stderr.splitlines()
    assert said[0] == "4 events, 2026-03-01 12:00 to 2026-03-06 12:00 UTC, 3 by apps"
    assert "no day with events by apps has 14 days of data before it: looking at all there are" in said
    assert f"coverage before 2026-03-05: 1 of 14 days had data, none on 2026-02-19 to 2026-02-28, {_MARCH}" in said
    assert said[5].startswith(
        "warning: baseline incomplete, fewer than 7 days with data before 2026-03-05 to 2026-03-06"
    )


_MARCH: Final = "2026-03-02 to 2026-03-04"


def test_apps_only_in_the_first_days(tmp_path: Path) -> None:
    """Where the days with a whole lookback have no event by an app, those that have are looked at."""
    export = _export(tmp_path, _row(DAYS[1], "Rare"), *(_row(day, InitiatedBy=BY_PERSON) for day in DAYS))
    assert _operations(export) == ["Rare"]
    assert "warning: baseline incomplete" in hunted(export).stderr


def test_people_count_for_coverage(tmp_path: Path) -> None:
    """A day on which only people did anything is a day with data."""
    export = _export(tmp_path, *(_row(day, InitiatedBy=BY_PERSON) for day in DAYS), _row(DAYS[19], "Rare"))
    result = hunted(export)
    assert "coverage: 14 of 14 days had data" in result.stderr
    assert "warning" not in result.stderr


@pytest.mark.parametrize(
    ("words", "looked_at"),
    [
        (("--date", "2026-03-18"), ["2026-03-18"]),
        (("--from", "2026-03-18", "--to", "2026-03-19"), ["2026-03-18", "2026-03-19"]),
        (("--from", "2026-03-19"), ["2026-03-19", "2026-03-20"]),
        (("--to", "2026-03-16"), ["2026-03-15", "2026-03-16"]),
        (("--end", "2026-03-17"), ["2026-03-15", "2026-03-16"]),
        (("--end", "2026-03-16T11:00:00Z"), ["2026-03-15"]),
        (("--start", "2026-03-19", "--daily"), ["2026-03-19", "2026-03-20"]),
        (("--start", "2015-01-01", "--daily"), [day[:10] for day in DAYS]),
        (("--start", "2015-01-01", "--end", "2036-01-01", "--daily"), [day[:10] for day in DAYS]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_days_asked_for(words: tuple[str, ...], looked_at: list[str], tmp_path: Path) -> None:
    """Days are inclusive, ends are not; a range beyond the data is a range of the data."""
    export = _export(tmp_path, *(_row(day, day[:10]) for day in DAYS))
    assert [row["StartTime"][:10] for row in rows(export, *words)] == looked_at


def test_every_way_to_ask_for_the_sample_s_days() -> None:
    """`--from` and `--to` give what the job gives for these days, as `--daily` does."""
    expected = rows(*BOTH_DAYS)
    assert rows(NORTHWIND, "--from", FIRST_HUNTED, "--to", LAST_HUNTED) == expected
    assert rows(NORTHWIND, "--date", LAST_HUNTED) == [row for row in expected if case_of(row)[0] == LAST_HUNTED]


def test_one_event_ages_away(tmp_path: Path) -> None:
    """A single absurd time does not take the window away from all other days: it is named, and the exit code is 3."""
    absurd = [_row("9999-12-31T00:00:00Z", number=1), _row("0001-01-01T00:00:00Z", number=2)]
    export = _export(tmp_path, *map(_row, DAYS), _row(DAYS[19], "Rare"), *absurd)
    result = called("hunt", export, "--format", "ndjson")
    assert (result.exit_code, len(result.stdout.splitlines())) == (3, 1)
    assert result.stderr.splitlines()[-1] == "incomplete: 0001-01-01, 9999-12-31 were not looked at"


def test_densest() -> None:
    """As many days as one pass holds, the most that lie together; the first of equally many."""
    day = TICKS_PER_DAY
    assert densest([5 * day]) == [5 * day]
    assert densest([0, MOST_DAYS * day]) == [0]
    assert densest([0, (MOST_DAYS - 1) * day]) == [0, (MOST_DAYS - 1) * day]
    far = MOST_DAYS * 3 * day
    assert densest([0, far, far + day, far * 2]) == [far, far + day]
    assert densest([day_ticks("2026-03-01")]) == [day_ticks("2026-03-01")]


def test_days_near_today(tmp_path: Path) -> None:
    """Words for days are days before today, whatever the data are."""
    export = _export(tmp_path, *map(_row, DAYS))
    for words in (("--date", "yesterday"), ("--date", "-1d"), ("--start", "-2d"), ("--from", "-3d", "--to", "today")):
        result = called("hunt", export, *words)
        assert result.exit_code == 4, words
        assert "no events by apps" in result.stderr
    assert called("kql", "--start", "yesterday").stdout == called("kql", "--start", "-1d").stdout
    assert "T00:00:00.0000000Z" in called("kql", "--start", "yesterday").stdout
    assert called("hunt", export, "--start", "-999999d").exit_code == 2


# No events by apps


@pytest.mark.parametrize("form", ["table", "ndjson", "jsonl", "csv", "json", "html"])
@pytest.mark.parametrize(
    "words",
    [("--date", "2026-02-01"), ("--start", "2030-01-01"), ("--start", "2026-03-21", "--end", "2026-03-22")],
    ids=" ".join,
)
def test_a_window_without_events_by_apps(words: tuple[str, ...], form: str, tmp_path: Path) -> None:
    """It is never "nothing rare": it says which days have some, and the exit code is 4."""
    export = _export(tmp_path, *map(_row, DAYS))
    result = called("hunt", export, *words, "--format", form)
    assert result.exit_code == 4
    assert "othing rare" not in result.output
    last = result.stderr.splitlines()[-1]
    assert last.startswith("no events by apps ")
    assert last.endswith("there are some on 2026-03-01, 2026-03-02 … 2026-03-20 (20 days): try --date 2026-03-20")
    assert rows(export, "--date", "2026-03-20") == []


def test_no_event_by_an_app_at_all(tmp_path: Path) -> None:
    """Where only people act there is nothing to suggest."""
    export = _export(tmp_path, *(_row(day, InitiatedBy=BY_PERSON) for day in DAYS))
    result = called("hunt", export)
    assert result.exit_code == 4
    assert "and none on any other day that was read" in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[0].endswith(", 0 by apps")


# Repeated records


def test_overlapping_files_count_once(tmp_path: Path) -> None:
    """The same record by Id and content is one event, from one file or several; how many were repeated is said."""
    whole = _export(tmp_path, *ROWS)
    double = _export(tmp_path, *ROWS, *ROWS[1:], name="double.ndjson")
    for words, repeated in (((whole, whole), 2), ((double,), 2), ((whole, double), 4)):
        result = hunted(*words, "--date", "2026-03-16", "--format", "json")
        (finding,) = msgspec.json.decode(result.stdout)["findings"]
        assert (finding["OperationName"], finding["events"]) == (RARE, 1)
        assert f"  repeated, the same Id and content as one before: {repeated}" in result.stderr.splitlines()
    assert rows(whole, whole, "--date", "2026-03-16") == rows(whole, "--date", "2026-03-16")


def test_the_same_id_with_other_content_is_another_event(tmp_path: Path) -> None:
    """An Id alone decides nothing, nor does content without an Id."""
    same_id = changed(ROWS, 2, Id=ROWS[1]["Id"])
    other = ROWS[2] | {"TargetResources": ROWS[2]["TargetResources"].replace("ann", "bob")}
    nameless = [row | {"Id": None} for row in (ROWS[2], ROWS[2])]
    for content, events in ((same_id, 1), ([*ROWS, other], 2), (nameless, 2)):
        result = hunted(_export(tmp_path, *content), "--date", "2026-03-16", "--format", "json")
        (finding,) = msgspec.json.decode(result.stdout)["findings"]
        assert finding["events"] == events
        assert "repeated" not in result.stderr


# Coverage in every format


def test_coverage_in_every_format(tmp_path: Path) -> None:
    """With an incomplete baseline each format says so, in the result itself where it has room."""
    export = _export(tmp_path, *ROWS)
    by_form = {form: hunted(export, "--format", form).stdout for form in ("table", "csv", "json", "jsonl", "html")}
    assert "warning: baseline incomplete, fewer than 7 days" in by_form["table"]
    assert by_form["table"].index("warning") < by_form["table"].index("First seen")
    assert {row["degraded"] for row in csv.DictReader(io.StringIO(by_form["csv"]))} == {"yes"}
    assert msgspec.json.decode(by_form["json"])["coverage"]["2026-03-16"]["degraded"] is True
    assert all(msgspec.json.decode(line)["baseline"]["degraded"] for line in by_form["jsonl"].splitlines())
    assert "Baseline incomplete." in by_form["html"]
    whole = hunted(*BOTH_DAYS, "--format", "csv").stdout
    assert {(row["baselineDays"], row["degraded"]) for row in csv.DictReader(io.StringIO(whole))} == {("14", "no")}


# Formats and outputs


def test_the_former_name_of_a_format() -> None:
    """`kql` is still understood."""
    assert hunted(*BOTH_DAYS, "--format", "kql").stdout == hunted(*BOTH_DAYS, "--format", "ndjson").stdout
    assert list(rows(*BOTH_DAYS)[0]) == COLUMNS


def test_whole_findings_a_line() -> None:
    """`jsonl` holds what `json` holds, a finding a line."""
    lines = [msgspec.json.decode(line) for line in hunted(*BOTH_DAYS, "--format", "jsonl").stdout.splitlines()]
    document = msgspec.json.decode(hunted(*BOTH_DAYS, "--format", "json").stdout)
    assert [{name: value for name, value in line.items() if name != "baseline"} for line in lines] == document[
        "findings"
    ]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("x.html", "html"),
        ("x.json", "json"),
        ("x.jsonl", "jsonl"),
        ("x.ndjson", "ndjson"),
        ("x.CSV", "csv"),
        ("x.txt", "table"),
        ("x", "table"),
    ],
)
def test_a_suffix_says_the_format(name: str, form: str, tmp_path: Path) -> None:
    """What a file is called is what it holds."""
    hunted(*BOTH_DAYS, "-o", str(tmp_path / name))
    expected = hunted(*BOTH_DAYS, "--format", form).stdout
    assert (tmp_path / name).read_text(encoding="utf-8") == expected


def test_an_output_that_is_an_input_is_refused(tmp_path: Path) -> None:
    """Evidence is not written over, by whichever name, and stays as it was."""
    export = Path(_export(tmp_path, *ROWS))
    before = export.read_bytes()
    link = tmp_path / "link.ndjson"
    link.symlink_to(export)
    for inputs, output in (((export,), export), ((export,), link), ((link,), export), ((tmp_path,), export)):
        result = called("hunt", *map(str, inputs), "-o", str(output))
        assert_refused(result, "is one of the files to read")
    assert export.read_bytes() == before


def test_a_hunt_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """Neither a new file nor half of one; what was there before stays."""
    export = _export(tmp_path, *ROWS)
    Path(export).write_bytes(ndjson(ROWS)[:-9] + b"{")
    output = tmp_path / "results" / "found.json"
    output.parent.mkdir()
    assert called("hunt", str(tmp_path / "none"), "-o", str(output)).exit_code == 2
    assert list(output.parent.iterdir()) == []
    output.write_text("earlier")
    assert called("hunt", str(tmp_path / "none"), "-o", str(output)).exit_code == 2
    assert [path.read_text() for path in output.parent.iterdir()] == ["earlier"]


# Exit codes


@pytest.mark.parametrize(("level", "code"), [("informational", 5), ("low", 5), ("medium", 5), ("high", 0)])
def test_fail_on(level: str, code: int) -> None:
    """Findings of the rule's severity, Medium, or above fail a pipeline that asks for it, and no other."""
    assert called("hunt", *BOTH_DAYS, "--fail-on", level).exit_code == code
    quiet = (NORTHWIND, "--start", "2026-03-15T20:00:00Z", "--end", "2026-03-15T21:00:00Z")
    assert called("hunt", *quiet, "--fail-on", level).exit_code == 0


def test_findings_come_before_losses(tmp_path: Path) -> None:
    """A pipeline that asked for findings hears of them though some records were lost."""
    path = Path(_export(tmp_path, *ROWS))
    path.write_bytes(path.read_bytes() + b"{broken\n")
    assert called("hunt", str(path)).exit_code == 3
    assert called("hunt", str(path), "--fail-on", "high").exit_code == 3
    assert called("hunt", str(path), "--fail-on", "low").exit_code == 5


def test_changes_that_the_engine_cannot_read(tmp_path: Path) -> None:
    """An event by an app whose TargetResources is not JSON is lost, wherever that shows, not dropped in silence."""
    escape = ROWS[2] | {"TargetResources": '[{"displayName": "\\ud800", "modifiedProperties": []}]'}
    export = _export(tmp_path, *ROWS[:2], escape)
    result = called("hunt", export, "--date", "2026-03-16")
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1] == "incomplete: 1 event could not be read; findings may be missing"
    lenient = called("hunt", export, "--date", "2026-03-16", "--lenient")
    assert lenient.exit_code == 0
    assert lenient.stderr.splitlines()[-1] == "incomplete: 1 event could not be read; findings may be missing"


@pytest.mark.parametrize("day", [0, 2], ids=["in the lookback", "in the window"])
@pytest.mark.parametrize(
    ("targets", "reason"),
    [
        ('[{"modifiedProperties": "System.Object[]"}]', "modifiedProperties is not a JSON array of objects"),
        ('[{"modifiedProperties": ["@{displayName=x}"]}]', "modifiedProperties is not a JSON array of objects"),
        ('[{"modifiedProperties": [{"newValue": "[]"}]', "TargetResources is not a JSON array of objects"),
        ('["@{id=x}"]', "TargetResources is not a JSON array of objects"),
    ],
    ids=["PowerShell", "PowerShell inside", "cut at a bracket", "PowerShell's elements"],
)
def test_changes_that_only_end_like_json(targets: str, reason: str, day: int, tmp_path: Path) -> None:
    """What looks sound from its ends is met by the engine: counted, named by its Id, and in the exit code."""
    export = _export(tmp_path, *changed(ROWS, day, TargetResources=targets))
    result = called("hunt", export, "--date", "2026-03-16")
    assert result.exit_code == 3
    said = f"  not read: 1 event by apps, {reason}, first Directory_{day + 1} at 2026-03-1"
    assert any(line.startswith(said) for line in result.stderr.splitlines()), result.stderr
    page = tmp_path / "page.html"
    assert called("hunt", export, "--date", "2026-03-16", "-o", str(page)).exit_code == 3
    assert f"one event not read: {reason}, first Directory_{day + 1}" in page.read_text(encoding="utf-8")


def test_help_names_the_exit_codes() -> None:
    """One table, in the help as in the documents."""
    text = called("hunt", "--help").stdout
    for code in range(6):
        assert f"\n    {code}  " in text
