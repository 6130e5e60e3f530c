"""Times: no form loses a tick, and no value ends in another error."""

import re
from itertools import product
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rare_audit.detection.event import utc_text
from rare_audit.detection.ticks import END_OF_TIME, format_ticks, parse_ticks
from rare_audit.exports.times import AmbiguousDateError, DateOrder, UnreadableTimeError, order_of, utc
from tests.exports.time_values import COUNTED, ISO, NAMED, NUMBERED

DMY: Final = DateOrder.DAY_FIRST
MDY: Final = DateOrder.MONTH_FIRST
TICKS_PER_MILLISECOND: Final = 10_000
EPOCH: Final = parse_ticks("1970-01-01")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
CANONICAL: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?Z", re.ASCII)


def printed(ticks: int) -> list[tuple[Any, DateOrder | None]]:
    """Return each form in which an instant of whole milliseconds can be printed, with the order it needs."""
    iso = format_ticks(ticks)
    year, month, day = iso[:4], iso[5:7], iso[8:10]
    hour, clock, decimals = int(iso[11:13]), iso[11:19], iso[20:23]
    half = f"{hour % 12 or 12}{iso[13:19]}.{decimals}\u202f{'AM' if hour < 12 else 'PM'}"
    name = MONTHS[int(month) - 1]
    times = [f"{clock}.{decimals}", f"{clock},{decimals} UTC", half, f"{half} +00:00"]
    days: list[tuple[str, DateOrder | None]] = [
        *[(f"{year}{mark}{month}{mark}{day}", None) for mark in "-/."],
        *[(f"{year}-{int(month)}-{int(day)}", None), (f"{year}{month}{day}", None)],
        *[(f"{int(day)}{mark}{int(month)}{mark}{year}", DMY) for mark in "-/"],
        *[(f"{month}{mark}{day}{mark}{year}", MDY) for mark in "-/"],
        *[(f"{day}.{month}.{year}", None), (f"{day} {name} {year}", None), (f"{name} {int(day)}, {year}", None)],
        (f"{day}-{name.upper()}-{year}", None),
    ]
    texts = [(f"{date}{mark}{time}", order) for (date, order), mark, time in product(days, (" ", ", "), times)]
    basic = f"{year}{month}{day}T{clock.replace(':', '')}.{decimals}Z"
    since_epoch = (ticks - EPOCH) // TICKS_PER_MILLISECOND
    return [
        *texts,
        (iso, None),
        (basic, None),
        (f"/Date({since_epoch})/", None),
        (rf"\/Date({since_epoch}-0800)\/", None),
    ]


@given(st.integers(0, END_OF_TIME // TICKS_PER_MILLISECOND - 1).map(lambda number: number * TICKS_PER_MILLISECOND))
@example(0)
@example(END_OF_TIME - TICKS_PER_MILLISECOND)
def test_round_trip(ticks: int) -> None:
    """Any instant of whole milliseconds is read again from each form it is printed in."""
    for value, order in printed(ticks):
        assert parse_ticks(utc(value, order)) == ticks, value


@given(st.integers(10**11, 10**14), st.booleans())
def test_round_trip_of_milliseconds(milliseconds: int, as_text: bool) -> None:
    """Unix milliseconds are read again, as a number and as text."""
    value = str(milliseconds) if as_text else milliseconds
    assert parse_ticks(utc(value)) == EPOCH + milliseconds * TICKS_PER_MILLISECOND


@given(st.integers(10**8, 10**11 - 1), st.integers(0, 9_999_999))
def test_round_trip_of_seconds(seconds: int, fraction: int) -> None:
    """Unix seconds with seven decimals lose no tick as text, and as a float what its repr has."""
    text = f"{seconds}.{fraction:07d}"
    assert parse_ticks(utc(text)) == EPOCH + seconds * 10_000_000 + fraction
    assert utc(float(text)) == utc(repr(float(text)))
    assert parse_ticks(utc(seconds)) == EPOCH + seconds * 10_000_000


def check_any(value: object, order: DateOrder | None) -> None:
    """Any value gives canonical text, which is read as itself, or one of the two errors, in one line."""
    proven = order_of(value)
    try:
        text = utc(value, order)
    except (UnreadableTimeError, AmbiguousDateError) as error:
        message = str(error)
    else:
        assert CANONICAL.fullmatch(text)
        assert utc_text(text) == text
        assert utc(text) == text
        assert proven in (None, order) or order is None
        return
    assert message.isprintable()


ORDERS: Final = st.none() | st.sampled_from(DateOrder)
NEAR_MISSES: Final = st.text('0123456789-/.:, TZ+apmAPM_()Dte\\"\u202f\n', max_size=40)
CLOCKS: Final = st.sampled_from(["", " 10:00", ", 9:05:01.5", " 12:30 PM", "T24:00", "T10:00:00+02", " 13:00 AM", "_"])
NUMERIC: Final = st.builds(
    "{0}{3}{1}{3}{2}{4}".format,
    *[st.integers(0, 32), st.integers(0, 32), st.integers(0, 10_000), st.sampled_from("-/."), CLOCKS],
)
OTHER: Final = st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.lists(st.integers())


@given(st.text() | NEAR_MISSES | NUMERIC | OTHER, ORDERS)
def test_any_value(value: object, order: DateOrder | None) -> None:
    """No value ends in another error, and no result is anything but canonical."""
    check_any(value, order)


@given(st.sampled_from([text for text, _ in ISO + NUMBERED + NAMED + COUNTED if isinstance(text, str)]), st.data())
def test_damaged_text(text: str, data: st.DataObject) -> None:
    """Nor does any form of a time with a character removed, replaced or put in."""
    at = data.draw(st.integers(0, len(text)))
    rest = data.draw(st.sampled_from([at, min(at + 1, len(text))]))
    check_any(text[:at] + data.draw(st.text(max_size=1)) + text[rest:], data.draw(ORDERS))


@given(
    st.from_regex(
        re.compile(
            r"\d{4}-[01]\d-[0-3]\d([T ][0-2]\d:[0-6]\d(:[0-6]\d(\.\d{1,9})?)? ?(Z|[+-][0-2]\d:?[0-6]\d)?)?", re.ASCII
        ),
        fullmatch=True,
    )
)
def test_iso_texts(text: str) -> None:
    """What `utc_text` reads is read as it reads it, and the days and times of day that it refuses are refused."""
    try:
        expected = utc_text(text)
    except ValueError:
        with pytest.raises(UnreadableTimeError):
            utc(text)
    else:
        assert utc(text) == expected
