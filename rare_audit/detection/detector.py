"""One pass over events in any order: which combinations were seen on which day, and which are rare in which window."""

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final

from rare_audit.detection import kql
from rare_audit.detection.candidates import Candidate
from rare_audit.detection.event import NO_TARGET, AuditEvent, Initiator, Target, initiator_of, read_target, targets_of
from rare_audit.detection.rows import Drop, dropped_event, last_drop, property_rows
from rare_audit.detection.rule import ROW_COLUMNS, Exclusion, Ignored, Rule
from rare_audit.detection.windows import Windows

PROPERTY: Final = ROW_COLUMNS.index("PropertyName")

Combination = tuple[str, str, str, str, str]
"""OperationName, InitiatedByApp, InitiatedByIpAddress, TargetUserPrincipalName, TargetResourceName of an event."""
Key = tuple[str, ...]


class Detector:
    """Reads events once and remembers, for each key, the slots it was seen in as the bits of one integer.

    Memory grows with distinct keys and with the candidates of the asked-for windows, not with events. Hand it events
    with `feed`, as often as needed; `rare_audit.detection.result.conclude` tells what they amount to.
    """

    def __init__(
        self, rule: Rule, windows: Windows, *, by_property: bool = False, exclusions: Sequence[Exclusion] = ()
    ) -> None:
        """Prepare a pass. `exclusions` hide current events once found rare; those not enabled are left out."""
        self.rule = rule
        self.windows = windows
        self.by_property = by_property
        self.seen: dict[Key, int] = {}
        self.candidates: dict[tuple[int, Combination], Candidate] = {}
        self.outside = self.baseline_events = self.baseline_app_initiated = 0
        self.current_events = self.current_app_initiated = self.on_first_tick = self.known = 0
        self.dropped: Counter[Drop] = Counter()
        self.dropped_rows: Counter[Drop] = Counter()
        self.exclusions = [(each.name, each.conditions) for each in exclusions if each.enabled]
        self._first_tick: dict[Key, int] = {}
        self._ignored = Ignored(rule.parameters)
        columns = [ROW_COLUMNS.index(column) for column in rule.key(by_property=by_property)]
        self._pick = itemgetter(*columns)
        self._key_has_property = PROPERTY in columns

    def feed(self, events: Iterable[AuditEvent]) -> None:
        """Take events in."""
        slot_of, lookback_days = self.windows.slot, self.windows.lookback_days
        for event in events:
            slot = slot_of(event.time_generated)
            if slot < 0:
                self.outside += 1
            elif slot < lookback_days:
                self._learn(event, slot)
            else:
                self._examine(event, slot)

    def _learn(self, event: AuditEvent, slot: int) -> None:
        """Baseline: look only as far into the event as is needed to know that its key is marked for that day."""
        self.baseline_events += 1
        initiator = initiator_of(bytes(event.initiated_by))
        if initiator is None:
            return
        self.baseline_app_initiated += 1
        if dropped_event(initiator.app, event.operation_name or "", self._ignored):
            return
        elements = targets_of(event.target_resources)
        target = read_target(elements[0]) if elements else NO_TARGET
        combination = _combination(event, initiator, target)
        if not self._key_has_property and self.seen.get(self.key(combination, ""), 0) >> slot & 1:
            return
        for row in property_rows(target, self._ignored):
            if row.dropped is None:
                self._mark(self.key(combination, row.name), slot)
                if not self._key_has_property:
                    return

    def _examine(self, event: AuditEvent, slot: int) -> None:
        """Current: mark the event's keys, and keep what counts in it unless all its keys are known already."""
        self.current_events += 1
        initiator = initiator_of(bytes(event.initiated_by))
        if initiator is None:
            return
        self.current_app_initiated += 1
        drop = dropped_event(initiator.app, event.operation_name or "", self._ignored)
        if drop is not None:
            self.dropped[drop] += 1
            return
        elements = targets_of(event.target_resources)
        target = read_target(elements[0]) if elements else NO_TARGET
        rows = list(property_rows(target, self._ignored))
        self.dropped_rows.update(row.dropped for row in rows if row.dropped is not None)
        counted = [(place, row) for place, row in enumerate(rows) if row.dropped is None]
        if not counted:
            self.dropped[last_drop(rows)] += 1
            return
        combination = _combination(event, initiator, target)
        names = frozenset(row.name for _, row in counted)
        if not self._remember(event, slot, combination, names):
            candidate = self.candidates.setdefault((slot, combination), Candidate())
            exclusion = self._exclusion(event, combination)
            candidate.events[exclusion, names] += 1
            if not exclusion:
                candidate.add(event, counted, initiator, elements)

    def _remember(self, event: AuditEvent, slot: int, combination: Combination, names: frozenset[str]) -> bool:
        """Mark an event's keys; return whether it is known already, so that nothing need be kept of it."""
        keys = self.keys(combination, names)
        for key in keys:
            self._mark(key, slot)
        if self.windows.starts(event.time_generated, slot):
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


def _combination(event: AuditEvent, initiator: Initiator, target: Target) -> Combination:
    return (
        event.operation_name or "",
        initiator.app,
        initiator.ip_address,
        kql.lower(kql.to_string(target.user_principal_name)),
        kql.lower(kql.to_string(target.display_name)),
    )
