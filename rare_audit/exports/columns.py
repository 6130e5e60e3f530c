"""Whether a record holds its dynamic columns as AuditLogs does, so that the rule can see it.

InitiatedBy is an object, TargetResources an array of objects, each with an array of objects as modifiedProperties; all
of them may be null, empty text or empty. Log Analytics keeps nothing else, so anything else is the mark of a tool that
cut or rewrote a value: PowerShell's `@{…}` and `System.Object[]`, a Python repr, a cell that ends in the middle. The
engine would take such an event for one without an app or without a change, in silence.

Source: https://learn.microsoft.com/azure/azure-monitor/reference/tables/auditlogs.
"""

from collections.abc import Sequence
from functools import lru_cache
from operator import attrgetter
from types import NoneType
from typing import Any, Final

import msgspec

from rare_audit.detection import kql
from rare_audit.detection.event import AuditEvent
from rare_audit.detection.shape import PROPERTIES, TARGETS, TOO_DEEP, oddity

REQUIRED: Final = ("TimeGenerated", "OperationName", "InitiatedBy", "TargetResources")
"""The columns that the rule reads, by their names in AuditLogs."""
INITIATOR: Final = "InitiatedBy is not a JSON object"
APP: Final = "InitiatedBy.app is not a JSON object"
_REMEMBERED: Final = 512
"""Characters of the longest initiator that is remembered: the cache stays under 16,384 times that."""


_OBJECTS: Final = {dict}


class _Object(msgspec.Struct, gc=False):
    """Any object; what is in it does not matter."""


class _Initiator(msgspec.Struct, gc=False):
    app: _Object | str | None = None


_initiated_by: Final = attrgetter("initiated_by")
_decode_initiator: Final = msgspec.json.Decoder(_Initiator | None).decode


def defect(event: AuditEvent) -> str:
    """Return why the rule could not see an event as it happened, "" where it can."""
    found, is_by_app = _initiator(event.initiated_by)
    # What an event of a person holds is not looked at: nothing of it counts. Reading it would take a tenth of the time.
    if found or not is_by_app:
        return found
    targets = event.target_resources
    return oddity(targets) if isinstance(targets, str) else _targets_value(targets)


def look_sound(events: Sequence[AuditEvent]) -> bool:
    """Tell whether none of many events seems to have a defect, at the price of a few comparisons each.

    Large exports come this way. Initiators recur, and are looked at once. Of TargetResources only the ends are: that is
    where a cut or a foreign notation shows. What is wrong between them the engine meets, and counts by itself.
    """
    try:
        found = {initiator: _initiator(initiator) for initiator in set(map(_initiated_by, events))}
        if any(reason for reason, _ in found.values()):
            return False
        return all(
            event.target_resources[:1] == "[" and event.target_resources[-1:] == "]"
            for event in events
            if found[event.initiated_by][1]
        )
    except TypeError:  # a column that is not text may be sound, but takes another look
        return False


def defective_value(event: AuditEvent, reason: str) -> str:
    """Return the value that `defect` gave a reason for, as text, for whoever has to find it in the file."""
    if reason in (INITIATOR, APP):
        return kql.to_string(event.initiated_by)
    targets = event.target_resources
    if reason != PROPERTIES:
        return kql.to_string(targets)
    values = kql.parse_json(targets) if isinstance(targets, str) else targets
    found = (target.get("modifiedProperties") for target in values)
    return kql.to_string(next(each for each in found if each is not None and not _is_array_of_objects(each)))


def _initiator(value: Any) -> tuple[str, bool]:
    """Return what is wrong with `InitiatedBy`, and whether it names an app."""
    if isinstance(value, str):
        return _remembered_initiator(value) if len(value) <= _REMEMBERED else _text_initiator(value)
    if value is None:
        return "", False
    return _app(value.get("app")) if isinstance(value, dict) else (INITIATOR, False)


def _text_initiator(text: str) -> tuple[str, bool]:
    if not text:
        return "", False
    try:
        initiator = _decode_initiator(text)
    except msgspec.ValidationError as error:
        return (APP if "`$.app`" in str(error) else INITIATOR), False
    except RecursionError:
        return TOO_DEEP, False
    except kql.NOT_JSON:
        return INITIATOR, False
    return _app(initiator.app) if initiator is not None else ("", False)


_remembered_initiator: Final = lru_cache(maxsize=1 << 14)(_text_initiator)


def _app(app: Any) -> tuple[str, bool]:
    """Return what is wrong with `InitiatedBy.app`, which may be JSON text of an object too, and whether it is there."""
    if app is None or app == "":
        return "", False
    if isinstance(app, dict | _Object):
        return "", True
    if isinstance(app, str) and isinstance(kql.parse_json(app), dict | NoneType):
        return "", True
    return APP, False


def _targets_value(value: Any) -> str:
    if value is None:
        return ""
    if not _is_array_of_objects(value):
        return TARGETS
    for target in value:
        properties = target.get("modifiedProperties")
        if properties is not None and not _is_array_of_objects(properties):
            return PROPERTIES
    return ""


def _is_array_of_objects(value: Any) -> bool:
    return isinstance(value, list) and set(map(type, value)) <= _OBJECTS
