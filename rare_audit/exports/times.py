"""Times as people's files write them: one parser for all shapes.

ISO 8601 and what looks like it, dates of the United States and of Europe, month names, `/Date(ms)/` of .NET, seconds
and milliseconds since 1970. Whatever names no zone is UTC.
"""

import re
from enum import StrEnum
from typing import Final

from rare_audit.detection.event import utc_text
from rare_audit.detection.ticks import TICKS_PER_SECOND, format_ticks, parse_ticks

LONGEST: Final = 100
ACCEPTED: Final = (
    "accepted are ISO 8601, 16/03/2026 10:00:00, 3/16/2026, 10:00:00 AM, 16 Mar 2026 10:00 UTC, /Date(1773655200000)/, "
    "seconds or milliseconds since 1970"
)
_SHOWN: Final = 40
_LEAST_EPOCH: Final = 10_000_000
"""Seconds: before 26 April 1970 there were no audit logs, and a bare year is not a time."""
_MILLISECONDS: Final = 100_000_000_000
"""From here on a number counts milliseconds: as seconds it would be in the year 5138."""
_LAST_EPOCH: Final = 100_000_000_000_000
_EPOCH_TICKS: Final = parse_ticks("1970-01-01")

_CLOCK: Final = (
    r"(?:,? ?[Tt_]? ?(?P<hour>\d\d?)[:.](?P<minute>\d\d)(?:[:.](?P<second>\d\d)(?:[.,](?P<fraction>\d{1,30}))?)?"
    r" ?(?P<half>[AaPp]\.?[Mm]\.?)?)?"
)
_ZONE: Final = r"(?: ?(?P<zone>Z|z|UTC|GMT|[+-]\d\d(?::?\d\d)?))?"
_TAIL: Final = _CLOCK + _ZONE
_MONTHS: Final = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_MONTH: Final = (
    r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|"
    r"oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_WEEKDAY: Final = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]{0,6},? )?"


def _compiled(date: str) -> re.Pattern[str]:
    return re.compile(date + _TAIL, re.ASCII | re.IGNORECASE)


_YEAR_FIRST: Final = _compiled(r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d\d?)(?P=mark)(?P<day>\d\d?)")
_YEAR_LAST: Final = _compiled(r"(?P<one>\d\d?)(?P<mark>[-/.])(?P<two>\d\d?)(?P=mark)(?P<year>\d{4})")
_DAY_MONTH: Final = _compiled(_WEEKDAY + r"(?P<day>\d\d?)[ -]" + _MONTH + r"[ -](?P<year>\d{4})")
_MONTH_DAY: Final = _compiled(_WEEKDAY + _MONTH + r" (?P<day>\d\d?),? (?P<year>\d{4})")
_BASIC: Final = re.compile(
    r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)T(?P<hour>\d\d)(?P<minute>\d\d)(?P<second>\d\d)?"
    r"(?:[.,](?P<fraction>\d{1,30}))?(?P<half>)?" + _ZONE,
    re.ASCII,
)
_DOT_NET: Final = re.compile(r"\\?/Date\((?P<ms>-?\d{1,15})(?:[+-]\d{4})?\)\\?/", re.ASCII)
_NUMBER: Final = re.compile(r"(?P<whole>\d{1,15})(?:\.(?P<fraction>\d{1,30}))?", re.ASCII)
_SPACES: Final = re.compile(r"[ \t\u00a0\u2007\u202f]+")


class DateOrder(StrEnum):
    """Which of day and month comes first in dates such as 3/4/2026."""

    DAY_FIRST = "dmy"
    MONTH_FIRST = "mdy"


class UnreadableTimeError(ValueError):
    """A value names no instant; the text shows it, and what is accepted, in one line."""


class AmbiguousDateError(ValueError):
    """A date names two days, by the order of day and month; the text shows it."""


def utc(value: object, order: DateOrder | None = None) -> str:
    """Return the instant that a value names, as `AuditEvent.time_generated` has it.

    `value` is text, or a number since 1970; `order` that of day and month, where the value itself does not show it.
    Exact to the tick of 100 ns; further digits are cut. Raises AmbiguousDateError, UnreadableTimeError.
    """
    if isinstance(value, str):
        try:
            return utc_text(value)
        except ValueError:
            return _utc_of_text(value, order)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _unreadable(value)
    return _utc_of_number(repr(value), value)


def order_of(value: object) -> DateOrder | None:
    """Return the order of day and month that a value proves by itself, None where it proves none."""
    found = _YEAR_LAST.fullmatch(_plain(value)) if isinstance(value, str) and len(value) <= LONGEST else None
    if found is None or found["mark"] == ".":
        return None
    order = _shown_order(int(found["one"]), int(found["two"]))
    if order is None:
        return None
    try:
        utc(value, order)
    except ValueError:
        return None
    return order


def _shown_order(one: int, two: int) -> DateOrder | None:
    if one > 12 >= two:
        return DateOrder.DAY_FIRST
    return DateOrder.MONTH_FIRST if two > 12 >= one else None


def _plain(text: str) -> str:
    """Return text without quotation marks around it, and each run of blanks as one."""
    text = text.strip().removeprefix('"').removesuffix('"')
    return _SPACES.sub(" ", text).strip()


def _utc_of_text(value: str, order: DateOrder | None) -> str:
    if len(value) > LONGEST:
        raise _unreadable(value)
    text = _plain(value)
    if found := _DOT_NET.fullmatch(text):
        return _from_ticks(_EPOCH_TICKS + int(found["ms"]) * (TICKS_PER_SECOND // 1000), value)
    if _NUMBER.fullmatch(text):
        return _utc_of_number(text, value)
    for pattern in (_YEAR_FIRST, _BASIC, _DAY_MONTH, _MONTH_DAY):
        if found := pattern.fullmatch(text):
            parts = found.groupdict()
            month = parts.get("month") or _MONTHS.index(parts["name"][:3].lower()) + 1
            return _instant(found, int(found["year"]), int(month), int(found["day"]), value)
    if found := _YEAR_LAST.fullmatch(text):
        day, month = _day_and_month(found, order, value)
        return _instant(found, int(found["year"]), month, day, value)
    raise _unreadable(value)


def _day_and_month(found: re.Match[str], order: DateOrder | None, value: str) -> tuple[int, int]:
    one, two = int(found["one"]), int(found["two"])
    if found["mark"] == ".":  # nobody writes the month first with points
        return one, two
    shown = _shown_order(one, two)
    if shown and order and shown is not order:
        raise _unreadable(value)
    order = shown or order
    if order is None and one != two:
        _instant(found, int(found["year"]), two, one, value)  # what is no time in either order is not ambiguous
        raise AmbiguousDateError(f"{value[:_SHOWN]!r} may be {one} or {two} of a month")
    return (two, one) if order is DateOrder.MONTH_FIRST else (one, two)


def _instant(found: re.Match[str], year: int, month: int, day: int, value: str) -> str:
    hour = int(found["hour"] or 0)
    if half := found["half"]:
        if not 1 <= hour <= 12:
            raise _unreadable(value)
        hour = hour % 12 + (12 if half[0] in "pP" else 0)
    clock = f"{hour:02d}:{found['minute'] or '00'}:{found['second'] or '00'}.{found['fraction'] or '0'}"
    try:
        return format_ticks(parse_ticks(f"{year:04d}-{month:02d}-{day:02d}T{clock}{_zone(found['zone'])}"))
    except ValueError as error:
        raise _unreadable(value) from error


def _zone(zone: str | None) -> str:
    if not zone or zone[0] not in "+-":
        return "Z"
    return zone if len(zone) > 3 else f"{zone}:00"


def _utc_of_number(text: str, value: object) -> str:
    """Return the instant of a number since 1970, from its digits: a float's arithmetic would not be exact."""
    found = _NUMBER.fullmatch(text)
    whole = int(found["whole"]) if found else -1
    if found is None or not _LEAST_EPOCH <= whole < _LAST_EPOCH:
        raise _unreadable(value)
    unit = TICKS_PER_SECOND if whole < _MILLISECONDS else TICKS_PER_SECOND // 1000
    fraction = (found["fraction"] or "0")[:7].ljust(7, "0")
    return _from_ticks(_EPOCH_TICKS + whole * unit + int(fraction) * unit // TICKS_PER_SECOND, value)


def _from_ticks(ticks: int, value: object) -> str:
    try:
        return format_ticks(ticks)
    except (OverflowError, ValueError) as error:
        raise _unreadable(value) from error


def _unreadable(value: object) -> UnreadableTimeError:
    shown = repr(value)
    return UnreadableTimeError(f"found {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'}; {ACCEPTED}")
