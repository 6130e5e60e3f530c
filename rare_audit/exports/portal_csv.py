"""The CSV that the Microsoft Entra admin center downloads from its audit log: a row an event, its targets side by side.

The whole header, with every name in quotes, is in a public script that compares it with a download's:
https://github.com/bitpusher2k/M365IRScripts/blob/main/03-ProcessEntraAuditLog.ps1. It is `Date (UTC)`,
`CorrelationId`, `Service`, `Category`, `Activity`, `Result`, `ResultReason`, `User Agent`, `ActorType`,
`ActorDisplayName`, `ActorObjectId`, `ActorUserPrincipalName`, `IPAddress`, `ActorHomeTenantId`, `ActorHomeTenantName`,
`ActorServicePrincipalId`, `ActorServicePrincipalName`; for each of 3 targets `Target1Type`, `Target1DisplayName`,
`Target1ObjectId`, `Target1UserPrincipalName` and 5 times `Target1ModifiedProperty1Name`, `…OldValue`, `…NewValue`; then
`AdditionalDetail1Key`, `AdditionalDetail1Value` to 6.

Times are UTC: https://learn.microsoft.com/entra/identity/monitoring-health/howto-download-logs. Only the
English header is recognised.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, takewhile
from typing import Any, Final

from rare_audit.detection import kql
from rare_audit.detection.event import AuditEvent
from rare_audit.sources.tally import UnreadableError

TIME_COLUMN: Final = "Date (UTC)"
REQUIRED: Final = frozenset(
    {
        TIME_COLUMN,
        "Activity",
        "ActorType",
        "ActorDisplayName",
        "Target1DisplayName",
        "Target1UserPrincipalName",
        "Target1ModifiedProperty1Name",
        "Target1ModifiedProperty1NewValue",
    }
)
"""The columns without which the rule can't judge a row. A sign-in log's CSV has `Date (UTC)` as well, but no others."""

LACKS: Final = (
    "The admin center's CSV has no event ids, app ids or app IP addresses, and at most 3 targets with 5 changed"
    " properties each; events of apps without a display name can't be judged."
)
"""What a hunt in this format misses that `AuditLogs` has, to be shown to whoever hunts."""

_APPLICATION_TYPES: Final = frozenset({"application", "app", "service principal", "serviceprincipal"})
_SPREADSHEET_CELL: Final = 32_767
"""Excel cuts longer cells when it saves a CSV, see
https://support.microsoft.com/office/excel-specifications-and-limits-1672b34d-7043-467e-8e27-269d656771c3."""


def is_portal_header(header: Sequence[str]) -> bool:
    """Return whether these are the columns of an audit-log download; their order and further columns don't matter."""
    return REQUIRED.issubset(header)


def portal_event(cells: Mapping[str, str], time: Callable[[object], str]) -> AuditEvent:
    """Return the event of a row, given as its cells by column name; an empty cell, or one that is absent, is null.

    `time` turns the cell of `Date (UTC)` into `AuditEvent.time_generated` and raises UnreadableError where it can't.
    The initiator and the targets are built as in https://learn.microsoft.com/graph/api/resources/directoryaudit, with
    the values of properties as they are in the cells.

    Raises UnreadableError: no readable time, bytes that were not UTF-8, no activity, an initiator of unknown type, or a
    value that a spreadsheet cut.
    """
    operation = _text(cells, "Activity")
    if operation is None:
        raise UnreadableError("no Activity; expected the operation's name")
    return AuditEvent(
        time_generated=time(cells.get(TIME_COLUMN)),
        operation_name=operation,
        category=_text(cells, "Category"),
        correlation_id=_text(cells, "CorrelationId"),
        result=_text(cells, "Result"),
        type="AuditLogs",
        initiated_by=_initiated_by(cells),
        target_resources=_targets(cells),
    )


def _text(cells: Mapping[str, str], column: str) -> str | None:
    cell = cells.get(column, "")
    if not cell.isascii():
        try:
            cell.encode()
        except UnicodeEncodeError as error:  # a surrogate stands for a byte that was not UTF-8
            raise UnreadableError("not UTF-8") from error
    return cell or None


def _initiated_by(cells: Mapping[str, str]) -> dict[str, Any] | None:
    """Return `InitiatedBy`: a user's or an app's, null where the row names nobody.

    `ActorType` decides: `User`, or `Application`. Microsoft publishes no list of its values, so where it is another or
    empty, a column that only users or only apps fill decides. `IPAddress` belongs to the user: Graph has none for apps,
    see https://learn.microsoft.com/graph/api/resources/appidentity, and nor has AuditLogs.
    """
    kind = (_text(cells, "ActorType") or "").strip().casefold()
    principal = _text(cells, "ActorServicePrincipalId")
    if kind in _APPLICATION_TYPES:
        return _app(cells)
    if kind == "user" or _text(cells, "ActorUserPrincipalName") is not None:
        return _user(cells)
    if principal is not None:
        return _app(cells)
    if not kind and _text(cells, "ActorDisplayName") is None:
        return None
    raise UnreadableError("unknown ActorType; expected User or Application")


def _app(cells: Mapping[str, str]) -> dict[str, Any]:
    return {
        "app": {
            "appId": None,
            "displayName": _text(cells, "ActorDisplayName"),
            "servicePrincipalId": _text(cells, "ActorServicePrincipalId"),
            "servicePrincipalName": _text(cells, "ActorServicePrincipalName"),
        }
    }


def _user(cells: Mapping[str, str]) -> dict[str, Any]:
    return {
        "user": {
            "id": _text(cells, "ActorObjectId"),
            "displayName": _text(cells, "ActorDisplayName"),
            "userPrincipalName": _text(cells, "ActorUserPrincipalName"),
            "ipAddress": _text(cells, "IPAddress"),
        }
    }


def _targets(cells: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return `TargetResources`; columns for targets that the event does not have are empty, and come last."""
    targets = [_target(cells, f"Target{number}") for number in _numbers(cells, "Target{}DisplayName")]
    while targets and not any(targets[-1].values()):
        targets.pop()
    return targets


def _target(cells: Mapping[str, str], prefix: str) -> dict[str, Any]:
    return {
        "id": _text(cells, f"{prefix}ObjectId"),
        "type": _text(cells, f"{prefix}Type"),
        "displayName": _text(cells, f"{prefix}DisplayName"),
        "userPrincipalName": _text(cells, f"{prefix}UserPrincipalName"),
        "modifiedProperties": list(_properties(cells, f"{prefix}ModifiedProperty")),
    }


def _properties(cells: Mapping[str, str], prefix: str) -> Iterator[dict[str, Any]]:
    for number in _numbers(cells, prefix + "{}Name"):
        changed = {
            "displayName": _text(cells, f"{prefix}{number}Name"),
            "oldValue": _value(cells, f"{prefix}{number}OldValue"),
            "newValue": _value(cells, f"{prefix}{number}NewValue"),
        }
        if any(changed.values()):
            yield changed


def _value(cells: Mapping[str, str], column: str) -> str | None:
    text = _text(cells, column)
    if text is not None and len(text) == _SPREADSHEET_CELL and kql.parse_json(text) is text:
        raise UnreadableError("a value cut at 32,767 characters; expected the file as it was downloaded")
    return text


def _numbers(cells: Mapping[str, str], column: str) -> Iterator[int]:
    """Return 1, 2, … for as long as the row has a column of that number: so none is lost should the portal add some."""
    return takewhile(lambda number: column.format(number) in cells, count(1))
