"""What the stand-in for Sentinel refuses in a body: required fields, types, enumerations, lengths.

Sources: models.tsp of Azure/azure-rest-api-specs, specification/securityinsights, 2025-09-01 and 2025-07-01-preview;
lengths: https://learn.microsoft.com/azure/sentinel/sentinel-service-limits.
"""

import re
from typing import Any, Final

from rare_audit.detection.rule import TACTICS
from rare_audit.detection.ticks import parse_ticks

SEVERITIES: Final = {"High", "Medium", "Low", "Informational"}
STATUSES: Final = {"New", "Active", "Closed"}
CLASSIFICATIONS: Final = {"Undetermined", "TruePositive", "BenignPositive", "FalsePositive"}
ENTITIES: Final = {
    "Account": {"FullName", "Name", "UPNSuffix", "AadUserId", "AadTenantId", "Sid", "ObjectGuid", "DisplayName"},
    "CloudApplication": {"SaasId", "Name", "InstanceName"},
    "Host": {"HostName", "FullName", "DnsDomain", "NTDomain", "NetBiosName", "AzureID"},
    "IP": {"Address", "AddressScope"},
}
PREVIEW_ONLY: Final = {"entityMappings", "tactics", "techniques"}
WRITABLE: Final = {
    "incidents": {
        *("title", "description", "severity", "status", "classification", "classificationComment"),
        *("classificationReason", "firstActivityTimeUtc", "lastActivityTimeUtc", "labels", "owner"),
    },
    "bookmarks": {
        *("displayName", "query", "queryResult", "notes", "labels", "eventTime", "queryStartTime", "queryEndTime"),
        *("created", "updated", "incidentInfo", *PREVIEW_ONLY),
    },
    "comments": {"message"},
    "relations": {"relatedResourceId"},
}


class RefusalError(Exception):
    """What the service answers instead of doing it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def need(condition: object, message: str, code: str = "BadRequest") -> None:
    """Refuse with 400 unless `condition` holds."""
    if not condition:
        raise RefusalError(400, code, message)


def check(kind: str, properties: dict[str, Any], *, preview: bool) -> dict[str, Any]:
    """Return a resource's properties as they are kept, or refuse them."""
    kept = {name: value for name, value in properties.items() if name in WRITABLE[kind] and value is not None}
    if kind == "incidents":
        _incident(kept)
    elif kind == "bookmarks":
        _bookmark(kept, properties, preview=preview)
    elif kind == "comments":
        need(_text(kept.get("message")), "message is required")
        need(_units(kept["message"]) <= 30_000, "a comment holds 30000 characters")
    else:
        need(_text(kept.get("relatedResourceId")), "relatedResourceId is required")
    return kept


def _incident(kept: dict[str, Any]) -> None:
    need(_text(kept.get("title")), "title is required")
    kept["title"] = kept["title"].strip()
    need(kept["title"], "title is required")
    need(kept.get("severity") in SEVERITIES, "severity is required, one of the known")
    need(kept.get("status") in STATUSES, "status is required, one of the known")
    need(kept.get("classification", "Undetermined") in CLASSIFICATIONS, "classification")
    need(_text(kept.get("description", "-")), "description is a text")
    need(_units(kept.get("description", "")) <= 5_000, "a description holds 5000 characters")
    for name in ("firstActivityTimeUtc", "lastActivityTimeUtc"):
        _time(kept, name)
    labels = kept.setdefault("labels", [])
    need(isinstance(labels, list), "labels is a list")
    need(all(isinstance(each, dict) and _text(each.get("labelName")) for each in labels), "labelName is required")
    kept["labels"] = [{"labelName": each["labelName"], "labelType": "User"} for each in labels]
    need(isinstance(kept.get("owner", {}), dict), "owner is an object")


def _bookmark(kept: dict[str, Any], given: dict[str, Any], *, preview: bool) -> None:
    need(preview or not PREVIEW_ONLY & set(given), "entityMappings, tactics and techniques need a preview version")
    for name in ("displayName", "query"):
        need(_text(kept.get(name)), f"{name} is required")
    for name in ("queryResult", "notes"):
        need(isinstance(kept.get(name, ""), str), f"{name} is a text")
    for name in ("eventTime", "queryStartTime", "queryEndTime"):
        _time(kept, name)
    need(all(map(_text, kept.get("labels", []))), "labels are texts")
    need(set(kept.get("tactics", [])) <= TACTICS, "unknown tactic")
    need(all(re.fullmatch(r"T\d{4}(\.\d{3})?", each) for each in kept.get("techniques", [])), "unknown technique")
    for mapping in kept.get("entityMappings", []):
        need(mapping.get("entityType") in ENTITIES, "unknown entityType")
        fields = mapping.get("fieldMappings")
        need(isinstance(fields, list) and fields, "fieldMappings is required")
        for field in fields:
            need(field.get("identifier") in ENTITIES[mapping["entityType"]], "unknown identifier")
            need(_text(field.get("value")), "value is required")


def _time(kept: dict[str, Any], name: str) -> None:
    if name in kept:
        try:
            parse_ticks(kept[name])
        except (ValueError, TypeError) as error:
            raise RefusalError(400, "BadRequest", f"{name} is no time") from error


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
