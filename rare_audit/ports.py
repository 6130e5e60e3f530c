"""What the job needs from the outside, as Protocols."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import msgspec

from rare_audit.detection.event import AuditEvent
from rare_audit.detection.funnel import Reading
from rare_audit.errors import RefusedError, ServiceError
from rare_audit.records import Delivery, KeptFinding, Progress, Run
from rare_audit.reporting.finding_rows import FindingRow
from rare_audit.reporting.incident import Incident


class ConflictError(ServiceError):
    """A row is not what the writer thought it was: somebody else wrote it first."""


class Clock(Protocol):
    """The time of day."""

    def now(self) -> datetime:
        """Return the time now, in UTC and aware of it."""
        ...


class EventSource(Protocol):
    """Where audit events come from."""

    def events(self, start: int, end: int) -> Iterator[AuditEvent]:
        """Yield the events with `start <= TimeGenerated < end` (ticks), in any order; more of them does no harm.

        Raises RareAuditError where not all of them can be had: a part is never passed off as the whole.
        """
        ...

    def reading(self) -> Reading:
        """Return what the last `events` made of its input, once it is exhausted."""
        ...

    def coverage(self, start: int, end: int) -> dict[str, int]:
        """Return how many records of any initiator each UTC day (`YYYY-MM-DD`) of a range (ticks) has.

        Days without any may be left out. Raises RareAuditError.
        """
        ...


class EventCounts(Protocol):
    """What the events of a source are checked against: numbers that don't come from the events that it gives."""

    def by_apps(self, start: int, end: int) -> dict[str, int]:
        """Return how many events by apps each UTC day (`YYYY-MM-DD`) of a range (ticks) has. Raises RareAuditError."""
        ...


class IncidentSink(Protocol):
    """Where analysts find incidents."""

    def deliver(self, incident: Incident, memo: str) -> str:
        """Bring an incident to where it belongs, or what is new in it; done twice, it is there once.

        Raises RefusedError for an incident that will not be taken for what it holds.

        `memo` is what the last delivery of this incident returned, "" for none or for one that was cut short before
        it was recorded. Returns this delivery's memo: what was written, in the sink's own words. Raises ServiceError.
        """
        ...

    @property
    def notes(self) -> Sequence[str]:
        """What was left out of all deliveries so far and why, each once."""
        ...

    @property
    def refused(self) -> int:
        """How many parts of incidents were refused for what they hold, in all deliveries so far."""
        ...


class Uploaded(msgspec.Struct, frozen=True):
    """How many rows were written at once, and the memo of all that is there since.

    `refused` are rows that were not taken for what they hold: texts that name each and say why.
    """

    rows: int
    memo: str
    refused: tuple[str, ...] = ()


class FindingSink(Protocol):
    """Where every finding is a row, besides all incidents: no choice and no roll-up stands between."""

    def upload(self, rows: Sequence[FindingRow], memo: str) -> Iterator[Uploaded]:
        """Write those of a day's rows that are new or have another revision; yield what to record after each part.

        `memo` is what was last recorded of this day, "" for nothing. A part that was written, yet not recorded, is
        written once more by whoever repeats it: the same id, the same revision. Raises ServiceError.
        """
        ...


Value = str | int | bool


class Entity(msgspec.Struct, frozen=True):
    """A row of a table: its two keys and flat values. `etag` is the version it was read as.

    `unreadable` says why there are no values of a row that is there, "" where it could be read.
    """

    partition: str
    row: str
    values: Mapping[str, Value]
    etag: str = ""
    unreadable: str = ""


class Table(Protocol):
    r"""A table as every backend can keep it: rows under two keys, each version with an etag.

    Keys are printable ASCII without `/ \\ # ? % '`, at most 256 characters; whoever makes keys of free text hashes it.
    """

    def get(self, partition: str, row: str) -> Entity | None:
        """Return a row, or None."""
        ...

    def put(self, entity: Entity, *, unless_changed: bool = False) -> Entity:
        """Write a whole row and return it with its new etag.

        With `unless_changed`, only if the stored row still has `entity.etag` ("" for: is not there); ConflictError
        where it has not.
        """
        ...

    def query(self, partition: str, *, first: str = "", last: str = "\x7f") -> Iterator[Entity]:
        """Yield a partition's rows with `first <= row <= last`, in order of their keys."""
        ...

    def delete(self, partition: str, row: str) -> None:
        """Remove a row; one that is not there is no error."""
        ...


class FindingStore(Protocol):
    """Findings, kept by rule and day."""

    def of_day(self, rule_id: str, day: str) -> tuple[KeptFinding, ...]:
        """Return all that is kept of a UTC day, withdrawn findings too, ordered by id."""
        ...

    def each(self, rule_id: str, day: str, after: str = "") -> Iterator[KeptFinding]:
        """Yield what `of_day` returns, of ids greater than `after`; no more is read than is taken."""
        ...

    def keep(self, kept: Iterable[KeptFinding]) -> Mapping[str, RefusedError]:
        """Write findings, each replacing what was kept under its id; return those refused for what they hold, by id.

        What is refused holds up no other. Raises ServiceError where that may be no fault of the finding.
        """
        ...


class RunStore(Protocol):
    """Runs, each under an id of its own. A row that can't be read is set aside."""

    def save(self, run: Run) -> None:
        """Write a run's row; ConflictError where somebody else wrote it since it was read or written here."""
        ...

    def get(self, run_id: str) -> Run | None:
        """Return a run, or None."""
        ...

    def latest(self, count: int) -> tuple[Run, ...]:
        """Return the last `count` runs that can be read, the latest first."""
        ...


class DryFindingStore(Protocol):
    """What dry runs found: apart from all that counts, and gone in a week."""

    def keep(self, run: Run, findings: Iterable[KeptFinding]) -> Mapping[str, RefusedError]:
        """Write a dry run's findings, as FindingStore does; done twice, they are there once."""
        ...

    def of_run(self, run_id: str) -> tuple[KeptFinding, ...]:
        """Return what a dry run found, ordered by id."""
        ...

    def each(self, run_id: str, after: str = "") -> Iterator[KeptFinding]:
        """Yield what `of_run` returns, of ids greater than `after`; no more is read than is taken."""
        ...


class ProgressStore(Protocol):
    """How far each rule is. Any number of processes may write it: no write takes another's back."""

    def get(self, rule_id: str) -> Progress:
        """Return how far a rule is; an empty one where nothing was ever due."""
        ...

    def begin(self, rule_id: str, day: str) -> Progress:
        """Make a day the first ever due, unless one is; return how far the rule is."""
        ...

    def change(self, rule_id: str, **fields: str) -> None:
        """Write some fields of a rule's Progress, and leave the others."""
        ...


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed: findings, deliveries, of which some never succeeded, and runs; and whether there is more."""

    findings: int
    deliveries: int
    undelivered: int
    runs: int
    more: bool


class Retention(Protocol):
    """What is kept for too long goes."""

    def sweep(self, before_day: str, dry_before_day: str) -> Swept:
        """Remove some of what belongs to UTC days before these, of all and of dry runs."""
        ...


class Watch(Protocol):
    """Who looks on from outside: how long a run and its phases take, and what came of it. It never fails."""

    def span(self, name: str, run: Run) -> AbstractContextManager[object]:
        """Return what is entered while a run, or a phase of it, goes on."""
        ...

    def ended(self, run: Run, undelivered: int | None = None) -> None:
        """Take note of a run that ended, and of how much it could not deliver, None where it did not come to that."""
        ...


class RunQueue(Protocol):
    """The messages that runs wait in, at least once delivered."""

    def send(self, run_id: str, delay: int = 0) -> None:
        """Send a message about a run, to be seen in `delay` seconds. Raises ServiceError."""
        ...


class Lease(Protocol):
    """The right to work on a rule, held by one run at a time."""

    def acquire(self, name: str, holder: str) -> None:
        """Take the lease, or take it over once it has expired; ConflictError while somebody else holds it."""
        ...

    def renew(self, name: str, holder: str) -> None:
        """Hold it for longer; ConflictError if it was lost."""
        ...

    def release(self, name: str, holder: str) -> None:
        """Give it up, if it is still held."""
        ...

    def is_held(self, name: str) -> bool:
        """Tell whether somebody holds it now."""
        ...


class DeliveryStore(Protocol):
    """Which incidents, and which days' findings, were delivered, and which are still to be."""

    def get(self, incident_id: str) -> Delivery | None:
        """Return the delivery of an incident, or of what else has such an id, or None."""
        ...

    def put(self, delivery: Delivery) -> None:
        """Write a delivery; ConflictError where somebody else wrote it since it was read or written here."""
        ...

    def pending(self, rule_id: str, sink: str = "") -> tuple[Delivery, ...]:
        """Return what is still to be delivered to a sink, as Delivery names it, ordered by day and incident."""
        ...

    def settle(self, rule_id: str) -> None:
        """Remove what says that something is pending which was delivered: a killed run may have left it so.

        For the holder of the rule's lease alone.
        """
        ...


class SetAside(Protocol):
    """Stored rows that could not be read, and were gone on without."""

    def notes(self) -> tuple[str, ...]:
        """Return what is to be said of them, nothing where there are none."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Stores:
    """All that is kept, in one place."""

    findings: FindingStore
    dry_findings: DryFindingStore
    runs: RunStore
    deliveries: DeliveryStore
    progress: ProgressStore
    lease: Lease
    retention: Retention
    set_aside: SetAside
