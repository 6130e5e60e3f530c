"""Ways to run the engine that several tests share."""

from collections.abc import Iterable

from rare_audit.detection.detector import Detector
from rare_audit.detection.event import AuditEvent, decode_event
from rare_audit.detection.funnel import Reading
from rare_audit.detection.result import Detection, conclude
from rare_audit.detection.rule import Exclusion
from rare_audit.detection.windows import Windows
from rare_audit.rules import load_rule
from tests.strategies import Event, line

RULE = load_rule()


def decoded(events: Iterable[Event], *, as_text: bool = True) -> list[AuditEvent]:
    """Return events as the engine reads them."""
    return [decode_event(line(event, as_text=as_text)) for event in events]


def detect(
    events: list[AuditEvent],
    windows: Windows,
    *,
    by_property: bool = False,
    exclusions: tuple[Exclusion, ...] = (),
) -> Detection:
    """Run the shipped rule over events."""
    detector = Detector(RULE, windows, by_property=by_property, exclusions=exclusions)
    detector.feed(events)
    return conclude(detector, Reading(events=len(events)))
