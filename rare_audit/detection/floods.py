"""A flood: so many combinations of one app and one operation in a window that they are counted, not listed."""

from collections import Counter
from math import inf

import msgspec

from rare_audit.detection.candidates import Candidate
from rare_audit.detection.combination import Combination
from rare_audit.detection.finding import FloodCounts
from rare_audit.detection.met import Met

Group = tuple[int, str, str]
"""The slot of a window, OperationName, InitiatedByApp: what a flood is of."""


class FloodLimits(msgspec.Struct, frozen=True, kw_only=True):
    """How many rare combinations a window may have that are found one by one.

    More than `of_one` of one app and operation are a flood. In a window with more than `of_all` together, `of_crowded`
    take the place of `of_one`. A finding with a dozen properties takes some 80 KB of memory on its way to an incident.
    """

    of_one: int = 2_000
    of_all: int = 4_000
    of_crowded: int = 100


class Distinct:
    """Counts distinct texts, in eight bytes each."""

    def __init__(self) -> None:
        self._met = Met()
        self.count = 0

    def add(self, what: object) -> bool:
        """Take in a text, or several together; return whether it was not there yet."""
        is_new = not self._met.add(hash(what))
        self.count += is_new
        return is_new


class Flood:
    """What is kept of a flood: all of it as if it were one combination, and how many there are of what.

    Whatever the order of its events, it ends the same.
    """

    def __init__(self) -> None:
        self.whole = Candidate()
        self._combinations = Distinct()
        self._users = Distinct()
        self._resources = Distinct()
        self._addresses = Distinct()

    def count(self, combination: Combination) -> bool:
        """Take in a combination; return whether it was not met before."""
        _, _, address, user, resource = combination
        if not self._combinations.add(combination):
            return False
        for distinct, text in ((self._users, user), (self._resources, resource), (self._addresses, address)):
            if text:
                distinct.add(text)
        return True

    def take(self, combination: Combination, candidate: Candidate) -> None:
        """Take in what was kept of a combination."""
        self.count(combination)
        self.whole.merge(candidate)

    def counts(self) -> FloodCounts:
        """Return how many there are."""
        return FloodCounts(
            combinations=self._combinations.count,
            users=self._users.count,
            resources=self._resources.count,
            addresses=self._addresses.count,
        )


class Keeping:
    """What is kept of the combinations of all windows: one by one, or as floods. No limits, no floods."""

    def __init__(self, limits: FloodLimits | None) -> None:
        self.candidates: dict[tuple[int, Combination], Candidate] = {}
        self.floods: dict[Group, Flood] = {}
        self.is_overflowing = False
        """Whether there were so many combinations that all are let go until it is known which of them are rare."""
        self.is_second = False
        """Whether that is known by now: only rare combinations come, and what is a flood stays one."""
        self._limits = limits
        self._groups: Counter[Group] = Counter()
        self._totals: Counter[int] = Counter()

    def look_again(self) -> None:
        """Begin anew, with combinations that are known to be rare."""
        self.is_overflowing, self.is_second = False, True
        self._groups.clear()
        self._totals.clear()

    def candidate(self, slot: int, combination: Combination) -> Candidate:
        """Return where to keep what counts of a combination of a window."""
        group, place = (slot, combination[0], combination[1]), (slot, combination)
        if group in self.floods:
            if self.floods[group].count(combination):
                self._grow(slot)
            return self.floods[group].whole
        if place not in self.candidates:
            self.candidates[place] = Candidate()
            self._groups[group] += 1
            self._grow(slot)
            if self._groups[group] > self._most(slot):
                self._fold(group)
        flood = self.floods.get(group)
        # Neither where all was let go just now.
        return flood.whole if flood else self.candidates.get(place, Candidate())

    def _most(self, slot: int) -> float:
        """Return how many combinations a group of a window may have."""
        if self._limits is None:
            return inf
        return self._limits.of_crowded if self._totals[slot] > self._limits.of_all else self._limits.of_one

    def _grow(self, slot: int) -> None:
        """Count a combination of a window; once it has too many, fold its groups that have more than a few."""
        self._totals[slot] += 1
        if self._limits is not None and self._totals[slot] == self._limits.of_all + 1:
            for group in [each for each, count in self._groups.items() if each[0] == slot and count > self._most(slot)]:
                self._fold(group)

    def _fold(self, group: Group) -> None:
        """Make a flood of a group. At the first look nothing is kept: most may turn out known once all is read."""
        if not self.is_second:
            self.is_overflowing = True
            self.candidates.clear()
        elif group not in self.floods:
            flood = self.floods[group] = Flood()
            for place in [each for each in self.candidates if (each[0], *each[1][:2]) == group]:
                flood.take(place[1], self.candidates.pop(place))
