"""One folder for every sentence of the specification: events by hand, and the rows it says they give.

`tests/golden/ordinary.yaml` explains how to read a case.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml

from rare_audit.detection.event import decode_event
from rare_audit.detection.finding import COLUMNS
from rare_audit.detection.query import render
from rare_audit.detection.result import Detection
from rare_audit.detection.ticks import TICKS_PER_DAY, parse_ticks
from rare_audit.detection.windows import Windows
from tests.detection.helpers import RULE, detect
from tests.yardstick import Row, Yardstick

FOLDER: Final = Path(__file__).parents[1] / "golden"
ORDINARY: Final[dict[str, Any]] = yaml.safe_load((FOLDER / "ordinary.yaml").read_text(encoding="utf-8"))
_DYNAMIC: Final = ("InitiatedBy", "TargetResources")
_SHORT: Final = {"app", "target", "property", "newValue"}
_TICKS_PER_MICROSECOND: Final = 10


class Case(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A case as its file words it."""

    about: str
    events: list[dict[str, Any]]
    expected: list[Row]
    expected_by_property: list[Row] | None = None
    start: str = "2026-03-15T00:00:00Z"
    end: str | None = None
    daily: bool = False
    counts: dict[str, Any] = {}
    yardstick: bool = True
    because: str = ""

    def __post_init__(self) -> None:
        """A case without a reason to stand aside is held to the yardstick."""
        if self.yardstick is bool(self.because):
            raise ValueError("`yardstick: false` and `because` go together")

    @property
    def bounds(self) -> tuple[int, int | None]:
        """The window, in ticks."""
        return parse_ticks(self.start), None if self.end is None else parse_ticks(self.end)

    @property
    def windows(self) -> Windows:
        """The windows the engine is asked for."""
        start, end = self.bounds
        if self.daily:
            assert end is not None
            return Windows.days(start, end, RULE.lookback_days)
        return Windows.single(start, end, RULE.lookback_days)

    @property
    def queries(self) -> list[tuple[int, int | None]]:
        """The windows the yardstick is asked for: one query each."""
        start, end = self.bounds
        if not self.daily:
            return [(start, end)]
        assert end is not None
        return [(day, day + TICKS_PER_DAY) for day in range(start, end, TICKS_PER_DAY)]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The events, each written out in full."""
        return [_event(given, place) for place, given in enumerate(self.events, start=1)]

    @property
    def is_for_the_yardstick(self) -> bool:
        """Whether it agrees with the specification here, and its clock can tell these instants apart."""
        instants = [*self.bounds, *(parse_ticks(row["TimeGenerated"]) for row in self.rows)]
        return self.yardstick and all((instant or 0) % _TICKS_PER_MICROSECOND == 0 for instant in instants)

    @property
    def variants(self) -> Iterator[tuple[bool, list[Row]]]:
        """Which variants of the rule it speaks of, and the rows of each."""
        yield False, self.expected
        if self.expected_by_property is not None:
            yield True, self.expected_by_property


def _event(given: dict[str, Any], place: int) -> dict[str, Any]:
    unknown = set(given) - {*ORDINARY, "Id", *_SHORT}
    assert not unknown, f"no column of AuditLogs, and no short form of one: {unknown}"
    event = ORDINARY | {"Id": f"e{place}"} | {name: value for name, value in given.items() if name not in _SHORT}
    target = ORDINARY["TargetResources"][0]
    (ordinary,) = target["modifiedProperties"]
    if "app" in given:
        event["InitiatedBy"] = {"app": given["app"]}
    if given.keys() & {"target", "property", "newValue"}:
        changed = {
            "displayName": given.get("property", ordinary["displayName"]),
            "newValue": given.get("newValue", ordinary["newValue"]),
        }
        event["TargetResources"] = [target | {"modifiedProperties": [changed]} | given.get("target", {})]
    return event


def _cases() -> dict[str, Case]:
    return {
        path.parent.name: msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), Case)
        for path in sorted(FOLDER.glob("*/case.yaml"))
    }


CASES: Final = _cases()
HELD: Final = [name for name, case in CASES.items() if case.is_for_the_yardstick]


def _as_text(event: dict[str, Any]) -> dict[str, Any]:
    texts = {name: event[name] if isinstance(event[name], str) else json.dumps(event[name]) for name in _DYNAMIC}
    return event | texts


def _as_values(event: dict[str, Any]) -> dict[str, Any]:
    return event | {name: json.loads(event[name]) for name in _DYNAMIC if isinstance(event[name], str)}


def _detect(case: Case, rows: list[dict[str, Any]], *, by_property: bool) -> Detection:
    events = [decode_event(json.dumps(row).encode()) for row in rows]
    return detect(events, case.windows, by_property=by_property)


def _plain(detection: Detection) -> list[Row]:
    """Return the rows as a reader of JSON gets them."""
    rows: list[Row] = json.loads(json.dumps([finding.row() for finding in detection.findings]))
    return rows


def _assert_expected(detection: Detection, expected: list[Row]) -> None:
    rows = _plain(detection)
    assert all(list(row) == list(COLUMNS) for row in rows)
    assert len(rows) == len(expected), rows
    assert [{column: row[column] for column in named} for row, named in zip(rows, expected, strict=True)] == expected


def _assert_counts(detection: Detection, counts: dict[str, Any]) -> None:
    current = msgspec.to_builtins(detection.funnel.current)
    told = {name: current[name] for name in counts}
    for name, value in told.items():
        if isinstance(value, dict):
            told[name] = {reason: count for reason, count in value.items() if count}
    assert told == counts


@pytest.mark.parametrize("name", CASES)
def test_the_engine_gives_what_is_written(name: str) -> None:
    """Each case, with its dynamic columns as values and as JSON text, its events in order and reversed."""
    case = CASES[name]
    written = case.rows
    values, texts = [_as_values(row) for row in written], [_as_text(row) for row in written]
    for by_property, expected in case.variants:
        first = _detect(case, written, by_property=by_property)
        _assert_expected(first, expected)
        if not by_property:
            _assert_counts(first, case.counts)
        for rows in (values, texts, written[::-1]):
            assert _detect(case, rows, by_property=by_property) == first


@pytest.fixture(scope="module")
def yardstick() -> Yardstick:
    """Return one table for all cases."""
    return Yardstick()


def _told(row: Row) -> Row:
    """Spell a row of the yardstick as the engine does; of set_Activity it holds all that make_bag may choose from."""
    times = {
        name: value.strftime("%Y-%m-%dT%H:%M:%S.%f0Z") for name, value in row.items() if isinstance(value, datetime)
    }
    return row | times | {name: json.loads(row[name]) for name in ("set_Activity", "set_PropertyName")}


def _group(row: Row) -> tuple[str, ...]:
    return tuple(row[column] for column in COLUMNS[:6])


@pytest.mark.parametrize("name", HELD)
def test_the_yardstick_gives_the_same(name: str, yardstick: Yardstick) -> None:
    """The rule's own text, run by an independent engine on the same events, has the same rows in the same order."""
    case = CASES[name]
    yardstick.fill([_as_values(row) for row in case.rows])
    for by_property, _ in case.variants:
        texts = [render(RULE, start, end, by_property=by_property) for start, end in case.queries]
        theirs = [_told(row) for text in texts for row in yardstick.run(text)]
        mine = _plain(_detect(case, case.rows, by_property=by_property))
        assert all(list(row) == list(COLUMNS) for row in theirs)
        if not case.daily:
            ordered = ("TargetUserPrincipalName", "StartTime")
            assert [[row[name] for name in ordered] for row in mine] == [
                [row[name] for name in ordered] for row in theirs
            ]
        for my, their in zip(sorted(mine, key=_group), sorted(theirs, key=_group), strict=True):
            possible = their.pop("set_Activity")
            assert all(activity in possible for activity in my.pop("set_Activity"))
            assert sorted(my.pop("set_PropertyName")) == sorted(their.pop("set_PropertyName"))
            assert my == their


def test_every_folder_is_a_case_and_most_are_held_to_the_yardstick() -> None:
    """No folder is passed over, and few cases stand aside."""
    assert {path.name for path in FOLDER.iterdir() if path.is_dir()} == set(CASES)
    assert len(HELD) >= len(CASES) - 8
    assert [name for name, case in CASES.items() if not case.yardstick] == [
        "ignored-lists-fold-ascii-only",
        "lower-casing-keeps-a-letter-that-would-be-two",
    ]
