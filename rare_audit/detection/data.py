"""What a pass read, whatever it looked for."""

from collections import Counter

import msgspec

from rare_audit.detection.windows import Windows


class Data(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How many events there were, from when to when, and on which days.

    `first` and `last` are ISO 8601 as logged, "" where there is none. Days are `YYYY-MM-DD`, UTC. `days` counts the
    events in the windows and their lookbacks, by the day on which each 24 hours of them begin; `days_by_apps` counts
    those that apps started, and also outside.
    """

    events: int = 0
    by_apps: int = 0
    first: str = ""
    last: str = ""
    days: dict[str, int] = {}
    days_by_apps: dict[str, int] = {}


class Counts:
    """The events of a pass while it goes on.

    `events` and `by_apps` have a number for each slot of the windows, and as their last one, which is slot -1, what
    lies outside. `first` and `last` are compared as text, which is exact to the second: no more is said of them.
    """

    def __init__(self, windows: Windows) -> None:
        """Begin at zero."""
        self._windows = windows
        self.events = [0] * (windows.last_slot + 2)
        self.by_apps = [0] * (windows.last_slot + 2)
        self.days_outside: Counter[str] = Counter()
        self.first = "~"  # behind every instant's text
        self.last = ""

    @property
    def outside(self) -> int:
        """How many events lie outside the windows and their lookbacks."""
        return self.events[-1]

    def baseline(self) -> tuple[int, int]:
        """Return how many events lie before the first window, within its lookback, and how many an app started."""
        days = self._windows.lookback_days
        return sum(self.events[:days]), sum(self.by_apps[:days])

    def current(self) -> tuple[int, int]:
        """Return how many events lie in the windows, and how many of them an app started."""
        days = self._windows.lookback_days
        return sum(self.events[days:-1]), sum(self.by_apps[days:-1])

    def data(self) -> Data:
        """Return what was read."""
        days_by_apps = self.days_outside + Counter(self._by_day(self.by_apps))
        return Data(
            events=sum(self.events),
            by_apps=sum(self.by_apps),
            first=self.first if self.last else "",
            last=self.last,
            days=self._by_day(self.events),
            days_by_apps=dict(sorted(days_by_apps.items())),
        )

    def _by_day(self, counts: list[int]) -> dict[str, int]:
        return {self._windows.day(slot): count for slot, count in enumerate(counts[:-1]) if count}
