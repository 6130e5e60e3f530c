"""The analytics rule's query: Microsoft's parser takes it, and an independent engine gives the rows that it should."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rare_audit.reporting.finding_rows import COLUMNS, TABLE
from tests.azure.gate import dropping
from tests.azure.ingestion_server import Arrived
from tests.infra.findings_kql import QUERY, FindingsKql
from tests.kusto.kusto import check
from tests.sinks.findings_table_world import row, worlds
from tests.sinks.sentinel_world import ONE, TWO, named

ROOT: Final = Path(__file__).parents[2]
FREQUENCY: Final = timedelta(hours=1)
SETTLED: Final = timedelta(minutes=10)
PERIOD: Final = timedelta(days=14)
MOST_LETTERS: Final = 10_000
"""Of a rule's query: https://learn.microsoft.com/azure/sentinel/sentinel-service-limits."""
START: Final = datetime(2026, 3, 3, tzinfo=UTC)
SCHEMA: Final = f"({', '.join(f'{name}: {kind}' for name, kind in COLUMNS.items())}, TenantId: string, Type: string)"
TEXT: Final = QUERY.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def table() -> FindingsKql:
    """The table in an engine of its own."""
    return FindingsKql()


def _came(finding: str, minutes: float, *, events: int = 1) -> Arrived:
    """Return a row that came some minutes after the start; another number of events is another revision."""
    values = row(named(finding, events=events)).values
    at = START + timedelta(minutes=minutes)
    return Arrived(at, {"TimeGenerated": f"{at:%Y-%m-%dT%H:%M:%S.%f}Z", **values})


def _reported(table: FindingsKql, minutes: float) -> list[tuple[str, int, str]]:
    """Return what a run of the rule reports: ids, events and what is said of the change."""
    found = table.reported(START + timedelta(minutes=minutes))
    return sorted((each["FindingId"], each["Events"], each["Change"]) for each in found)


def test_columns_of_the_infrastructure() -> None:
    """infra/findings-columns.json names the columns that the code sends, in their order, with their types."""
    listed = json.loads((ROOT / "infra/findings-columns.json").read_text(encoding="utf-8"))
    assert [(each["name"], each["type"]) for each in listed] == list(COLUMNS.items())


def test_parser() -> None:
    """Microsoft's parser has nothing against it, and sees the table's columns and some more in its result."""
    broken = TEXT.replace("FindingId,\n", "FindingIdd,\n", 1)
    seen, wrong = check([TEXT, broken], tables={TABLE: SCHEMA})
    assert seen.diagnostics == ()
    added = ("Change", "Title", "Tactics", "Techniques")
    expected = {**COLUMNS, **dict.fromkeys(added, "string")}
    del expected["Headline"]
    assert {column.name: column.type for column in seen.columns} == expected
    assert [each.text for each in wrong.diagnostics if each.severity == "Error"][:1] == ["FindingIdd"]


def test_size_and_schedule() -> None:
    """It is short enough for a rule, and says for which frequency and period it is."""
    assert len(TEXT) < MOST_LETTERS
    assert f"let Frequency = {FREQUENCY // timedelta(hours=1)}h;" in TEXT
    assert f"let Settled = {SETTLED // timedelta(minutes=1)}m;" in TEXT
    assert f"queryFrequency PT1H and queryPeriod P{PERIOD.days}D" in TEXT


def test_a_row_as_it_was_uploaded(tmp_path: Path, table: FindingsKql) -> None:
    """What went over the wire comes out as one row with every column; an upload that was repeated, as one too."""
    with worlds(tmp_path) as world:
        world.server.gate.at(1, dropping, service="ingestion", applied=True)
        world.upload([row(ONE), row(TWO)])
        assert len(world.server.rows) == 4
        table.fill(world.server.arrived)
        found = {each["FindingId"]: each for each in table.reported(world.clock.now() + FREQUENCY)}
    assert len(found) == 2
    values = row(TWO).values
    told = found[TWO.id]
    for name, kind in COLUMNS.items():
        if kind in {"string", "int"}:
            assert told["Title" if name == "Headline" else name] == values[name]
        elif kind == "dynamic":
            assert json.loads(told[name]) == values[name]
    assert f"{told['StartTime']:%Y-%m-%dT%H:%M:%S}" == TWO.start_time[:19]
    assert told["Change"] == "new"


@pytest.mark.parametrize(
    ("came", "run", "seen"),
    [
        (59.999, 69.9, False),
        (59.999, 70, True),
        (59.999, 129.9, True),
        (59.999, 130, False),
        (60, 129.9, False),
        (60, 130, True),
        (60, 189.9, True),
        (60, 190, False),
    ],
)
def test_hours(came: float, run: float, seen: bool, table: FindingsKql) -> None:
    """A row belongs to the hour it came in, and is reported by the run that follows the hour's end by ten minutes."""
    table.fill([_came("one", came)])
    assert bool(_reported(table, run)) == seen


def test_repeated_days_later(table: FindingsKql) -> None:
    """A row that comes again within the period is nothing new, alone or beside another."""
    one, two = named("one").id, named("two").id
    table.fill([_came("one", 30), _came("one", 31), _came("one", 4 * 24 * 60 + 30), _came("two", 4 * 24 * 60 + 30)])
    assert _reported(table, 75) == [(one, 1, "new")]
    assert _reported(table, 4 * 24 * 60 + 75) == [(two, 1, "new")]


def test_revised(table: FindingsKql) -> None:
    """A revision hours later is reported, as revised; of two within an hour the later alone; one seen before never."""
    one = named("one").id
    table.fill([
        _came("one", 30),
        _came("one", 95, events=2),
        _came("one", 100, events=3),
        _came("one", 150),
    ])  # fmt: skip
    assert [_reported(table, minutes) for minutes in (75, 135, 195)] == [[(one, 1, "new")], [(one, 3, "revised")], []]


def test_empty(table: FindingsKql) -> None:
    """Without rows there are none."""
    table.fill([])
    assert _reported(table, 75) == []


Came = tuple[int, int, int]
HOURS: Final = 5
arrivals: Final = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(0, HOURS * 3600 - 1)),
    max_size=14,
    unique_by=lambda came: came[2],
)
"""Findings, each with a revision, and the second at which it came."""


def _expected(came: list[Came]) -> Counter[tuple[str, int]]:
    """Return what is to be reported over all: each revision by its first row, in each hour the last of a finding."""
    first: dict[tuple[int, int], int] = {}
    for finding, revision, second in sorted(came, key=lambda each: each[2]):
        first.setdefault((finding, revision), second)
    last: dict[tuple[int, int], int] = {}
    for (finding, revision), second in sorted(first.items(), key=lambda each: each[1]):
        last[finding, second // 3600] = revision
    return Counter((named(str(finding)).id, revision) for (finding, _), revision in last.items())


@given(came=arrivals, minute=st.integers(14, 66), jitter=st.lists(st.integers(-200, 200), min_size=9, max_size=9))
@settings(max_examples=30)
def test_each_revision_is_reported_once(table: FindingsKql, came: list[Came], minute: int, jitter: list[int]) -> None:
    """Whenever rows come, and at whichever minute the rule runs, some minutes early or late: none is missed or doubled.

    Runs slip by up to 200 seconds, yet not past minute 10, where the hour that is reported changes.
    """
    table.fill([_came(str(finding), second / 60, events=revision) for finding, revision, second in came])
    reported: Counter[tuple[str, int]] = Counter()
    for hour, seconds in enumerate(jitter):
        reported.update(each[:2] for each in _reported(table, hour * 60 + minute + seconds / 60))
    assert reported == _expected(came)
    assert all(times == 1 for times in reported.values())
