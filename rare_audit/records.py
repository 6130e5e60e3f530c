"""What is kept between runs, as values: findings, runs, deliveries, and how far the days are done."""

from enum import StrEnum

import msgspec

from rare_audit.detection.finding import Finding
from rare_audit.detection.funnel import Funnel
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.incident import Incident


class KeptFinding(msgspec.Struct, frozen=True, rename="camel"):
    """A finding as it is kept: `held` turns false when a later run of its day no longer finds it.

    `first_run` found it, `last_run` is the last that changed it; runs that only confirm it leave no trace here.
    `coverage` is the health of the baseline it was held against.
    """

    finding: Finding
    incident_id: str
    held: bool
    first_run: str
    last_run: str
    coverage: Coverage = Coverage()


class Changes(msgspec.Struct, frozen=True):
    """What a run changed among the kept findings of its days: ids of findings."""

    new: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    withdrawn: tuple[str, ...] = ()

    def by_id(self) -> dict[str, str]:
        """Return what became of each finding, by its id."""
        return {id_: kind for kind in self.__struct_fields__ for id_ in getattr(self, kind)}


class State(StrEnum):
    """How a run stands. Done and no data are ends at which all that was found is kept, and told."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    NO_DATA = "no-data"
    """Done, but the workspace has no event at all on the last days: those stay due."""
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether nothing more will become of such a run."""
        return self not in {State.QUEUED, State.RUNNING}


class Run(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One run of the job over whole UTC days, both ends included. Instants are ISO 8601, durations seconds.

    A dry run finds and tells, and changes nothing; alone it may have bounds of its own, `start` and `end`, which lie
    within its days. `started` is when it was asked for, until it is taken up. `queued` tells when a message was sent
    for it, "" where it runs at once, or where that is not sure; `attempts` counts how often it was taken up since.
    `resumes` is the first day not yet done when the timer asked, "" for who else did. `kept` says that all it found is
    kept and queued, so that its changes have been told, even where a delivery failed. `delivered` are incidents,
    `uploaded` counts rows of findings. `refused` counts what a service would not take for what it holds: notes name it,
    and all else went on. `unreadable` counts events that should have been read and could not be.
    `lookback_days` are those of its rule then, 0 until it looked at any.
    `activity` tells for each day from the first of its lookback on, by a 1 or 0, whether an app with findings did
    anything that counts: under the start of the SHA-256 of its name, and under "" for all apps together.
    """

    id: str
    rule_id: str
    first_day: str
    last_day: str
    start: str = ""
    end: str = ""
    dry_run: bool = False
    asked_by: str
    reason: str = ""
    resumes: str = ""
    queued: str = ""
    state: State = State.RUNNING
    attempts: int = 0
    started: str
    ended: str = ""
    error: str = ""
    kept: bool = False
    notes: tuple[str, ...] = ()
    coverage: dict[str, int] = {}
    degraded: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    funnel: Funnel | None = None
    changes: Changes = Changes()
    incidents: tuple[str, ...] = ()
    delivered: tuple[str, ...] = ()
    uploaded: int = 0
    refused: int = 0
    unreadable: int = 0
    timings: dict[str, float] = {}
    lookback_days: int = 0
    activity: dict[str, str] = {}


class Progress(msgspec.Struct, frozen=True, rename="camel"):
    """How far a rule's days are done: `first` is the first day ever due, `due` the first that is not done yet.

    `last_success` is when a run up to yesterday last ended well, ISO 8601, "" for never. `silent_since` is the day from
    which on AuditLogs has been told to be silent, "" while it speaks.
    """

    rule_id: str
    first: str = ""
    due: str = ""
    last_success: str = ""
    silent_since: str = ""


class Delivery(msgspec.Struct, frozen=True, rename="camel"):
    """An incident on its way: `wanted` is the digest to be delivered, `written` the one last delivered.

    `memo` is what the sink returned for that last delivery, `failures` how many tries failed since. `notice` is the
    incident itself where it is not made of findings that are kept. `sink` is "" for incidents, and else names where all
    findings of the day are on their way to, together, under an id of their own. `refused` is the digest that the sink
    would not take for what it holds.
    """

    incident_id: str
    rule_id: str
    day: str
    wanted: str
    written: str = ""
    memo: str = ""
    notice: Incident | None = None
    failures: int = 0
    sink: str = ""
    refused: str = ""

    @property
    def pending(self) -> bool:
        """Whether what was last delivered is not what should be, nor was refused."""
        return self.wanted not in {self.written, self.refused}


class RunFinding(msgspec.Struct, frozen=True, rename="camel"):
    """A finding of a run: what the run did to it, as Changes names it, and how it is kept now."""

    change: str
    kept: KeptFinding
