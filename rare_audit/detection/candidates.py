"""What is kept of current events until it is known whether their combination is rare."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, Generic, TypeVar

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
When = tuple[int, str, int]
"""Where a row stands in time: its ticks, the event's Id, the row's place in the event. Ties end there."""


class Earliest(Generic[T]):
    """The distinct values met first, up to a cap, whatever order they are added in."""

    def __init__(self) -> None:
        self._when: dict[T, When] = {}
        self.cut = False

    def add(self, value: T, when: When) -> None:
        """Take a value in, unless as many earlier ones are held; then, or when it displaces one, `cut` is set."""
        known = self._when.get(value)
        if known is not None and known <= when:
            return
        self._when[value] = when
        if len(self._when) > EVIDENCE_CAP:
            self.cut = True
            _, latest = max((when, value) for value, when in self._when.items())
            del self._when[latest]

    def merge(self, other: "Earliest[T]") -> None:
        """Take in all that another holds."""
        self.cut |= other.cut
        for value, when in other._when.items():  # noqa: SLF001  (its own class)
            self.add(value, when)

    def values(self) -> tuple[T, ...]:
        """Return the values, the earliest first."""
        return tuple(value for _, value in sorted((when, value) for value, when in self._when.items()))


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

    def add_parties(self, event: AuditEvent, initiator: Initiator, targets: Iterable[Target]) -> None:
        """Take in who acted in an event, and on what."""
        ticks, event_id = event.ticks, event.id or ""
        if initiator.app_id:
            self.app_ids.add(initiator.app_id, (ticks, event_id, 0))
        if initiator.service_principal_id:
            self.service_principal_ids.add(initiator.service_principal_id, (ticks, event_id, 0))
        for place, target in enumerate(targets):
            texts = map(kql.to_string, (target.id, target.type, target.display_name, target.user_principal_name))
            self.targets.add(TargetResource(*map(_capped, texts)), (ticks, event_id, place))

    def merge(self, other: "Gathered") -> None:
        """Take in all that another holds."""
        self.evidence.merge(other.evidence)
        self.app_ids.merge(other.app_ids)
        self.service_principal_ids.merge(other.service_principal_ids)
        self.targets.merge(other.targets)


class Part:
    """One group of the rule's AccountMods: its times, its earliest row's Activity, and what was gathered of it."""

    def __init__(self, when: When, activity: Activity) -> None:
        self.first = (when, activity)
        self.last_ticks = when[0]
        self.gathered = Gathered()

    def add(self, when: When, activity: Activity) -> None:
        """Take in a counted row."""
        self.first = min(self.first, (when, activity))
        self.last_ticks = max(self.last_ticks, when[0])


class Candidate:
    """The events of one window that share the five columns RareAudits groups by.

    `events` counts them by the exclusion that takes them ("" for none) and by the properties that count in them: with
    the group's columns these give an event's keys, so that after the pass each event can be told rare or known.
    """

    def __init__(self) -> None:
        self.events: Counter[tuple[str, frozenset[str]]] = Counter()
        self.parts: dict[tuple[str, str, str], Part] = {}

    def add(
        self, event: AuditEvent, rows: list[tuple[int, PropertyRow]], initiator: Initiator, targets: list[Target]
    ) -> None:
        """Take in an event's counted rows, each with its place in the event; the caller counts it in `events`."""
        touched: dict[tuple[str, str, str], Part] = {}
        ticks = event.ticks
        for place, row in rows:
            name = (event.type or "AuditLogs", event.category or "", row.name)
            when = (ticks, event.id or "", place)
            activity = Activity(row.name, row.new_value, event.id or "", event.correlation_id or "")
            part = touched[name] = self.parts.setdefault(name, Part(when, activity))
            part.add(when, activity)
            part.gathered.evidence.add(_evidence(event, row), when)
        for part in touched.values():
            part.gathered.add_parties(event, initiator, targets)


def _evidence(event: AuditEvent, row: PropertyRow) -> Evidence:
    return Evidence(
        time_generated=format_ticks(event.ticks),
        id=event.id or "",
        property_name=_capped(row.name),
        old_value=_capped(kql.to_string(row.source.old_value)),
        new_value=_capped(kql.to_string(row.source.new_value)),
        correlation_id=event.correlation_id or "",
        result=event.result or "",
    )


def _capped(text: str) -> str:
    return text if len(text) <= TEXT_CAP else f"{text[:TEXT_CAP]}… ({len(text) - TEXT_CAP} characters more)"
