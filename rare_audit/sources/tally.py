"""What became of each record of a pass."""

from collections import Counter
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from rare_audit.detection import kql
from rare_audit.detection.event import AuditEvent
from rare_audit.detection.funnel import Reading
from rare_audit.errors import InputError
from rare_audit.reporting.text import one_line

LONGEST_CATEGORY: Final = 60
MOST_CATEGORIES: Final = 20
OTHER_CATEGORIES: Final = "other categories"

Record = TypeVar("Record")


class UnreadableError(ValueError):
    """A record gives no event; its text is the reason as it is counted."""


UNREADABLE: Final = (UnreadableError, *kql.NOT_JSON)
"""What the conversion of a record into an event may raise."""


def reason_of(error: Exception) -> str:
    """Return the reason under which a record is counted that could not be converted because of `error`."""
    match error:
        case UnreadableError():
            return str(error)
        case UnicodeError():
            return "not UTF-8"
        case RecursionError():
            return "nested too deep"
        case msgspec.ValidationError():
            if "TimeGenerated" in str(error):
                return "no readable time"
            return "wrong type in a column" if "`$." in str(error) else "not an object"
        case _:
            return "not JSON"


class Tally:
    """Counts events, skipped and unreadable records, and keeps where the first of each kind of reject was."""

    def __init__(self, *, strict: bool) -> None:
        """Begin at zero. If `strict`, the first reject raises InputError."""
        self.events = 0
        self.unreadable: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.first_places: dict[str, str] = {}
        self._strict = strict

    def take(self, convert: Callable[[Record], AuditEvent | str], record: Record, place: str) -> AuditEvent | None:
        """Convert a record and count it; None where it gives no event.

        `convert` returns an event, or the category of a record that is no audit event, or raises UNREADABLE.
        """
        try:
            found = convert(record)
        except UNREADABLE as error:
            self.reject(error, place)
            return None
        if isinstance(found, str):
            self._skip(found)
            return None
        self.events += 1
        return found

    def reject(self, error: Exception, place: str) -> None:
        """Count a record at `place` that can't be read; InputError if strict."""
        reason = reason_of(error)
        if self._strict:
            raise InputError(f"{place}: {reason}") from error
        self.unreadable[reason] += 1
        self.first_places.setdefault(reason, place)

    def _skip(self, category: str) -> None:
        """Count a record of another category: the log chose the name, so length and number of names are bounded."""
        name = f"category {one_line(category, LONGEST_CATEGORY)}"
        known = name in self.skipped or len(self.skipped.keys() - {OTHER_CATEGORIES}) < MOST_CATEGORIES
        self.skipped[name if known else OTHER_CATEGORIES] += 1

    def reading(self) -> Reading:
        """Return the counts as they stand."""
        return Reading(events=self.events, unreadable=dict(self.unreadable), skipped=dict(self.skipped))
