"""Which windows a hunt looks at: those asked for, or all days that the data can be judged for."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rare_audit.detection.ticks import TICKS_PER_DAY, day_ticks, format_day
from rare_audit.detection.windows import MOST_DAYS, Windows
from rare_audit.errors import InputError
from rare_audit.exports.survey import Survey


@dataclass(frozen=True)
class Asked:
    """What the command line says of time: instants in ticks, None where it is silent.

    `first_day` and `last_day` are midnights, both days included; `start` and `end` bound a window `start <= t < end`.
    """

    first_day: int | None = None
    last_day: int | None = None
    start: int | None = None
    end: int | None = None
    daily: bool = False


@dataclass(frozen=True)
class Chosen:
    """The windows that are looked at, what there is to say about the choice, and days that had to be left out."""

    windows: Windows
    remarks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def choose(asked: Asked, lookback_days: int, survey: Callable[[], Survey]) -> Chosen:
    """Return the windows for a command line; `survey` reads the data for what is left open, and is asked once at most.

    Raises InputError where the bounds make no window, or nothing is left to choose from.
    """
    try:
        return _choose(asked, lookback_days, survey)
    except ValueError as error:
        raise InputError(f"no such window: {error}") from error


def _choose(asked: Asked, lookback_days: int, survey: Callable[[], Survey]) -> Chosen:
    if asked.first_day is not None and asked.last_day is not None:
        return Chosen(Windows.days(asked.first_day, asked.last_day + TICKS_PER_DAY, lookback_days))
    if asked.start is not None and not asked.daily:
        return _single(asked.start, asked.end, lookback_days)
    if asked.start is not None:
        return _daily(asked.start, asked.end, lookback_days, survey())
    return _every_day(asked, lookback_days, survey())


def _single(start: int, end: int | None, lookback_days: int) -> Chosen:
    if end is not None and end == start:
        after = format_day(start + TICKS_PER_DAY)
        raise InputError(f"the window ends where it starts: the end is not in the window, so one day is --end {after}")
    return Chosen(Windows.single(start, end, lookback_days))


def _daily(start: int, end: int | None, lookback_days: int, survey: Survey) -> Chosen:
    """Split into days, as far as there are data: days before and after them have nothing to look at."""
    if start % TICKS_PER_DAY or (end is not None and end % TICKS_PER_DAY):
        raise InputError("--daily splits into whole UTC days: --start and --end must be midnights")
    if end == start:
        return _single(start, end, lookback_days)
    days = sorted(map(day_ticks, survey.events))
    if days:
        start = max(start, days[0]) if start <= days[-1] else start
        end = min(end or days[-1] + TICKS_PER_DAY, max(days[-1], start) + TICKS_PER_DAY)
    return Chosen(Windows.days(start, end or start + TICKS_PER_DAY, lookback_days))


def _every_day(asked: Asked, lookback_days: int, survey: Survey) -> Chosen:
    """Return all days that have a whole lookback in the data; where none has, those on which an app did anything."""
    days = sorted(map(day_ticks, survey.events))
    if not days:
        raise InputError("there is no event in the data, so no day to look at")
    near = densest(days)
    left_out = tuple(format_day(day) for day in days if not near[0] <= day <= near[-1])
    first, after = near[0], near[-1] + TICKS_PER_DAY
    if asked.end is not None:
        after = asked.end
    if asked.last_day is not None:
        after = asked.last_day + TICKS_PER_DAY
    if asked.first_day is not None:
        after = max(after, asked.first_day + TICKS_PER_DAY)
        return Chosen(Windows.days(asked.first_day, after, lookback_days), (), left_out)
    judged = first + lookback_days * TICKS_PER_DAY
    apps = [day for day in map(day_ticks, survey.by_apps) if first <= day < after]
    if any(day >= judged for day in apps):
        remark = f"the first {lookback_days} days, from {format_day(first)}, are the baseline and are not looked at"
        return Chosen(Windows.days(judged, after, lookback_days), (remark,), left_out)
    if apps:
        remark = f"no day with events by apps has {lookback_days} days of data before it: looking at all there are"
        return Chosen(
            Windows.days(min(apps), min(after, max(apps) + TICKS_PER_DAY), lookback_days), (remark,), left_out
        )
    return Chosen(Windows.days(min(first, after - TICKS_PER_DAY), after, lookback_days), (), left_out)


def densest(days: Sequence[int]) -> list[int]:
    """Return the days, of sorted midnights, that one pass can hold: where a few lie years apart, the most together."""
    best: list[int] = []
    start = 0
    for at, day in enumerate(days):
        while day - days[start] >= MOST_DAYS * TICKS_PER_DAY:
            start += 1
        if at + 1 - start > len(best):
            best = list(days[start : at + 1])
    return best


def shown(windows: Windows) -> Iterator[str]:
    """Yield what is looked at, and with what it is compared."""
    first, last = format_day(windows.start), format_day(windows.end - 1)
    before = f"the {windows.lookback_days} days before"
    if not windows.daily:
        return
    if first == last:
        yield f"looking at {first}, compared with {before}"
    else:
        yield f"looking at {first} to {last}, each day compared with {before} it"
