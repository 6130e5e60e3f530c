"""From timers, messages and requests to runs: nothing asked for is lost, and nothing is done twice."""

import json
import logging
from pathlib import Path
from typing import Final

import msgspec
import pytest

from rare_audit.dispatch import BusyError
from rare_audit.errors import ServiceError
from rare_audit.job.planning import bounds, whole_days
from rare_audit.ports import Entity
from rare_audit.records import Run, State
from rare_audit.stores.leases import Leases
from rare_audit.stores.progress import ProgressRows
from rare_audit.stores.runs import Runs
from tests.fakes import FailingTable, Killed
from tests.faults import Faults, Trouble, failing
from tests.job_world import LEASE, NOW, RULE, ListSource, World, event

SATURDAY, SUNDAY, MONDAY = "2026-03-14", "2026-03-15", "2026-03-16"
DAY: Final = 86_400


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give a world in which two apps did something for the first time, on two days."""
    events = [
        event(f"{SUNDAY}T03:00:00Z", "Backup", "Add credentials", principal="p-backup"),
        event(f"{MONDAY}T05:00:00Z", "Stranger", "Consent"),
    ]
    return World(tmp_path / "outbox", events)


def _ask(world: World, first: str = SUNDAY, last: str = MONDAY) -> Run:
    return world.dispatch().ask(whole_days(first, last, NOW), asked_by="http", reason="why not")


def _take(world: World, run: Run) -> Run | None:
    return world.dispatch().take(json.dumps({"run": run.id}))


def _stored(world: World, run: Run) -> Run:
    found = Runs(world.table).get(run.id)
    assert found is not None
    return found


# Asked for by people


def test_ask_and_take(world: World) -> None:
    """A run that is asked for waits in its row and in a message; taken, it is done."""
    run = _ask(world)
    assert (run.state, run.asked_by, run.reason, run.queued) == (State.QUEUED, "http", "why not", run.started)
    assert _stored(world, run) == run
    assert world.queue.sent == [(run.id, 0)]
    done = _take(world, run)
    assert done is not None
    assert (done.id, done.state, len(done.changes.new)) == (run.id, State.DONE, 2)
    assert _stored(world, run) == done


def test_row_before_message(world: World) -> None:
    """A message is never about a run that is not there; one that can't be sent closes the run and is told."""
    world.queue.broken = True
    with pytest.raises(ServiceError, match="the queue is away"):
        _ask(world)
    run = world.last_run()
    assert (run.state, run.error) == (State.FAILED, "the queue is away")


def test_message_twice(world: World) -> None:
    """Delivered again, when the run has ended, nothing is done."""
    run = _ask(world)
    done = _take(world, run)
    calls = len(world.sink.calls)
    assert _take(world, run) == done
    assert len(world.sink.calls) == calls


def test_lease_held(world: World) -> None:
    """The message goes back with a delay, and the run waits on; once the lease is free it is done."""
    run = _ask(world)
    lease = Leases(world.table, world.clock, LEASE)
    lease.acquire(RULE.id, "another")
    assert _take(world, run) is None
    assert world.queue.sent[1:] == [(run.id, 60)]
    assert _stored(world, run).state is State.QUEUED
    lease.release(RULE.id, "another")
    assert (_take(world, run) or run).state is State.DONE


def test_two_messages_at_once(world: World) -> None:
    """While one attempt at a run is at work, another of the same run goes back like any other."""
    run = _ask(world)
    met = []

    class Meeting(ListSource):
        """A source during which the same message comes again."""

        def reading(self):  # type: ignore[no-untyped-def]  # ports.EventSource's
            """Take the message a second time."""
            met.append(_take(world, run))
            return super().reading()

    done = world.dispatch(source=Meeting(world.events)).take(json.dumps({"run": run.id}))
    assert met == [None]
    assert world.queue.sent[1:] == [(run.id, 60)]
    assert (done or run).state is State.DONE
    assert _take(world, run) == done


def test_failure_is_recorded(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A run that fails says why, in its row and the log; its message is done with."""
    run = _ask(world)
    source = ListSource(world.events, ServiceError("no answer"))
    ended = world.dispatch(source=source).take(json.dumps({"run": run.id}))
    assert ended == _stored(world, run)
    assert (ended.state, ended.error) == (State.FAILED, "no answer") if ended else False
    assert f"run {run.id} failed: no answer" in caplog.text


def test_failure_that_could_not_be_recorded(world: World) -> None:
    """While the store is away the message has to come again: the error is raised, and the run is not ended."""
    run = _ask(world)
    with pytest.raises(ServiceError):
        world.dispatch(faults=Faults(9, Trouble.OUTAGE)).take(json.dumps({"run": run.id}))
    assert not _stored(world, run).state.ended
    world.clock.advance(LEASE.total_seconds())
    assert (_take(world, run) or run).state is State.DONE


@pytest.mark.parametrize("at", range(3, 60, 4))
def test_killed_and_delivered_again(world: World, at: int) -> None:
    """A run killed while it was at work is taken up under its own id once its lease ran out, and ends well."""
    run = _ask(world)
    with pytest.raises(Killed):
        world.dispatch(faults=Faults(at)).take(json.dumps({"run": run.id}))
    if _take(world, run) is None:
        world.clock.advance(LEASE.total_seconds())
        assert (_take(world, run) or run).state is State.DONE
    assert [(one.id, one.state, len(one.changes.new)) for one in world.runs()] == [(run.id, State.DONE, 2)]


def test_cut_short_run_is_left_to_its_message(world: World) -> None:
    """Another run that comes first does not close it: its message is still to come."""
    run = _ask(world)
    with pytest.raises(Killed):
        world.dispatch(faults=Faults(20)).take(json.dumps({"run": run.id}))
    world.clock.advance(LEASE.total_seconds())
    world.run(SATURDAY)
    assert _stored(world, run).state is State.RUNNING
    assert (_take(world, run) or run).state is State.DONE


@pytest.mark.parametrize(
    "message", ["", "{}", "[]", '{"run": 7}', '{"run": "gone"}', "\udcff", '{"run": "a/b#c?"}', "[" * 30_000]
)
def test_messages_about_nothing(world: World, message: str, caplog: pytest.LogCaptureFixture) -> None:
    """A message that names no run that is kept is dropped, and the log says so without its text."""
    with caplog.at_level(logging.WARNING):
        assert world.dispatch().take(message) is None
        assert world.dispatch().poisoned(message) is None
    assert "dropped" in caplog.text
    assert world.queue.sent == []


def test_taken_up_too_often(world: World) -> None:
    """A run that takes its process with it each time is given up after five, however its messages came."""
    run = _ask(world)
    for _ in range(5):
        with pytest.raises(Killed):
            world.dispatch(faults=Faults(20)).take(json.dumps({"run": run.id}))
        assert _take(world, run) is None  # while its lease is held, it waits
        world.clock.advance(LEASE.total_seconds())
    closed = _take(world, run)
    assert closed == _stored(world, run)
    assert (closed.state, closed.attempts) == (State.FAILED, 5) if closed else False
    assert closed is not None
    assert "taken up 5 times" in closed.error


# Poison


def test_poison(world: World) -> None:
    """A run that was tried too often is closed, with the reason; only once, and never one that ended."""
    run = _ask(world)
    closed = world.dispatch().poisoned(json.dumps({"run": run.id}))
    assert closed == _stored(world, run)
    assert (closed.state, "taken up 0 times" in closed.error) == (State.FAILED, True) if closed else False
    assert world.dispatch().poisoned(json.dumps({"run": run.id})) is None


def test_poison_of_a_run_at_work(world: World) -> None:
    """While the lease is held some attempt may still end well: nothing is closed."""
    run = _ask(world)
    Leases(world.table, world.clock, LEASE).acquire(RULE.id, "an attempt")
    assert world.dispatch().poisoned(json.dumps({"run": run.id})) is None
    assert _stored(world, run).state is State.QUEUED


# The timer


def test_first_day(world: World) -> None:
    """The first time ever, yesterday alone is due, and once it is done, no day is."""
    run = world.dispatch().daily(past_due=False)
    assert (run.first_day, run.last_day, run.asked_by, run.reason) == (MONDAY, MONDAY, "timer", "")
    _take(world, run)
    assert ProgressRows(world.table).get(RULE.id).due == "2026-03-17"


def test_days_follow(world: World) -> None:
    """Each day takes yesterday and two late days, never those before the first; a missed day is caught up with."""
    ranges = []
    for missed in (0, 0, 0, 1, 0):
        world.clock.advance(DAY * missed)
        run = world.dispatch().daily(past_due=bool(missed))
        ranges.append((run.first_day[-2:], run.last_day[-2:], run.reason))
        _take(world, run)
        world.clock.advance(DAY)
    assert ranges == [
        ("16", "16", ""),
        ("16", "17", ""),
        ("16", "18", ""),
        ("18", "20", "past due"),
        ("19", "21", ""),
    ]


def test_failed_day_stays_due(world: World) -> None:
    """A day whose run failed is run by the next one, however late."""
    run = world.dispatch().daily(past_due=False)
    world.dispatch(source=ListSource([], ServiceError("down"))).take(json.dumps({"run": run.id}))
    world.clock.advance(5 * DAY)
    run = world.dispatch().daily(past_due=False)
    assert (run.first_day, run.last_day) == (MONDAY, "2026-03-21")


def test_skipped_days_are_named(world: World) -> None:
    """After too long an absence the run says what it leaves out, and the days go on from there."""
    ProgressRows(world.table).begin(RULE.id, "2026-02-01")
    run = world.dispatch().daily(past_due=True)
    assert (run.first_day, run.last_day) == ("2026-03-03", MONDAY)
    assert run.notes == ("skipped 2026-02-01 to 2026-03-02: more than 14 days behind; run these days by hand",)
    done = _take(world, run)
    assert done is not None
    assert done.notes == run.notes
    assert ProgressRows(world.table).get(RULE.id).due == "2026-03-17"


def test_days_run_by_hand_do_not_count_ahead(world: World) -> None:
    """A run by hand of later days leaves what is due before them due."""
    ProgressRows(world.table).begin(RULE.id, SATURDAY)
    _take(world, _ask(world, MONDAY, MONDAY))
    assert ProgressRows(world.table).get(RULE.id).due == SATURDAY
    _take(world, _ask(world, SATURDAY, SUNDAY))
    assert ProgressRows(world.table).get(RULE.id).due == MONDAY


def test_waiting_run_is_revived(world: World) -> None:
    """A run whose message was lost gets another from the timer; one that ended, or waits only shortly, does not."""
    lost = _ask(world)
    ended = _ask(world)
    _take(world, ended)
    world.clock.advance(3_600)
    recent = _ask(world)
    world.queue.sent.clear()
    run = world.dispatch().daily(past_due=False)
    assert world.queue.sent == [(run.id, 0), (lost.id, 0)]
    assert recent.state is State.QUEUED


def test_run_cut_short_is_revived(world: World) -> None:
    """So does one that was killed at work, once its lease is over; not while it is held."""
    run = _ask(world)
    with pytest.raises(Killed):
        world.dispatch(faults=Faults(20)).take(json.dumps({"run": run.id}))
    world.clock.advance(DAY)
    world.queue.sent.clear()
    lease = Leases(world.table, world.clock, LEASE)
    lease.acquire(RULE.id, "at work")
    world.dispatch().daily(past_due=False)
    assert run.id not in dict(world.queue.sent)
    lease.release(RULE.id, "at work")
    world.dispatch().daily(past_due=False)
    assert run.id in dict(world.queue.sent)


def test_timer_killed_anywhere(world: World) -> None:
    """Killed between row, message and all else, the timer of the next day has all days done.

    But for the first moments of the first time ever, before it is written down that the day is due: the host itself
    fires a timer again whose invocation did not end.
    """
    calls = 0
    while True:
        calls += 1
        other = world.copied(world.home.parent / f"{calls}")
        try:
            other.dispatch(faults=Faults(calls)).daily(past_due=False)
        except Killed:
            pass
        else:
            break
        begun = ProgressRows(other.table).get(RULE.id).first == MONDAY
        other.clock.advance(DAY)
        run = other.dispatch().daily(past_due=False)
        for sent, _ in list(other.queue.sent):
            _take(other, Runs(other.table).get(sent) or run)
        failed = [one for one in other.runs() if one.state is not State.DONE]
        assert [one.error[:19] for one in failed] in ([], ["was never confirmed"])
        assert {one.id for one in failed} < {one.id for one in other.runs()}
        assert (run.first_day == MONDAY) is begun
        assert run.last_day == "2026-03-17"
        assert begun is (calls > 3)
    assert calls > 9


@pytest.mark.parametrize("trouble", [Trouble.REFUSED, Trouble.UNANSWERED, Trouble.OUTAGE, Trouble.KILLED])
@pytest.mark.parametrize("held", [False, True])
def test_who_is_told_of_a_failure_can_ask_again(world: World, trouble: Trouble, *, held: bool) -> None:
    """Whatever fails while a run is asked for, and whoever is at work meanwhile: a failed one never runs, even late."""
    calls = 0
    while True:
        calls += 1
        other = world.copied(world.home.parent / f"{trouble.name}-{held}-{calls}")
        faults = Faults(calls, trouble)
        lease = Leases(other.table, other.clock, LEASE)
        if held:
            lease.acquire(RULE.id, "another")
        dispatch = other.dispatch(faults=faults)
        dispatch._queue = failing(other.queue, faults)
        try:
            dispatch.ask(whole_days(SUNDAY, MONDAY, NOW), asked_by="http")
        except (ServiceError, Killed):
            pass
        else:
            if faults.calls < calls:
                break
            _ended(other, lease, State.DONE)  # whoever was told that it waits gets it
            continue
        _ended(other, lease, State.FAILED)
    assert calls > 8


def _ended(world: World, lease: Leases, state: State) -> None:
    """Let messages arrive, hours pass and timers fire; the run asked for is in that state in the end, if it is any."""
    asked = [run.id for run in world.runs()]
    lease.release(RULE.id, "another")
    for _ in range(2):
        for sent, _ in list(world.queue.sent):
            world.dispatch().take(json.dumps({"run": sent}))
        world.clock.advance(3_600)
        world.dispatch().daily(past_due=False)
    states = {run.state for run in world.runs() if run.id in asked}
    assert states <= ({State.DONE} if state is State.DONE else {State.FAILED, State.QUEUED})
    assert all(run.attempts == 0 for run in world.runs() if run.id in asked and run.state is not State.DONE)


def test_message_that_comes_before_its_note(world: World) -> None:
    """It waits for the note that it was sent; without one for five minutes the run is closed, and says why."""
    run = _ask(world)
    Runs(world.table).save(msgspec.structs.replace(run, queued=""))
    assert _take(world, run) is None
    assert world.queue.sent[1:] == [(run.id, 2)]
    Runs(world.table).save(run)
    assert (_take(world, run) or run).state is State.DONE
    late = _ask(world)
    Runs(world.table).save(msgspec.structs.replace(late, queued=""))
    world.clock.advance(301)
    assert (_take(world, late) or late).error.startswith("was never confirmed")


def test_what_is_not_confirmed_takes_no_place(world: World) -> None:
    """Runs that nobody was told of do not count among those that wait, once they are some minutes old."""
    for _ in range(20):
        Runs(world.table).save(msgspec.structs.replace(_ask(world), queued=""))
        world.clock.advance(301)
    assert _ask(world).state is State.QUEUED


# Rows that can't be read


@pytest.mark.parametrize("partition", ["runs", "findings.", "deliveries", "run-ids", "leases"])
@pytest.mark.parametrize("body", ['{"state":"paused"}', "[", "[" * 30_000, ""])
def test_one_row_ends_nothing(world: World, partition: str, body: str) -> None:
    """One row of any kind that can't be read stops neither timer nor requests, lists or runs; a run names it."""
    _take(world, _ask(world))
    key = next(key for key in world.table.contents() if key[0].startswith(partition))
    world.table.put(Entity(*key, {"body": body}))
    world.clock.advance(3_600)
    due = world.dispatch().daily(past_due=False)
    asked = _ask(world)
    for run in (due, asked):
        assert (_take(world, run) or run).state is State.DONE
    assert world.dispatch().health() == "ok"
    assert list(world.dispatch().findings(_stored(world, asked)))
    assert len(world.runs()) >= 2
    if partition == "findings.":
        (note,) = _stored(world, asked).notes
        assert note == f"1 stored rows can't be read and were set aside: {' '.join(key)}"
        assert (_take(world, again := _ask(world)) or again).notes == ()  # the finding was found and kept anew


def test_message_about_a_run_that_can_not_be_read(world: World) -> None:
    """It is dropped: neither it nor its poison comes again and again."""
    run = _ask(world)
    (key,) = (key for key in world.table.contents() if key[0] == "runs")
    world.table.put(Entity(*key, {"body": "[" * 30_000}))
    assert _take(world, run) is None
    assert world.dispatch().poisoned(json.dumps({"run": run.id})) is None
    assert world.queue.sent == [(run.id, 0)]


@pytest.mark.parametrize("error", [RecursionError("too deep"), MemoryError(), OverflowError("date"), KeyError("x")])
def test_failure_that_nobody_foresaw(world: World, error: Exception) -> None:
    """Whatever is raised in a run, it is recorded as failed with its kind, and the next one goes on."""

    class Raising(ListSource):
        """A source with a fault of its own."""

        def coverage(self, start: int, end: int) -> dict[str, int]:
            """Raise the error."""
            raise error

    run = _ask(world)
    ended = world.dispatch(source=Raising([])).take(json.dumps({"run": run.id}))
    assert ended == _stored(world, run)
    assert ended is not None
    assert ended.state is State.FAILED
    assert ended.error.startswith("failed in a way that nobody foresaw, please report it: " + type(error).__name__)
    assert (_take(world, _ask(world)) or run).state is State.DONE


# Looking


def test_findings_of_a_run(world: World) -> None:
    """What it found new, confirmed and withdrew, as it is kept; of a dry run what it found."""
    first = _take(world, _ask(world))
    assert first is not None
    assert [(one.change, one.kept.finding.initiated_by_app) for one in world.dispatch().findings(first)] == [
        ("new", "Backup"),
        ("new", "Stranger"),
    ]
    world.events = world.events[1:]
    second = _take(world, _ask(world))
    assert second is not None
    assert [(one.change, one.kept.held) for one in world.dispatch().findings(second)] == [
        ("withdrawn", False),
        ("confirmed", True),
    ]
    dry = world.dispatch().ask(bounds(MONDAY, f"{MONDAY}T12:00:00Z", NOW), asked_by="http", dry_run=True)
    _take(world, dry)
    assert [(one.change, one.kept.finding.initiated_by_app) for one in world.dispatch().findings(dry)] == [
        ("new", "Stranger")
    ]


def test_findings_of_a_run_without_any(world: World) -> None:
    """No day is read for a run that changed nothing."""
    run = _take(world, _ask(world, SATURDAY, SATURDAY))
    assert run is not None
    counting = FailingTable(world.table)
    assert tuple(world.dispatch(findings=None).findings(run)) == ()
    assert counting.calls == 0


def test_health_without_any_success(world: World) -> None:
    """A job that only ever failed is stale 26 hours after the first day that was due."""
    world.dispatch().daily(past_due=False)
    assert world.dispatch().health() == "never-run"
    world.clock.advance(DAY)
    world.dispatch().daily(past_due=False)
    world.clock.advance(3_600)
    assert world.dispatch().health() == "stale"


def test_too_many_wait(world: World) -> None:
    """Twenty runs may wait, no more: the daily one stands in the same line."""
    for _ in range(20):
        _ask(world)
    with pytest.raises(BusyError, match="20 runs wait already"):
        _ask(world)
    world.dispatch().daily(past_due=False)


def test_run_that_ends_meanwhile_is_not_closed(world: World) -> None:
    """Between a poisoned message's look at the row and its closing the run may end: its end stands."""
    run = _ask(world)

    class Meeting(Runs):
        """Runs of which the first look is followed by the run's end."""

        met = False

        def get(self, run_id: str) -> Run | None:
            """Look, then let it end."""
            found = super().get(run_id)
            if not self.met:
                self.met = True
                _take(world, run)
            return found

    assert world.dispatch(runs=Meeting(world.table)).poisoned(json.dumps({"run": run.id})) is None
    assert _stored(world, run).state is State.DONE


def test_health(world: World) -> None:
    """Never run, well after a success, stale 26 hours later."""
    assert world.dispatch().health() == "never-run"
    _take(world, _ask(world))
    assert world.dispatch().health() == "ok"
    world.clock.advance(26 * 3_600)
    assert world.dispatch().health() == "ok"
    world.clock.advance(1)
    assert world.dispatch().health() == "stale"


def test_rows_of_ended_runs_never_change(world: World) -> None:
    """A run that ended is not overwritten by anything that comes later."""
    run = _take(world, _ask(world))
    assert run is not None
    before = msgspec.to_builtins(run)
    for call in (world.dispatch().poisoned, world.dispatch().take):
        call(json.dumps({"run": run.id}))
    world.run(SUNDAY)
    assert msgspec.to_builtins(_stored(world, run)) == before
