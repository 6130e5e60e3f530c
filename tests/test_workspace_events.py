"""`app.workspace_events`: a workspace for a hunt, reached with its settings and a sign-in alone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from rare_audit import app
from rare_audit.detection.ticks import TICKS_PER_DAY, day_ticks, format_day
from rare_audit.detection.windows import Windows
from rare_audit.errors import SettingsError
from rare_audit.sources.log_analytics_query import APP_INITIATED
from tests.azure.local_stack import Stack
from tests.azure.log_analytics_world import ids, row
from tests.job_world import RULE
from tests.terminal import assert_refused, called

FIRST: Final = day_ticks("2025-12-01")
DAYS: Final = 120
SILENT: Final = range(40, 43)
"""Days without any event, counted from the first."""
OTHER: Final = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="module")
def running() -> Iterator[Stack]:
    """Four months in Azure, each day with one event of an app and one of a person."""
    with Stack(host=False) as stack:
        noons = [FIRST + day * TICKS_PER_DAY + TICKS_PER_DAY // 2 for day in range(DAYS) if day not in SILENT]
        by_apps = [row(noon, number) for number, noon in enumerate(noons)]
        by_people = [row(noon + 1, DAYS + number, app="") for number, noon in enumerate(noons)]
        stack.logs.table.fill([*by_apps, *by_people])
        yield stack


@pytest.fixture
def stack(running: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    """The same; the clients in this process find the identity and trust the authority."""
    running.reset()
    for name, text in running.reading.items():
        monkeypatch.setenv(name, text)
    app.credential.cache_clear()
    yield running
    app.credential.cache_clear()


def test_coverage_of_many_days(stack: Stack) -> None:
    """How many events each of 106 days and of the 14 before them has is one question; silent days are left out."""
    windows = Windows.days(FIRST + RULE.lookback_days * TICKS_PER_DAY, FIRST + DAYS * TICKS_PER_DAY, RULE.lookback_days)
    coverage = app.workspace_events(stack.reading, None, RULE).coverage(windows.origin, windows.end)
    expected = {format_day(FIRST + day * TICKS_PER_DAY): 2 for day in range(DAYS) if day not in SILENT}
    assert coverage == expected
    assert len(stack.logs.asked) == 1


def test_events_that_the_rule_needs(stack: Stack) -> None:
    """Events of apps come, and the service drops the others, as it does for the job."""
    source = app.workspace_events(stack.reading, None, RULE)
    events = list(source.events(FIRST, FIRST + DAYS * TICKS_PER_DAY))
    assert ids(events) == sorted(f"Directory_{number}" for number in range(DAYS - len(SILENT)))
    assert source.reading().events == len(events)
    assert all(APP_INITIATED in asked.query for asked in stack.logs.asked)
    assert {passing.service for passing in stack.gate.passed} == {"identity", "logs"}


def test_workspace_of_the_command_line(stack: Stack) -> None:
    """A GUID that is given is asked in place of the one that is set, which need not be there or be one at all."""
    mine = stack.reading["LOG_ANALYTICS_WORKSPACE_ID"]
    stack.logs.workspace = OTHER
    try:
        for own in (mine, "soc-logs", ""):
            environment = stack.reading | {"LOG_ANALYTICS_WORKSPACE_ID": own}
            source = app.workspace_events(environment, OTHER.upper(), RULE)
            assert source.last_event(FIRST, FIRST + TICKS_PER_DAY) is not None
    finally:
        stack.logs.workspace = mine


def test_nothing_is_asked_before_it_is_needed(stack: Stack) -> None:
    """Making the source neither signs in nor asks the workspace."""
    app.workspace_events(stack.reading, None, RULE)
    assert stack.gate.passed == ()


@pytest.mark.parametrize(
    ("workspace", "told"),
    [
        (None, "LOG_ANALYTICS_WORKSPACE_ID is not set: expected the workspace's GUID"),
        ("", "--workspace is not set: expected the workspace's GUID"),
        (
            "soc\x1b[2J\nlogs",
            "--workspace: expected the workspace's GUID, which its overview page shows as Workspace ID",
        ),
    ],
)
def test_no_workspace(workspace: str | None, told: str) -> None:
    """What is no GUID is refused in one line by the name it was given under, and is not repeated."""
    with pytest.raises(SettingsError) as raised:
        app.workspace_events({}, workspace, RULE)
    assert str(raised.value) == told


def test_hunt_in_a_workspace(stack: Stack) -> None:
    """With the workspace's settings and a sign-in a hunt sees what the job sees, and how complete it is."""
    stack.logs.table.fill([row(FIRST + day * TICKS_PER_DAY, day) for day in range(15)])
    day = format_day(FIRST + 14 * TICKS_PER_DAY)
    result = called("hunt", "--workspace", "--date", day, "--format", "ndjson")
    assert result.exit_code == 0, result.output
    assert "coverage: 14 of 14 days had data" in result.stderr
    assert result.stderr.splitlines()[1] == f"looking at {day}, compared with the 14 days before"


def test_hunt_in_a_workspace_without_events(stack: Stack) -> None:
    """The default is yesterday, and a day without events by apps is no all-clear."""
    result = called("hunt", "--workspace", OTHER)
    assert result.exit_code == 1
    stack.logs.table.fill([])
    result = called("hunt", "--workspace")
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    assert result.exit_code == 4
    assert result.stderr.splitlines()[:2] == ["0 events", f"looking at {yesterday}, compared with the 14 days before"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--workspace", "nonsense"), "--workspace: expected the workspace's GUID"),
        (("--workspace", "--to", "2026-03-16"), "give --date, --from or --start"),
    ],
    ids=" ".join,
)
def test_hunt_in_no_workspace(stack: Stack, words: tuple[str, ...], told: str) -> None:
    """What can't be asked of a workspace is refused before anything is asked."""
    assert_refused(called("hunt", *words), told)
    assert stack.logs.asked == []
