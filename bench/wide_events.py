"""What one wide event costs the engine: many properties of its first target, many targets, all of it rare.

    python bench/wide_events.py

An event like this takes a few lines to send, so its cost must grow with its size and not with the product.
"""

import json
import sys
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # as a script, Python looks in bench/ alone

from rare_audit.detection.detector import Detector  # noqa: E402 - needs the path above
from rare_audit.detection.event import decode_event  # noqa: E402
from rare_audit.detection.funnel import Reading  # noqa: E402
from rare_audit.detection.result import conclude  # noqa: E402
from rare_audit.detection.ticks import parse_ticks  # noqa: E402
from rare_audit.detection.windows import Windows  # noqa: E402
from rare_audit.rules import load_rule  # noqa: E402

SIZES: Final = ((1, 100, 100), (1, 250, 750), (1, 500, 1_500), (1, 1_000, 1_500), (20, 500, 1_500))
"""Events, properties of each, targets of each."""


def wide_event(number: int, properties: int, targets: int) -> bytes:
    """Return an event's line: `properties` in its first target, and `targets` in all, each with a name of its own."""
    changed = [{"displayName": f"P{at}", "newValue": '["x"]'} for at in range(properties)]
    first = {"displayName": "first", "modifiedProperties": changed}
    event = {
        "TimeGenerated": f"2026-03-16T10:00:{number:02d}Z",
        "OperationName": "Add member",
        "Id": f"e{number}",
        "InitiatedBy": json.dumps({"app": {"displayName": "Sync", "appId": "a1"}}),
        "TargetResources": json.dumps([first, *({"id": f"{number}-{at}"} for at in range(1, targets))]),
    }
    return json.dumps(event).encode()


def seconds(lines: list[bytes], *, by_property: bool) -> float:
    """Return how long it takes from the lines to the finding."""
    rule = load_rule()
    began = time.perf_counter()
    windows = Windows.single(parse_ticks("2026-03-16"), None, rule.lookback_days)
    detector = Detector(rule, windows, by_property=by_property)
    detector.feed(map(decode_event, lines))
    conclude(detector, Reading())
    return time.perf_counter() - began


def main() -> None:
    """Print a line for each size: the size, and the seconds of both variants of the rule."""
    print("events  properties  targets       KB   seconds   by property")
    for events, properties, targets in SIZES:
        lines = [wide_event(number, properties, targets) for number in range(events)]
        size = sum(map(len, lines)) / 1000
        plain, by_property = (seconds(lines, by_property=variant) for variant in (False, True))
        print(f"{events:6}{properties:12,}{targets:9,}{size:9,.0f}{plain:10.3f}{by_property:14.3f}")


if __name__ == "__main__":
    main()
