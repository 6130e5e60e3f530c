"""Entra directory records of the Microsoft 365 unified audit log: the JSON object called AuditData.

Its schema is in https://learn.microsoft.com/office/office-365-management-api/office-365-management-activity-api-schema,
under "Common schema", "Azure Active Directory base schema" and "Azure Active Directory schema". The object is
- an element of the arrays that the Management Activity API answers with, see
  https://learn.microsoft.com/office/office-365-management-api/office-365-management-activity-api-reference;
- the column AuditData of a Purview export, `RecordId,CreationDate,RecordType,Operation,UserId,AuditData,
  AssociatedAdminUnits,AssociatedAdminUnitsNames`, see
  https://learn.microsoft.com/purview/audit-log-detailed-properties;
- the column AuditData of `Search-UnifiedAuditLog | Export-Csv`, beside `RecordType`, `CreationDate`, `UserIds` and
  `Operations`, see https://learn.microsoft.com/powershell/module/exchange/search-unifiedauditlog.
Other columns are not read: all they say is in AuditData, and their times depend on the exporting machine's culture.

Captured records show what the schema leaves open. Users:
https://github.com/elastic/beats/blob/main/x-pack/filebeat/module/o365/audit/test/08-azuread.log. An app:
https://github.com/panther-labs/panther-analysis/blob/main/rules/microsoft_rules/microsoft365_mfa_disabled.yml.
"""

import re
from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

from rare_audit.detection import kql
from rare_audit.detection.event import AuditEvent
from rare_audit.sources.tally import UnreadableError

AUDIT_DATA_COLUMN: Final = "AuditData"

LACKS: Final = (
    "The unified audit log has whole seconds only, one target per event, no app IP addresses and mostly no categories;"
    " events of apps without a display name can't be judged."
)
"""What a hunt in this format misses that `AuditLogs` has, to be shown to whoever hunts."""

_WORKLOAD: Final = "azureactivedirectory"
_DIRECTORY_RECORDS: Final = frozenset({"8", "azureactivedirectory"})
"""AuditLogRecordType of directory changes, by number and by name; sign-ins are 9 and 15."""
_ABSENT: Final = "<null>"
"""What older records write for null."""

Json = dict[str, Any]


class Claim(IntEnum):
    """What an entry of Actor or Target says of the identity: IdentityType of the schema, in its order.

    The schema gives names only; numbers: https://reference.aspose.com/email/net/aspose.email.clients.activity/identitytype.
    """

    CLAIM = 0
    NAME = 1
    OTHER = 2
    """An id, `<class>_<id>`, or the class itself, such as `User` or `ServicePrincipal`."""
    PUID = 3
    SPN = 4
    UPN = 5


class Identity(NamedTuple):
    """One entry of Actor or Target."""

    claim: int
    value: str


_is_class_and_id: Final = re.compile(r"([A-Za-z]+)_(.+)", re.DOTALL).fullmatch
_is_guid: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE).fullmatch


def is_unified_header(header: Sequence[str]) -> bool:
    """Return whether a CSV with these columns has records of the unified audit log."""
    return AUDIT_DATA_COLUMN in header


def is_unified_record(members: set[str]) -> bool:
    """Return whether an object with these members is a record: all of them are mandatory in the common schema."""
    return {"CreationTime", "Operation", "RecordType"} <= members


def unified_event(audit_data: bytes | str, time: Callable[[object], str]) -> AuditEvent | str:
    """Return the event of an AuditData object (JSON), or the workload and type of a record from another log.

    `time` turns CreationTime (`2026-03-16T08:00:00`, in UTC but without a zone) into `AuditEvent.time_generated` and
    raises UnreadableError where it can't. The event has AuditLogs' spelling: the operation without the final full stop,
    the result in lower case, initiator and target as in https://learn.microsoft.com/graph/api/resources/directoryaudit.
    Values of properties are left as they are: arrays are JSON text as in AuditLogs, if with line breaks. Scalars lack
    the quotes that AuditLogs has around them; to the rule that matters only where a scalar's text is a JSON array.

    Raises UnreadableError, whose text names the field and what was expected of it, and like all of UNREADABLE
    RecursionError where a value is nested too deep.
    """
    record = _object(audit_data)
    other = _other_log(record)
    if other is not None:
        return other
    operation = _text(record, "Operation")
    if operation is None:
        raise UnreadableError("no Operation in AuditData; expected the operation's name")
    result = _text(record, "ResultStatus")
    return AuditEvent(
        time_generated=time(record.get("CreationTime")),
        operation_name=operation.removesuffix("."),
        category=_category(record),
        id=_text(record, "Id"),
        correlation_id=_text(record, "InterSystemsId"),
        result=None if result is None else result.lower(),
        type="AuditLogs",
        initiated_by=_initiated_by(record),
        target_resources=_targets(record),
    )


def _object(audit_data: bytes | str) -> Json:
    try:
        text = audit_data.decode() if isinstance(audit_data, bytes) else audit_data
        text.encode()  # a surrogate stands for a byte that was not UTF-8
    except UnicodeError as error:
        raise UnreadableError("not UTF-8") from error
    record = kql.parse_json(text)
    if not isinstance(record, dict):
        raise UnreadableError("AuditData is not a whole JSON object")
    return record


def _other_log(record: Json) -> str | None:
    """Return workload and type of a record that is not about the directory, None for one that is."""
    workload = _text(record, "Workload")
    kind = record.get("RecordType")
    if kind is None and workload is not None:
        return None if workload.casefold() == _WORKLOAD else workload
    if isinstance(kind, bool) or not isinstance(kind, int | str):
        raise UnreadableError("RecordType in AuditData is neither a number nor a name")
    if str(kind).casefold() in _DIRECTORY_RECORDS:
        return None
    return f"{workload or 'unified audit log'}, record type {kind}"


def _text(record: Json, field: str) -> str | None:
    value = record.get(field)
    if value is None or value in ("", _ABSENT):
        return None
    if not isinstance(value, str):
        raise UnreadableError(f"{field} in AuditData is not text")
    return value


def _objects(record: Json, field: str, named: str) -> list[Json]:
    """Return an array of objects, each with the member `named`; null and `""` are none."""
    entries = record.get(field)
    if entries is None or entries == "":
        return []
    if isinstance(entries, list) and all(isinstance(entry, dict) and named in entry for entry in entries):
        return entries
    raise UnreadableError(f"{field} in AuditData is not an array of objects with {named}")


def _category(record: Json) -> str | None:
    """Return the category that AuditLogs has; older records carry it among the extended properties."""
    for entry in _objects(record, "ExtendedProperties", "Name"):
        if entry["Name"] == "auditEventCategory":
            return _text(entry, "Value")
    return None


def _identities(record: Json, field: str) -> list[Identity]:
    return [_identity(entry, field) for entry in _objects(record, field, "ID") if entry["ID"] is not None]


def _identity(entry: Json, field: str) -> Identity:
    value, claim = entry["ID"], entry.get("Type")
    if isinstance(claim, str) and claim.isdecimal() and claim.isascii():
        claim = int(claim[:9])  # some tools write every number as text
    if not isinstance(value, str) or isinstance(claim, bool) or not isinstance(claim, int):
        raise UnreadableError(f"{field} in AuditData has an entry whose ID is not text or whose Type is not a number")
    return Identity(claim, value)


def _first(identities: list[Identity], claim: Claim) -> str | None:
    return next((identity.value for identity in identities if identity.claim == claim and identity.value), None)


def _class_and_id(identities: list[Identity]) -> tuple[str | None, str | None]:
    """Return the class of a directory object and its id, which stand in one entry: `ServicePrincipal_<id>`."""
    for identity in identities:
        found = _is_class_and_id(identity.value) if identity.claim == Claim.OTHER else None
        if found is not None:
            return found[1], found[2]
    return None, None


def _initiated_by(record: Json) -> Json | None:
    """Return `InitiatedBy`: a user's or an app's, null where the record names nobody.

    A user's Actor has a UPN, a PUID or the class `User`, even if it also lists the app that the user worked with, as
    AuditLogs has a user there too. Any other Actor is an app, and its Name the display name: Microsoft's own services
    may have the class `Other`. UserType does not decide: captured records of apps have 4 (System), not 6.
    """
    actor = _identities(record, "Actor")
    if not actor:
        return _initiated_by_user_id(record)
    kind, id_ = _class_and_id(actor)
    upn = _first(actor, Claim.UPN)
    is_user = kind == "User" or Identity(Claim.OTHER, "User") in actor or _first(actor, Claim.PUID) is not None
    if is_user or upn is not None:
        address = _text(record, "ActorIpAddress")
        return {"user": {"id": id_, "displayName": None, "userPrincipalName": upn, "ipAddress": address}}
    principal = id_ if kind == "ServicePrincipal" else None
    app = {
        "appId": _app_id(actor, principal),
        "displayName": _first(actor, Claim.NAME),
        "servicePrincipalId": principal,
    }
    return {"app": app}


def _initiated_by_user_id(record: Json) -> Json | None:
    user_id = _text(record, "UserId")
    if user_id is None:
        return None
    if user_id.startswith("ServicePrincipal_"):
        return {"app": {"displayName": None, "servicePrincipalId": user_id.removeprefix("ServicePrincipal_")}}
    return {"user": {"userPrincipalName": user_id}}


def _app_id(actor: list[Identity], principal: str | None) -> str | None:
    """Return an app's appId: the SPN, or else the one GUID beside that of its service principal."""
    spn = _first(actor, Claim.SPN)
    if spn is not None or principal is None:
        return spn
    guids = {each.value for each in actor if each.claim == Claim.OTHER and _is_guid(each.value)} - {principal}
    return guids.pop() if len(guids) == 1 else None


def _targets(record: Json) -> list[Json]:
    """Return `TargetResources`, at most one: a record describes one target, and all properties are that one's."""
    target = _identities(record, "Target")
    properties = [_property(entry) for entry in _objects(record, "ModifiedProperties", "Name")]
    if not target and not properties:
        return []
    kind, id_ = _class_and_id(target)
    return [
        {
            "id": id_,
            "type": kind,
            "displayName": _first(target, Claim.NAME),
            "userPrincipalName": _first(target, Claim.UPN),
            "modifiedProperties": properties,
        }
    ]


def _property(entry: Json) -> Json:
    return {
        "displayName": _value(entry["Name"]),
        "oldValue": _value(entry.get("OldValue")),
        "newValue": _value(entry.get("NewValue")),
    }


def _value(value: Any) -> str | None:
    """Return a property's value as text; one that is not text becomes JSON, which the rule reads alike."""
    return None if value is None else kql.to_string(value)
