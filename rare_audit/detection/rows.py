"""The rule's filter: which property rows of an event count. Baseline and current window share it."""

from collections.abc import Iterator
from enum import StrEnum

import msgspec

from rare_audit.detection import kql
from rare_audit.detection.event import Initiator, Property, Target, initiator_of
from rare_audit.detection.rule import Ignored


class Drop(StrEnum):
    """Why a row, or an event with all its rows, does not count; in the order the query asks."""

    NOT_AN_ARRAY = "TargetResources is not a JSON array"
    NO_PROPERTIES = "no modified properties"
    NO_VALUE = "no new value in an array"
    IGNORED_PROPERTY = "ignored property name"
    IGNORED_VALUE = "ignored new value"
    IGNORED_APP = "ignored app"
    IGNORED_OPERATION = "ignored operation"

    @property
    def is_about_rows(self) -> bool:
        """Whether it drops single rows, not only whole events."""
        return self in (Drop.NO_VALUE, Drop.IGNORED_PROPERTY, Drop.IGNORED_VALUE)


class PropertyRow(msgspec.Struct, frozen=True, gc=False):
    """One row of the expanded `modifiedProperties`, and why it does not count, if so."""

    name: str
    new_value: str
    source: Property
    dropped: Drop | None


def property_rows(target: Target, ignored: Ignored) -> Iterator[PropertyRow]:
    """Yield the rows of `mv-expand ModProps`, each with the first condition of the rule that drops it.

    The rule: `isnotempty(tostring(parse_json(tostring(ModProps.newValue))[0]))`, then
    `PropertyName !in~ (propertyIgnoreList) and (PropertyName !~ … and newValue !~ …) and (…)`, where the brackets
    pair nothing: each of the comparisons is a condition of its own.
    """
    for source in target.rows:
        value = kql.first_element(source.new_value)
        name = kql.to_string(source.display_name)
        yield PropertyRow(name, value, source, _dropped(name, value, ignored))


def _dropped(name: str, value: str, ignored: Ignored) -> Drop | None:
    if not value:
        return Drop.NO_VALUE
    if name in ignored.properties:
        return Drop.IGNORED_PROPERTY
    if value in ignored.values:
        return Drop.IGNORED_VALUE
    return None


def screened(initiated_by: str, operation: str, ignored: Ignored) -> tuple[Initiator | None, Drop | None]:
    """Return the app that started an event, if any, and the condition that drops it whatever its properties are.

    The rule: `InitiatedByApp !in~ (appIgnoreList) and OperationName !~ "Change user license"`.
    """
    initiator = initiator_of(initiated_by)
    if initiator is None:
        return None, None
    if initiator.app in ignored.apps:
        return initiator, Drop.IGNORED_APP
    if operation in ignored.operations:
        return initiator, Drop.IGNORED_OPERATION
    return initiator, None


def last_drop(rows: list[PropertyRow]) -> Drop:
    """Return what dropped the row of an event that came furthest through the query; for events of which none counts."""
    drops = {row.dropped for row in rows}
    for drop in (Drop.IGNORED_VALUE, Drop.IGNORED_PROPERTY, Drop.NO_VALUE):
        if drop in drops:
            return drop
    return Drop.NO_PROPERTIES
