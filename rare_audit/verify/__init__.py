"""The engine held against Kusto: the rule's own text is run in the workspace, and both results are compared."""

from typing import Protocol

import msgspec

from rare_audit.detection.detector import Detector
from rare_audit.detection.finding import COLUMNS
from rare_audit.detection.funnel import Funnel
from rare_audit.detection.query import render
from rare_audit.detection.result import Detection, conclude
from rare_audit.detection.rule import Rule
from rare_audit.detection.ticks import TICKS_PER_DAY
from rare_audit.detection.windows import Windows
from rare_audit.errors import ServiceError
from rare_audit.ports import EventSource
from rare_audit.sources.log_analytics_answer import Rows
from rare_audit.verify.choices import parts_of
from rare_audit.verify.comparison import ACTIVITIES, Difference, Row, compare


class Source(EventSource, Protocol):
    """A workspace: its events, and the answers to queries."""

    def query(self, text: str, start: int, end: int) -> Rows:
        """Return all columns and rows that a query gives over a range (ticks). Raises ServiceError."""
        ...


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """How many rows each side has, in what they differ, and what the engine read."""

    workspace_rows: int
    engine_rows: int
    differences: tuple[Difference, ...]
    funnel: Funnel


def verify(source: Source, rule: Rule, start: int, *, by_property: bool = False) -> Comparison:
    """Run a rule over the 24 hours from `start` (ticks) twice, in the workspace and here, and compare every column.

    `source` has to give every event, not only those that a rule asks for: what the service drops first, by the rule's
    own first condition, would be dropped on both sides alike, and the engine's reading of that condition never tested.
    Raises ServiceError where either side can't be had whole.
    """
    windows = Windows.single(start, start + TICKS_PER_DAY, rule.lookback_days)
    text = render(rule, start, windows.end, by_property=by_property)
    theirs = _rows(source.query(text, windows.origin, windows.end))
    found = _detect(source, rule, windows, by_property=by_property)
    ours = [finding.row() for finding in found.findings]
    differences = compare(theirs, ours)
    if any(difference.column == ACTIVITIES for difference in differences):
        # Which values a bag keeps is Kusto's choice: the day is read again to see if it could choose these.
        events = source.events(start, windows.end)
        differences = compare(theirs, ours, parts_of(rule, events, found.findings))
    return Comparison(workspace_rows=len(theirs), engine_rows=len(ours), differences=differences, funnel=found.funnel)


def _rows(answer: Rows) -> list[Row]:
    """Return an answer's rows by column. ServiceError unless it has exactly the rule's columns, in their order."""
    if answer.columns != COLUMNS:
        raise ServiceError(f"the query's result has the columns {', '.join(answer.columns)}, not {', '.join(COLUMNS)}")
    return [dict(zip(COLUMNS, cells, strict=True)) for cells in answer.cells]


def _detect(source: EventSource, rule: Rule, windows: Windows, *, by_property: bool) -> Detection:
    detector = Detector(rule, windows, by_property=by_property)
    detector.feed(source.events(windows.origin, windows.end))
    return conclude(detector, source.reading())
