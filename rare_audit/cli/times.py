"""Times on the command line: instants, days, and words for days near today."""

import re
from datetime import UTC, datetime
from typing import Final

import click

from rare_audit.detection.ticks import TICKS_PER_DAY, day_ticks, parse_ticks

_HOUR: Final = TICKS_PER_DAY // 24
_BACK: Final = re.compile(r"-(\d{1,5})([dh])", re.ASCII)
_WORDS: Final = {"today": 0, "yesterday": 1}
FORMS: Final = "write 2026-03-15, 2026-03-15T08:00:00Z, today, yesterday, -1d (the day before today) or -6h"
DAY_FORMS: Final = "write 2026-03-15, today, yesterday or -1d (the day before today)"


def instant_of(text: str, now: datetime) -> int:
    """Return the instant in ticks that text names: ISO 8601, a day near today, whose midnight it is, or hours ago.

    Raises ValueError for anything else.
    """
    back = _BACK.fullmatch(text)
    if back and back[2] == "h":
        return _checked(parse_ticks(now.isoformat()) - int(back[1]) * _HOUR, text)
    day = _near(text, now)
    return parse_ticks(text) if day is None else day


def day_of(text: str, now: datetime) -> int:
    """Return the midnight in ticks of the UTC day that text names; ValueError where it names none."""
    day = _near(text, now)
    return day_ticks(text) if day is None else day


def _near(text: str, now: datetime) -> int | None:
    back = _BACK.fullmatch(text)
    days = int(back[1]) if back and back[2] == "d" else _WORDS.get(text.lower())
    if days is None:
        return None
    return _checked(day_ticks(f"{now:%Y-%m-%d}") - days * TICKS_PER_DAY, text)


def _checked(ticks: int, text: str) -> int:
    if ticks < 0:
        raise ValueError(f"before the year 1: {text!r}")
    return ticks


def instant(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    """Return an option's instant in ticks, None where it is not given; click.BadParameter where it names none."""
    try:
        return None if text is None else instant_of(text, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(f"{error}; {FORMS}") from error


def day(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    """Return the midnight in ticks of an option's day, None where it is not given; click.BadParameter for no day."""
    try:
        return None if text is None else day_of(text, datetime.now(UTC))
    except ValueError as error:
        raise click.BadParameter(f"{error}; {DAY_FORMS}") from error
