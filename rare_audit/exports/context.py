"""What a file's records are read with: its clock, and how much is forgiven."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from rare_audit.detection.event import AuditEvent, is_utc_text
from rare_audit.exports.columns import REQUIRED, defect, defective_value
from rare_audit.exports.times import AmbiguousDateError, DateOrder, UnreadableTimeError, order_of, utc
from rare_audit.sources.tally import UnreadableError

NO_TIME: Final = "no readable time"
_SHOWN: Final = 60


class Clock:
    """Reads the times of one file, in which day and month have one order."""

    def __init__(self, order: DateOrder | None, decide: Callable[[object], DateOrder]) -> None:
        """Take the order, or None where it has to be found out.

        `decide` is asked, once, when a first date such as 3/4/2026 is met, which is its argument. It raises InputError
        where the file does not say which it is.
        """
        self._order = order
        self._decide = decide

    def __call__(self, value: object) -> str:
        """Return the instant as an event holds it. Raises UnreadableError, and InputError as `decide` does."""
        if isinstance(value, str) and is_utc_text(value):  # most are, and need no more
            return value
        try:
            return utc(value, self._order)
        except AmbiguousDateError:
            self._order = self._decide(value)
            return self(value)
        except UnreadableTimeError as error:
            raise UnreadableError(NO_TIME, str(error)) from error


class Probe:
    """A clock that reads no time, and collects which orders of day and month the values prove."""

    def __init__(self) -> None:
        self.orders: set[DateOrder] = set()

    def __call__(self, value: object) -> str:
        """Return any instant."""
        order = order_of(value)
        if order is not None:
            self.orders.add(order)
        return "0001-01-01T00:00:00Z"


@dataclass(frozen=True)
class Context:
    """How the records of a file are read."""

    clock: Callable[[object], str]
    lenient: bool = False
    """Whether a record that the rule could not see goes on to it as it is; else such a record is unreadable."""
    notes: set[str] = field(default_factory=set)
    """What the file's format does not carry, a sentence each."""


def checked(event: AuditEvent, context: Context) -> AuditEvent:
    """Return an event that the rule can see as it happened. Raises UnreadableError for any other, unless lenient."""
    if context.lenient:
        return event
    reason = defect(event)
    if reason:
        raise UnreadableError(reason, found(defective_value(event, reason)))
    return event


def missing(name: str) -> UnreadableError:
    """Return the error for a record that lacks a field the rule reads."""
    return UnreadableError(
        f"no {name}", f"the fields that a record needs are {', '.join(REQUIRED)}, or Graph's names for them"
    )


def found(value: Any) -> str:
    """Return a value as a message shows it: its beginning."""
    text = str(value)
    return f"found {text[:_SHOWN]!r}" + ("…" if len(text) > _SHOWN else "")
