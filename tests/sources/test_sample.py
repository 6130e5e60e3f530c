import gzip
import hashlib
import json
from itertools import pairwise
from typing import Any, TypeAlias

import pytest

from rare_audit.sources.sample import DAYS, FIRST_DAY, planted, sample_lines

COLUMNS = (
    "TenantId SourceSystem TimeGenerated ResourceId OperationName OperationVersion Category ResultType ResultSignature"
    " ResultDescription DurationMs CorrelationId Resource ResourceGroup ResourceProvider Identity Level Location"
    " AdditionalDetails Id InitiatedBy LoggedByService Result ResultReason TargetResources AADTenantId"
    " ActivityDisplayName ActivityDateTime AADOperationType Type"
).split()
Row: TypeAlias = dict[str, Any]
DYNAMIC = ("AdditionalDetails", "InitiatedBy", "TargetResources")
DEFAULT_SHA256 = "266c4c3ce05ee0c46778ac6387a7aa43a1319c51b15db37158742141ba40c8f6"


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    """The default sample."""
    return list(sample_lines())


@pytest.fixture(scope="module")
def rows(lines: list[bytes]) -> list[Row]:
    """The default sample, decoded."""
    return [json.loads(line) for line in lines]


def test_default_sample_is_the_same_bytes_everywhere(lines: list[bytes]) -> None:
    """The default sample is pinned, on every Python version and on every run."""
    assert hashlib.sha256(b"".join(lines)).hexdigest() == DEFAULT_SHA256


def test_same_arguments_same_bytes_and_another_seed_others() -> None:
    """Events and seed alone decide the bytes."""
    assert list(sample_lines(300, 3)) == list(sample_lines(300, 3))
    assert list(sample_lines(300, 3)) != list(sample_lines(300, 4))


@pytest.mark.parametrize("events", [300, 2000, 4000])
def test_number_of_lines(events: int) -> None:
    """As many lines come out as were asked for, give or take the few that tiny samples leave out."""
    assert events * 0.98 <= sum(1 for _ in sample_lines(events)) <= events


def test_lines_come_one_by_one() -> None:
    """The first line of a huge sample is there at once: nothing is collected first."""
    assert next(sample_lines(10**9)).endswith(b"}\n")


def test_ascending_within_the_sixteen_days(rows: list[Row]) -> None:
    """Times have seven decimals, never go back, and stay within the days."""
    times = [row["TimeGenerated"] for row in rows]
    assert {len(time) for time in times} == {len("2026-03-01T00:00:00.0000000Z")}
    assert all(before <= after for before, after in pairwise(times))
    assert len({time[:10] for time in times}) == DAYS
    assert times[0].startswith(FIRST_DAY)


def test_line_shape(lines: list[bytes], rows: list[Row]) -> None:
    """Each line is one JSON object with the export's columns in order, the dynamic ones as JSON text."""
    assert all(line.endswith(b"}\n") and line.count(b"\n") == 1 for line in lines)
    assert all(list(row) == COLUMNS for row in rows)
    assert all(isinstance(row[column], str) for row in rows for column in DYNAMIC)
    assert all(len(json.loads(row["InitiatedBy"])) == 1 for row in rows)


def test_new_values_are_strings_that_hold_json(rows: list[Row]) -> None:
    """Both values of a modified property are null or JSON in a string, lists and scalars alike."""
    kinds: set[type] = set()
    for row in rows:
        for target in json.loads(row["TargetResources"]):
            for changed in target["modifiedProperties"]:
                values = [changed[side] for side in ("oldValue", "newValue") if changed[side] is not None]
                kinds |= {type(json.loads(value)) for value in values}
    assert {list, str} <= kinds


def test_ids_are_unique(rows: list[Row]) -> None:
    """No two rows share an Id."""
    assert len({row["Id"] for row in rows}) == len(rows)


def test_about_a_third_is_done_by_people(rows: list[Row]) -> None:
    """People do about a third; of the apps exactly one has an address."""
    by = [json.loads(row["InitiatedBy"]) for row in rows]
    assert 0.28 < sum("user" in one for one in by) / len(rows) < 0.38
    assert {one["app"]["displayName"] for one in by if "ipAddress" in one.get("app", {})} == {"Windlass Automation"}


@pytest.mark.parametrize("events", [4000, 20000])
def test_average_size(events: int) -> None:
    """A line is about as long as a real one."""
    sizes = [len(line) for line in sample_lines(events)]
    assert 1300 < sum(sizes) / len(sizes) < 1900


def test_default_sample_packs_small(lines: list[bytes]) -> None:
    """The default sample fits into a megabyte when zipped."""
    assert len(gzip.compress(b"".join(lines))) < 1_000_000


@pytest.mark.parametrize("seed", [1, 7])
def test_only_planted_events_are_on_midnights_tick(seed: int) -> None:
    """The two planted ones are there, and no ordinary event is on a tick where it would make itself known."""
    rows = [json.loads(line) for line in sample_lines(20000, seed)]
    found = [
        (row["TimeGenerated"][:10], row["Identity"]) for row in rows if "T00:00:00.0000000Z" in row["TimeGenerated"]
    ]
    assert found == [("2026-03-02", "Cartage Courier Sync"), ("2026-03-16", "Nightwatch Scheduler")]


def test_planted_cases_say_what_they_are() -> None:
    """Names and combinations are unique, all lie on the hunted days, and just the unseen ones have a reason."""
    cases = planted()
    assert len({case.name for case in cases}) == len(cases)
    assert len({(case.day, case.app, case.operation, case.target_upn) for case in cases}) == len(cases)
    assert {case.day for case in cases} == {"2026-03-15", "2026-03-16"}
    assert all(case.story and case.seen == (not case.why) for case in cases)
    assert sum(case.excluded for case in cases) == 2
    assert all(case.seen for case in cases if case.excluded)


@pytest.mark.parametrize("events", [0, 4000])
def test_planted_cases_are_in_every_sample(events: int) -> None:
    """Each planted combination has a row on its day, in a sample of any size."""
    combinations = set()
    for line in sample_lines(events):
        row = json.loads(line)
        app = json.loads(row["InitiatedBy"]).get("app", {}).get("displayName", "")
        upn = json.loads(row["TargetResources"])[0].get("userPrincipalName", "").lower()
        combinations.add((row["TimeGenerated"][:10], app, row["OperationName"], upn))
    assert {(case.day, case.app, case.operation, case.target_upn) for case in planted()} <= combinations
