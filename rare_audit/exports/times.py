"""Times as exports have them: ISO 8601, the dates of many locales, RFC 5322, Unix time and `/Date(…)/`."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from rare_audit.detection.event import utc_text
from rare_audit.detection.ticks import format_ticks, parse_ticks
from rare_audit.exports.epochs import LAST_MILLISECOND, epoch_ticks
from rare_audit.exports.written_dates import iso_texts
from rare_audit.reporting.text import visible

_LONGEST: Final = 100
"""Longer text is not a time in any form."""
_FORMS: Final = (
    "ISO 8601 (2026-03-16T10:00:00Z), 3/16/2026 10:00:00 AM, 16/03/2026 10:00, 16.03.2026 10:00, 16 Mar 2026 10:00, "
    "Mon, 16 Mar 2026 10:00:00 GMT, /Date(1773655200000)/, Unix seconds or milliseconds; years have four digits"
)


class DateOrder(StrEnum):
    """Which part of `3/4/2026` or `3-4-2026` comes first."""

    DAY_FIRST = "dmy"
    MONTH_FIRST = "mdy"


class UnreadableTimeError(ValueError):
    """A value names no instant in any accepted form, or none in the order asked for."""


class AmbiguousDateError(ValueError):
    """A value names one instant with its day first and another with its month first."""


def utc(value: object, order: DateOrder | None = None) -> str:
    """Return the instant that a time column's value names, as `AuditEvent.time_generated` has it.

    In: text, or a JSON number; `order` says how `3/4/2026` is meant, and is not needed where a part is over 12 or both
    are equal. Out: ISO 8601 in UTC with `T` and `Z`, exact to 100 ns; unchanged where it was that already. A missing
    zone is UTC and a bare date its midnight. Eight digits that name a day, as 20260316, are that day and not Unix time.
    Raises UnreadableTimeError where the value names no instant, or none in that order, and AmbiguousDateError where
    it names two.
    """
    text = _text(value)
    try:
        return utc_text(text)
    except ValueError:
        # the text has another form than Log Analytics' own, or is not a time
        instants = set(_instants(text, DateOrder if order is None else (order,)).values())
    if not instants:
        raise _unreadable(value)
    if len(instants) > 1:
        raise AmbiguousDateError(f"{_shown(value)} does not say whether its day or its month comes first")
    return format_ticks(instants.pop())


def order_of(value: object) -> DateOrder | None:
    """Return the order in which alone a value names an instant: `16/3/2026` can only have its day first.

    None where the value names the same instant in either order (as every form does that fixes its order: ISO 8601,
    16.3.2026, 16 Mar 2026), two different ones, or none at all. Never raises.
    """
    readable = list(_instants(_text(value), DateOrder))
    return readable[0] if len(readable) == 1 else None


def _text(value: object) -> str:
    """Return what there is to read, without the blanks and quotes around it; empty where no time can be in it."""
    if isinstance(value, str) and len(value) <= _LONGEST:
        return _unquoted(value.strip())
    if isinstance(value, int) and abs(value) <= LAST_MILLISECOND:
        return str(value)  # of a Boolean its name, which is not a time either
    if isinstance(value, float):
        return repr(value)
    return ""


def _unquoted(text: str) -> str:
    if text[:1] == text[-1:] == '"':
        return text[1:-1].strip()
    return text


def _instants(text: str, orders: Iterable[DateOrder]) -> dict[DateOrder, int]:
    """Return the instant, in ticks, for each of the orders in which the text names one."""
    try:
        day_first, month_first = iso_texts(text)
    except ValueError:
        return _since_epoch(text, orders)
    texts = {DateOrder.DAY_FIRST: day_first, DateOrder.MONTH_FIRST: month_first}
    instants = {}
    for order in orders:
        try:
            instants[order] = parse_ticks(texts[order])
        except ValueError:
            continue
    return instants or _since_epoch(text, orders)  # eight digits that name no day may be Unix time


def _since_epoch(text: str, orders: Iterable[DateOrder]) -> dict[DateOrder, int]:
    try:
        return dict.fromkeys(orders, epoch_ticks(text))
    except ValueError:
        return {}


def _unreadable(value: object) -> UnreadableTimeError:
    details = {
        None: "",
        DateOrder.DAY_FIRST: " with its month first",  # its day comes first, so this was not asked for
        DateOrder.MONTH_FIRST: " with its day first",
    }
    detail = details[order_of(value)]
    return UnreadableTimeError(f"{_shown(value)} can't be read as a time{detail}; accepted: {_FORMS}")


def _shown(value: object) -> str:
    """Return a value for an error's text, in one line; of what may be huge or deep, only what it is."""
    if isinstance(value, str):
        return visible(repr(value[:40]))
    if value is None or isinstance(value, float):
        return repr(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**40 else "a number of more than 40 digits"
    return f"a value of type {type(value).__name__}"
