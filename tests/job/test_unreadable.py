"""A run that could read little or nothing is no success: it fails, or says so, and withdraws nothing."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from rare_audit.detection.event import AuditEvent
from rare_audit.detection.funnel import Reading
from rare_audit.errors import ServiceError
from rare_audit.job.planning import bounds, new_run
from rare_audit.job.sight import MOST_LOST
from tests.job_world import RULE, ListSource, World, event

SUNDAY, MONDAY = "2026-03-15", "2026-03-16"
FOUND: Final = [
    event(f"{SUNDAY}T03:00:00Z", "Backup", "Add credentials", principal="p-backup"),
    event(f"{SUNDAY}T04:00:00Z", "Stranger", "Consent", principal="p-stranger", id="e2"),
]
Damage = Callable[[AuditEvent], AuditEvent | None]
ALL: Final = 10_000


def _ordinary(day: str, count: int) -> list[AuditEvent]:
    """Return events of a day, and one before that makes them known."""
    return [
        event(f"{each}T10:00:00Z", "Sync", "Update user", upn="ann@x.example", id=f"{each}-{number}")
        for each in ("2026-03-05", day)
        for number in range(count)
    ]


class DamagedSource(ListSource):
    """A source of which some events come damaged, or can't be read and are counted: the first `most` of a day."""

    def __init__(self, events: list[AuditEvent], damage: Damage, *, most: int = ALL, day: str = "2026") -> None:
        super().__init__(events)
        self._damage = damage
        self._most = most
        self._day = day
        self._lost = 0

    def events(self, start: int, end: int) -> Iterator[AuditEvent]:
        """Yield the events, damaged."""
        self._lost, left = 0, self._most
        for one in super().events(start, end):
            if not left or not one.time_generated.startswith(self._day):
                yield one
                continue
            left -= 1
            damaged = self._damage(one)
            self._lost += damaged is None
            if damaged is not None:
                yield damaged

    def reading(self) -> Reading:
        """Return that those were not read."""
        read = super().reading().events - self._lost
        return Reading(events=read, unreadable={"no time": self._lost} if self._lost else {})


class Silent(DamagedSource):
    """A source whose lost events are in no count: they are just not there."""

    def reading(self) -> Reading:
        """Return that all was read."""
        return Reading(events=super().reading().events)


def _lost(_: AuditEvent) -> None:
    return None


def _nobody(one: AuditEvent) -> AuditEvent:
    return msgspec.structs.replace(one, initiated_by=None)


def _cut_off(one: AuditEvent) -> AuditEvent:
    return msgspec.structs.replace(one, target_resources=json.dumps(one.target_resources)[:100])


class Counted:
    """ports.EventCounts of a list."""

    def __init__(self, events: list[AuditEvent]) -> None:
        self._events = events

    def by_apps(self, start: int, end: int) -> dict[str, int]:
        """Return how many there are a day: apps started them all."""
        days = [one.time_generated[:10] for one in self._events if start <= one.ticks < end]
        return {day: days.count(day) for day in days}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give a world after a good run, which found two things."""
    world = World(tmp_path / "outbox", list(FOUND))
    assert len(world.run(SUNDAY).changes.new) == 2
    return world


def _rerun(world: World, source: ListSource, **more: Any) -> Any:
    return world.run(SUNDAY, source=source, counts=Counted(world.events), **more)


def _held(world: World) -> list[bool]:
    return [one.held for one in world.kept(SUNDAY).values()]


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(lambda events: DamagedSource(events, _lost), id="every row unreadable"),
        pytest.param(lambda events: Silent(events, _lost), id="no row though there are some"),
        pytest.param(lambda events: Silent(events, _nobody), id="no initiator"),
    ],
)
def test_nothing_read_is_a_failure(source: Callable[[list[AuditEvent]], ListSource], world: World) -> None:
    """The run fails, says how many are missing, and what was found stays as it was."""
    with pytest.raises(
        ServiceError, match=r"2 of 2 events by apps could not be read \(.+\); nothing is left to look at"
    ):
        _rerun(world, source(world.events))
    assert world.last_run().state == "failed"
    assert _held(world) == [True, True]


@pytest.mark.parametrize("wrong", ["every row unreadable", "no row"])
def test_files_are_checked_without_counts(wrong: str, world: World) -> None:
    """A source that can't count apart from its events is believed where it says that it has none, and no further."""
    if wrong == "no row":
        run = world.run(SUNDAY, source=Silent(world.events, _lost))
        assert (run.state, run.unreadable) == ("done", 0)
        return
    with pytest.raises(ServiceError, match="nothing is left to look at"):
        world.run(SUNDAY, source=DamagedSource(world.events, _lost))


def test_targets_cut_off_are_noted(world: World) -> None:
    """Where TargetResources is not whole, a few events are a note: counted, and nothing is withdrawn."""
    run = _rerun(world, DamagedSource(world.events, _cut_off))
    assert (run.state, run.unreadable, run.changes.withdrawn) == ("done", 2, ())
    reason = "TargetResources is not a JSON array of objects"
    expected = f"2 of 2 events by apps could not be read ({reason}); nothing is withdrawn on {SUNDAY}"
    assert run.notes == (expected,)
    assert _held(world) == [True, True]


def test_many_targets_cut_off_are_a_failure(world: World) -> None:
    """Past a small share the run says nothing of a day that it hardly saw."""
    world.events += _ordinary(SUNDAY, MOST_LOST)
    known_elsewhere = DamagedSource(world.events, _cut_off, day=SUNDAY)
    with pytest.raises(ServiceError, match=r"12 of 22 events .* that is too much to say what was not done"):
        _rerun(world, known_elsewhere)
    assert _held(world) == [True, True]


@pytest.mark.parametrize("source", [DamagedSource, Silent])
def test_a_small_share_is_noted(source: type[DamagedSource], world: World) -> None:
    """Ten events of many: the run is done, and nothing is withdrawn on their day."""
    world.events[2:] = _ordinary(SUNDAY, 30)
    run = _rerun(world, source(world.events, _lost, most=MOST_LOST, day=SUNDAY))
    assert (run.state, run.unreadable, run.changes.withdrawn) == ("done", MOST_LOST, ())
    assert run.notes[0].endswith(f"nothing is withdrawn on {SUNDAY}")
    assert _held(world) == [True, True]


@pytest.mark.parametrize(("lost", "fails"), [(60, False), (61, True)])
def test_where_a_share_is_too_large(lost: int, fails: bool, world: World) -> None:
    """Of 1,200 events five in a hundred may be unreadable."""
    world.events = _ordinary(SUNDAY, 600)
    source = Silent(world.events, _lost, most=lost, day=SUNDAY)
    if fails:
        with pytest.raises(ServiceError, match="61 of 1,200 events by apps"):
            _rerun(world, source)
    else:
        assert _rerun(world, source).unreadable == 60


def test_an_empty_day_is_a_failure(world: World) -> None:
    """However few events it has: none of them read is not a quiet day."""
    world.events += [*_ordinary(SUNDAY, 30), event(f"{MONDAY}T05:00:00Z", "Nameless", "Consent")]
    source = Silent(world.events, _lost, day=MONDAY)
    with pytest.raises(ServiceError, match=f"none at all on {MONDAY}, where there are 1: nothing is changed"):
        world.run(SUNDAY, MONDAY, source=source, counts=Counted(world.events))


def test_other_days_are_withdrawn_from(world: World) -> None:
    """What is missing of one day says nothing of another."""
    world.events += [event(f"{MONDAY}T05:00:00Z", "Nameless", "Consent"), *_ordinary(MONDAY, 30)]
    world.run(MONDAY)
    there = list(world.events)
    del world.events[0]  # Backup's credentials are gone for good
    source = Silent(world.events, _lost, most=1, day=f"{MONDAY}T05")
    run = world.run(SUNDAY, MONDAY, source=source, counts=Counted(world.events))
    assert (run.unreadable, len(run.changes.withdrawn)) == (1, 1)
    assert [one.held for one in world.kept(MONDAY).values()] == [True]
    assert len(there) == len(world.events) + 1


def test_more_events_than_were_counted(world: World) -> None:
    """Events that came since they were counted are no fault."""
    run = world.run(SUNDAY, source=ListSource(world.events), counts=Counted(world.events[:1]))
    assert (run.state, run.unreadable, run.notes) == ("done", 0, ())


def test_a_dry_run_of_bounds_is_checked(world: World) -> None:
    """They cut days, so that all of the range is counted together."""
    now = world.clock.now()
    wanted = bounds(f"{SUNDAY}T02:00:00Z", f"{SUNDAY}T12:00:00Z", now)
    run = new_run(RULE.id, wanted, now, asked_by="test", dry_run=True)
    job = world.job(source=Silent(world.events, _lost), counts=Counted(world.events))
    with pytest.raises(ServiceError, match="2 of 2 events by apps"):
        job.do(run)
