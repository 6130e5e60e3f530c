"""What a pass remembers to be quick is bounded by characters, however long the names in the events are."""

import gc
import json
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from rare_audit.detection.detector import Detector
from rare_audit.detection.event import AuditEvent, decode_event
from rare_audit.detection.windows import Windows
from tests.detection.helpers import RULE
from tests.strategies import START

NAMES: Final = 1_500
LONG: Final = "é" * 20_000
"""With 1,500 names, 30 MB at one byte a letter."""
MOST_BYTES: Final = 4 << 20


def _event(day: str, *, operation: str, app: str, resource: str, changed: str, value: str) -> AuditEvent:
    properties = [{"displayName": changed, "newValue": json.dumps([value])}]
    target = {"displayName": resource, "userPrincipalName": "ann@x", "modifiedProperties": properties}
    line = {
        "TimeGenerated": f"{day}T10:00:00Z",
        "OperationName": operation,
        "InitiatedBy": json.dumps({"app": {"displayName": app}}, ensure_ascii=False),
        "TargetResources": json.dumps([target], ensure_ascii=False),
    }
    return decode_event(json.dumps(line).encode())


ORDINARY: Final = {
    "operation": "Add owner",
    "app": "Sync",
    "resource": "Ann",
    "changed": "KeyDescription",
    "value": "x",
}
PLACES: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "an app's name, the operation ignored": lambda name: {"app": name, "operation": "Change user license"},
    "an operation that changes nothing": lambda name: {"operation": name, "value": ""},
    "a target of a known activity": lambda name: {"resource": name},
    "a target, the value ignored": lambda name: {"resource": name, "value": "DirectorySync"},
    "a property, the value ignored": lambda name: {"changed": name, "value": "DirectorySync"},
}


def _events(place: str, day: str) -> Iterator[AuditEvent]:
    return (_event(day, **(ORDINARY | PLACES[place](f"{place} {day} {number} {LONG}"))) for number in range(NAMES))


@pytest.mark.parametrize("day", ["2026-03-10", "2026-03-15"])
@pytest.mark.parametrize("place", PLACES)
def test_long_names_are_not_remembered(place: str, day: str) -> None:
    """Thousands of distinct long names in events that leave nothing rare: a few megabytes at most stay in use."""
    detector = Detector(RULE, Windows.single(START, None, RULE.lookback_days))
    detector.feed([_event("2026-03-10", **ORDINARY)])
    tracemalloc.start()
    try:
        detector.feed(_events(place, day))
        gc.collect()
        in_use, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert in_use < MOST_BYTES
    assert sum(detector.counts.by_apps) == NAMES + 1
    assert not detector.kept.candidates
