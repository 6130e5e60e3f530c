"""On which days apps were active, as the pass knows it."""

import json
from collections import defaultdict

import pytest
from hypothesis import given, settings

from rare_audit.detection.event import decode_event
from rare_audit.detection.history import Attendance
from rare_audit.detection.ticks import TICKS_PER_DAY
from rare_audit.detection.windows import Windows
from tests.detection.helpers import decoded, detect
from tests.detection.test_findings import DAILY, SINGLE, event
from tests.strategies import START, Event, logs


def _found(*events: Event, windows: Windows = SINGLE) -> Attendance:
    return detect([decode_event(json.dumps(each).encode()) for each in events], windows).attendance


def test_each_day_of_lookback_and_windows_has_a_bit() -> None:
    """Of apps with findings; all together have one as well."""
    attendance = _found(
        event("2026-03-01T10:00:00Z", operation="Old"),
        event("2026-03-14T23:59:59Z", operation="Old"),
        event("2026-03-05T10:00:00Z", app="Known"),
        event("2026-03-15T10:00:00Z", app="Known"),
        event("2026-03-15T10:00:00Z"),
        windows=DAILY,
    )
    assert attendance.apps == {"Sync": 1 << 0 | 1 << 13 | 1 << 14}
    assert attendance.everyone == 1 << 0 | 1 << 4 | 1 << 13 | 1 << 14


def test_nothing_rare_has_no_apps() -> None:
    """And all together may have done nothing that counts."""
    assert _found(event("2026-03-10T10:00:00Z", property="Action Client Name")) == Attendance(0, {})


@pytest.mark.parametrize("windows", [SINGLE, DAILY], ids=["single", "daily"])
@given(log=logs())
@settings(max_examples=60)
def test_it_agrees_with_the_history(windows: Windows, log: list[Event]) -> None:
    """For each finding the days of its lookback are as many as its history counts, the last on the day it names."""
    detection = detect(decoded(log), windows)
    apps = defaultdict(list)
    for finding in detection.findings:
        apps[finding.initiated_by_app].append(finding)
    assert set(detection.attendance.apps) == set(apps)
    for app, findings in apps.items():
        slots = {slot for slot in range(windows.last_slot + 1) if detection.attendance.apps[app] >> slot & 1}
        for finding in findings:
            slot = windows.slot(START) + (int(finding.day[8:]) - 15 if windows.daily else 0)
            lookback = slots & set(range(slot - 14, slot))
            assert slot in slots
            assert len(lookback) == finding.history.app.days
            assert (windows.day(max(lookback)) if lookback else "") == finding.history.app.last
    assert windows.lookback_days * TICKS_PER_DAY == START - windows.origin
