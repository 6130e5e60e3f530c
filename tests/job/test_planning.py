"""Which days a run covers: what may be asked for, and what is due by itself."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rare_audit.detection.ticks import format_ticks, parse_ticks
from rare_audit.job.planning import (
    MOST_DAYS,
    Due,
    FieldError,
    bounds,
    days_of,
    due,
    new_run,
    whole_days,
    windows_of,
    yesterday,
)
from rare_audit.records import Progress
from tests.builders import RULE_ID

NOW: Final = datetime(2026, 3, 17, 1, 30, tzinfo=UTC)
DAYS: Final = st.integers(0, 60).map(lambda back: f"{NOW - timedelta(days=back):%Y-%m-%d}")


def _due(first: str, day: str, catch_up: int = 14, late: int = 2, now: datetime = NOW) -> Due:
    return due(Progress(RULE_ID, first, day), now, catch_up_days=catch_up, late_days=late)


def _field(call: object) -> str:
    with pytest.raises(FieldError) as raised:
        call()  # type: ignore[operator]  # a lambda
    return raised.value.field


def test_whole_days() -> None:
    """One day, or a month of them, up to yesterday."""
    wanted = whole_days("2026-03-16", "2026-03-16", NOW)
    assert (wanted.first_day, wanted.last_day, wanted.start, wanted.end) == ("2026-03-16", "2026-03-16", "", "")
    assert whole_days("2026-02-14", "2026-03-16", NOW).first_day == "2026-02-14"


@pytest.mark.parametrize(
    ("first", "last", "field"),
    [
        ("2026-02-13", "2026-03-16", "to"),
        ("2026-03-16", "2026-03-15", "to"),
        ("2026-03-16", "2026-03-17", "to"),
        ("2027-01-01", "2027-01-01", "to"),
        ("2026-02-30", "2026-03-01", "from"),
        ("2026-03-01", "", "to"),
        ("20260301", "2026-03-01", "from"),
        ("２０２６-03-01", "2026-03-01", "from"),
    ],
)
def test_days_that_are_refused(first: str, last: str, field: str) -> None:
    """Too many, backwards, today, to come, no day at all: the error names the field."""
    assert _field(lambda: whole_days(first, last, NOW)) == field


def test_bounds() -> None:
    """Bounds may lie anywhere, up to now; the days they touch are told, and the end itself touches none."""
    wanted = bounds("2026-03-15T08:00:00Z", "2026-03-17", NOW)
    assert (wanted.first_day, wanted.last_day) == ("2026-03-15", "2026-03-16")
    assert (wanted.start, wanted.end) == ("2026-03-15T08:00:00.0000000Z", "2026-03-17T00:00:00.0000000Z")
    windows = windows_of(new_run(RULE_ID, wanted, NOW, asked_by="x"), 14)
    assert (windows.daily, format_ticks(windows.start), format_ticks(windows.end)) == (False, wanted.start, wanted.end)
    assert bounds("2026-03-17T01:29:59Z", "2026-03-17T01:30:00Z", NOW).last_day == "2026-03-17"


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        ("soon", "2026-03-16", "start"),
        ("2026-03-15", "later", "end"),
        ("2026-03-15", "2026-03-15", "end"),
        ("2026-02-01", "2026-03-04T00:00:01Z", "end"),
        ("2026-03-15", "2026-03-17T01:30:00.0000001Z", "end"),
    ],
)
def test_bounds_that_are_refused(start: str, end: str, field: str) -> None:
    """No instant, empty, too long, still to come: the error names the field."""
    assert _field(lambda: bounds(start, end, NOW)) == field


def test_days_of_a_run() -> None:
    """Both ends included."""
    run = new_run(RULE_ID, whole_days("2026-02-27", "2026-03-02", NOW), NOW, asked_by="x")
    assert days_of(run) == ("2026-02-27", "2026-02-28", "2026-03-01", "2026-03-02")
    windows = windows_of(run, 14)
    assert (windows.daily, format_ticks(windows.start)[:10], format_ticks(windows.end)[:10]) == (
        True,
        "2026-02-27",
        "2026-03-03",
    )


def test_first_run_ever() -> None:
    """Yesterday alone: nothing before the first day that was ever due is run by itself, late events or not."""
    assert _due("2026-03-16", "2026-03-16").wanted == whole_days("2026-03-16", "2026-03-16", NOW)
    assert _due("2026-03-15", "2026-03-16").wanted == whole_days("2026-03-15", "2026-03-16", NOW)


def test_ordinary_day() -> None:
    """Two days before yesterday again, for what came late, and yesterday."""
    days = _due("2026-01-01", "2026-03-16")
    assert (days.wanted, days.skipped) == (whole_days("2026-03-14", "2026-03-16", NOW), "")
    assert _due("2026-01-01", "2026-03-16", late=0).wanted == whole_days("2026-03-16", "2026-03-16", NOW)


def test_second_time_the_same_day() -> None:
    """Where yesterday is done already, it is done again with the late ones."""
    assert _due("2026-01-01", "2026-03-17").wanted == whole_days("2026-03-14", "2026-03-16", NOW)


def test_missed_days() -> None:
    """They are caught up with, up to a limit; what is left out is named."""
    assert _due("2026-01-01", "2026-03-05").wanted == whole_days("2026-03-05", "2026-03-16", NOW)
    days = _due("2026-01-01", "2026-03-01")
    assert days.wanted == whole_days("2026-03-03", "2026-03-16", NOW)
    assert days.skipped.startswith("skipped 2026-03-01 to 2026-03-02: more than 14 days behind")


@given(
    first=DAYS,
    day=DAYS,
    catch_up=st.integers(1, MOST_DAYS),
    late=st.integers(0, MOST_DAYS - 1),
    hour=st.integers(0, 23),
)
def test_what_is_due_can_be_run(first: str, day: str, catch_up: int, late: int, hour: int) -> None:
    """Whatever is stored, the range is one that may be asked for, ends yesterday, and with the skipped has no hole."""
    now = NOW.replace(hour=hour)
    days = _due(first, max(first, day), catch_up, late, now)
    assert days.wanted == whole_days(days.wanted.first_day, days.wanted.last_day, now)
    assert days.wanted.last_day == yesterday(now)
    missed = min(max(first, day), yesterday(now))
    if not days.skipped:
        assert days.wanted.first_day <= missed
    else:
        _, skipped_first, _, skipped_last, *_ = days.skipped.replace(":", "").split()
        assert skipped_first == missed
        assert days.wanted.first_day <= f"{date.fromisoformat(skipped_last) + timedelta(days=1)}"


def test_ids_tell_runs_apart() -> None:
    """Two runs asked for in one moment have two ids, which begin with the moment."""
    wanted = whole_days("2026-03-16", "2026-03-16", NOW)
    one, other = (new_run(RULE_ID, wanted, NOW, asked_by="x") for _ in range(2))
    assert one.id != other.id
    assert one.id.startswith("20260317T013000-")
    assert parse_ticks(one.started) == parse_ticks("2026-03-17T01:30:00Z")
