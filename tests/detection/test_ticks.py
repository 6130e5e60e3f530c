"""Instants: which texts are read, and that no tick is lost."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rare_audit.detection.event import HOUR, utc_text
from rare_audit.detection.ticks import (
    END_OF_TIME,
    TICKS_PER_DAY,
    day_ticks,
    format_day,
    format_ticks,
    parse_ticks,
)

ALL_TICKS: Final = st.integers(0, END_OF_TIME - 1)
EPOCH: Final = datetime(1, 1, 1, tzinfo=UTC)
NEAR_MISSES: Final = st.text("0123456789-:.TZ +z\n", max_size=30)
checked: Final = settings(deadline=None, database=None)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-15", "2026-03-15T00:00:00.0000000Z"),
        ("2026-03-15T10:20", "2026-03-15T10:20:00.0000000Z"),
        ("2026-03-15T10:20Z", "2026-03-15T10:20:00.0000000Z"),
        ("2026-03-15T10:20:30", "2026-03-15T10:20:30.0000000Z"),
        ("2026-03-15 10:20:30", "2026-03-15T10:20:30.0000000Z"),
        ("2026-03-15 10:20:30 Z", "2026-03-15T10:20:30.0000000Z"),
        ("2026-03-15T10:20:30Z", "2026-03-15T10:20:30.0000000Z"),
        ("2026-03-15T10:20:30.5Z", "2026-03-15T10:20:30.5000000Z"),
        ("2026-03-15 10:20:30.5Z", "2026-03-15T10:20:30.5000000Z"),
        ("2026-03-15T10:20:30.0000001Z", "2026-03-15T10:20:30.0000001Z"),
        ("2026-03-15T10:20:30.1234567Z", "2026-03-15T10:20:30.1234567Z"),
        ("2026-03-15T10:20:30.1234567", "2026-03-15T10:20:30.1234567Z"),
        ("2026-03-15T10:20:30.12345678Z", "2026-03-15T10:20:30.1234567Z"),
        ("2026-03-15T10:20:30.99999999999Z", "2026-03-15T10:20:30.9999999Z"),
        ("2026-03-15T10:20:30.1234567+00:00", "2026-03-15T10:20:30.1234567Z"),
        ("2026-03-15T10:20:30.5+02:00", "2026-03-15T08:20:30.5000000Z"),
        ("2026-03-15T10:20:30-0530", "2026-03-15T15:50:30.0000000Z"),
        ("2026-03-15 00:30:00 +01:00", "2026-03-14T23:30:00.0000000Z"),
        ("2024-02-29T23:59:59.9999999Z", "2024-02-29T23:59:59.9999999Z"),
        ("0001-01-01", "0001-01-01T00:00:00.0000000Z"),
        ("9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59.9999999Z"),
    ],
)
def test_accepted(text: str, instant: str) -> None:
    """What exports carry; no zone is UTC, a bare date its midnight, decimals past the seventh are cut."""
    assert format_ticks(parse_ticks(text)) == instant


@pytest.mark.parametrize(
    "text",
    [
        *["", "text", "2026", "2026-03", "20260315", "2026-3-15", "2026-074", "2026-W11-7", "15/03/2026"],
        *["2026-02-30", "2025-02-29", "2026-13-01", "2026-00-10", "0000-01-01", "10000-01-01", "-001-01-01"],
        *["2026-03-15T24:00:00Z", "2026-03-15T10:60:00Z", "2026-03-15T10:20:60Z", "2026-03-15T10:20:60.5Z"],
        *["2026-03-15T10", "2026-03-15T10Z", "2026-03-15Z", "2026-03-15T", "2026-03-15T10:20:", "2026-03-15T1020"],
        *["2026-03-15T10:20:30.Z", "2026-03-15T10:20:30,5Z", "2026-03-15T10:20:30.5.5Z", "2026-03-15T10:20:30.-5Z"],
        *["2026-03-15T10:20:30z", "2026-03-15t10:20:30Z", "2026-03-15T10:20:30  Z", "2026-03-15T10:20:30 UTC"],
        *["2026-03-15T10:20:30+24:00", "2026-03-15T10:20:30+01:60", "2026-03-15T10:20:30+1", "2026-03-15T10:20:30+01"],
        *[" 2026-03-15", "2026-03-15 ", "2026-03-15T10:20:30Z\n", "2026-03-15T10:20:30.5Z\n", "2026-03-15\x00"],
        *[
            "\uff12\uff10\uff12\uff16-03-15",
            "2026-03-15T10:20:30.٣Z",
            "2026-03-15T10:20:٣٠.5Z",
            "2026-03-15T10:٢٠:30.5Z",
        ],
        *["2026-03-15T10:20:3 .5Z", "2026-03-15T10:20:+3.5Z", "2026-03-15T10:20:30.1_0Z", "2026-03-15T10:20:30.²Z"],
        *["0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01", "9999-12-31T23:59:59.9999999-23:59"],
    ],
)
def test_refused(text: str) -> None:
    """A ValueError for anything else, and for what lies outside the years 1 to 9999."""
    with pytest.raises(ValueError, match=r"."):
        parse_ticks(text)


@checked
@given(ALL_TICKS)
def test_round_trip(ticks: int) -> None:
    """Over all of time no tick is lost, with seven decimals or with as few as are needed."""
    text = format_ticks(ticks)
    assert parse_ticks(text) == ticks
    assert parse_ticks(text[:-1].rstrip("0").rstrip(".") + "Z") == ticks
    assert parse_ticks(text.replace("T", " ").replace("Z", "+00:00")) == ticks


@checked
@given(ALL_TICKS, ALL_TICKS | st.integers(-5, 5))
def test_text_sorts_as_ticks_do(one: int, other: int) -> None:
    """The seven-decimal form is sortable as text."""
    other = min(max(other, 0), END_OF_TIME - 1)
    assert (format_ticks(one) < format_ticks(other)) is (one < other)
    assert (format_day(one) < format_day(other)) is (one // TICKS_PER_DAY < other // TICKS_PER_DAY)


@checked
@given(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001  (drawn without a zone, given one below)
    st.integers(-23 * 60 - 59, 23 * 60 + 59),
    st.sampled_from("T "),
)
def test_agrees_with_the_standard_library(instant: datetime, minutes: int, between: str) -> None:
    """Microseconds and offsets mean what datetime reads in the same text."""
    text = instant.replace(tzinfo=timezone(timedelta(minutes=minutes))).isoformat(between)
    microseconds = (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)
    assert parse_ticks(text) == microseconds * 10


@checked
@given(st.text() | NEAR_MISSES | ALL_TICKS.flatmap(lambda ticks: st.permutations(format_ticks(ticks))).map("".join))
def test_garbage_is_a_value_error(text: str) -> None:
    """No text makes anything else of it; what is read is an instant."""
    try:
        ticks = parse_ticks(text)
    except ValueError:
        return
    assert 0 <= ticks < END_OF_TIME


@checked
@given(ALL_TICKS, st.sampled_from(["Z", "+00:00", "+02:00", "-0530", ""]), st.integers(1, 9), st.sampled_from("T "))
def test_utc_text_keeps_the_instant(ticks: int, zone: str, decimals: int, between: str) -> None:
    """Its hour can be read off the text; what is written as Log Analytics does is left alone."""
    text = format_ticks(ticks)
    written = text[: 20 + min(decimals, 7)] + "0" * (decimals - 7) + zone
    try:
        expected = parse_ticks(written := written.replace("T", between))
    except ValueError:
        with pytest.raises(ValueError, match="years 1 to 9999"):
            utc_text(written)
        return
    utc = utc_text(written)
    assert parse_ticks(utc) == expected
    assert parse_ticks(f"{utc[HOUR]}:00Z") == expected - expected % (TICKS_PER_DAY // 24)
    assert utc == (written if (zone, between) == ("Z", "T") and decimals <= 7 else format_ticks(expected))


@checked
@given(NEAR_MISSES | ALL_TICKS.flatmap(lambda ticks: st.permutations(format_ticks(ticks))).map("".join))
def test_utc_text_accepts_what_parse_ticks_does(text: str) -> None:
    """And nothing else."""
    try:
        expected = parse_ticks(text)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            utc_text(text)
    else:
        assert parse_ticks(utc_text(text)) == expected


@checked
@given(ALL_TICKS, st.integers(0, 27), st.characters())
def test_one_wrong_character(ticks: int, place: int, letter: str) -> None:
    """Text with one character replaced is refused, or is the instant the standard library reads in it."""
    text = format_ticks(ticks)
    changed = text[:place] + letter + text[place + 1 :]
    try:
        found = parse_ticks(changed)
    except ValueError:
        with pytest.raises(ValueError, match=r"."):
            utc_text(changed)
        return
    assert parse_ticks(utc_text(changed)) == found
    whole = datetime.fromisoformat(changed[:19]).replace(tzinfo=UTC)
    fraction = "".join(digit for digit in changed[20:27] if digit.isdecimal()).ljust(7, "0")
    assert found == (whole - EPOCH) // timedelta(microseconds=1) * 10 + int(fraction)


def test_days() -> None:
    """A day begins at its midnight; there is no 30 February."""
    assert day_ticks("0001-01-01") == 0
    assert day_ticks("2026-03-15") == parse_ticks("2026-03-15T00:00:00Z")
    assert format_day(day_ticks("2026-03-15") - 1) == "2026-03-14"
    with pytest.raises(ValueError, match="day"):
        day_ticks("2026-02-30")


@pytest.mark.parametrize(
    ("ticks", "day"),
    [(-1, "0001-01-01"), (-14 * TICKS_PER_DAY, "0001-01-01"), (0, "0001-01-01"), (END_OF_TIME, "9999-12-31")],
)
def test_days_outside_the_calendar(ticks: int, day: str) -> None:
    """A lookback may begin before year 1: its days are told as the first there is."""
    assert format_day(ticks) == day
