"""What is kept of current events until it is known whether their combination is rare."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any, Final, Generic, NamedTuple, TypeVar

from rare_audit.detection import kql
from rare_audit.detection.event import AuditEvent, Initiator, Target
from rare_audit.detection.finding import Activity, Evidence, TargetResource
from rare_audit.detection.rows import PropertyRow
from rare_audit.detection.ticks import format_ticks

EVIDENCE_CAP: Final = 50
"""How many distinct property changes, targets and ids a finding keeps, the earliest ones."""
TEXT_CAP: Final = 2_000
"""How many characters of an old or new value a finding keeps."""

T = TypeVar("T", bound=Any)
Key = tuple[str, ...]
"""The columns by which a row is known or rare."""
When = tuple[int, str, int]
"""Where a row stands in time: its ticks, the event's Id, the row's place in the event. Ties end there."""


class Earliest(Generic[T]):
    """The distinct values met first, up to a cap, whatever order they are added in."""

    def __init__(self) -> None:
        # Up to twice the cap, so that one sort removes as many as the cap: adding is cheap whatever the order.
        self._when: dict[T, When] = {}
        self._last: tuple[When, T] | None = None
        """The latest value that the last sort left: what is later than it can't be among the earliest any more."""
        self._cut = False

    @property
    def cut(self) -> bool:
        """Whether there were more values than the cap."""
        return self._cut or len(self._when) > EVIDENCE_CAP

    def add(self, value: T, when: When) -> None:
        """Take a value in, unless as many earlier ones are held."""
        known = self._when.get(value)
        if known is not None and known <= when:
            return
        if self._last is not None and (when, value) > self._last:
            return
        self._when[value] = when
        if len(self._when) >= 2 * EVIDENCE_CAP:
            self._cut = True
            self._when = {value: when for when, value in self._sorted()}
            self._last = next((when, value) for value, when in reversed(self._when.items()))

    def merge(self, other: "Earliest[T]") -> None:
        """Take in all that another holds."""
        self._cut |= other._cut  # noqa: SLF001  (its own class)
        for value, when in other._when.items():  # noqa: SLF001  (its own class)
            self.add(value, when)

    def values(self) -> tuple[T, ...]:
        """Return the values, the earliest first."""
        return tuple(value for _, value in self._sorted())

    def _sorted(self) -> list[tuple[When, T]]:
        return sorted((when, value) for value, when in self._when.items())[:EVIDENCE_CAP]


class Gathered:
    """What an analyst needs beside the rule's columns, the earliest first."""

    def __init__(self) -> None:
        self.evidence: Earliest[Evidence] = Earliest()
        self.app_ids: Earliest[str] = Earliest()
        self.service_principal_ids: Earliest[str] = Earliest()
        self.targets: Earliest[TargetResource] = Earliest()

    @property
    def cut(self) -> bool:
        """Whether a cap left anything out."""
        return self.evidence.cut or self.app_ids.cut or self.service_principal_ids.cut or self.targets.cut

    def merge(self, other: "Gathered") -> None:
        """Take in all that another holds."""
        self.evidence.merge(other.evidence)
        self.app_ids.merge(other.app_ids)
        self.service_principal_ids.merge(other.service_principal_ids)
        self.targets.merge(other.targets)


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
            self.gathered[key].evidence.add(_evidence(event, at, row), when)
        for key in {key for _, key, _ in rows}:
            self.gathered[key].merge(parties)


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
    return text if len(text) <= TEXT_CAP else f"{text[:TEXT_CAP]}… ({len(text) - TEXT_CAP} characters more)"
