"""How familiar an app, and what it did, was in the lookback of a window."""

from collections import defaultdict
from collections.abc import Iterable
from functools import reduce
from operator import or_

import msgspec

from rare_audit.detection.combination import Combination
from rare_audit.detection.detector import Detector
from rare_audit.detection.finding import History, Seen


class Attendance(msgspec.Struct, frozen=True):
    """In which slots of a pass apps did what the rule counts: sets of slots as bits, see `Windows`.

    `everyone` is about all apps together, `apps` about those with findings, by name. What an exclusion takes counts
    as well.
    """

    everyone: int = 0
    apps: dict[str, int] = {}


class Histories:
    """The slots in which some apps were seen at all, in each operation, and in each combination of the rule's key.

    All follow from the keys of the pass, so a rare combination's own history is empty, but for the by-property
    variant, where the combination may be old and only the property new.
    """

    def __init__(self, detector: Detector, combinations: Iterable[Combination]) -> None:
        """Gather the slots of these combinations and of their apps."""
        asked = set(combinations)
        self._apps = {app for _, app, *_ in asked}
        columns = detector.rule.parameters.key
        at_app, at_operation = columns.index("InitiatedByApp"), columns.index("OperationName")
        self._detector = detector
        self._slots: dict[tuple[str, ...], int] = defaultdict(int)
        bases = {self._base_key(combination) for combination in asked}
        for key, slots in detector.seen.items() if self._apps else ():
            if key[at_app] in self._apps:
                self._slots[key[at_app],] |= slots
                self._slots[key[at_app], key[at_operation]] |= slots
                if key[: len(columns)] in bases:
                    self._slots["", *key[: len(columns)]] |= slots

    def of(self, slot: int, combination: Combination, *, is_flood: bool = False) -> History:
        """Return what the lookback of the window at `slot` knew of a combination and its parts.

        Of a flood's combinations it knew none.
        """
        operation, app = combination[:2]
        return History(
            app=self._seen((app,), slot),
            app_and_operation=self._seen((app, operation), slot),
            combination=Seen(0, "") if is_flood else self._seen(("", *self._base_key(combination)), slot),
        )

    def _base_key(self, combination: Combination) -> tuple[str, ...]:
        return self._detector.key(combination, "")[: len(self._detector.rule.parameters.key)]

    def attendance(self) -> Attendance:
        """Return the slots in which these apps, and all apps together, were seen."""
        everyone = reduce(or_, self._detector.seen.values(), 0)
        return Attendance(everyone, {app: self._slots.get((app,), 0) for app in sorted(self._apps)})

    def _seen(self, what: tuple[str, ...], slot: int) -> Seen:
        windows = self._detector.windows
        lookback = windows.lookback(self._slots.get(what, 0), slot)
        last = windows.day(slot - windows.lookback_days + lookback.bit_length() - 1) if lookback else ""
        return Seen(days=lookback.bit_count(), last=last)
