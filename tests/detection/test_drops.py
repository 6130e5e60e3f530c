"""What the funnel says of events whose TargetResources holds no property that counts."""

import json
from typing import Any

import pytest

from rare_audit.detection.event import decode_event
from rare_audit.detection.rows import Drop
from rare_audit.detection.windows import Windows
from tests.detection.helpers import RULE, detect
from tests.strategies import START


def _dropped(**columns: Any) -> dict[str, int]:
    event = {"TimeGenerated": "2026-03-15T10:00:00Z", "InitiatedBy": {"app": {"displayName": "Sync"}}} | columns
    windows = Windows.single(START, None, RULE.lookback_days)
    detection = detect([decode_event(json.dumps(event).encode())], windows)
    assert detection.findings == ()
    return {drop: count for drop, count in detection.funnel.current.dropped.items() if count}


@pytest.mark.parametrize(
    "text",
    [
        "[{",
        "bare",
        "[{'id': 'x'}]",
        '{"modifiedProperties": []}',
        '"text"',
        "7",
        "true",
        "[" * 5_000,
        '[{"id": "\\ud800"}]',
    ],
)
def test_what_is_not_a_json_array_is_counted_apart(text: str) -> None:
    """An export that was cut or encoded twice shows in the funnel, and not as values that the rule passes over."""
    assert _dropped(TargetResources=text) == {Drop.NOT_AN_ARRAY: 1}


@pytest.mark.parametrize("value", [{"id": "x"}, 7, True, {}])
def test_values_that_are_not_an_array_are_counted_apart(value: Any) -> None:
    """Also where the column is a value itself, and not text."""
    assert _dropped(TargetResources=value) == {Drop.NOT_AN_ARRAY: 1}


@pytest.mark.parametrize(
    "value", [None, "", " ", "null", "[]", [], "[null]", '["text"]', "[{}]", '[{"id": 7}]', "[1e999]"]
)
def test_nothing_and_arrays_of_anything_have_no_new_value(value: Any) -> None:
    """A column that is empty, and an array whatever is in it."""
    assert _dropped(TargetResources=value) == {Drop.NO_VALUE: 1}


def test_a_missing_column_has_no_new_value() -> None:
    """As one that is null."""
    assert _dropped() == {Drop.NO_VALUE: 1}
