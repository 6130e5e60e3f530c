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
LONGEST_DETAIL: Final = 240
MOST_CATEGORIES: Final = 20
OTHER_CATEGORIES: Final = "other categories"

Record = TypeVar("Record")


class UnreadableError(ValueError):
    """A record gives no event; its text is the reason as it is counted, `detail` what was found and what is read."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


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


def detail_of(error: Exception) -> str:
    """Return what was found in a record that could not be converted because of `error`, in one line, "" for nothing."""
    if isinstance(error, UnreadableError):
        return one_line(error.detail, LONGEST_DETAIL)
    return one_line(str(error), LONGEST_DETAIL) if isinstance(error, msgspec.ValidationError) else ""


class Tally:
    """Counts events, skipped and unreadable records, and keeps where the first of each kind of reject was."""

    def __init__(self, *, strict: bool) -> None:
        """Begin at zero. If `strict`, the first reject raises InputError."""
        self.events = 0
        self.unreadable: Counter[str] = Counter()
        self.skipped: Counter[str] = Counter()
        self.files: Counter[str] = Counter()
        self.first_places: dict[str, str] = {}
        self.first_details: dict[str, str] = {}
        self.has_text = False
        """Whether text beyond ASCII was read: then the file is UTF-8, and what is not is damage."""
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
            self.skip_category(found)
            return None
        self.events += 1
        return found

    def count(self, record: bytes) -> None:
        """Count a record that gave its event."""
        self.events += 1
        if not self.has_text and not record.isascii():
            self.has_text = True

    def reject(self, error: Exception, place: str, count: int = 1) -> None:
        """Count a record at `place`, or several from there on, that can't be read; InputError if strict."""
        reason, detail = reason_of(error), detail_of(error)
        if self._strict:
            raise InputError(f"{place}: {reason}" + (f": {detail}" if detail else "")) from error
        self.unreadable[reason] += count
        if reason not in self.first_places:
            self.first_places[reason] = place
            self.first_details[reason] = detail

    def reject_file(self, reason: str, place: str, detail: str = "") -> None:
        """Count a file of a folder or an archive that can't be read; InputError if strict."""
        if self._strict:
            raise InputError(detail or f"{place}: {reason}")
        self.files[reason] += 1
        if reason not in self.first_places:
            self.first_places[reason] = place
            self.first_details[reason] = one_line(detail, LONGEST_DETAIL)

    def skip_category(self, category: str) -> None:
        """Count a record of another log's category, a name of any length."""
        self.skip(f"category {one_line(category, LONGEST_CATEGORY)}")

    def skip(self, name: str) -> None:
        """Count what is rightly left out: the log chose its name, so the number of names is bounded."""
        known = name in self.skipped or len(self.skipped.keys() - {OTHER_CATEGORIES}) < MOST_CATEGORIES
        self.skipped[name if known else OTHER_CATEGORIES] += 1

    def reading(self) -> Reading:
        """Return the counts as they stand."""
        return Reading(
            events=self.events, unreadable=dict(self.unreadable), skipped=dict(self.skipped), files=dict(self.files)
        )
