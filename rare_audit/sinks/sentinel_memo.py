"""What was last written to Sentinel, and who has changed it since: no I/O."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from rare_audit.detection.finding import content_id
from rare_audit.errors import ServiceError

_FIELDS: Final = ("title", "description", "severity", "labels", "firstActivityTimeUtc", "lastActivityTimeUtc")
"""What is kept up to date. A status and an owner are the analyst's from the start."""
_WRITABLE: Final = (
    *_FIELDS, "status", "owner", "classification", "classificationComment", "classificationReason",
)  # fmt: skip
"""What a PUT takes, and may clear where it is left out: SecurityInsights API, 2025-09-01, IncidentProperties."""
_SEVERITIES: Final = ("Informational", "Low", "Medium", "High")
_MILLISECONDS: Final = len("2026-03-02T08:15:30.123")


class Field(msgspec.Struct, frozen=True):
    """Digests of a field's value: `sent` as it was asked for, `seen` as the service answered it."""

    sent: str
    seen: str


class Link(msgspec.Struct, frozen=True, omit_defaults=True):
    """An incident in a chain of follow-ups: what was written of it. `fields` is empty until that is known.

    `told` are marks of the findings that its comments tell, `bookmarked` of those whose bookmark is settled, written
    or left out. `follows` names the incident before it.
    """

    id: str
    follows: str = ""
    fields: dict[str, Field] = {}
    told: tuple[str, ...] = ()
    bookmarked: tuple[str, ...] = ()


class Memo(msgspec.Struct, frozen=True, omit_defaults=True):
    """A delivery: where to, the incidents in their order, and whether somebody deleted one.

    `notes` says what was left out of it and why.
    """

    workspace: str
    links: tuple[Link, ...] = ()
    gone: bool = False
    notes: tuple[str, ...] = ()


def read_memo(text: str, workspace: str) -> Memo:
    """Read a memo; one of another workspace says nothing about this one. Raises ServiceError for any other text."""
    if not text:
        return Memo(workspace)
    try:
        memo = msgspec.json.decode(text, type=Memo)
    except msgspec.DecodeError as error:
        raise ServiceError(f"what was kept of an earlier delivery can't be read: {error}") from error
    return memo if memo.workspace == workspace else Memo(workspace)


def write_memo(memo: Memo) -> str:
    """Return a memo as JSON text."""
    return msgspec.json.encode(memo).decode()


def written(sent: Mapping[str, Any], answered: Mapping[str, Any]) -> dict[str, Field]:
    """Return what to remember of fields that were sent, by what the service answered."""
    return {
        name: Field(_digest(name, sent[name]), _digest(name, answered.get(name, sent[name])))
        for name in _FIELDS
        if name in sent
    }


def merge(
    found: Mapping[str, Any], wanted: Mapping[str, Any], fields: Mapping[str, Field]
) -> tuple[dict[str, Any], dict[str, Field]]:
    """Return which of an incident's fields to change to what is `wanted`, and what to remember of the others.

    A field that is not as it was last written belongs to whoever changed it. Without memory of it, it is ours only if
    it is what would be written now. A severity is only ever raised.
    """
    changes: dict[str, Any] = {}
    kept: dict[str, Field] = {}
    for name in _FIELDS:
        want, seen = _digest(name, wanted[name]), _digest(name, found.get(name))
        past = fields.get(name, Field(want, want))
        untouched = seen == past.seen
        kept[name] = past if untouched or seen != want else Field(want, seen)
        if untouched and want != past.sent and (name != "severity" or _is_raised(found.get(name), wanted[name])):
            changes[name] = wanted[name]
    return changes, kept


def is_same(name: str, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Tell whether a field is what would be written."""
    return _digest(name, found.get(name)) == _digest(name, wanted[name])


def changed(found: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that a PUT takes: what was found, with the changes."""
    return {name: found[name] for name in _WRITABLE if found.get(name) is not None} | dict(changes)


def _is_raised(found: Any, wanted: str) -> bool:
    return found in _SEVERITIES and _SEVERITIES.index(wanted) > _SEVERITIES.index(found)


def _digest(name: str, value: Any) -> str:
    """Return a digest of a value as two services may write it alike: trimmed, times to the millisecond, labels sorted.

    Sentinel trims a title: https://learn.microsoft.com/azure/sentinel/create-incident-manually.
    """
    if name == "labels":
        names = (label.get("labelName", "") if isinstance(label, dict) else label for label in value or ())
        return content_id(*sorted(str(each).strip() for each in names))[:13]
    text = "\n".join(line.rstrip() for line in str(value or "").strip().splitlines())
    if name.endswith("TimeUtc"):
        text = _milliseconds(text)
    return content_id(text)[:13]


def _milliseconds(text: str) -> str:
    time = text.removesuffix("Z").removesuffix("+00:00")
    return (time if "." in time else f"{time}.")[:_MILLISECONDS].ljust(_MILLISECONDS, "0")
