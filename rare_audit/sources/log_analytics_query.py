"""What is asked of a workspace, as KQL built from typed values only."""

from collections.abc import Iterable
from typing import Final

import msgspec

from rare_audit.detection.event import AuditEvent
from rare_audit.detection.rule import Rule
from rare_audit.detection.ticks import END_OF_TIME, TICKS_PER_SECOND, format_ticks

EVENT_COLUMNS: Final = tuple(field.encode_name for field in msgspec.structs.fields(AuditEvent))
"""AuditEvent's columns, in its order."""
ARRIVED: Final = "IngestionTime"
"""When a row could first be queried: https://learn.microsoft.com/azure/azure-monitor/logs/data-ingestion-time."""
APP_INITIATED: Final = "isnotempty(tostring(parse_json(tostring(InitiatedBy.app)).displayName))"
"""The rule's own first condition after its time bounds."""


class Question(msgspec.Struct, frozen=True):
    """A query and the ISO 8601 interval that the service intersects its time bounds with."""

    text: str
    timespan: str


def common_condition(rules: Iterable[Rule]) -> str:
    """Return what every one of the rules asks of an event first, "" where they have nothing in common or there is none.

    What it drops on the server the engine would drop as its first step, so findings are the same; but the funnel then
    counts events of named apps only.
    """
    texts = [rule.query for rule in rules]
    return APP_INITIATED if texts and all(f"| where {APP_INITIATED}" in text for text in texts) else ""


def events_question(start: int, end: int, condition: str = "") -> Question:
    """Ask for the events with `start <= TimeGenerated < end` (ticks) that meet a condition, "" for all."""
    columns = ", ".join(EVENT_COLUMNS)
    return _question(start, end, *([f"where {condition}"] * bool(condition)),
                     f"project {columns}, {ARRIVED} = ingestion_time()")  # fmt: skip


def coverage_question(start: int, end: int) -> Question:
    """Ask how many events of any kind each UTC day of a range (ticks) has: columns Day and Events."""
    return _question(start, end, "summarize Events = count() by Day = bin(TimeGenerated, 1d)")


def apps_question(start: int, end: int) -> Question:
    """Ask how many events by apps each UTC day of a range (ticks) has: columns as of coverage_question."""
    return _question(start, end, f"where {APP_INITIATED}", "summarize Events = count() by Day = bin(TimeGenerated, 1d)")


def last_event_question(start: int, end: int) -> Question:
    """Ask for the time of the last event in a range (ticks): column Last, null where there is none."""
    return _question(start, end, "summarize Last = max(TimeGenerated)")


def whole_question(text: str, start: int, end: int) -> Question:
    """Ask what a whole query asks, confined to a range (ticks) and the second in which that ends."""
    return Question(text, _timespan(start, end))


def _question(start: int, end: int, *steps: str) -> Question:
    bounds = f"where TimeGenerated >= datetime({_instant(start)}) and TimeGenerated < datetime({_instant(end)})"
    return Question("\n| ".join(("AuditLogs", bounds, *steps)), _timespan(start, end))


def _instant(ticks: int) -> str:
    """Return an instant as text, of those that Kusto can't hold the nearest it can."""
    return format_ticks(min(max(ticks, 0), END_OF_TIME - 1))


def _timespan(start: int, end: int) -> str:
    """Return an interval of whole seconds around a range, as whether its end is included is not documented."""
    whole_end = -(-end // TICKS_PER_SECOND) * TICKS_PER_SECOND
    return "/".join(f"{_instant(ticks)[:19]}Z" for ticks in (start, whole_end))
