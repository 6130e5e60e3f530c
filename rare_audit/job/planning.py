"""Which days a run covers: asked for by a person, or due by themselves."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from rare_audit.detection.ticks import TICKS_PER_DAY, day_after, day_ticks, format_day, format_ticks, parse_ticks
from rare_audit.detection.windows import Windows
from rare_audit.errors import InputError
from rare_audit.records import Progress, Run

MOST_DAYS: Final = 31
FIRST_DAY: Final = "0002-01-01"
"""No run goes further back: its baseline, and what is shown of it, has to lie after the beginning of the calendar."""
LONGEST_REASON: Final = 500
"""Characters of what somebody gives as a run's reason."""


class FieldError(InputError):
    """A value that was asked for can't be; `field` is its name."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Days, both included, or of a dry run the bounds `start <= t < end` within them, ISO 8601; checked."""

    first_day: str
    last_day: str
    start: str = ""
    end: str = ""


def whole_days(first_day: str, last_day: str, now: datetime, *, names: tuple[str, str] = ("from", "to")) -> Wanted:
    """Return UTC days (`YYYY-MM-DD`) to run; FieldError where they are malformed, backwards, too many or not over."""
    first, last = (_day(name, text) for name, text in zip(names, (first_day, last_day), strict=True))
    if last < first:
        raise FieldError(names[1], f"{last_day} is before {first_day}")
    if first_day < FIRST_DAY:
        raise FieldError(names[0], f"{first_day} is before {FIRST_DAY}, the first day that can be run")
    if last - first >= MOST_DAYS * TICKS_PER_DAY:
        raise FieldError(names[1], f"{first_day} to {last_day} are more than {MOST_DAYS} days")
    if last_day >= f"{now:%Y-%m-%d}":
        raise FieldError(names[1], f"{last_day} is not over yet; a run covers whole UTC days")
    return Wanted(first_day=first_day, last_day=last_day)


def bounds(start: str, end: str, now: datetime) -> Wanted:
    """Return bounds of a dry run, each a UTC day or an instant; FieldError as `whole_days` has it."""
    first, last = (_instant(name, text) for name, text in (("start", start), ("end", end)))
    if last <= first:
        raise FieldError("end", f"{end} is no later than {start}")
    if first < day_ticks(FIRST_DAY):
        raise FieldError("start", f"{start} is before {FIRST_DAY}, the first day that can be run")
    if last - first > MOST_DAYS * TICKS_PER_DAY:
        raise FieldError("end", f"{start} to {end} is longer than {MOST_DAYS} days")
    if last > parse_ticks(now.isoformat()):
        raise FieldError("end", f"{end} is still to come")
    days = (format_day(ticks) for ticks in (first, last - 1))
    return Wanted(first_day=next(days), last_day=next(days), start=format_ticks(first), end=format_ticks(last))


def wanted_of(form: Mapping[str, str], now: datetime) -> Wanted:
    """Return what is asked for by texts under their fields' names, in order: one day, two, or `start` and `end`.

    Raises FieldError as `whole_days` and `bounds` do, with one of these names.
    """
    names, texts = tuple(form), tuple(form.values())
    if "start" in form:
        return bounds(texts[0], texts[1], now)
    return whole_days(texts[0], texts[-1], now, names=(names[0], names[-1]))


def new_run(rule_id: str, wanted: Wanted, now: datetime, **more: Any) -> Run:
    """Return a run of its own id; `more` are other fields of it."""
    return Run(
        id=f"{now:%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:12]}",
        rule_id=rule_id,
        first_day=wanted.first_day,
        last_day=wanted.last_day,
        start=wanted.start,
        end=wanted.end,
        started=now.isoformat(),
        **more,
    )


def windows_of(run: Run, lookback_days: int) -> Windows:
    """Return the windows a run looks in: its days, or its own bounds."""
    if run.start:
        return Windows.single(parse_ticks(run.start), parse_ticks(run.end), lookback_days)
    return Windows.days(day_ticks(run.first_day), day_ticks(run.last_day) + TICKS_PER_DAY, lookback_days)


def yesterday(now: datetime) -> str:
    """Return the last UTC day that is over."""
    return format_day(day_ticks(f"{now:%Y-%m-%d}") - TICKS_PER_DAY)


class Due(msgspec.Struct, frozen=True):
    """The days that are due, and what is left out of them, "" for nothing."""

    wanted: Wanted
    skipped: str


def due(progress: Progress, now: datetime, *, catch_up_days: int, late_days: int) -> Due:
    """Return the days to run now, by themselves: from the first not yet done, or some before yesterday, to yesterday.

    Late events are met by the last `late_days` before yesterday, though never by days before the first that was ever
    due. Of days missed at most the last `catch_up_days` are caught up with.
    """
    last = day_ticks(yesterday(now))
    missed = min(day_ticks(progress.due), last)
    oldest = last - (catch_up_days - 1) * TICKS_PER_DAY
    late = max(last - late_days * TICKS_PER_DAY, min(day_ticks(progress.first), last))
    skipped = ""
    if missed < oldest:
        skipped = (
            f"skipped {format_day(missed)} to {format_day(oldest - TICKS_PER_DAY)}: "
            f"more than {catch_up_days} days behind; run these days by hand"
        )
    first = min(max(missed, oldest), late)
    return Due(Wanted(first_day=format_day(first), last_day=format_day(last)), skipped)


def silent_from(run: Run) -> str:
    """Return the day from which on a run saw no event to the end of its last day; the first it looked at, if never."""
    spoken = max((day for day, count in run.coverage.items() if count and day <= run.last_day), default="")
    return day_after(spoken) if spoken else run.first_day


def days_of(run: Run) -> tuple[str, ...]:
    """Return every UTC day of a run."""
    first, last = day_ticks(run.first_day), day_ticks(run.last_day)
    return tuple(format_day(ticks) for ticks in range(first, last + 1, TICKS_PER_DAY))


def _day(name: str, text: str) -> int:
    try:
        return day_ticks(text)
    except ValueError as error:
        raise FieldError(name, f"days are written YYYY-MM-DD: {error}") from error


def _instant(name: str, text: str) -> int:
    try:
        return parse_ticks(text)
    except ValueError as error:
        raise FieldError(name, f"instants are written 2026-03-15 or 2026-03-15T08:00:00Z: {error}") from error
