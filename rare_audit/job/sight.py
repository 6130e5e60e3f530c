"""How much of what there was a run could read: an answer that can't be read, or that holds nothing, is no success."""

from collections.abc import Mapping
from typing import Final

import msgspec

from rare_audit.detection.result import Detection
from rare_audit.errors import ServiceError
from rare_audit.job.planning import days_of
from rare_audit.records import Run
from rare_audit.reporting.text import one_line

MOST_LOST: Final = 10
"""Events by apps that may be unreadable in any run: a single odd one must not keep all others from being looked at."""
MOST_LOST_SHARE: Final = 0.05
"""And the share of all, where that is more."""
_NAMED: Final = 3
_LONGEST: Final = 400


class Sight(msgspec.Struct, frozen=True):
    """What could not be read: `unreadable` counts events by apps, `days` are the run's days that some may be of."""

    unreadable: int = 0
    days: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()


def sight_of(run: Run, detection: Detection, counted: Mapping[str, int]) -> Sight:
    """Return what a run could not read.

    `counted` are the events by apps that the source counts on each UTC day, apart from those that it gave; nothing
    where it can't. Raises ServiceError where too much is missing: more than MOST_LOST and MOST_LOST_SHARE of all, or
    everything, of the whole range or of a day of the run.
    """
    missing = _missing(run, detection, counted)
    lost, garbled = detection.funnel.reading.lost, sum(detection.funnel.odd.values())
    unreadable = max(sum(missing.values()), lost) + garbled
    total = max(sum(counted.values()), detection.data.by_apps + lost)
    if not unreadable:
        return Sight()
    told = _told(unreadable, total, detection)
    if total and not detection.data.by_apps:
        raise ServiceError(f"{told}; nothing is left to look at, so that nothing is changed")
    empty = _empty(run, detection, counted)
    if empty:
        raise ServiceError(f"{told}; none at all on {empty}, where there are {counted[empty]:,}: nothing is changed")
    if unreadable > max(MOST_LOST, MOST_LOST_SHARE * total):
        raise ServiceError(f"{told}; that is too much to say what was not done, so that nothing is changed")
    of_any_day = garbled or lost > sum(missing.values())
    days = frozenset(days_of(run) if of_any_day else [day for day in days_of(run) if missing.get(day)])
    note = f"{told}; nothing is withdrawn on {', '.join(sorted(days))}" if days else told
    return Sight(unreadable, days, (one_line(note, _LONGEST),))


def _missing(run: Run, detection: Detection, counted: Mapping[str, int]) -> dict[str, int]:
    """Return how many events by apps are missing on each day; those of bounds, which cut days, on its first."""
    read = detection.data.days_by_apps
    if run.start:
        return {run.first_day: max(0, sum(counted.values()) - sum(read.values()))}
    return {day: max(0, count - read.get(day, 0)) for day, count in counted.items()}


def _empty(run: Run, detection: Detection, counted: Mapping[str, int]) -> str:
    """Return the first day of a run of which nothing was read though there is something, "" for none."""
    read = detection.data.days_by_apps
    empty = (day for day in days_of(run) if counted.get(day) and not read.get(day))
    return "" if run.start else next(empty, "")


def _told(unreadable: int, total: int, detection: Detection) -> str:
    funnel = detection.funnel
    reasons = [*funnel.reading.unreadable, *funnel.reading.files, *funnel.odd]
    why = ", ".join(reasons[:_NAMED]) or "they are not in the answer"
    return one_line(f"{unreadable:,} of {total:,} events by apps could not be read ({why})", _LONGEST)
