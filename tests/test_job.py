"""The job over real stores: what a run keeps, raises and says, and what a second one changes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rare_audit.detection.event import AuditEvent
from rare_audit.detection.funnel import Reading
from rare_audit.detection.ticks import TICKS_PER_DAY, day_ticks
from rare_audit.errors import InputError, ServiceError
from rare_audit.ports import ConflictError
from rare_audit.records import Run
from rare_audit.reporting.incident import Incident
from rare_audit.stores.deliveries import Deliveries
from rare_audit.stores.leases import Leases
from rare_audit.stores.runs import Runs
from tests.fakes import FailingTable, FixedClock, Killed
from tests.faults import Faults, Trouble
from tests.job_world import (
    LEASE,
    NOW,
    RULE,
    ListSource,
    RecordingSink,
    World,
    document,
    event,
    files,
    memo_of,
    stamps,
    titles,
    without_runs,
)

SUNDAY, MONDAY = "2026-03-15", "2026-03-16"
BACKUP = {"app_id": "a-backup", "principal": "p-backup"}
ANN = "ann@x.example"

KNOWN_BEFORE = event("2026-03-05T10:00:00Z", "Sync", "Update user", upn=ANN)
KNOWN = event(f"{SUNDAY}T10:00:00Z", "Sync", "Update user", upn=ANN)
CREDENTIAL = event(f"{SUNDAY}T03:00:00.1234567Z", "Backup", "Add credentials", **BACKUP)
CREDENTIAL_AGAIN = event(f"{SUNDAY}T03:00:09Z", "Backup", "Add credentials", value="newer", id="e2", **BACKUP)
OWNER = event(f"{SUNDAY}T04:00:00Z", "Backup", "Add owner", **BACKUP)
STRANGER = event(f"{MONDAY}T05:00:00Z", "Stranger", "Consent")
EXCLUDED = event(f"{MONDAY}T06:00:00Z", "Runbook", "Update group", group="Compliance-Reports")
EVENTS = [KNOWN_BEFORE, KNOWN, CREDENTIAL, OWNER, STRANGER, EXCLUDED]
TEACHES_OWNER = event("2026-03-10T04:00:00Z", "Backup", "Add owner", **BACKUP)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give a world in which two apps did something for the first time."""
    return World(tmp_path / "outbox", list(EVENTS))


# One run


def test_run_says_what_it_did(world: World) -> None:
    """The row holds the days, who asked, when it began and ended, and what it found and raised."""
    run = world.run(SUNDAY, MONDAY)
    assert (run.state, run.error, run.first_day, run.last_day) == ("done", "", SUNDAY, MONDAY)
    assert (run.asked_by, run.reason, run.rule_id) == ("test", "", RULE.id)
    assert run.started == run.ended == "2026-03-17T01:30:01+00:00"
    assert run.id.startswith("20260317T013001-")
    assert set(run.changes.new) == {one.finding.id for day in (SUNDAY, MONDAY) for one in world.kept(day).values()}
    assert (len(run.changes.new), run.changes.confirmed, run.changes.changed, run.changes.withdrawn) == (3, (), (), ())
    assert run.delivered == run.incidents == tuple(incident.id for incident in world.sink.calls)
    assert world.runs() == [run]
    assert Runs(world.table).get(run.id) == run


def test_reason_is_kept(world: World) -> None:
    """Why a run was asked for stands in its row."""
    run = world.job().run(SUNDAY, SUNDAY, asked_by="timer", reason="past due")
    assert (run.asked_by, run.reason) == ("timer", "past due")
    assert world.last_run() == run


def test_funnel(world: World) -> None:
    """A run counts every event, in sums that add up."""
    funnel = world.run(SUNDAY, MONDAY).funnel
    assert funnel is not None
    assert funnel.reading == Reading(events=6)
    assert (funnel.outside, funnel.baseline.events, funnel.baseline.combinations) == (0, 1, 1)
    current = funnel.current
    assert (current.events, current.app_initiated, current.known, current.rare, current.reported) == (5, 5, 1, 4, 3)
    assert sum(current.excluded.values()) == 1
    assert funnel.findings == 3


def test_fetches_once_with_the_whole_lookback(world: World) -> None:
    """The source is asked once, from fourteen days before the first day to the end of the last."""
    source = ListSource(world.events)
    world.run(SUNDAY, MONDAY, source=source)
    assert source.asked == [(day_ticks("2026-03-01"), day_ticks(MONDAY) + TICKS_PER_DAY)]


def test_findings_are_kept_with_their_incident(world: World) -> None:
    """Each finding is held, knows its run, and the incident it went into."""
    run = world.run(SUNDAY, MONDAY)
    sunday, monday = world.kept(SUNDAY), world.kept(MONDAY)
    assert (set(sunday), set(monday)) == ({"Add credentials", "Add owner"}, {"Consent"})
    assert all(one.held and one.first_run == one.last_run == run.id for one in (*sunday.values(), *monday.values()))
    assert sunday["Add credentials"].incident_id == sunday["Add owner"].incident_id == run.incidents[0]
    assert monday["Consent"].incident_id == run.incidents[1]


def test_incidents_reach_the_outbox(world: World) -> None:
    """One incident for each app and day, delivered once, with the findings it is made of."""
    run = world.run(SUNDAY, MONDAY)
    assert titles(world.sink.calls) == [
        "Rare activity by app Backup: Add credentials and 1 more",
        "Rare activity by app Stranger: Consent",
    ]
    written = {name: document(content) for name, content in world.outbox().items()}
    assert set(written) == {f"{day}/{id_}.json" for day, id_ in zip((SUNDAY, MONDAY), run.incidents, strict=True)}
    assert sorted(written.values(), key=lambda one: one.day) == world.sink.calls
    assert Deliveries(world.table).pending(RULE.id) == ()


def test_nothing_rare(world: World) -> None:
    """A day without a finding makes a run, and no incident."""
    run = world.run("2026-03-14")
    assert (run.state, run.changes.new, run.incidents, run.delivered) == ("done", (), (), ())
    assert world.sink.calls == []


def test_no_events_at_all(world: World) -> None:
    """A log in which apps did nothing is a run like any other; people did something."""
    run = world.run(SUNDAY, source=ListSource([]))
    assert (run.state, run.incidents, run.funnel and run.funnel.reading.events) == ("done", (), 0)


def test_yesterday(world: World) -> None:
    """Yesterday is the last UTC day that is over, at midnight's first moment too."""
    assert world.job().yesterday() == MONDAY
    world.clock = FixedClock(NOW.replace(hour=0, minute=0))
    assert world.job().yesterday() == MONDAY
    world.clock.advance(-0.000001)
    assert world.job().yesterday() == SUNDAY


# Another run of the same days


def test_again_changes_nothing(world: World) -> None:
    """Same days, same events: every row but the run's, and every file, stays; the sink is not called."""
    world.run(SUNDAY, MONDAY)
    rows, written = without_runs(world.table), stamps(world.home)
    versions = {key: world.table.get(*key) for key in rows}
    sink = RecordingSink(world.sink)
    run = world.run(SUNDAY, MONDAY, sink=sink)
    assert without_runs(world.table) == rows
    assert {key: world.table.get(*key) for key in rows} == versions
    assert stamps(world.home) == written
    assert sink.calls == []
    changes = run.changes
    assert (len(changes.confirmed), changes.new, changes.changed, changes.withdrawn) == (3, (), (), ())
    assert (len(run.incidents), run.delivered) == (2, ())


def test_again_writes_no_row_of_what_is_kept(world: World) -> None:
    """Counted at the table: a repeated run writes its own rows and the lease, no more."""
    world.run(SUNDAY, MONDAY)
    faults = Faults()
    world.run(SUNDAY, MONDAY, faults)
    puts = [name for name in faults.names if name in {"MemoryTable.put", "MemoryTable.delete"}]
    # the lease taken, renewed (for a batch of events and each day) and released; the run's index, first and last row;
    # and that it was a success
    assert len(puts) == 9


def test_order_of_events_does_not_matter(world: World, tmp_path: Path) -> None:
    """The same events the other way round end in the same state."""
    world.run(SUNDAY, MONDAY)
    turned = World(tmp_path / "turned", world.events[::-1])
    turned.run(SUNDAY, MONDAY)
    assert turned.state() == world.state()


def test_late_event(world: World) -> None:
    """An event that comes late changes its finding and its incident; the finding's first run stays."""
    first = world.run(SUNDAY, MONDAY)
    world.events.append(CREDENTIAL_AGAIN)
    second = world.run(SUNDAY, MONDAY)
    kept = world.kept(SUNDAY)["Add credentials"]
    assert second.changes.changed == (kept.finding.id,)
    assert (len(second.changes.confirmed), second.changes.new, second.changes.withdrawn) == (2, (), ())
    assert (kept.finding.events, kept.first_run, kept.last_run) == (2, first.id, second.id)
    assert second.delivered == (kept.incident_id,)
    assert second.incidents == first.incidents
    assert document(world.outbox()[f"{SUNDAY}/{kept.incident_id}.json"]).findings[0].events == 2


def test_late_finding_joins_its_incident(world: World) -> None:
    """A further finding of an app and day that has an incident makes no second one."""
    world.events.remove(OWNER)
    first = world.run(SUNDAY)
    world.events.append(OWNER)
    second = world.run(SUNDAY)
    assert second.incidents == second.delivered == first.incidents
    assert second.changes.new == (world.kept(SUNDAY)["Add owner"].finding.id,)
    assert len(files(world.home)) == 1


def test_withdrawn(world: World) -> None:
    """A finding that a late baseline event explains is kept, marked, and leaves its incident."""
    first = world.run(SUNDAY, MONDAY)
    world.events.append(TEACHES_OWNER)
    second = world.run(SUNDAY, MONDAY)
    gone = world.kept(SUNDAY)["Add owner"]
    assert second.changes.withdrawn == (gone.finding.id,)
    assert (gone.held, gone.first_run, gone.last_run) == (False, first.id, second.id)
    incident = document(world.outbox()[f"{SUNDAY}/{gone.incident_id}.json"])
    assert [one.operation_name for one in incident.findings] == ["Add credentials"]
    third = world.run(SUNDAY, MONDAY)
    assert third.changes.withdrawn == third.delivered == ()
    assert world.kept(SUNDAY)["Add owner"] == gone


def test_found_again(world: World) -> None:
    """What was withdrawn and is found again is held again, by its first run, in its old incident."""
    first = world.run(SUNDAY)
    before = world.outbox()
    world.events.append(TEACHES_OWNER)
    world.run(SUNDAY)
    world.events.remove(TEACHES_OWNER)
    third = world.run(SUNDAY)
    again = world.kept(SUNDAY)["Add owner"]
    assert third.changes.changed[-1:] == (again.finding.id,)
    assert third.changes.new == third.changes.withdrawn == ()
    assert (again.held, again.first_run, again.last_run) == (True, first.id, third.id)
    assert world.outbox() == before


def test_all_of_an_incident_withdrawn(world: World) -> None:
    """An incident without a finding left stays as it was delivered, and is not waited for."""
    world.run(MONDAY)
    before = stamps(world.home)
    world.events.remove(STRANGER)
    run = world.run(MONDAY)
    assert (len(run.changes.withdrawn), run.incidents, run.delivered, run.state) == (1, (), (), "done")
    assert stamps(world.home) == before
    assert Deliveries(world.table).pending(RULE.id) == ()


def test_memo_of_the_last_delivery(world: World) -> None:
    """The sink is handed what it returned when it last delivered this incident; a failure between changes nothing."""
    world.run(MONDAY)
    (first,) = world.sink.calls
    world.events.append(event(f"{MONDAY}T08:00:00Z", "Stranger", "Add owner"))
    world.sink.failing = {"Stranger"}
    with pytest.raises(ServiceError):
        world.run(MONDAY)
    with pytest.raises(Killed):
        world.run(MONDAY, sink=_DyingSink())
    world.clock.advance(LEASE.total_seconds())
    world.sink.failing = set()
    world.run(MONDAY)
    second = world.sink.calls[-1]
    delivery = Deliveries(world.table).get(first.id)
    assert second.id == first.id
    assert world.sink.memos == ["", memo_of(first), memo_of(first)]
    assert delivery is not None
    assert (delivery.memo, delivery.written, delivery.wanted) == (memo_of(second), second.digest, second.digest)


class _DyingSink:
    """ports.IncidentSink of a process that dies while it delivers."""

    notes: tuple[str, ...] = ()
    refused = 0

    def deliver(self, incident: Incident, memo: str) -> str:
        """Die."""
        raise Killed


def test_queued_incident_withdrawn_before_delivery(world: World) -> None:
    """An incident that could not be delivered, and whose findings are gone by then, is never delivered."""
    world.sink.failing = {"Stranger"}
    with pytest.raises(ServiceError):
        world.run(MONDAY)
    world.sink.failing, world.sink.calls = set(), []
    world.events.remove(STRANGER)
    run = world.run(MONDAY)
    assert (run.state, run.delivered, world.sink.calls, files(world.home)) == ("done", (), [], [])
    assert Deliveries(world.table).pending(RULE.id) == ()
    world.events.append(STRANGER)
    again = world.run(MONDAY)
    assert len(again.delivered) == len(files(world.home)) == 1


def test_many_days_equal_day_by_day(world: World, tmp_path: Path) -> None:
    """Days in one pass end like each day by itself, in any order."""
    days = ["2026-03-14", SUNDAY, MONDAY]
    world.events.append(event(f"{MONDAY}T03:00:00Z", "Backup", "Add credentials", **BACKUP))
    world.events.append(event("2026-03-14T23:59:59.9999999Z", "Stranger", "Consent", upn=ANN))
    world.run(days[0], days[-1])
    for name, order in (("forwards", days), ("backwards", days[::-1])):
        single = World(tmp_path / name, world.events)
        for day in order:
            single.run(day)
        assert single.state() == world.state()


def test_late_id_of_the_app(world: World) -> None:
    """A finding stays in the incident it was raised in, though an event that comes late tells an id of its app."""
    first = world.run(MONDAY)
    late = event(f"{MONDAY}T04:59:59Z", "Stranger", "Consent", principal="p-stranger", id="e0")
    world.events.append(late)
    second = world.run(MONDAY)
    kept = world.kept(MONDAY)["Consent"]
    assert kept.incident_id == first.incidents[0]
    assert second.incidents == second.delivered == first.incidents
    assert len(files(world.home)) == 1
    incident = document(world.outbox()[f"{MONDAY}/{kept.incident_id}.json"])
    assert incident.app.service_principal_id == "p-stranger"
    world.events.append(event(f"{MONDAY}T07:00:00Z", "Stranger", "Add owner", principal="p-stranger"))
    third = world.run(MONDAY)
    assert world.kept(MONDAY)["Consent"] == kept
    assert (third.delivered, len(files(world.home))) == ((world.kept(MONDAY)["Add owner"].incident_id,), 2)


# What goes wrong


def test_failed_run_says_why(world: World) -> None:
    """What the source can't give whole fails the run, whose row says so; nothing of it is kept or raised."""
    partial = ListSource(world.events, InputError("the answer is not whole"))
    with pytest.raises(InputError, match="the answer is not whole"):
        world.run(SUNDAY, MONDAY, source=partial)
    run = world.last_run()
    assert (run.state, run.error, run.ended) == ("failed", "the answer is not whole", "2026-03-17T01:30:01+00:00")
    assert (run.funnel, run.changes.new, run.incidents) == (None, (), ())
    assert without_runs(world.table) == {}
    assert world.sink.calls == []
    assert world.run(SUNDAY, MONDAY).state == "done"


def test_failed_run_gives_up_its_lease(world: World) -> None:
    """After a failure the next run need not wait."""
    with pytest.raises(ServiceError):
        world.run(SUNDAY, source=ListSource(world.events, ServiceError("no answer")))
    assert world.run(SUNDAY).state == "done"


def test_abandoned_run_is_closed(world: World) -> None:
    """A run that was killed is closed by the next, which says who took over; it is closed once."""
    with pytest.raises(Killed):
        world.run(SUNDAY, faults=Faults(40, Trouble.KILLED))
    abandoned = world.last_run()
    assert (abandoned.state, abandoned.ended) == ("running", "")
    world.clock.advance(LEASE.total_seconds())
    run = world.run(SUNDAY)
    closed = Runs(world.table).get(abandoned.id)
    assert closed is not None
    assert (closed.state, closed.ended, closed.error) == (
        "failed",
        run.started,
        f"was cut short; run {run.id} took over",
    )
    world.run(SUNDAY)
    assert Runs(world.table).get(abandoned.id) == closed


def test_runs_of_other_rules_are_left_alone(world: World) -> None:
    """A running run of another rule is not this one's to close."""
    other = Run(id="o", rule_id="other", first_day=SUNDAY, last_day=SUNDAY, asked_by="x", started=NOW.isoformat())
    Runs(world.table).save(other)
    world.run(SUNDAY)
    assert Runs(world.table).get("o") == other


def test_lease_held_by_another(world: World) -> None:
    """While another run is at work nothing is fetched, written or delivered."""
    Leases(world.table, world.clock, LEASE).acquire(RULE.id, "another run")
    before = world.table.contents()
    source = ListSource(world.events)
    counting = FailingTable(world.table)
    with pytest.raises(ConflictError, match="is held by another run until 2026-03-17 01:31:00 UTC"):
        world.run(SUNDAY, source=source, lease=Leases(counting, world.clock, LEASE))
    assert world.table.contents() == before
    assert (source.asked, world.sink.calls, counting.written) == ([], [], 0)


class _Overtaken(ListSource):
    """A source that is slow: before it is done, the lease has expired and another run has come and gone."""

    def __init__(self, world: World, *, reading: bool) -> None:
        super().__init__([one for one in world.events if one is not CREDENTIAL_AGAIN])
        self._world = world
        self._reading = reading

    def _overtaken(self) -> None:
        self._world.clock.advance(LEASE.total_seconds() + 1)
        self._world.run(SUNDAY)

    def events(self, start: int, end: int) -> Iterator[AuditEvent]:
        """Yield what was there before the other run."""
        if not self._reading:
            self._overtaken()
        yield from super().events(start, end)

    def reading(self) -> Reading:
        """Return that all was read."""
        if self._reading:
            self._overtaken()
        return super().reading()


def _overtaken(world: World, *, reading: bool) -> dict[str, Any]:
    """Run a job that another one overtakes, which has seen a later event; return what that other one left."""
    left = World(world.home.parent / "left", [*world.events, CREDENTIAL_AGAIN])
    left.run(SUNDAY)
    world.events.append(CREDENTIAL_AGAIN)
    with pytest.raises(ConflictError):
        world.run(SUNDAY, source=_Overtaken(world, reading=reading))
    return left.state()


def test_lease_lost_while_reading(world: World) -> None:
    """A run that was overtaken while it read writes nothing any more; its row is left to the run that took over."""
    state = _overtaken(world, reading=False)
    assert world.state() == state
    slow, quick = world.runs()
    assert (quick.state, slow.state, slow.error) == ("done", "failed", f"was cut short; run {quick.id} took over")


def test_lease_lost_at_the_end_of_reading(world: World) -> None:
    """The same where the time passes after the last batch of events: what the other run kept is not undone."""
    state = _overtaken(world, reading=True)
    assert world.state() == state


def test_one_incident_fails(world: World) -> None:
    """The others are delivered; the run fails and says which text came back; the next delivers just that one."""
    world.sink.failing = {"Backup"}
    with pytest.raises(ServiceError, match="could not be delivered and stay queued: no room for Backup"):
        world.run(SUNDAY, MONDAY)
    failed = world.last_run()
    assert (failed.state, len(failed.incidents), len(failed.delivered)) == ("failed", 2, 1)
    assert failed.error.endswith("no room for Backup")
    assert len(failed.changes.new) == 3
    assert failed.funnel is not None
    assert [document(content).app.name for content in world.outbox().values()] == ["Stranger"]
    world.sink.failing, world.sink.calls = set(), []
    run = world.run(SUNDAY, MONDAY)
    assert (run.state, titles(world.sink.calls)) == (
        "done",
        ["Rare activity by app Backup: Add credentials and 1 more"],
    )
    assert set(failed.delivered) | set(run.delivered) == set(run.incidents)


def test_what_another_day_left_is_delivered(world: World) -> None:
    """A run delivers whatever is queued, of other days too."""
    world.sink.failing = {"Backup"}
    with pytest.raises(ServiceError):
        world.run(SUNDAY)
    world.sink.failing, world.sink.calls = set(), []
    run = world.run(MONDAY)
    assert [incident.app.name for incident in world.sink.calls] == [
        "Stranger",
        "Backup",
    ]  # what failed before comes last
    assert (len(run.incidents), len(run.delivered)) == (1, 2)


# Days that can't be run


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        ("yesterday", SUNDAY, "days are written YYYY-MM-DD"),
        (SUNDAY, "2026-02-30", "days are written YYYY-MM-DD"),
        ("", "", "days are written YYYY-MM-DD"),
        (f"{SUNDAY}T00:00:00", SUNDAY, "days are written YYYY-MM-DD"),
        (" 2026-03-15", SUNDAY, "days are written YYYY-MM-DD"),
        (MONDAY, SUNDAY, "2026-03-15 is before 2026-03-16"),
        ("2026-02-12", "2026-03-15", "2026-02-12 to 2026-03-15 are more than 31 days"),
        (MONDAY, "2026-03-17", "2026-03-17 is not over yet"),
        ("2026-04-01", "2026-04-01", "2026-04-01 is not over yet"),
    ],
)
def test_days_that_are_refused(world: World, first: str, last: str, told: str) -> None:
    """Malformed, backwards, too many, not over yet: refused before anything is written."""
    with pytest.raises(InputError, match=told):
        world.run(first, last)
    assert world.table.contents() == {}


@pytest.mark.parametrize("first", ["20260315", "2026-W11-7", "2026W117"])
def test_other_spellings_of_a_day(world: World, first: str) -> None:
    """A day is YYYY-MM-DD and nothing else, as days are compared and kept as text."""
    with pytest.raises(InputError, match="YYYY-MM-DD"):
        world.run(first, MONDAY)


def test_most_days(world: World) -> None:
    """Thirty-one days are not too many."""
    run = world.run("2026-02-14", MONDAY)
    assert (run.state, len(run.changes.new)) == ("done", 4)
