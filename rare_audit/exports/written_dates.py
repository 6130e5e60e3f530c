"""Dates and times as people and programs write them, each rewritten as ISO 8601.

RFC 5322: https://www.rfc-editor.org/rfc/rfc5322#section-3.3. Locales: https://cldr.unicode.org; since version 42 they
have a narrow no-break space before AM and PM: https://cldr.unicode.org/index/downloads/cldr-42.
"""

import re
from datetime import date
from typing import Final

_MONTH_NAMES: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_DAY_NAMES: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
# Names are written out or cut to three letters; the longest have nine.
_MONTHS: Final = {name[:length]: at for at, name in enumerate(_MONTH_NAMES, 1) for length in (3, 9)} | {"sept": 9}
_WEEKDAYS: Final = {name[:length]: at for at, name in enumerate(_DAY_NAMES) for length in (3, 9)}

_BLANKS: Final = re.compile("[ \t\u00a0\u2009\u202f]+")
_SEPARATOR: Final = r"(?:[T_ ]|, ?)"
_FRACTION: Final = r"(?:[.,](?P<fraction>\d+))?"
_HALF: Final = r"(?: ?(?P<half>[AP])(?:M|\. ?M\.))?"  # AM, a.m. and the a. m. of Spanish locales
_CLOCK: Final = rf"(?P<hour>\d\d?):(?P<minute>\d\d)(?::(?P<second>\d\d){_FRACTION})?{_HALF}"
_BASIC_CLOCK: Final = rf"(?P<hour>\d\d)(?P<minute>\d\d)(?:(?P<second>\d\d){_FRACTION})?"
_ZONE: Final = r"(?: ?(?:Z|UTC|GMT|(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d))?))?"
_WEEKDAY: Final = r"(?:(?P<weekday>[A-Z]{3,9}),? )?"

_EITHER_ORDER: Final = r"(?P<first>\d\d?)(?P<mark>[-/])(?P<other>\d\d?)(?P=mark)(?P<year>\d{4})"
_YEAR_FIRST: Final = r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d\d?)(?P=mark)(?P<day>\d\d?)"
_BASIC: Final = r"(?P<year>\d{4})(?P<month>\d\d)(?P<day>\d\d)"
_DOTTED: Final = r"(?P<day>\d\d?)\.(?P<month>\d\d?)\.(?P<year>\d{4})"
_DAY_AND_NAME: Final = rf"{_WEEKDAY}(?P<day>\d\d?)(?P<mark>[- ])(?P<name>[A-Z]{{3,9}})(?P=mark)(?P<year>\d{{4}})"
_NAME_AND_DAY: Final = rf"{_WEEKDAY}(?P<name>[A-Z]{{3,9}}) (?P<day>\d\d?),? (?P<year>\d{{4}})"
_FORMS: Final = tuple(
    re.compile(f"{day}(?:{_SEPARATOR}{clock}{_ZONE})?", re.ASCII | re.IGNORECASE)
    for day, clock in (
        (_EITHER_ORDER, _CLOCK),
        (_YEAR_FIRST, _CLOCK),
        (_DOTTED, _CLOCK),
        (_DAY_AND_NAME, _CLOCK),
        (_NAME_AND_DAY, _CLOCK),
        (_BASIC, _CLOCK),
        (_BASIC, _BASIC_CLOCK),
    )
)
_Parts = dict[str, str | None]


def iso_texts(text: str) -> tuple[str, str]:
    """Return ISO 8601 text for a written date or time: as it reads with its day first, and with its month first.

    The two differ only for numbers with the year last and `/` or `-` between them; of 16/3/2026 the second has a month
    16. Whether there is such a day and such a time of day, the parser of ISO 8601 decides. Raises ValueError where
    the text has none of the forms, an hour that a 12-hour clock lacks, or a weekday other than the date's.
    """
    text = _BLANKS.sub(" ", text)
    for form in _FORMS:
        found = form.fullmatch(text)
        if found is not None:
            return _rewritten(found.groupdict())
    raise ValueError(f"not a written date: {text[:40]!r}")


def _rewritten(parts: _Parts) -> tuple[str, str]:
    year, first, other = parts["year"], parts.get("first"), parts.get("other")
    time = _time(parts)
    if first and other:
        return f"{year}-{other:0>2}-{first:0>2}{time}", f"{year}-{first:0>2}-{other:0>2}{time}"
    text = f"{year}-{_month(parts):0>2}-{parts['day']:0>2}"
    _check_weekday(parts.get("weekday"), text)
    return text + time, text + time


def _month(parts: _Parts) -> str:
    name = parts.get("name")
    if name is None:
        return parts["month"] or ""
    number = _MONTHS.get(name.lower())
    if number is None:
        raise ValueError(f"not the name of a month: {name}")
    return str(number)


def _check_weekday(name: str | None, day: str) -> None:
    """Raise ValueError for a weekday that is not the day's, as RFC 5322 does not allow it to differ."""
    if name is not None and _WEEKDAYS.get(name.lower()) != date.fromisoformat(day).weekday():
        raise ValueError(f"not the weekday of {day}: {name}")


def _time(parts: _Parts) -> str:
    """Return the time of day with its zone, as ISO 8601 has it behind a date; empty where there is none."""
    hour = parts["hour"]
    if hour is None:
        return ""
    half = parts.get("half")
    if half is not None:
        hour = _hour_of_day(int(hour), half.upper())
    text = f"T{hour:0>2}:{parts['minute']}:{parts['second'] or '00'}.{parts['fraction'] or '0'}"
    return f"{text}{_offset(parts)}"


def _hour_of_day(hour: int, half: str) -> str:
    if not 1 <= hour <= 12:
        raise ValueError(f"no such hour on a 12-hour clock: {hour}")
    if hour == 12:
        hour = 0
    if half == "P":
        hour += 12
    return str(hour)


def _offset(parts: _Parts) -> str:
    if parts["sign"] is None:
        return "Z"
    return f"{parts['sign']}{parts['hours']}:{parts['minutes'] or '00'}"
