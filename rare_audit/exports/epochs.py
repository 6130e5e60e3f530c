"""Instants written as a count since 1970: Unix time in seconds or milliseconds, and .NET's `/Date(…)/`."""

import re
from typing import Final

from rare_audit.detection.ticks import END_OF_TIME, TICKS_PER_SECOND, parse_ticks

_EPOCH: Final = parse_ticks("1970-01-01")
_TICKS_PER_MILLISECOND: Final = TICKS_PER_SECOND // 1000
_FIRST_SECOND: Final = 10**7
"""Smaller numbers are before May 1970: a year, a count or a row number, not the time of an audit event."""
_FIRST_MILLISECOND: Final = 10**11
"""As seconds this would be the year 5138, as milliseconds it is 1973."""
LAST_MILLISECOND: Final = 10**14

_NUMBER: Final = re.compile(r"(?P<sign>-?)(?P<whole>\d+)(?:\.(?P<fraction>\d+))?", re.ASCII)
_DATE: Final = re.compile(r"\\?/Date\((?P<milliseconds>-?\d+)(?:[+-]\d{4})?\)\\?/", re.ASCII)


def epoch_ticks(text: str) -> int:
    """Return the instant that a count since 1970-01-01 UTC names, in 100 ns ticks since the year 1.

    A plain number below 10^11 counts seconds, one up to 10^14 milliseconds, either with decimals; those past 100 ns
    are cut. `/Date(1773655200000+0100)/` counts milliseconds, and its offset only tells how to show the instant:
    https://learn.microsoft.com/dotnet/framework/wcf/feature-details/stand-alone-json-serialization.
    Raises ValueError for any other text, for plain numbers below 10^7 or over 10^14, and outside the years 1 to 9999.
    """
    ticks = _EPOCH + _since_epoch(text)
    if not 0 <= ticks < END_OF_TIME:
        raise ValueError(f"outside the years 1 to 9999: {text[:40]!r}")
    return ticks


def _since_epoch(text: str) -> int:
    date = _DATE.fullmatch(text)
    if date is not None:
        return int(date["milliseconds"]) * _TICKS_PER_MILLISECOND
    number = _NUMBER.fullmatch(text)
    if number is None:
        raise ValueError(f"not a count since 1970: {text[:40]!r}")
    ticks = _scaled(int(number["whole"]), number["fraction"] or "")
    return -ticks if number["sign"] else ticks


def _scaled(whole: int, fraction: str) -> int:
    """Return the ticks in a number of seconds or milliseconds, whichever its size says; ValueError where neither."""
    if whole < _FIRST_SECOND:
        raise ValueError(f"too small for Unix time: {whole}")
    unit = TICKS_PER_SECOND if whole < _FIRST_MILLISECOND else _TICKS_PER_MILLISECOND
    decimals = len(str(unit)) - 1
    ticks = whole * unit + int(fraction[:decimals].ljust(decimals, "0"))
    if ticks > LAST_MILLISECOND * _TICKS_PER_MILLISECOND:
        raise ValueError("too large for Unix time")
    return ticks
