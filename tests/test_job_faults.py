"""The job, disturbed at every single call to any port and repeated, ends as if undisturbed."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from rare_audit.errors import ServiceError
from rare_audit.records import Changes
from rare_audit.stores.runs import Runs
from tests.fakes import Killed, RefusingTable
from tests.faults import Faults, Trouble
from tests.job_world import LEASE, World, event

FIRST, LAST = "2026-03-15", "2026-03-16"
ANN = "ann@x.example"
BACKUP: Final = {"app_id": "a-backup", "principal": "p-backup"}
LATE_LESSON: Final = event("2026-03-10T04:00:00Z", "Backup", "Add owner", **BACKUP)
LATE_EVENT: Final = event(f"{FIRST}T02:00:00Z", "Nameless", "Consent", principal="p-nameless", id="e0")
EVENTS: Final = [
    event("2026-03-05T10:00:00Z", "Sync", "Update user", upn=ANN),
    event(f"{FIRST}T10:00:00Z", "Sync", "Update user", upn=ANN),
    event(f"{FIRST}T03:00:00.1234567Z", "Backup", "Add credentials", **BACKUP),
    event(f"{FIRST}T04:00:00Z", "Backup", "Add owner", **BACKUP),
    event(f"{FIRST}T05:00:00Z", "Nameless", "Consent"),
    event(f"{LAST}T05:00:00Z", "Stranger", "Consent"),
    event(f"{LAST}T06:00:00Z", "Runbook", "Update group", group="Compliance-Reports"),
]
LATER_EVENTS: Final = [*EVENTS, LATE_LESSON, LATE_EVENT]
"""With these, of what an earlier run found one is confirmed, one changed (its app's id is told now), one withdrawn."""


def _empty_start(home: Path) -> World:
    return World(home, list(EVENTS))


def _overlapping_start(home: Path) -> World:
    """Give a world in which an overlapping span was run before two more events came."""
    world = World(home, list(EVENTS))
    world.run("2026-03-14", FIRST)
    world.events = list(LATER_EVENTS)
    return world


def _failed_start(home: Path) -> World:
    """Give a world in which an earlier run could not deliver an incident, and two more events came since."""
    world = World(home, list(EVENTS))
    world.sink.failing = {"Nameless"}
    with pytest.raises(ServiceError):
        world.run("2026-03-14", FIRST)
    world.sink.failing = set()
    world.events = list(LATER_EVENTS)
    return world


def _refusing_start(home: Path) -> World:
    """Give a world whose store never takes one finding, and whose sink never takes one incident."""
    world = World(home, list(EVENTS), table=RefusingTable("Add owner"))
    world.sink.refusing = {"Nameless"}
    return world


STARTS: Final = {
    "empty": _empty_start,
    "overlapping": _overlapping_start,
    "failed": _failed_start,
    "refusing": _refusing_start,
}
RAISED: Final = {"empty": 3, "overlapping": 3, "failed": 3, "refusing": 2}
"""How many incidents there are in the end."""


@dataclass(frozen=True)
class _Undisturbed:
    """A start, and what an undisturbed run makes of it."""

    start: World
    earlier: list[str]
    state: dict[str, Any]
    calls: int
    changes: Changes


def _undisturbed(name: str, folder: Path) -> _Undisturbed:
    start = STARTS[name](folder / "start")
    earlier = [run.id for run in start.runs()]
    world, faults = start.copied(folder / "undisturbed"), Faults()
    run = world.run(FIRST, LAST, faults)
    assert run.state == "done"
    return _Undisturbed(start, earlier, world.state(earlier), faults.calls, run.changes)


def _disturbed(start: World, home: Path, at: int, trouble: Trouble) -> World:
    """Run into trouble at a call, wait, run again; return the world."""
    world = start.copied(home)
    try:
        ended = world.run(FIRST, LAST, Faults(at, trouble))
    except Killed:
        assert trouble is Trouble.KILLED
    except ServiceError:
        assert trouble is not Trouble.KILLED
    else:  # what fails once it is over, giving up the lease or removing what is old, is no failure of a run
        assert trouble is not Trouble.KILLED
        assert ended.state == "done"
    world.clock.advance(LEASE.total_seconds())
    run = world.run(FIRST, LAST)
    assert (run.state, run.error) == ("done", "")
    return world


@pytest.mark.parametrize("trouble", Trouble, ids=lambda trouble: trouble.name.lower())
@pytest.mark.parametrize("name", STARTS)
def test_any_call(name: str, trouble: Trouble, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Findings, app days, deliveries, what is pending, and every byte of the outbox are equal for every call.

    And of the runs that kept all they found, one tells each finding as new, and no two do.
    """
    expected = _undisturbed(name, tmp_path)
    assert (len(expected.state["outbox"]), expected.state["pending"]) == (RAISED[name], ())
    record_property("fault points", expected.calls)
    assert expected.calls > 80
    for at in range(1, expected.calls + 1):
        world = _disturbed(expected.start, tmp_path / f"{at}", at, trouble)
        assert world.state(expected.earlier) == expected.state, f"call {at}"
        _assert_runs_ended(world)
        assert _told(world, expected, "new") == sorted(expected.changes.new), f"call {at}"


def _told(world: World, expected: _Undisturbed, kind: str) -> list[str]:
    """Return which findings the runs that kept all tell as changed in some way, those of earlier runs left out."""
    done = [run for run in world.runs() if run.kept and run.id not in expected.earlier]
    return sorted(id_ for run in done for id_ in getattr(run.changes, kind))


@pytest.mark.parametrize("name", STARTS)
def test_killed_twice(name: str, tmp_path: Path) -> None:
    """A run that is to mend what a killed one left may be killed as well."""
    expected = _undisturbed(name, tmp_path)
    for at in range(1, expected.calls + 1):
        world = expected.start.copied(tmp_path / f"{at}")
        for again in (at, at * 7 % expected.calls + 1):
            with suppress(Killed):  # the second run may have fewer calls to make
                world.run(FIRST, LAST, Faults(again, Trouble.KILLED))
            world.clock.advance(LEASE.total_seconds())
        world.run(FIRST, LAST)
        assert world.state(expected.earlier) == expected.state, f"call {at}"


def _assert_runs_ended(world: World) -> None:
    """No run is left running, and each that failed says why."""
    for run in world.runs():
        assert run.state in {"done", "failed"}
        assert bool(run.error) == (run.state == "failed")


def test_changed_and_withdrawn_are_told_by_a_run_that_ends_well(tmp_path: Path) -> None:
    """The same for findings that changed or were withdrawn."""
    expected = _undisturbed("overlapping", tmp_path)
    assert expected.changes.changed
    assert expected.changes.withdrawn
    for at in range(1, expected.calls + 1):
        world = _disturbed(expected.start, tmp_path / f"{at}", at, Trouble.KILLED)
        assert _told(world, expected, "changed") == sorted(expected.changes.changed), f"call {at}"
        assert _told(world, expected, "withdrawn") == sorted(expected.changes.withdrawn), f"call {at}"


def test_every_port_is_met(tmp_path: Path) -> None:
    """The calls that are disturbed are those of the table, the source and each of its events, the sink, the clock."""
    faults = Faults()
    _overlapping_start(tmp_path).run(FIRST, LAST, faults)
    assert set(faults.names) == {
        "MemoryTable.get",
        "MemoryTable.put",
        "MemoryTable.query",
        "MemoryTable.query step",
        "MemoryTable.delete",
        "ListSource.coverage",
        "ListSource.events",
        "ListSource.events step",
        "ListSource.reading",
        "RecordingSink.deliver",
        "FixedClock.now",
    }


def test_outage_says_why_once_it_is_over(tmp_path: Path) -> None:
    """A failure that could be written down stands in the run's row, in one line."""
    world = World(tmp_path, list(EVENTS))
    with pytest.raises(ServiceError):
        world.run(FIRST, LAST, Faults(60, Trouble.REFUSED))
    run = world.last_run()
    assert run.state == "failed"
    assert run.error.startswith("call 60, ")
    assert run.ended
    assert Runs(world.table).get(run.id) == run
