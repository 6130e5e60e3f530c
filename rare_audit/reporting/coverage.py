"""The health of a baseline: on which of the days before a window there was anything to learn from."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from rare_audit.detection.ticks import TICKS_PER_DAY, day_after, day_ticks, format_day
from rare_audit.detection.windows import Windows

MIN_DAYS: Final = 7
"""Days of data that a baseline needs before a day, unless a setting says otherwise: with fewer it is degraded."""


class Coverage(msgspec.Struct, frozen=True):
    """On how many of `of` days before a day AuditLogs had any event, and which had none; 0 of 0: unknown."""

    days: int = 0
    of: int = 0
    missing: tuple[str, ...] = ()

    def is_degraded(self, min_days: int) -> bool:
        """Tell whether there are too few days with data to say what is rare; as many as there are days are enough."""
        return self.days < min(min_days, self.of)

    def __str__(self) -> str:
        return f"{self.days} of {self.of} days had data" if self.of else "unknown"


def coverage_of(day: str, lookback_days: int, counts: Mapping[str, int]) -> Coverage:
    """Return the health of the baseline of a UTC day, from the events of each day that has any (`YYYY-MM-DD`)."""
    start = day_ticks(day)
    days = [format_day(start - back * TICKS_PER_DAY) for back in range(lookback_days, 0, -1)]
    missing = tuple(each for each in days if not counts.get(each))
    return Coverage(lookback_days - len(missing), lookback_days, missing)


def coverages(windows: Windows, counts: Mapping[str, int], by_apps: Mapping[str, int]) -> dict[str, Coverage]:
    """Return the health of the baseline before each window in which an app did anything.

    `counts` are the events of each day, `by_apps` those that apps started, by the day on which a window or a day of its
    lookback begins (`YYYY-MM-DD`).
    """
    days = map(windows.day, range(windows.lookback_days, windows.last_slot + 1))
    return {day: coverage_of(day, windows.lookback_days, counts) for day in days if by_apps.get(day)}


def spans(days: Sequence[str]) -> list[str]:
    """Return sorted UTC days (`YYYY-MM-DD`) in words: those that follow each other as `first to last`."""
    runs: list[list[str]] = []
    for day in days:
        if runs and day == day_after(runs[-1][-1]):
            runs[-1].append(day)
        else:
            runs.append([day])
    return [run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
