"""Where an instant lies among the days of one window or of many."""

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rare_audit.detection.ticks import END_OF_TIME, TICKS_PER_DAY, parse_ticks
from rare_audit.detection.windows import MOST_DAYS, OUTSIDE, Windows

START: Final = parse_ticks("2026-03-15")
DAY: Final = TICKS_PER_DAY
checked: Final = settings(deadline=None, database=None)


def test_a_single_window_is_one_slot_however_long() -> None:
    """Slots 0 to 13 are the baseline, 14 is the window; its end is outside."""
    windows = Windows.single(START, START + 5 * DAY // 2, 14)
    slots = {
        START - 14 * DAY - 1: OUTSIDE,
        START - 14 * DAY: 0,
        START - 13 * DAY - 1: 0,
        START - 13 * DAY: 1,
        START - 1: 13,
        START: 14,
        START + 2 * DAY: 14,
        START + 5 * DAY // 2 - 1: 14,
        START + 5 * DAY // 2: OUTSIDE,
    }
    assert {at: windows.slot(at) for at in slots} == slots


def test_daily_windows_have_a_slot_each() -> None:
    """The last one may be shorter than a day."""
    windows = Windows.days(START, START + 5 * DAY // 2, 14)
    slots = {
        START - 14 * DAY: 0,
        START - 1: 13,
        START: 14,
        START + DAY - 1: 14,
        START + DAY: 15,
        START + 2 * DAY: 16,
        START + 5 * DAY // 2 - 1: 16,
        START + 5 * DAY // 2: OUTSIDE,
    }
    assert {at: windows.slot(at) for at in slots} == slots
    assert windows.last_slot == 16


def test_an_open_window_lasts_to_the_end_of_time() -> None:
    """With no end, everything from the start on is in it."""
    windows = Windows.single(START, None, 14)
    assert windows.slot(END_OF_TIME - 1) == 14
    assert windows.slot(END_OF_TIME) == OUTSIDE


def test_a_lookback_may_begin_before_time() -> None:
    """A window at the beginning of year 1 has a baseline of which nothing can exist."""
    windows = Windows.single(0, None, 14)
    assert windows.slot(0) == 14
    assert windows.starts(0, 14)


@checked
@given(st.integers(1, 30), st.integers(1, 20 * DAY), st.booleans(), st.integers(-35 * DAY, 25 * DAY))
def test_slot_of_any_instant(lookback_days: int, length: int, daily: bool, offset: int) -> None:
    """Against counting days from the start."""
    windows = Windows(START, START + length, daily=daily, lookback_days=lookback_days)
    expected = OUTSIDE
    if -lookback_days * DAY <= offset < 0 or (daily and 0 <= offset < length):
        expected = lookback_days + offset // DAY
    elif 0 <= offset < length:
        expected = lookback_days
    assert windows.slot(START + offset) == expected
    assert windows.starts(START + offset, expected) is (offset in range(0, length if daily else 1, DAY))


@pytest.mark.parametrize(
    ("slots", "slot", "seen"),
    [
        (0b1, 14, 0b1),
        (0b1, 15, 0),
        (0b10, 15, 0b1),
        (1 << 13, 14, 1 << 13),
        (1 << 14, 14, 0),
        (1 << 14, 15, 1 << 13),
        (1 << 14, 28, 1),
        (1 << 14, 29, 0),
        (0b1111, 16, 0b11),
    ],
)
def test_lookback_is_the_days_before(slots: int, slot: int, seen: int) -> None:
    """Of the days something was seen on, those of the 14 before a window, the window's own not."""
    assert Windows.days(START, START + 20 * DAY, 14).lookback(slots, slot) == seen


def test_day_of_a_slot() -> None:
    """The UTC day on which the slot begins."""
    windows = Windows.days(START, START + 3 * DAY, 14)
    assert [windows.day(slot) for slot in (0, 13, 14, 16)] == ["2026-03-01", "2026-03-14", "2026-03-15", "2026-03-17"]


@pytest.mark.parametrize("end", [START, START - 1])
def test_a_window_ends_after_it_starts(end: int) -> None:
    """Refused otherwise, in words."""
    with pytest.raises(ValueError, match=r"starts at 2026-03-15T00:00:00\.0000000Z and ends no later"):
        Windows.single(START, end, 14)


def test_a_pass_holds_so_many_days() -> None:
    """Daily windows are capped; a single one may be longer."""
    assert Windows.days(START, START + MOST_DAYS * DAY, 14).last_slot == 13 + MOST_DAYS
    with pytest.raises(ValueError, match="more than 3660 daily windows"):
        Windows.days(START, START + MOST_DAYS * DAY + 1, 14)
    assert Windows.single(START, START + 2 * MOST_DAYS * DAY, 14).last_slot == 14
