"""Whether TargetResources is as AuditLogs holds it, and who its first target is, without reading it whole.

It is an array of objects, each with an array of objects as modifiedProperties, or null or empty. The rule takes
anything else for an event without a change, and so does the engine; whoever reads the result has to know of it.

Source: https://learn.microsoft.com/azure/azure-monitor/reference/tables/auditlogs.
"""

from typing import Final

import msgspec

from rare_audit.detection import kql

TARGETS: Final = "TargetResources is not a JSON array of objects"
PROPERTIES: Final = "modifiedProperties is not a JSON array of objects"
TOO_DEEP: Final = "nested too deep"


class _Object(msgspec.Struct, gc=False):
    """Any object; what is in it is passed over."""


class _Target(msgspec.Struct, gc=False, rename="camel"):
    user_principal_name: str | None = None
    modified_properties: list[_Object] | None = None


class _AnyUser(msgspec.Struct, gc=False, rename="camel"):
    modified_properties: list[_Object] | None = None


_decode_targets: Final = msgspec.json.Decoder(list[_Target]).decode
_decode_any: Final = msgspec.json.Decoder(list[_AnyUser] | None).decode


def user_of(target_resources: str) -> str | None:
    """Return the first target's userPrincipalName, "" where it has none; None where that can't be told at a glance.

    A third of the time that reading the targets takes: what else is in them is passed over. Where `oddity` has a reason
    it is None.
    """
    try:
        targets = _decode_targets(target_resources)
    except kql.NOT_JSON:
        return None
    return targets[0].user_principal_name or "" if targets else ""


def oddity(target_resources: str) -> str:
    """Return why TargetResources (JSON text) is not as AuditLogs holds it, "" where it is."""
    if not target_resources.strip():
        return ""
    try:
        _decode_any(target_resources)
    except msgspec.ValidationError as error:
        return PROPERTIES if "modifiedProperties" in str(error) else TARGETS
    except RecursionError:
        return TOO_DEEP
    except kql.NOT_JSON:
        return TARGETS
    return ""
