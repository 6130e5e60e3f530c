"""One pass over events in any order: which combinations were seen on which day, and which are rare in which window."""

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final

from rare_audit.detection import kql
from rare_audit.detection.candidates import Counted, Key, parties_of
from rare_audit.detection.combination import Combination, combination_of, first_target
from rare_audit.detection.data import Counts
from rare_audit.detection.event import (
    DAY,
    HOUR,
    AuditEvent,
    Initiator,
    Target,
    decode_targets,
    is_not_an_array,
    json_text,
    may_count,
    targets_of,
)
from rare_audit.detection.floods import FloodLimits, Keeping
from rare_audit.detection.met import Met
from rare_audit.detection.rows import Drop, last_drop, property_rows, screened
from rare_audit.detection.rule import ROW_COLUMNS, Exclusion, Ignored, Rule
from rare_audit.detection.shape import oddity, user_of
from rare_audit.detection.ticks import TICKS_PER_DAY
from rare_audit.detection.windows import Windows

QUICK: Final = frozenset(map(ROW_COLUMNS.index, ROW_COLUMNS[:4]))
"""The columns that two events share which look alike up to their first target's properties."""
MOST_REMEMBERED: Final = 1 << 15
LONGEST_REMEMBERED: Final = 1_024
"""Entries of what is remembered of how events look, and characters of each: at most 32 million of a kind."""
TICKS_PER_HOUR: Final = TICKS_PER_DAY // 24

Screen = tuple[Initiator | None, Drop | None]
"""What `screened` returns."""
Glance = tuple[str, str, str | None]
"""OperationName, InitiatedBy as JSON text, and the first target's userPrincipalName."""


class Detector:
    """Reads events once and remembers, for each key, the slots it was seen in as the bits of one integer.

    Memory grows with distinct keys and with the candidates of the asked-for windows, not with events. Hand it events
    with `feed`, as often as needed; `rare_audit.detection.result.conclude` tells what they amount to.
    """

    def __init__(
        self,
        rule: Rule,
        windows: Windows,
        *,
        by_property: bool = False,
        exclusions: Sequence[Exclusion] = (),
        floods: FloodLimits | None = None,
    ) -> None:
        """Prepare a pass. `exclusions` hide current events once found rare; those not enabled are left out.

        Past some limits rare combinations become one finding for an app and operation, `floods` being None for never.
        That may take a second look at the windows' events, see `is_overflowing`. Not for the by-property variant.
        """
        self.rule = rule
        self.windows = windows
        self.by_property = by_property
        self.counts = Counts(windows)
        self.seen: dict[Key, int] = {}
        self.kept = Keeping(None if by_property else floods)
        self.on_first_tick = self.known = self.repeated = 0
        self.dropped: Counter[Drop] = Counter()
        self.dropped_rows: Counter[Drop] = Counter()
        self.odd: Counter[str] = Counter()
        self.first_odd: dict[str, tuple[str, str]] = {}
        self.exclusions = [(each.name, each.conditions) for each in exclusions if each.enabled]
        self.excluded: Counter[str] = Counter()
        """Events that are rare and excluded, by exclusion, so far as that is known and no candidate counts them."""
        self._first_counts: Counts | None = None
        self._first_tick: dict[Key, int] = {}
        self._ignored = Ignored(rule.parameters)
        columns = [ROW_COLUMNS.index(column) for column in rule.key(by_property=by_property)]
        self._pick = itemgetter(*columns)
        self._key_is_quick = QUICK.issuperset(columns)
        self._slots: dict[str, int] = {}  # by hours, texts of 13 characters
        self._met = Met()
        self._glances: dict[Glance, Key] = {}
        self._screens: dict[tuple[str, str], Screen] = {}

    @property
    def is_overflowing(self) -> bool:
        """Whether the windows' events, not those before, are to be fed once more, after `look_again`."""
        return self.kept.is_overflowing

    def look_again(self) -> None:
        """Prepare for the windows' events once more: what is known by now is all there is to know."""
        self.kept.look_again()
        self._first_counts, self.counts = self.counts, Counts(self.windows)
        self.on_first_tick = self.known = self.repeated = 0
        self.dropped.clear()
        self.dropped_rows.clear()
        self._met = Met()

    def looked_again(self) -> int:
        """Return how many of the windows' events by apps did not come once more; counts are the first ones again."""
        if self._first_counts is None:
            return 0
        again, self.counts = self.counts, self._first_counts
        return max(0, self.counts.current()[1] - again.current()[1])

    def feed(self, events: Iterable[AuditEvent]) -> None:
        """Take events in."""
        slots, lookback_days, counts = self._slots, self.windows.lookback_days, self.counts
        first, last, by_slot = counts.first, counts.last, counts.events
        for event in events:
            time = event.time_generated
            if time < first:
                first = counts.first = time
            if time > last:
                last = counts.last = time
            slot = slots.get(time[HOUR])
            if slot is None:
                slot = self._slot(event)
            by_slot[slot] += 1
            if slot < 0:
                self._pass_over(event, slot)
            elif slot < lookback_days:
                self._learn(event, slot)
            else:
                self._examine(event, slot)

    def _pass_over(self, event: AuditEvent, slot: int) -> None:
        """Count an event outside all windows: if an app started it, whoever looks for events may look there."""
        initiated_by, operation = json_text(event.initiated_by), event.operation_name or ""
        initiator, _ = self._screens.get((initiated_by, operation)) or self._screen(initiated_by, operation)
        if initiator is not None:
            self.counts.by_apps[slot] += 1
            self.counts.days_outside[event.time_generated[DAY]] += 1

    def _is_repeated(self, event: AuditEvent, initiated_by: str) -> bool:
        """Tell whether an event of a window is the same record as one before, by its Id and all that is read of it."""
        if not event.id:
            return False
        content = (
            event.id, event.time_generated, event.operation_name, event.category, event.correlation_id, event.result,
            event.resource_group, event.type, initiated_by, json_text(event.target_resources),
        )  # fmt: skip
        return self._met.add(hash(content))

    def _slot(self, event: AuditEvent) -> int:
        """Return an event's slot, and remember that of its hour where a whole hour has one."""
        hour = event.ticks // TICKS_PER_HOUR * TICKS_PER_HOUR
        slot = self.windows.slot(hour)
        if slot != self.windows.slot(hour + TICKS_PER_HOUR - 1):
            return self.windows.slot(event.ticks)
        if len(self._slots) >= MOST_REMEMBERED:
            self._slots.clear()
        self._slots[event.time_generated[HOUR]] = slot
        return slot

    def _learn(self, event: AuditEvent, slot: int) -> None:
        """Baseline: look only as far into the event as is needed to know that its key is marked for that day."""
        initiated_by, operation = json_text(event.initiated_by), event.operation_name or ""
        initiator, drop = self._screens.get((initiated_by, operation)) or self._screen(initiated_by, operation)
        if initiator is None:
            return
        self.counts.by_apps[slot] += 1
        if drop is not None:
            return
        target_resources = json_text(event.target_resources)
        user = user_of(target_resources)
        if user is None:
            self._note_oddity(event, target_resources)
        glance = (operation, initiated_by, user)
        key = self._glances.get(glance)
        if (key is not None and self.seen[key] >> slot & 1) or not may_count(target_resources):
            return
        target = first_target(targets_of(target_resources))
        combination = combination_of(operation, initiator, target)
        for row in property_rows(target, self._ignored):
            if row.dropped is None:
                key = self.key(combination, row.name)
                self._mark(key, slot)
                if self._key_is_quick:
                    self._recall(glance, key)
                    return

    def _screen(self, initiated_by: str, operation: str) -> Screen:
        """Return what `screened` does, and remember it: few pairs recur all day."""
        found = screened(initiated_by, operation, self._ignored)
        if len(initiated_by) + len(operation) <= LONGEST_REMEMBERED:
            if len(self._screens) >= MOST_REMEMBERED:
                self._screens.clear()
            self._screens[initiated_by, operation] = found
        return found

    def _targets(self, event: AuditEvent, target_resources: str) -> list[Target]:
        try:
            return decode_targets(target_resources)
        except kql.NOT_JSON:
            self._note_oddity(event, target_resources)
            return targets_of(target_resources)

    def _note_oddity(self, event: AuditEvent, target_resources: str) -> None:
        """Count an event by an app whose TargetResources is not as AuditLogs holds it: it has no change to see."""
        reason = oddity(target_resources)
        if reason:
            self.odd[reason] += 1
            this = (event.time_generated, event.id or "")
            self.first_odd[reason] = min(self.first_odd.get(reason, this), this)

    def _recall(self, glance: Glance, key: Key) -> None:
        """Remember which key events have that look alike up to their properties."""
        operation, initiated_by, user = glance
        if user is not None and len(operation) + len(initiated_by) + len(user) <= LONGEST_REMEMBERED:
            if len(self._glances) >= MOST_REMEMBERED:
                self._glances.clear()
            self._glances[glance] = key

    def _examine(self, event: AuditEvent, slot: int) -> None:
        """Current: mark the event's keys, and keep what counts in it unless all its keys are known already."""
        initiated_by, operation = json_text(event.initiated_by), event.operation_name or ""
        initiator, drop = self._screens.get((initiated_by, operation)) or self._screen(initiated_by, operation)
        if initiator is None:
            return
        self.counts.by_apps[slot] += 1
        if self._is_repeated(event, initiated_by):
            self.repeated += 1
            return
        if drop is not None:
            self.dropped[drop] += 1
            return
        target_resources = json_text(event.target_resources)
        targets = self._targets(event, target_resources)
        rows = list(property_rows(first_target(targets), self._ignored))
        self.dropped_rows.update(row.dropped for row in rows if row.dropped is not None)
        counted = [(place, row) for place, row in enumerate(rows) if row.dropped is None]
        if not counted:
            is_odd = not targets and is_not_an_array(target_resources)
            self.dropped[Drop.NOT_AN_ARRAY if is_odd else last_drop(rows)] += 1
            return
        combination = combination_of(operation, initiator, first_target(targets))
        names = frozenset(row.name for _, row in counted)
        if self._remember(event, slot, combination, names) or self.is_overflowing:
            return
        exclusion = self._exclusion(event, combination)
        if exclusion and self.kept.is_second:
            self.excluded[exclusion] += 1
            return
        candidate = self.kept.candidate(slot, combination)
        candidate.events[exclusion, names] += 1
        if not exclusion:
            is_flood = (slot, operation, initiator.app) in self.kept.floods
            keyed = [Counted(at, () if is_flood else self.key(combination, row.name), row) for at, row in counted]
            candidate.add(event, keyed, parties_of(event, initiator, targets))

    def _remember(self, event: AuditEvent, slot: int, combination: Combination, names: frozenset[str]) -> bool:
        """Mark an event's keys; return whether it is known already, so that nothing need be kept of it."""
        keys = self.keys(combination, names)
        for key in keys:
            self._mark(key, slot)
        if self.windows.starts(event.ticks, slot):
            for key in keys:
                self._first_tick[key] = self._first_tick.get(key, 0) | 1 << slot
            self.on_first_tick += 1
            return True
        if all(self.is_known(key, slot) for key in keys):
            self.known += 1
            return True
        return False

    def _mark(self, key: Key, slot: int) -> None:
        self.seen[key] = self.seen.get(key, 0) | 1 << slot

    def _exclusion(self, event: AuditEvent, combination: Combination) -> str:
        fields: dict[str, str | None] = dict(zip(ROW_COLUMNS, combination, strict=False))
        fields |= {"Category": event.category, "Result": event.result, "ResourceGroup": event.resource_group}
        for name, conditions in self.exclusions:
            if any(fields.get(condition.field) == condition.value for condition in conditions):
                return name
        return ""

    def key(self, combination: Combination, property_name: str) -> Key:
        """Return the key of a row."""
        picked: Key = self._pick((*combination, property_name))
        return picked

    def keys(self, combination: Combination, property_names: frozenset[str]) -> set[Key]:
        """Return the distinct keys of an event's counted rows: one, unless the key holds the property."""
        return {self.key(combination, name) for name in property_names}

    def is_known(self, key: Key, slot: int) -> bool:
        """Tell whether the lookback of the window at `slot`, whose both ends count, holds the key, so far."""
        lookback = self.windows.lookback(self.seen.get(key, 0), slot)
        return bool(lookback or self._first_tick.get(key, 0) >> slot & 1)
