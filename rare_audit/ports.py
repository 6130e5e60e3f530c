"""What the job needs from the outside, as Protocols, and the values that cross them."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Protocol

import msgspec

from rare_audit.detection.event import AuditEvent
from rare_audit.detection.finding import Finding
from rare_audit.detection.funnel import Funnel, Reading
from rare_audit.errors import ServiceError
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


class IncidentSink(Protocol):
    """Where analysts find incidents."""

    def deliver(self, incident: Incident, memo: str) -> str:
        """Bring an incident to where it belongs, or what is new in it; done twice, it is there once.

        `memo` is what the last delivery of this incident returned, "" for none or for one that was cut short before
        it was recorded. Returns this delivery's memo: what was written, in the sink's own words. Raises ServiceError.
        """
        ...


Value = str | int | bool


class Entity(msgspec.Struct, frozen=True):
    """A row of a table: its two keys and flat values. `etag` is the version it was read as."""

    partition: str
    row: str
    values: Mapping[str, Value]
    etag: str = ""


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


class KeptFinding(msgspec.Struct, frozen=True, rename="camel"):
    """A finding as it is kept: `held` turns false when a later run of its day no longer finds it.

    `first_run` found it, `last_run` is the last that changed it; runs that only confirm it leave no trace here.
    """

    finding: Finding
    incident_id: str
    held: bool
    first_run: str
    last_run: str


class Changes(msgspec.Struct, frozen=True):
    """What a run changed among the kept findings of its days: ids of findings."""

    new: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()


class FindingStore(Protocol):
    """Findings, kept by rule and day."""

    def of_day(self, rule_id: str, day: str) -> tuple[KeptFinding, ...]:
        """Return all that is kept of a UTC day, withdrawn findings too, ordered by id."""
        ...

    def keep(self, kept: Iterable[KeptFinding]) -> None:
        """Write findings, each replacing what was kept under its id."""
        ...


class Run(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One run of the job over whole UTC days, both ends included. `state` is running, done or failed."""

    id: str
    rule_id: str
    first_day: str
    last_day: str
    asked_by: str
    reason: str = ""
    state: str = "running"
    started: str
    ended: str = ""
    error: str = ""
    funnel: Funnel | None = None
    changes: Changes = Changes()
    incidents: tuple[str, ...] = ()
    delivered: tuple[str, ...] = ()


class RunStore(Protocol):
    """Runs, each under an id of its own."""

    def save(self, run: Run) -> None:
        """Write a run's row."""
        ...

    def get(self, run_id: str) -> Run | None:
        """Return a run, or None."""
        ...

    def latest(self, count: int) -> tuple[Run, ...]:
        """Return the last `count` runs, the latest first."""
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


class Delivery(msgspec.Struct, frozen=True, rename="camel"):
    """An incident on its way: `wanted` is the digest to be delivered, `written` the one last delivered.

    `memo` is what the sink returned for that last delivery.
    """

    incident_id: str
    rule_id: str
    day: str
    wanted: str
    written: str = ""
    memo: str = ""

    @property
    def pending(self) -> bool:
        """Whether what was last delivered is not what should be."""
        return self.wanted != self.written


class DeliveryStore(Protocol):
    """Which incidents were delivered, and which are still to be."""

    def get(self, incident_id: str) -> Delivery | None:
        """Return the delivery of an incident, or None."""
        ...

    def put(self, delivery: Delivery) -> None:
        """Write a delivery."""
        ...

    def pending(self, rule_id: str) -> tuple[Delivery, ...]:
        """Return what is still to be delivered, ordered by day and incident."""
        ...
