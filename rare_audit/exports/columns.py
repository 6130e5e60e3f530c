"""Whether a record holds its dynamic columns as AuditLogs does, so that the rule can see it.

InitiatedBy is an object, TargetResources an array of objects, each with an array of objects as modifiedProperties; all
of them may be null, empty text or empty. Log Analytics keeps nothing else, so anything else is the mark of a tool that
cut or rewrote a value: PowerShell's `@{…}` and `System.Object[]`, a Python repr, a cell that ends in the middle. The
engine would take such an event for one without an app or without a change, in silence.

Source: https://learn.microsoft.com/azure/azure-monitor/reference/tables/auditlogs.
"""

from functools import lru_cache
from types import NoneType
from typing import Any, Final

import msgspec

from rare_audit.detection import kql
from rare_audit.detection.event import AuditEvent

REQUIRED: Final = ("TimeGenerated", "OperationName", "InitiatedBy", "TargetResources")
"""The columns that the rule reads, by their names in AuditLogs."""
INITIATOR: Final = "InitiatedBy is not a JSON object"
APP: Final = "InitiatedBy.app is not a JSON object"
TARGETS: Final = "TargetResources is not a JSON array of objects"
PROPERTIES: Final = "modifiedProperties is not a JSON array of objects"
TOO_DEEP: Final = "nested too deep"
_REMEMBERED: Final = 512
"""Characters of the longest initiator that is remembered: the cache stays under 16,384 times that."""


class _Object(msgspec.Struct, gc=False):
    """Any object; what is in it does not matter."""


class _Initiator(msgspec.Struct, gc=False):
    app: _Object | str | None = None


class _Target(msgspec.Struct, gc=False, rename="camel"):
    modified_properties: list[_Object] | None = None


_decode_initiator: Final = msgspec.json.Decoder(_Initiator | None).decode
_decode_targets: Final = msgspec.json.Decoder(list[_Target] | None).decode


def defect(event: AuditEvent) -> str:
    """Return why the rule could not see an event as it happened, "" where it can."""
    initiator = event.initiated_by
    if type(initiator) is str:
        found = _initiator_text(initiator) if len(initiator) <= _REMEMBERED else _initiator_defect(initiator)
    else:
        found = _initiator_value(initiator)
    if found:
        return found
    targets = event.target_resources
    return _targets_text(targets) if type(targets) is str else _targets_value(targets)


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


def _initiator_defect(text: str) -> str:
    if not text:
        return ""
    try:
        initiator = _decode_initiator(text)
    except msgspec.ValidationError as error:
        return APP if "`$.app`" in str(error) else INITIATOR
    except RecursionError:
        return TOO_DEEP
    except kql.NOT_JSON:
        return INITIATOR
    return _app_defect(initiator.app) if initiator is not None else ""


_initiator_text: Final = lru_cache(maxsize=1 << 14)(_initiator_defect)


def _initiator_value(value: Any) -> str:
    if value is None:
        return ""
    return _app_defect(value.get("app")) if isinstance(value, dict) else INITIATOR


def _app_defect(app: Any) -> str:
    """Return what is wrong with `InitiatedBy.app`, which may be JSON text of an object too: the rule parses it."""
    if app is None or app == "" or isinstance(app, dict | _Object):
        return ""
    if isinstance(app, str) and isinstance(kql.parse_json(app), dict | NoneType):
        return ""
    return APP


def _targets_text(text: str) -> str:
    if not text:
        return ""
    try:
        _decode_targets(text)
    except msgspec.ValidationError as error:
        return PROPERTIES if "modifiedProperties" in str(error) else TARGETS
    except RecursionError:
        return TOO_DEEP
    except kql.NOT_JSON:
        return TARGETS
    return ""


def _targets_value(value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, list) or not all(isinstance(target, dict) for target in value):
        return TARGETS
    properties = [target.get("modifiedProperties") for target in value]
    return "" if all(each is None or _is_array_of_objects(each) for each in properties) else PROPERTIES


def _is_array_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(element, dict) for element in value)
