"""Every finding as a row of a table: queued, uploaded, recorded; apart from incidents, and as hard to disturb."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from rare_audit.errors import ServiceError
from rare_audit.job import Options
from rare_audit.job.delivery import MOST_FAILURES
from rare_audit.job.uploads import SINK, Uploads
from rare_audit.ports import Uploaded
from rare_audit.records import Delivery
from rare_audit.reporting.finding_rows import FindingRow
from rare_audit.stores import stores_on
from rare_audit.stores.bodies import BODY
from rare_audit.stores.deliveries import Deliveries
from tests.builders import delivery
from tests.fakes import Killed
from tests.faults import Faults, Trouble, failing
from tests.job_world import LEASE, RULE, World, event

DAY: Final = "2026-03-15"
NEXT: Final = "2026-03-16"
BEFORE: Final = event("2026-03-05T10:00:00Z", "Sync", "Update user")
FIRST: Final = [event(f"{DAY}T0{n}:00:00Z", f"App {n}", "Consent", principal=f"p{n}", id=f"e{n}") for n in range(1, 6)]
EVENTS: Final = [BEFORE, *FIRST, event(f"{NEXT}T05:00:00Z", "Stranger", "Consent")]
LATER: Final = [
    *EVENTS,
    event(f"{DAY}T01:30:00Z", "App 1", "Consent", principal="p1", id="e9"),
    event("2026-03-10T04:00:00Z", "App 2", "Consent", principal="p2"),
    event(f"{DAY}T11:00:00Z", "App 6", "Consent", principal="p6"),
]
"""With these, of what was found on the first day one changes, one is withdrawn, and one is new."""


class RecordingTable:
    """ports.FindingSink that notes each row, two at a time; the part of number `failing` (from 1) is refused."""

    def __init__(self, rows: Sequence[FindingRow] = (), failing: int = 0) -> None:
        self.rows = list(rows)
        self.failing = failing
        self._parts = 0

    def upload(self, rows: Sequence[FindingRow], memo: str) -> Iterator[Uploaded]:
        """Note rows that the memo does not name."""
        told = dict(json.loads(memo)) if memo else {}
        due = [row for row in rows if told.get(row.finding_id) != row.revision]
        for at in range(0, len(due), 2):
            self._parts += 1
            if self._parts == self.failing:
                raise ServiceError("no room for rows")
            part = due[at : at + 2]
            self.rows += part
            told |= {row.finding_id: row.revision for row in part}
            yield Uploaded(len(part), json.dumps(told))

    def apps(self) -> list[str]:
        """Return the apps of the rows, as they came."""
        return [str(row.values["AppName"]) for row in self.rows]

    def collapsed(self) -> dict[tuple[str, str], dict[str, Any]]:
        """Return the rows by id and revision, runs left out."""
        return {
            (row.finding_id, row.revision): {name: value for name, value in row.values.items() if name != "RunId"}
            for row in self.rows
        }


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world with five apps that did something new on the first day, and one on the next."""
    return World(tmp_path, list(EVENTS))


def _pending(world: World) -> tuple[Delivery, ...]:
    return Deliveries(world.table).pending(RULE.id, SINK)


def _all(world: World) -> list[Delivery]:
    rows = (str(values[BODY]) for key, values in world.table.contents().items() if key[0] == "deliveries")
    return [one for one in (msgspec.json.decode(row, type=Delivery) for row in rows) if one.sink == SINK]


def test_every_finding_is_a_row(world: World) -> None:
    """Of both days, beside their incidents; the run counts them, and nothing stays queued."""
    table = RecordingTable()
    run = world.run(DAY, NEXT, table=table)
    assert (run.state, run.uploaded, len(run.delivered)) == ("done", 6, 6)
    assert sorted(table.apps()) == [*(f"App {n}" for n in range(1, 6)), "Stranger"]
    assert {row.values["RunId"] for row in table.rows} == {run.id}
    assert {row.values["IncidentId"] for row in table.rows} == set(run.incidents)
    assert _pending(world) == ()
    assert [row.values["Coverage"] for row in table.rows] == ["14 of 14 days had data"] * 6


def test_without_incidents(world: World) -> None:
    """The table alone: no incident is queued for a day on which there is a sink for them."""
    run = world.run(DAY, sink=None, table=RecordingTable())
    assert (run.uploaded, run.incidents, world.sink.calls) == (5, (), [])
    assert Deliveries(world.table).pending(RULE.id) == ()


@pytest.mark.parametrize("options", [Options(max_incidents=1), Options(min_days=14)], ids=["flood", "degraded"])
def test_no_choice_stands_between(options: Options, world: World) -> None:
    """Of a flood, or with a baseline too thin to raise incidents, every finding is in the table all the same."""
    world.options, world.silent = options, {"2026-03-05"}
    table = RecordingTable()
    run = world.run(DAY, table=table)
    assert run.uploaded == len(table.rows) == 5
    assert len(world.sink.calls) == options.max_incidents % 50 + 1


def test_nothing_twice(world: World) -> None:
    """Days that are run again upload nothing, and write no row of theirs."""
    table = RecordingTable()
    world.run(DAY, NEXT, table=table)
    before = [values for key, values in world.table.contents().items() if key[0] == "deliveries"]
    run = world.run(DAY, NEXT, table=table)
    assert (run.uploaded, len(table.rows)) == (0, 6)
    assert [values for key, values in world.table.contents().items() if key[0] == "deliveries"] == before


def test_changed_withdrawn_and_new(world: World) -> None:
    """What changed goes again with another revision, what is new goes, what was withdrawn is left as it was told."""
    table = RecordingTable()
    world.run(DAY, table=table)
    told = len(table.rows)
    world.events = list(LATER)
    run = world.run(DAY, table=table)
    assert (len(run.changes.changed), len(run.changes.withdrawn), len(run.changes.new)) == (1, 1, 1)
    assert sorted(table.apps()[told:]) == ["App 1", "App 6"]
    first, second = (row for row in table.rows if row.values["AppName"] == "App 1")
    assert first.finding_id == second.finding_id
    assert first.revision != second.revision
    assert (first.values["Events"], second.values["Events"]) == (1, 2)
    assert _pending(world) == ()


def test_withdrawn_before_it_went(world: World) -> None:
    """What was withdrawn before it could be uploaded is never told."""
    with pytest.raises(ServiceError):
        world.run(DAY, table=RecordingTable(failing=1))
    world.events = list(LATER)
    table = RecordingTable()
    world.run(DAY, table=table)
    assert sorted(table.apps()) == ["App 1", "App 3", "App 4", "App 5", "App 6"]


def test_failure_stays_queued(world: World) -> None:
    """What failed is said, what went before is recorded, and the next run of whatever day uploads the rest."""
    table = RecordingTable(failing=2)
    with pytest.raises(
        ServiceError, match="findings of 1 days could not be uploaded and stay queued: no room for rows"
    ):
        world.run(DAY, table=table)
    run = world.last_run()
    assert (run.state, run.uploaded, len(run.delivered)) == ("failed", 2, 5)
    (queued,) = _pending(world)
    assert (queued.day, queued.sink) == (DAY, SINK)
    run = world.run(NEXT, table=table)
    assert (run.state, run.uploaded, len(table.rows)) == ("done", 4, 6)
    assert len(table.collapsed()) == 6


def test_both_sinks_fail(world: World) -> None:
    """A run says of both what failed; neither keeps the other from what it can do."""
    world.sink.failing = {"App 1"}
    with pytest.raises(ServiceError) as raised:
        world.run(DAY, NEXT, table=RecordingTable(failing=1))
    assert str(raised.value) == (
        "1 incidents could not be delivered and stay queued: no room for App 1; "
        "findings of 1 days could not be uploaded and stay queued: no room for rows"
    )
    run = world.last_run()
    assert (len(run.delivered), run.uploaded) == (5, 1)


class AbsentTable:
    """ports.FindingSink that is away; counts who asks."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def upload(self, rows: Sequence[FindingRow], memo: str) -> Iterator[Uploaded]:
        """Refuse."""
        self.asked.append(str(rows[0].values["Day"]))
        raise ServiceError("away")
        yield  # a generator, as the real one


def test_away(world: World) -> None:
    """A service that is away is asked for some days and no more; those that failed come last, and none is lost."""
    days = [f"2026-03-{day:02d}" for day in range(3, 3 + MOST_FAILURES + 2)]
    world.events = [event(f"{day}T05:00:00Z", f"App {day}", "Consent", principal=f"p{day}") for day in days]
    away = AbsentTable()
    for _ in range(2):
        with pytest.raises(ServiceError, match="could not be uploaded"):
            world.run(days[0], days[-1], table=away)
    assert away.asked == [*days[:MOST_FAILURES], *days[MOST_FAILURES:], *days[: MOST_FAILURES - 2]]
    table = RecordingTable()
    assert world.run(days[0], days[-1], table=table).uploaded == len(table.rows) == len(days)
    assert {each.failures for each in _all(world)} == {0}


def test_switched_off_and_on(world: World) -> None:
    """What is queued for the table waits while it is switched off, and no incident is made of it."""
    with pytest.raises(ServiceError):
        world.run(DAY, table=RecordingTable(failing=1))
    run = world.run(DAY)
    assert (run.state, run.delivered, len(_pending(world))) == ("done", (), 1)
    table = RecordingTable()
    world.run(NEXT, table=table)
    assert len(table.rows) == 6


def test_switched_on_later(world: World) -> None:
    """Days that were run without a table are uploaded once they are run again."""
    world.run(DAY, NEXT)
    table = RecordingTable()
    run = world.run(DAY, table=table)
    assert (run.changes.new, run.delivered, run.uploaded) == ((), (), 5)


def test_deliveries_of_before_can_be_read(world: World) -> None:
    """A delivery that an earlier version wrote is one of an incident."""
    deliveries = Deliveries(world.table)
    deliveries.put(delivery(rule_id=RULE.id))
    (key,) = [key for key in world.table.contents() if key[0] == "deliveries"]
    row = world.table.get(*key)
    assert row is not None
    old = json.loads(str(row.values[BODY]))
    del old["sink"]
    world.table.put(type(row)(*key, {BODY: json.dumps(old)}))
    assert deliveries.pending(RULE.id) == (delivery(rule_id=RULE.id),)
    assert deliveries.pending(RULE.id, SINK) == ()


def test_quiet_day(world: World) -> None:
    """A day without findings leaves no trace."""
    Uploads(RULE, stores_on(world.table, world.clock, LEASE)).queue("2026-03-14")
    assert world.table.contents() == {}


@pytest.mark.parametrize("trouble", [Trouble.KILLED, Trouble.UNANSWERED], ids=lambda trouble: trouble.name.lower())
def test_any_call(trouble: Trouble, tmp_path: Path) -> None:
    """Disturbed at every call to any port and repeated: rows collapse to those of an undisturbed run, all recorded."""
    start, told = World(tmp_path / "start", list(EVENTS)), RecordingTable()
    start.run("2026-03-14", DAY, table=told)
    start.events = list(LATER)
    undisturbed, expected, faults = start.copied(tmp_path / "undisturbed"), RecordingTable(told.rows), Faults()
    undisturbed.run(DAY, NEXT, faults, table=failing(expected, faults))
    assert "RecordingTable.upload step" in faults.names
    for at in range(1, faults.calls + 1):
        world, table, trial = start.copied(tmp_path / f"{at}"), RecordingTable(told.rows), Faults(at, trouble)
        with suppress(Killed, ServiceError):
            world.run(DAY, NEXT, trial, table=failing(table, trial))
        world.clock.advance(LEASE.total_seconds())
        assert world.run(DAY, NEXT, table=table).state == "done"
        assert table.collapsed() == expected.collapsed(), f"call {at}"
        assert len(table.rows) <= len(expected.rows) + 2, f"call {at}: at most one part is there twice"
        assert world.state() == undisturbed.state(), f"call {at}"
        assert _pending(world) == ()
