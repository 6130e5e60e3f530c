"""Alerts: queries that Microsoft's parser accepts, run by an independent engine on what the watch really logs."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import duckdb_kql
import msgspec
import pytest

from rare_audit.records import Run, State
from rare_audit.watch import OpenTelemetry
from tests.infra.bicep import INFRA, Node, file, properties, text, walk
from tests.infra.kql import checked

_NAMES: Final = sorted(path.stem for path in (INFRA / "alerts").glob("*.kql"))
_MINUTES: Final = {"PT15M": 15, "PT1H": 60, "P1D": 1440, "P2D": 2880}
_SHAPES: Final = {
    "traces": {"timestamp": "TIMESTAMP", "message": "VARCHAR", "customDimensions": "JSON"},
    "requests": {"timestamp": "TIMESTAMP", "name": "VARCHAR", "success": "BOOLEAN"},
}


def _query(name: str) -> str:
    return (INFRA / f"alerts/{name}.kql").read_text(encoding="utf-8")


def _rules() -> dict[str, dict[str, Node]]:
    found = [properties(node) for node in walk(file(INFRA / "app/alerts.bicep").of("variable")["rules"])]
    return {text(each["name"]).strip("'"): each for each in found if "window" in each}


def test_each_alert_has_its_query() -> None:
    """The rules and the files are the same, and each rule loads its own."""
    assert sorted(_rules()) == _NAMES
    for name, rule in _rules().items():
        assert text(rule["query"]) == f"loadTextContent('../alerts/{name}.kql')"


@pytest.mark.parametrize("name", _NAMES)
def test_parses(name: str) -> None:
    """Microsoft's parser has nothing against a query."""
    assert checked(_query(name)).columns


def test_windows_are_such_as_azure_takes() -> None:
    """A rule is evaluated no more seldom than its window is long, and looks back two days at most."""
    for name, rule in _rules().items():
        frequency, window, look_back = (
            _MINUTES[text(rule[key]).strip("'")] for key in ("frequency", "window", "range")
        )
        assert frequency <= window <= 1440, name
        assert window <= look_back <= 2880, name


def test_each_alert_links_to_its_runbook() -> None:
    """The description ends with a link to the section named as the alert."""
    bicep = (INFRA / "app/alerts.bicep").read_text(encoding="utf-8")
    assert "description: 'What to do: ${runbook}#${rule.name}'" in bicep


class _Insights:
    """What Application Insights would have, made of what the code logs."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._log = caplog
        self._watch = OpenTelemetry()
        self._connection = duckdb_kql.connect()
        for table, columns in _SHAPES.items():
            listed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
            self._connection.execute(f"create table {table}({listed})")

    def run(self, hours_ago: float, undelivered: int | None = None, **facts: Any) -> None:
        """Let the watch log a run that ended some hours ago, about the day before."""
        self._log.clear()
        ended = datetime.now(UTC) - timedelta(hours=hours_ago)
        day = f"{ended - timedelta(days=1):%Y-%m-%d}"
        run = Run(
            id="20261124T055629-ffce48d8a07e", rule_id="r", first_day=day, last_day=day, asked_by="timer", reason="",
            state=State.DONE, started=ended.isoformat(), ended=ended.isoformat(),
        )  # fmt: skip
        self._watch.ended(msgspec.structs.replace(run, **facts), undelivered)
        for record in self._log.records:
            # Whatever it is, the exporter sends it as a text.
            told = {name: str(value) for name, value in vars(record).items() if name.startswith("run.")}
            self.trace(hours_ago, record.getMessage(), **told)

    def trace(self, hours_ago: float, message: str, **told: str) -> None:
        """Have a line of the log."""
        self._put("traces", hours_ago, message, json.dumps(told))

    def request(self, hours_ago: float, name: str, *, success: bool) -> None:
        """Have a call of a function."""
        self._put("requests", hours_ago, name, success)

    def _put(self, table: str, hours_ago: float, *values: object) -> None:
        at = (datetime.now(UTC) - timedelta(hours=hours_ago)).replace(tzinfo=None)
        self._connection.execute(f"insert into {table} values (?, ?, ?)", [at, *values])  # noqa: S608 - tables of ours

    def alerts(self) -> set[str]:
        """Return the alerts that would be told now."""
        schema = {table: list(columns) for table, columns in _SHAPES.items()}
        queries = {name: str(duckdb_kql.to_sql(_query(name), schema=schema)) for name in _NAMES}
        return {name for name, sql in queries.items() if self._connection.execute(sql).fetchall()}


@pytest.fixture
def insights(caplog: pytest.LogCaptureFixture) -> Iterator[_Insights]:
    """Telemetry of an app that has been up for two days."""
    with caplog.at_level(logging.INFO, "rare_audit.watch"):
        insights = _Insights(caplog)
        insights.trace(47, "Host started")
        yield insights


def test_all_is_well(insights: _Insights) -> None:
    """A good run every day tells nobody."""
    insights.run(25, 0)
    insights.run(1, 0)
    insights.request(1, "daily", success=True)
    assert insights.alerts() == set()


def test_no_run(insights: _Insights) -> None:
    """The last good run is too old; one that found no data, one of another day and a dry one don't count."""
    insights.run(27, 0)
    insights.run(3, 0, state=State.NO_DATA)
    insights.run(2, 0, last_day="2026-03-15")
    insights.run(1, dry_run=True)
    assert insights.alerts() == {"no-successful-run"}


def test_nothing_at_all(insights: _Insights) -> None:
    """An app that never ran is told of after 26 hours, and so is one that writes nothing."""
    assert insights.alerts() == {"no-successful-run"}


def test_the_first_day(caplog: pytest.LogCaptureFixture) -> None:
    """An app that is up for less than 26 hours is left time, one without any telemetry is not."""
    insights = _Insights(caplog)
    assert insights.alerts() == {"no-successful-run"}
    insights.trace(25, "Host started")
    assert insights.alerts() == set()


def test_a_failed_run(insights: _Insights) -> None:
    """A failed run is told for an hour, whatever it failed of; it says nothing of what is undelivered."""
    insights.run(25, 0)
    insights.run(2, state=State.FAILED)
    assert insights.alerts() == {"failed-run"}


def test_a_lasting_outage(insights: _Insights) -> None:
    """Once the last success is out of sight, an app that fails every day is not taken for one that is new."""
    for hours in (46, 22):
        insights.run(hours, state=State.NO_DATA)
    assert insights.alerts() == {"no-successful-run"}


def test_the_first_run_fails(caplog: pytest.LogCaptureFixture) -> None:
    """A new app whose only run failed is told at once: nobody need wait for 26 hours."""
    with caplog.at_level(logging.INFO, "rare_audit.watch"):
        insights = _Insights(caplog)
        insights.run(1, state=State.FAILED)
        assert insights.alerts() == {"failed-run", "no-successful-run"}


def test_a_poisoned_message(insights: _Insights) -> None:
    """So is a message that the host gave up, and a timer that could not even begin."""
    insights.run(1, 0)
    insights.trace(1, "Message has reached MaxDequeueCount of 5. Moving message to queue 'rare-audit-runs-poison'.")
    assert insights.alerts() == {"failed-run"}


def test_the_timer_fails(insights: _Insights) -> None:
    """A timer that could not send a run has no run to tell of."""
    insights.run(1, 0)
    insights.request(1, "daily", success=False)
    assert insights.alerts() == {"failed-run"}


def test_degraded(insights: _Insights) -> None:
    """The last whole run's baseline counts: a dry run's or a failed one's does not."""
    insights.run(3, 0, degraded=("2026-03-15",))
    insights.run(2, dry_run=True)
    insights.run(1, state=State.FAILED)
    assert insights.alerts() == {"degraded-baseline", "failed-run"}
    insights.run(0.5, 0)
    assert insights.alerts() == {"failed-run"}


@pytest.mark.parametrize("facts", [{"refused": 1}, {"unreadable": 3}])
def test_incomplete(insights: _Insights, facts: dict[str, int]) -> None:
    """What was refused, or could not be read, is told until a whole run ends; dry and failed ones say nothing."""
    insights.run(3, 0, **facts)
    insights.run(2, dry_run=True)
    insights.run(1, state=State.FAILED)
    assert insights.alerts() == {"incomplete-run", "failed-run"}
    insights.run(0.5, 0)
    assert insights.alerts() == {"failed-run"}


def test_undelivered(insights: _Insights) -> None:
    """What is left stays told until a run comes to deliver all; one that fails before is none."""
    insights.run(3, 2, state=State.FAILED)
    insights.run(2, state=State.FAILED)
    assert insights.alerts() == {"failed-run", "undelivered-incidents", "no-successful-run"}
    insights.run(1, 0)
    assert insights.alerts() == {"failed-run"}
