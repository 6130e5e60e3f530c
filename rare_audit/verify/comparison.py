"""Rows that the workspace gave for the rule's own text, held against the engine's: no I/O.

What may differ, and is no difference, is only what Kusto leaves open: the order in a set, how a time or a number is
spelled, and which of several values `make_bag` keeps for a key.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from rare_audit.detection import kql
from rare_audit.detection.finding import COLUMNS
from rare_audit.detection.ticks import format_ticks, parse_ticks

GROUPING: Final = COLUMNS[:5]
"""InitiatedByApp, OperationName, TargetUserPrincipalName, InitiatedByIpAddress, TargetResourceName: what RareAudits
groups by, so that each combination of them is one row."""
TIMES: Final = frozenset({"StartTime", "EndTime", "timestamp"})
ACTIVITIES: Final = "set_Activity"
PROPERTIES: Final = "set_PropertyName"
_VALUE: Final = "newValue"
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z", re.ASCII)

Row = Mapping[str, Any]
Key = tuple[str, ...]
Bag = tuple[tuple[str, str], ...]
"""An element of set_Activity, its members sorted."""
Part = Mapping[str, frozenset[str]]
"""What `make_bag` may choose from, by member, in one group of the rule's AccountMods."""


class Difference(msgspec.Struct, frozen=True):
    """Where a row differs: `column` is "" where only one side has it. Values are text, as each side has it."""

    row: Key
    column: str
    workspace: str
    engine: str


def compare(
    theirs: Iterable[Row], ours: Iterable[Row], parts: Mapping[Key, Sequence[Part]] | None = None
) -> tuple[Difference, ...]:
    """Return every difference of the workspace's rows (`theirs`) and the engine's, in the order of the latter's.

    Rows are matched by the grouping columns, and more than one of a combination in their order. `parts` says of rows,
    by those columns, what `make_bag` may have chosen from: without it, a set_Activity has to be the engine's own.
    """
    left: dict[Key, list[Row]] = defaultdict(list)
    for row in theirs:
        left[key_of(row)].append(row)
    found: list[Difference] = []
    for row in ours:
        key = key_of(row)
        if left[key]:
            found += _differences(key, left[key].pop(0), row, (parts or {}).get(key))
        else:
            found.append(Difference(key, "", "no such row", "a row"))
    found += [Difference(key, "", "a row", "no such row") for key, rows in left.items() for _ in rows]
    return tuple(found)


def key_of(row: Row) -> Key:
    """Return a row's grouping columns."""
    return tuple(kql.to_string(row[name]) for name in GROUPING)


def bag_of(activity: Mapping[str, Any]) -> Bag:
    """Return an element of set_Activity as it is compared: its values are texts, a time among them spelled one way."""
    texts = {name: kql.to_string(value) for name, value in activity.items()}
    if _VALUE in texts:
        texts[_VALUE] = spelled(texts[_VALUE])
    return tuple(sorted(texts.items()))


def spelled(new_value: str) -> str:
    """Return a new value with all seven decimals where it looks like a time: so Kusto may print it, or as it was."""
    if not _TIME.fullmatch(new_value):
        return new_value
    try:
        return format_ticks(parse_ticks(new_value))
    except ValueError:
        return new_value


def _differences(key: Key, theirs: Row, ours: Row, parts: Sequence[Part] | None) -> list[Difference]:
    found = []
    for name in COLUMNS:
        mine, other = _comparable(name, ours[name]), _comparable(name, theirs[name])
        if mine == other or (name == ACTIVITIES and parts and _may_be_chosen(other, parts)):
            continue
        if isinstance(mine, frozenset) and isinstance(other, frozenset):
            found.append(Difference(key, name, _listed(other - mine), _listed(mine - other)))
        else:
            found.append(Difference(key, name, _text(theirs[name]), _text(ours[name])))
    return found


def _comparable(name: str, cell: Any) -> Any:
    """Return what two cells of a column have in common where they mean the same; the cell itself if it means nothing.

    A time is its ticks, a set is one, whatever its order.
    """
    try:
        if name in TIMES:
            return parse_ticks(cell)
        if name in (ACTIVITIES, PROPERTIES):
            elements = kql.parse_json(cell) if isinstance(cell, str) else cell
            return frozenset(map(bag_of if name == ACTIVITIES else kql.to_string, _array(elements)))
    except (ValueError, TypeError, AttributeError):
        return cell
    return kql.to_string(cell)


def _array(value: Any) -> Sequence[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError("no array")
    return value


def _may_be_chosen(theirs: Any, parts: Sequence[Part]) -> bool:
    """Tell whether a set holds a bag for each part, of values that `make_bag` may choose there, and no other bag."""
    if not isinstance(theirs, frozenset) or len(theirs) > len(parts):
        return False
    fits = [[_fits(bag, part) for part in parts] for bag in theirs]
    return all(map(any, fits)) and all(map(any, zip(*fits, strict=True))) and bool(fits)


def _fits(bag: Bag, part: Part) -> bool:
    return len(bag) == len(part) and all(value in part.get(name, ()) for name, value in bag)


def _listed(elements: Iterable[Any]) -> str:
    """Return elements that only one side has, as JSON."""
    return _text([dict(each) if isinstance(each, tuple) else each for each in sorted(elements)])


def _text(cell: Any) -> str:
    return cell if isinstance(cell, str) else msgspec.json.encode(cell).decode()
