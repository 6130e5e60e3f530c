"""Instants as Kusto keeps them: whole 100 ns ticks since 0001-01-01T00:00:00Z."""

import re
from datetime import date, timedelta
from functools import lru_cache
from typing import Final

TICKS_PER_SECOND: Final = 10_000_000
TICKS_PER_MINUTE: Final = 60 * TICKS_PER_SECOND
TICKS_PER_DAY: Final = 86_400 * TICKS_PER_SECOND
END_OF_TIME: Final = date.max.toordinal() * TICKS_PER_DAY
"""The first tick after 9999-12-31, the last day a Kusto datetime can hold."""

_SECONDS: Final = {f"{second:02d}.": second * TICKS_PER_SECOND for second in range(60)}
_INSTANT: Final = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)(?:[T ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d+))?)?"
    r" ?(?P<zone>Z|[+-]\d\d:?\d\d)?)?",
    re.ASCII,
)


def parse_ticks(text: str) -> int:
    """Return the instant that ISO 8601 text names; text without a zone is UTC.

    Accepts what exports carry: `T` or a blank between date and time, any number of decimals (those past the seventh
    are cut, as ticks end there), `Z`, an offset or nothing. A bare date is its midnight.
    Raises ValueError for anything else and for instants outside the years 1 to 9999.
    """
    seconds = _SECONDS.get(text[17:20])
    if seconds is not None and text[27:] == "Z":  # as Log Analytics writes it: seven decimals
        fraction = text[20:27]
        if fraction.isdecimal() and fraction.isascii():
            return _minute(text[:17]) + seconds + int(fraction)
    return _parse_any(text)


@lru_cache(maxsize=1 << 16)  # of texts of at most 17 characters
def _minute(text: str) -> int:
    return _parse_any(f"{text}00")


def _parse_any(text: str) -> int:
    found = _INSTANT.fullmatch(text)
    if found is None:
        raise ValueError(f"not an ISO 8601 instant: {text[:40]!r}")
    hour, minute, second = (int(found[part] or 0) for part in ("hour", "minute", "second"))
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"no such time of day: {text[:40]!r}")
    ticks = (
        day_ticks(found["day"])
        + (hour * 60 + minute) * TICKS_PER_MINUTE
        + second * TICKS_PER_SECOND
        + int((found["fraction"] or "0")[:7].ljust(7, "0"))
        - _offset(found["zone"] or "Z")
    )
    if not 0 <= ticks < END_OF_TIME:
        raise ValueError(f"outside the years 1 to 9999: {text[:40]!r}")
    return ticks


def _offset(zone: str) -> int:
    if zone == "Z":
        return 0
    hours, minutes = int(zone[1:3]), int(zone[-2:])
    if hours > 23 or minutes > 59:
        raise ValueError(f"no such offset: {zone}")
    return (-1 if zone[0] == "-" else 1) * (hours * 60 + minutes) * TICKS_PER_MINUTE


def day_ticks(day: str) -> int:
    """Return the tick at which the UTC day `YYYY-MM-DD` begins; ValueError where there is no such day."""
    if len(day) != 10 or day[4] != "-" or day[7] != "-":
        raise ValueError(f"not YYYY-MM-DD: {day[:40]!r}")
    return (date.fromisoformat(day).toordinal() - 1) * TICKS_PER_DAY


def format_ticks(ticks: int) -> str:
    """Return ISO 8601 text with seven decimals and `Z`: as Log Analytics prints a datetime, and sortable as text."""
    second, fraction = divmod(ticks, TICKS_PER_SECOND)
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    day, hour = divmod(hour, 24)
    return f"{date.min + timedelta(days=day)}T{hour:02d}:{minute:02d}:{second:02d}.{fraction:07d}Z"


def format_day(ticks: int) -> str:
    """Return the UTC day `YYYY-MM-DD` that an instant lies in; of one outside the calendar the nearest that is in it.

    A window of the first days of year 1 has a lookback that begins before them.
    """
    return format_ticks(min(max(ticks, 0), END_OF_TIME - 1))[:10]


def day_after(day: str) -> str:
    """Return the UTC day that follows one, both `YYYY-MM-DD`; ValueError where it is none."""
    return format_day(day_ticks(day) + TICKS_PER_DAY)
