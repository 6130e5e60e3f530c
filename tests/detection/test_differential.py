"""The engine against the rule's own text, run by an independent KQL engine: no difference is tolerated."""

import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rare_audit.detection.event import AuditEvent
from rare_audit.detection.finding import Finding
from rare_audit.detection.query import render
from rare_audit.detection.ticks import TICKS_PER_DAY
from rare_audit.detection.windows import Windows
from tests.detection.helpers import RULE, decoded, detect
from tests.strategies import START, Event, logs
from tests.yardstick import Row, Yardstick, without_baseline

_PLAIN = ("InitiatedByApp", "OperationName", "TargetUserPrincipalName", "InitiatedByIpAddress", "TargetResourceName",
          "AccountCustomEntity", "HostCustomEntity", "IPCustomEntity")  # fmt: skip
_TIMES = ("StartTime", "EndTime", "timestamp")
_ENDS = {"open": None, "a day": START + TICKS_PER_DAY, "odd": START + TICKS_PER_DAY * 3 // 2}


class Tally:
    """What a differential run saw, so that it can't be passed by seeing nothing."""

    def __init__(self) -> None:
        """Start at nought."""
        self.examples = self.reported = self.suppressed = 0

    def add(self, yardstick: Yardstick, text: str, rows: list[Row]) -> None:
        """Count the rows of a query, and those that only its baseline held back."""
        self.reported += len(rows)
        self.suppressed += len(yardstick.run(without_baseline(text))) - len(rows)


def _comparable_row(row: Row) -> tuple[Any, ...]:
    assert all(isinstance(row[name], datetime) for name in _TIMES)
    times = (row[name].strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z" for name in _TIMES)
    return (*(row[name] for name in _PLAIN), *times, tuple(sorted(json.loads(row["set_PropertyName"]))))


def _comparable_finding(finding: Finding) -> tuple[Any, ...]:
    row = finding.row()
    return (*(row[name] for name in _PLAIN), *(row[name] for name in _TIMES), tuple(sorted(row["set_PropertyName"])))


def _assert_equal(findings: list[Finding], rows: list[Row]) -> None:
    """Every column equal; of each group's Activities the engine's is one that make_bag may have chosen."""
    mine = {_comparable_finding(finding): finding.row() for finding in findings}
    theirs = {_comparable_row(row): row for row in rows}
    assert sorted(mine) == sorted(theirs)
    assert (len(mine), len(theirs)) == (len(findings), len(rows))
    for key, row in mine.items():
        possible = json.loads(theirs[key]["set_Activity"])
        assert all(activity in possible for activity in row["set_Activity"])
        assert {activity["PropertyName"] for activity in row["set_Activity"]} == set(row["set_PropertyName"])


def _compare(yardstick: Yardstick, log: list[AuditEvent], end: int | None, by_property: bool, tally: Tally) -> None:
    """One window, open or bounded."""
    text = render(RULE, START, end, by_property=by_property)
    rows = yardstick.run(text)
    found = detect(log, Windows.single(START, end, RULE.lookback_days), by_property=by_property).findings
    _assert_equal(list(found), rows)
    tally.add(yardstick, text, rows)


def _compare_daily(yardstick: Yardstick, log: list[AuditEvent], by_property: bool, tally: Tally) -> None:
    """Two days in one pass of the engine against one query a day."""
    bounds = [(START + day * TICKS_PER_DAY, START + (day + 1) * TICKS_PER_DAY) for day in range(2)]
    windows = Windows.days(START, bounds[-1][1], RULE.lookback_days)
    found = detect(log, windows, by_property=by_property).findings
    for (start, end), day in zip(bounds, ("2026-03-15", "2026-03-16"), strict=True):
        text = render(RULE, start, end, by_property=by_property)
        rows = yardstick.run(text)
        _assert_equal([finding for finding in found if finding.day == day], rows)
        tally.add(yardstick, text, rows)


def _run(examples: int) -> Tally:
    yardstick, tally = Yardstick(), Tally()

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(logs(least=120, most=200), st.sampled_from([*_ENDS, "daily"]), st.booleans(), st.booleans())
    def compare(events: list[Event], window: str, as_text: bool, by_property: bool) -> None:
        yardstick.fill(events)
        log = decoded(events, as_text=as_text)
        if window == "daily":
            _compare_daily(yardstick, log, by_property, tally)
        else:
            _compare(yardstick, log, _ENDS[window], by_property, tally)
        tally.examples += 1

    compare()
    return tally


@pytest.mark.parametrize("examples", [200, pytest.param(5_000, marks=pytest.mark.long)])
def test_engine_equals_the_rules_text(examples: int) -> None:
    """Both variants; open, bounded and daily windows; and the run saw much suppressed and much reported."""
    tally = _run(examples)
    print(f"\n{tally.examples} examples: {tally.reported} rows reported, {tally.suppressed} suppressed, no difference")  # noqa: T201 - the figures of a run; shown with -s
    assert tally.examples >= examples
    assert tally.reported >= 1_000
    assert tally.suppressed >= 1_000
