"""The windows a pass looks for rare activity in, and where an instant lies among their days."""

from dataclasses import dataclass, field
from typing import Final

from rare_audit.detection.ticks import END_OF_TIME, TICKS_PER_DAY, format_day, format_ticks

OUTSIDE: Final = -1
MOST_DAYS: Final = 3_660
"""How many daily windows one pass may hold: days far past the asked-for ones must not cost memory."""


@dataclass(frozen=True, slots=True)
class Windows:
    """One window of any bounds, or a run of consecutive days, each with its own lookback.

    Time is cut into buckets of 24 h counted from `start`. A *slot* numbers them from the start of the first window's
    lookback: slots 0 to `lookback_days - 1` are its baseline, the next is the first window. Of daily windows each has
    a slot of its own; a single window is one slot, however long it is.
    """

    start: int
    end: int
    daily: bool
    lookback_days: int
    origin: int = field(init=False)
    """The first tick of the first window's lookback; before it nothing matters."""
    last_slot: int = field(init=False)
    """The slot of the last window."""

    def __post_init__(self) -> None:
        """Check the bounds and lay out the slots."""
        if self.end <= self.start:
            raise ValueError(f"the window starts at {format_ticks(self.start)} and ends no later")
        more = (self.end - self.start - 1) // TICKS_PER_DAY if self.daily else 0
        if more >= MOST_DAYS:
            raise ValueError(f"more than {MOST_DAYS} daily windows")
        object.__setattr__(self, "origin", self.start - self.lookback_days * TICKS_PER_DAY)
        object.__setattr__(self, "last_slot", self.lookback_days + more)

    @classmethod
    def single(cls, start: int, end: int | None, lookback_days: int) -> "Windows":
        """One window `start <= t < end`, in ticks; open where `end` is None, as in the rule's text."""
        return cls(start, END_OF_TIME if end is None else end, daily=False, lookback_days=lookback_days)

    @classmethod
    def days(cls, start: int, end: int, lookback_days: int) -> "Windows":
        """Consecutive windows of 24 h from `start` to `end`, in ticks."""
        return cls(start, end, daily=True, lookback_days=lookback_days)

    @property
    def is_open(self) -> bool:
        """Whether no end was asked for."""
        return self.end == END_OF_TIME

    def slot(self, ticks: int) -> int:
        """Return the slot an instant lies in, or OUTSIDE."""
        if not self.origin <= ticks < self.end:
            return OUTSIDE
        return min((ticks - self.origin) // TICKS_PER_DAY, self.last_slot)

    def starts(self, ticks: int, slot: int) -> bool:
        """Tell whether an instant is the very first tick of the window at `slot`."""
        return ticks == self.origin + slot * TICKS_PER_DAY

    def lookback(self, slots: int, slot: int) -> int:
        """Return, of a set of slots (as bits), those in the lookback of the window at `slot`, oldest at bit 0."""
        return (slots >> (slot - self.lookback_days)) & ((1 << self.lookback_days) - 1)

    def day(self, slot: int) -> str:
        """Return the UTC day `YYYY-MM-DD` on which the bucket at `slot` begins."""
        return format_day(self.origin + slot * TICKS_PER_DAY)
