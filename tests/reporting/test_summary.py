"""A run in a few lines: every number of the funnel, with words that fit it."""

from typing import Any, Final

import msgspec

from rare_audit.detection.funnel import Baseline, Current, Funnel, Reading
from rare_audit.reporting.summary import funnel_lines
from tests.builders import funnel
from tests.terminal import assert_nothing_obeyed

EMPTY: Final = Funnel(reading=Reading(), outside=0, baseline=Baseline(), current=Current(), findings=0)


def _with(**overrides: Any) -> Funnel:
    return msgspec.structs.replace(EMPTY, **overrides)


def test_every_number() -> None:
    """What was read, and what became of it; a reason why not with the place of the first."""
    assert list(funnel_lines(funnel(), {"not JSON": "export.ndjson:7"})) == [
        "read 9 events, 1 of them outside all windows",
        "  not read: 1 record, not JSON, first at export.ndjson:7",
        "  skipped: 2 records, SignInLogs",
        "baseline: 5 events, 4 by apps, 2 distinct combinations",
        "current: 3 events, 3 by apps; of these",
        "  dropped by the rule: 1 (no modified properties 1)",
        "  on the window's first tick, which the rule counts as known: 0",
        "  known: 0",
        "  rare: 2",
        "    excluded by PIM: 1",
        "findings: 1, from 1 event",
    ]


def test_nothing_at_all() -> None:
    """Noughts are said too; what did not occur has no line."""
    assert list(funnel_lines(EMPTY, {})) == [
        "read 0 events, 0 of them outside all windows",
        "baseline: 0 events, 0 by apps, 0 distinct combinations",
        "current: 0 events, 0 by apps; of these",
        "  dropped by the rule: 0",
        "  on the window's first tick, which the rule counts as known: 0",
        "  known: 0",
        "  rare: 0",
        "findings: 0, from 0 events",
    ]


def test_one_and_many() -> None:
    """One event is no events; thousands are told apart."""
    one = _with(reading=Reading(events=1), baseline=Baseline(events=1, combinations=1))
    many = _with(reading=Reading(events=1_234_567), outside=1_000, findings=2_000)
    assert next(funnel_lines(one, {})) == "read 1 event, 0 of them outside all windows"
    assert list(funnel_lines(one, {}))[1] == "baseline: 1 event, 0 by apps, 1 distinct combination"
    assert next(funnel_lines(many, {})) == "read 1,234,567 events, 1,000 of them outside all windows"
    assert list(funnel_lines(many, {}))[-1] == "findings: 2,000, from 0 events"


def test_exclusions_that_took_nothing() -> None:
    """An exclusion that took nothing is named, in the given order."""
    lines = list(funnel_lines(_with(current=Current(excluded={"b": 0, "a": 3})), {}))
    assert [line for line in lines if "excluded" in line] == ["    excluded by b: 0", "    excluded by a: 3"]


def test_place_that_is_not_known() -> None:
    """A reason without a place, as a run's row has none, is told all the same."""
    lines = list(funnel_lines(_with(reading=Reading(unreadable={"not JSON": 2})), {}))
    assert lines[1] == "  not read: 2 records, not JSON, first at ?"


def test_names_from_files_and_logs() -> None:
    """Names of files, categories and exclusions stay in their line, and drive nothing."""
    name = "\x1b[31m\u202e\r\nfindings: 99" + "x" * 5_000
    hostile = _with(reading=Reading(unreadable={"r": 1}, skipped={name: 1}), current=Current(excluded={name: 1}))
    lines = list(funnel_lines(hostile, {"r": name}))
    assert len(lines) == 11
    assert max(map(len, lines)) <= 500
    assert not any("\n" in line for line in lines)
    assert_nothing_obeyed("".join(lines))
