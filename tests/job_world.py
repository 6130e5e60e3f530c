"""A small world for the job: events in a list, a table in memory, a clock that is told the time, an outbox folder."""

import json
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

from rare_audit.detection.event import AuditEvent, decode_event
from rare_audit.detection.funnel import Reading
from rare_audit.detection.ticks import TICKS_PER_DAY, format_day
from rare_audit.dispatch import Dispatch
from rare_audit.errors import RareAuditError, RefusedError, ServiceError
from rare_audit.job import Job, Options
from rare_audit.ports import Clock, Entity, IncidentSink, Stores, Table
from rare_audit.records import KeptFinding, Run
from rare_audit.reporting.incident import Incident
from rare_audit.rules import load_exclusions, load_rule
from rare_audit.sinks.outbox import Outbox
from rare_audit.stores import stores_on
from rare_audit.stores.deliveries import Deliveries
from rare_audit.stores.findings import Findings
from rare_audit.stores.runs import Runs
from tests.fakes import FixedClock, ListQueue, MemoryTable
from tests.faults import Faults, failing

RULE: Final = load_rule()
EXCLUSIONS: Final = load_exclusions()
LEASE: Final = timedelta(seconds=60)
NOW: Final = datetime(2026, 3, 17, 1, 30, tzinfo=UTC)
RUN_ID: Final = re.compile(r"\d{8}T\d{6}-[0-9a-f]{12}")


def event(time: str, app: str, operation: str, **more: str) -> AuditEvent:
    """Return an event in which an app set a property; `more`: upn, target, value, app_id, principal, group, id."""
    initiator = {"displayName": app, "appId": more.get("app_id"), "servicePrincipalId": more.get("principal")}
    target = {
        "id": "t1",
        "type": "User",
        "displayName": more.get("target", "Payroll"),
        "userPrincipalName": more.get("upn"),
        "modifiedProperties": [
            {"displayName": "KeyDescription", "oldValue": "[]", "newValue": json.dumps([more.get("value", "new")])}
        ],
    }
    row = {
        "TimeGenerated": time,
        "OperationName": operation,
        "Category": "ApplicationManagement",
        "Id": more.get("id", "e1"),
        "CorrelationId": "c1",
        "Result": "success",
        "ResourceGroup": more.get("group", "Microsoft.aadiam"),
        "InitiatedBy": {"app": initiator},
        "TargetResources": [target],
        "Type": "AuditLogs",
    }
    return decode_event(json.dumps(row))


class ListSource:
    """ports.EventSource over a list; `failure` is raised once all but the last event were given.

    Every day had records, if only of people, but for the `silent` ones.
    """

    def __init__(
        self, events: Iterable[AuditEvent], failure: RareAuditError | None = None, silent: Iterable[str] = ()
    ) -> None:
        self._events = list(events)
        self._failure = failure
        self.silent = set(silent)
        self.asked: list[tuple[int, int]] = []

    def events(self, start: int, end: int) -> Iterator[AuditEvent]:
        """Yield the events of that time."""
        self.asked.append((start, end))
        those = [one for one in self._events if start <= one.ticks < end]
        if self._failure:
            yield from those[:-1]
            raise self._failure
        yield from those

    def coverage(self, start: int, end: int) -> dict[str, int]:
        """Return that every day had a record, but for those in `silent`."""
        days = (format_day(ticks) for ticks in range(start, end, TICKS_PER_DAY))
        return {day: 1 for day in days if day not in self.silent}

    def reading(self) -> Reading:
        """Return that all was read."""
        start, end = self.asked[-1]
        return Reading(events=sum(start <= one.ticks < end for one in self._events))


class RecordingSink:
    """ports.IncidentSink that notes each call and hands it on.

    Incidents about `failing` apps fail, those about `refusing` ones are refused for what they hold,
    and all where the identity is `denied`.
    """

    def __init__(self, sink: IncidentSink, failing: Iterable[str] = ()) -> None:
        self._sink = sink
        self.failing = set(failing)
        self.refusing: set[str] = set()
        self.denied = False
        self.notes: list[str] = []
        self.refused = 0
        self.calls: list[Incident] = []
        self.memos: list[str] = []

    def deliver(self, incident: Incident, memo: str) -> str:
        """Hand an incident on; the memo says what was delivered."""
        self.calls.append(incident)
        self.memos.append(memo)
        if incident.app.name in self.failing:
            raise ServiceError(f"no room for {incident.app.name}")
        if self.denied:
            raise RefusedError("the identity needs a role", 403)
        if incident.app.name in self.refusing:
            raise RefusedError(f"what is said of {incident.app.name} is malformed", 400)
        self._sink.deliver(incident, memo)
        return memo_of(incident)


def memo_of(incident: Incident) -> str:
    """Return the memo that a recording sink gives of an incident."""
    return f"delivered {incident.digest}"


@dataclass
class World:
    """All that outlives a run."""

    home: Path
    events: list[AuditEvent] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)
    options: Options = field(default_factory=Options)
    table: MemoryTable = field(default_factory=MemoryTable)
    queue: ListQueue = field(default_factory=ListQueue)
    clock: FixedClock = field(default_factory=lambda: FixedClock(NOW))
    sink: RecordingSink = field(init=False)

    def __post_init__(self) -> None:
        """Set up the outbox."""
        self.sink = RecordingSink(Outbox(self.home))

    def copied(self, home: Path) -> "World":
        """Return another world in the same state, its outbox at `home`; its sink has no history."""
        other = World(home, list(self.events), table=self.table.empty(), clock=FixedClock(self.clock.now()))
        other.sink.refusing = set(self.sink.refusing)
        for (partition, row), values in self.table.contents().items():
            other.table.put(Entity(partition, row, values))
        if self.home.exists():
            shutil.copytree(self.home, home)
        return other

    def job(self, faults: Faults | None = None, **parts: Any) -> Job:
        """Return the job on real stores, every port behind `faults`; `parts` replace some, of the stores too."""
        faults = faults or Faults()
        table: Table = failing(self.table, faults)
        clock: Clock = failing(self.clock, faults)
        kept = {name: parts.pop(name) for name in Stores.__slots__ if name in parts}
        ports: dict[str, Any] = {
            "rule": RULE,
            "exclusions": EXCLUSIONS,
            "source": failing(ListSource(self.events, silent=self.silent), faults),
            "options": self.options,
            "stores": replace(stores_on(table, clock, LEASE), **kept),
            "sink": failing(self.sink, faults),
            "clock": clock,
        }
        return Job(**(ports | parts))

    def dispatch(self, **parts: Any) -> Dispatch:
        """Return what takes requests for the job, with the defaults of its settings."""
        return Dispatch(self.job(**parts), self.queue, catch_up_days=14, late_days=2)

    def run(self, first_day: str, last_day: str = "", faults: Faults | None = None, **parts: Any) -> Run:
        """Run the job once, a second after whatever came before."""
        self.clock.advance(1)
        return self.job(faults, **parts).run(first_day, last_day or first_day, asked_by="test")

    def kept(self, day: str) -> dict[str, KeptFinding]:
        """Return what is kept of a day, by operation."""
        return {one.finding.operation_name: one for one in Findings(self.table).of_day(RULE.id, day)}

    def last_run(self) -> Run:
        """Return the run that started last."""
        return Runs(self.table).latest(1)[0]

    def runs(self) -> list[Run]:
        """Return all runs, the first one first."""
        return list(reversed(Runs(self.table).latest(1_000)))

    def outbox(self) -> dict[str, bytes]:
        """Return every file of the outbox with its content."""
        return {str(path.relative_to(self.home)): path.read_bytes() for path in files(self.home)}

    def state(self, earlier: Iterable[str] = ()) -> dict[str, Any]:
        """Return what must not depend on what runs went through.

        That is all rows of findings and deliveries, what is pending, and the outbox. Run ids are told apart
        only as `earlier` or later ones. Left out are runs, the lease, and markers that are seen through.
        """
        known = set(earlier)
        rows = {key: _rows(values, known) for key, values in self.table.contents().items() if _lasting(key[0])}
        return {"rows": rows, "pending": Deliveries(self.table).pending(RULE.id), "outbox": self.outbox()}


def files(folder: Path) -> list[Path]:
    """Return every file below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def stamps(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Return every file below a folder with its time of modification and its content."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files(folder)}


def without_runs(table: MemoryTable) -> dict[Any, Any]:
    """Return a table's rows, those of runs and of the lease left out."""
    return {
        key: values
        for key, values in table.contents().items()
        if key[0] not in {"runs", "run-ids", "leases", "progress"}
    }


def titles(incidents: Iterable[Incident]) -> list[str]:
    """Return what incidents are called."""
    return [incident.title for incident in incidents]


def document(content: bytes) -> Incident:
    """Read an incident back from the outbox."""
    return msgspec.json.decode(content, type=Incident)


def _lasting(partition: str) -> bool:
    return partition == "deliveries" or partition.startswith(("findings.", "parts."))


def _rows(values: dict[str, str | int | bool], earlier: set[str]) -> dict[str, str | int | bool]:
    def told(found: re.Match[str]) -> str:
        return "an earlier run" if found[0] in earlier else "a later run"

    return {name: RUN_ID.sub(told, value) if isinstance(value, str) else value for name, value in values.items()}
