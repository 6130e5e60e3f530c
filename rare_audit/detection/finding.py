"""A finding: the rule's 13 columns, and beside them what an analyst needs to judge it."""

import uuid
from typing import Any, Final

import msgspec

NAMESPACE: Final = uuid.UUID("0d3c7b52-6f0e-5d0a-9a52-8a3f6d2f4c11")
"""The namespace of all ids made from content. Changing it would raise every finding a second time."""

COLUMNS: Final = (
    "InitiatedByApp",
    "OperationName",
    "TargetUserPrincipalName",
    "InitiatedByIpAddress",
    "TargetResourceName",
    "StartTime",
    "EndTime",
    "set_Activity",
    "set_PropertyName",
    "timestamp",
    "AccountCustomEntity",
    "HostCustomEntity",
    "IPCustomEntity",
)
"""The rule's result columns, in its order."""


def content_id(*parts: str) -> str:
    """Return the UUIDv5 of these texts, in this order: the same content has the same id, for ever."""
    return str(uuid.uuid5(NAMESPACE, msgspec.json.encode(parts).decode()))


class Activity(msgspec.Struct, frozen=True, order=True):
    """An element of `set_Activity`: the bag the rule packs, from the group's earliest row."""

    property_name: str = msgspec.field(name="PropertyName")
    new_value: str = msgspec.field(name="newValue")
    id: str = msgspec.field(name="Id")
    correlation_id: str = msgspec.field(name="CorrelationId")


class Evidence(msgspec.Struct, frozen=True, order=True, rename="pascal"):
    """One property change as it was logged: both values whole (up to a cap), not only the first element."""

    time_generated: str
    id: str
    property_name: str
    old_value: str
    new_value: str
    correlation_id: str
    result: str


class TargetResource(msgspec.Struct, frozen=True, order=True, rename="camel"):
    """A target of the events behind a finding; all targets, though the rule reads only the first."""

    id: str
    type: str
    display_name: str
    user_principal_name: str


class Seen(msgspec.Struct, frozen=True):
    """On how many days of the lookback something was seen, and on which UTC day last ("" for never)."""

    days: int
    last: str


class History(msgspec.Struct, frozen=True, rename="camel"):
    """How familiar the parts of a finding are, counted over rows that the rule counts."""

    app: Seen
    app_and_operation: Seen
    combination: Seen


class LeftOut(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How much of a finding was left out to keep it small: elements of its lists, and texts that were cut."""

    activities: int = 0
    property_names: int = 0
    categories: int = 0
    texts: int = 0


class FloodCounts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How many different combinations a finding stands for, and users, resources and addresses in them, empty ones not.

    Each of the combinations would be a finding of its own, were there fewer of them.
    """

    combinations: int
    users: int
    resources: int
    addresses: int


class Finding(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What one app did in one window that it did not do in the lookback. Times are ISO 8601 with seven decimals.

    `cut` says that there was more evidence, or more ids or targets, than is kept; `left_out` what `bounded` took away.
    A `flood` is all that an app did in one operation: too much to be told one by one. Its address, user and resource
    are empty, and what else is there is of all together.
    """

    id: str
    rule_id: str
    variant: str
    day: str
    initiated_by_app: str = msgspec.field(name="InitiatedByApp")
    operation_name: str = msgspec.field(name="OperationName")
    target_user_principal_name: str = msgspec.field(name="TargetUserPrincipalName")
    initiated_by_ip_address: str = msgspec.field(name="InitiatedByIpAddress")
    target_resource_name: str = msgspec.field(name="TargetResourceName")
    start_time: str = msgspec.field(name="StartTime")
    end_time: str = msgspec.field(name="EndTime")
    activities: tuple[Activity, ...] = msgspec.field(name="set_Activity")
    property_names: tuple[str, ...] = msgspec.field(name="set_PropertyName")
    host: str = msgspec.field(name="HostCustomEntity")
    categories: tuple[str, ...]
    app_ids: tuple[str, ...]
    service_principal_ids: tuple[str, ...]
    targets: tuple[TargetResource, ...]
    events: int
    evidence: tuple[Evidence, ...]
    cut: bool
    history: History
    left_out: LeftOut = LeftOut()
    flood: FloodCounts | None = None

    def row(self) -> dict[str, Any]:
        """Return the 13 columns of the rule's result, in their order, as plain values."""
        values = msgspec.to_builtins(self)
        values |= {
            "timestamp": self.start_time,
            "AccountCustomEntity": self.target_user_principal_name,
            "IPCustomEntity": self.initiated_by_ip_address,
        }
        return {column: values[column] for column in COLUMNS}
