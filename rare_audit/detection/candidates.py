"""What is kept of current events until it is known whether their combination is rare."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, Final, Generic, NamedTuple, TypeVar

from rare_audit.detection import kql
from rare_audit.detection.bounds import capped
from rare_audit.detection.event import AuditEvent, Initiator, Target
from rare_audit.detection.finding import Activity, Evidence, TargetResource
from rare_audit.detection.rows import PropertyRow
from rare_audit.detection.sensitive import is_sensitive
from rare_audit.detection.ticks import format_ticks

EVIDENCE_CAP: Final = 50
"""How many distinct property changes, targets and ids a finding keeps: the earliest ones and the latest."""
TEXT_CAP: Final = 2_000
"""How many characters of an old or new value a finding keeps."""

_HELD: Final = 4 * EVIDENCE_CAP
"""How many are held before those in the middle are forgotten: at most half of them stay."""

T = TypeVar("T", bound=Any)
Key = tuple[str, ...]
"""The columns by which a row is known or rare."""
When = tuple[int, str, int]
"""Where a row stands in time: its ticks, the event's Id, the row's place in the event. Ties end there."""


class Ends(Generic[T]):
    """The distinct values met first and those met last, as many of each as the cap, in whatever order they are added.

    A value that is neither among the earliest by its first time nor among the latest by its last can be forgotten:
    times only ever move outwards, so it could come back by being added again alone.
    """

    __slots__ = ("_between", "_cut", "_met")

    def __init__(self) -> None:
        self._met: dict[T, tuple[When, When]] = {}
        """When each value was met first and last."""
        self._between: tuple[When, When] | None = None
        """What lies wholly between these two can't be among either any more; None until something was forgotten."""
        self._cut = False

    @property
    def cut(self) -> bool:
        """Whether there were more values than the cap."""
        return self._cut or len(self._met) > EVIDENCE_CAP

    def add(self, value: T, when: When) -> None:
        """Take a value in, unless enough earlier and enough later ones are held."""
        self._add(value, when, when)

    def merge(self, other: "Ends[T]") -> None:
        """Take in all that another holds."""
        self._cut |= other._cut  # noqa: SLF001  (its own class)
        for value, (first, last) in other._met.items():  # noqa: SLF001  (its own class)
            self._add(value, first, last)

    def values(self) -> tuple[T, ...]:
        """Return the values: all of them, or half of the cap from each end; the earliest first."""
        return tuple(value for _, value in self.ends(EVIDENCE_CAP))

    def ends(self, most: int) -> list[tuple[When, T]]:
        """Return at most `most` values, up to the cap, with a time of each, in order.

        Where there are more, half of them are the earliest, and the others the latest, these with their last times.
        """
        earliest = self._earliest()
        if not self._cut and len(earliest) <= most:
            return earliest
        chosen = {value: when for when, value in earliest[: most - most // 2]}
        for when, value in self._latest():
            if len(chosen) >= most:
                break
            chosen.setdefault(value, when)
        return sorted((when, value) for value, when in chosen.items())

    def _add(self, value: T, first: When, last: When) -> None:
        known = self._met.get(value)
        if known is not None:
            self._met[value] = min(known[0], first), max(known[1], last)
            return
        if self._between is not None and self._between[0] < first and last < self._between[1]:
            return
        self._met[value] = first, last
        if len(self._met) > _HELD:
            self._forget()

    def _forget(self) -> None:
        """Forget what is in the middle; the rest is half of what may be held, so that adding stays cheap."""
        self._cut = True
        earliest, latest = self._earliest()[:EVIDENCE_CAP], self._latest()[:EVIDENCE_CAP]
        kept = {value for _, value in (*earliest, *latest)}
        self._met = {value: met for value, met in self._met.items() if value in kept}
        self._between = earliest[-1][0], latest[-1][0]

    def _earliest(self) -> list[tuple[When, T]]:
        return sorted((first, value) for value, (first, _) in self._met.items())

    def _latest(self) -> list[tuple[When, T]]:
        """Return the values with their last times, the latest first."""
        return sorted(((last, value) for value, (_, last) in self._met.items()), reverse=True)


class Gathered:
    """What an analyst needs beside the rule's columns: changes of sensitive properties apart from all others."""

    __slots__ = ("app_ids", "ordinary", "sensitive", "service_principal_ids", "targets")

    def __init__(self) -> None:
        self.sensitive: Ends[Evidence] = Ends()
        self.ordinary: Ends[Evidence] = Ends()
        self.app_ids: Ends[str] = Ends()
        self.service_principal_ids: Ends[str] = Ends()
        self.targets: Ends[TargetResource] = Ends()

    @property
    def cut(self) -> bool:
        """Whether a cap left anything out."""
        parties = self.app_ids.cut or self.service_principal_ids.cut or self.targets.cut
        return parties or self.sensitive.cut or self.ordinary.cut or len(self._changes()) > EVIDENCE_CAP

    def add(self, change: Evidence, when: When) -> None:
        """Take in a property change."""
        changes = self.sensitive if is_sensitive(change.property_name) else self.ordinary
        changes.add(change, when)

    def evidence(self) -> tuple[Evidence, ...]:
        """Return the changes, in time: all of them, or those of sensitive properties and as many others as fit."""
        sensitive = self.sensitive.ends(EVIDENCE_CAP)
        others = self.ordinary.ends(EVIDENCE_CAP - len(sensitive))
        return tuple(change for _, change in sorted((*sensitive, *others)))

    def merge(self, other: "Gathered") -> None:
        """Take in all that another holds."""
        self.sensitive.merge(other.sensitive)
        self.ordinary.merge(other.ordinary)
        self.app_ids.merge(other.app_ids)
        self.service_principal_ids.merge(other.service_principal_ids)
        self.targets.merge(other.targets)

    def _changes(self) -> list[tuple[When, Evidence]]:
        return [*self.sensitive.ends(EVIDENCE_CAP), *self.ordinary.ends(EVIDENCE_CAP)]


def parties_of(event: AuditEvent, initiator: Initiator, targets: Iterable[Target]) -> Gathered:
    """Return who acted in an event, and on what."""
    parties = Gathered()
    ticks, event_id = event.ticks, event.id or ""
    if initiator.app_id:
        parties.app_ids.add(initiator.app_id, (ticks, event_id, 0))
    if initiator.service_principal_id:
        parties.service_principal_ids.add(initiator.service_principal_id, (ticks, event_id, 0))
    for place, target in enumerate(targets):
        texts = map(kql.to_string, (target.id, target.type, target.display_name, target.user_principal_name))
        parties.targets.add(TargetResource(*map(_capped, texts)), (ticks, event_id, place))
    return parties


class Part:
    """One group of the rule's AccountMods: its times, and its earliest row's Activity."""

    def __init__(self, when: When, activity: Activity) -> None:
        self.first = (when, activity)
        self.last_ticks = when[0]

    def add(self, when: When, activity: Activity) -> None:
        """Take in a counted row."""
        self.first = min(self.first, (when, activity))
        self.last_ticks = max(self.last_ticks, when[0])


class Counted(NamedTuple):
    """A row of an event that counts: its place in the event, and the key that it is rare or known by."""

    place: int
    key: Key
    row: PropertyRow


class Candidate:
    """The events of one window that share the five columns RareAudits groups by.

    `events` counts them by the exclusion that takes them ("" for none) and by the properties that count in them: with
    the group's columns these give an event's keys, so that after the pass each event can be told rare or known.
    `gathered` is by key, as rows of one key are rare together or not at all: but for the by-property variant that is
    one for all properties, however many an event has.
    """

    def __init__(self) -> None:
        self.events: Counter[tuple[str, frozenset[str]]] = Counter()
        self.parts: dict[tuple[str, str, str], Part] = {}
        self.gathered: defaultdict[Key, Gathered] = defaultdict(Gathered)

    def add(self, event: AuditEvent, rows: list[Counted], parties: Gathered) -> None:
        """Take in an event's rows and its parties; the caller counts it in `events`."""
        ticks = event.ticks
        at = format_ticks(ticks)
        for place, key, row in rows:
            name = (event.type or "AuditLogs", event.category or "", row.name)
            when = (ticks, event.id or "", place)
            activity = Activity(row.name, row.new_value, event.id or "", event.correlation_id or "")
            self.parts.setdefault(name, Part(when, activity)).add(when, activity)
            self.gathered[key].add(_evidence(event, at, row), when)
        for key in {key for _, key, _ in rows}:
            self.gathered[key].merge(parties)

    def merge(self, other: "Candidate") -> None:
        """Take in all that another holds, as if it were of one key."""
        self.events.update(other.events)
        for name, part in other.parts.items():
            mine = self.parts.setdefault(name, part)
            mine.first = min(mine.first, part.first)
            mine.last_ticks = max(mine.last_ticks, part.last_ticks)
        for gathered in other.gathered.values():
            self.gathered[()].merge(gathered)


def _evidence(event: AuditEvent, at: str, row: PropertyRow) -> Evidence:
    return Evidence(
        time_generated=at,
        id=event.id or "",
        property_name=_capped(row.name),
        old_value=_capped(kql.to_string(row.source.old_value)),
        new_value=_capped(kql.to_string(row.source.new_value)),
        correlation_id=event.correlation_id or "",
        result=event.result or "",
    )


def _capped(text: str) -> str:
    return capped(text, TEXT_CAP)
