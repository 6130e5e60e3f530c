"""What the job makes of days it can't see well: baselines with gaps, days without any event, floods, dry runs."""

import json
from pathlib import Path
from typing import Final

import msgspec
import pytest

from rare_audit.errors import ServiceError
from rare_audit.job import Options
from rare_audit.job.planning import bounds, new_run, whole_days
from rare_audit.records import Run, State
from rare_audit.reporting.coverage import Coverage, coverage_of
from rare_audit.stores.deliveries import Deliveries
from rare_audit.stores.dry_findings import DryFindings
from rare_audit.stores.findings import Findings
from rare_audit.stores.progress import ProgressRows
from rare_audit.stores.runs import Runs
from tests.fakes import FailingTable
from tests.job_world import NOW, RULE, World, event

SATURDAY, SUNDAY, MONDAY = "2026-03-14", "2026-03-15", "2026-03-16"
WEEK: Final = tuple(f"2026-03-{day:02d}" for day in range(1, 9))


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give a world in which three apps did something for the first time, two of them on a Sunday."""
    events = [
        event(f"{SUNDAY}T03:00:00Z", "Backup", "Add credentials", principal="p-backup", value="a secret value"),
        event(f"{SUNDAY}T04:00:00Z", "Nameless", "Consent"),
        event(f"{MONDAY}T05:00:00Z", "Stranger", "Consent"),
    ]
    return World(tmp_path / "outbox", events)


def _raised(world: World) -> list[str]:
    return [incident.title for incident in world.sink.calls]


# Coverage


def test_coverage_counts_the_days_before() -> None:
    """The fourteen days before, not the day itself nor those earlier."""
    counts = {"2026-02-28": 1, "2026-03-01": 3, SATURDAY: 1, SUNDAY: 9}
    coverage = coverage_of(SUNDAY, 14, counts)
    assert (coverage.days, coverage.of) == (2, 14)
    assert coverage.missing[0] == "2026-03-02"
    assert coverage.missing[-1] == "2026-03-13"
    assert str(coverage) == "2 of 14 days had data"
    assert str(Coverage()) == "unknown"


def test_findings_carry_their_coverage(world: World) -> None:
    """Each kept finding says how whole its baseline was; an incident says so where days are missing."""
    world.silent = {"2026-03-07", "2026-03-08"}
    run = world.run(SUNDAY)
    assert (run.state, run.degraded) == (State.DONE, ())
    kept = world.kept(SUNDAY)["Consent"]
    assert kept.coverage == Coverage(12, 14, ("2026-03-07", "2026-03-08"))
    assert all(
        "12 of 14 days had data; without any: 2026-03-07, 2026-03-08." in one.description for one in world.sink.calls
    )


def test_whole_baseline_is_not_told(world: World) -> None:
    """Where nothing is missing, no incident speaks of it."""
    world.run(SUNDAY)
    assert not any("days had data" in one.description for one in world.sink.calls)


def test_more_of_the_baseline_known_later(world: World) -> None:
    """Days that get their events late change what is known of a finding; it is told as changed."""
    world.silent = {"2026-03-07"}
    world.run(SUNDAY)
    world.silent = set()
    run = world.run(SUNDAY)
    assert len(run.changes.changed) == 2
    assert world.kept(SUNDAY)["Consent"].coverage.missing == ()


# Degraded


def test_degraded(world: World) -> None:
    """With fewer days than it takes, findings are kept and one roll-up is raised, which names the missing days."""
    world.silent = set(WEEK)
    run = world.run(SUNDAY)
    assert (run.state, run.degraded, len(run.changes.new)) == (State.DONE, (SUNDAY,), 2)
    (roll_up,) = world.sink.calls
    assert roll_up.title == f"Baseline incomplete: 2 apps with seemingly rare activity on {SUNDAY}"
    assert "6 of 14 days had data" in roll_up.description
    assert ", ".join(WEEK) in roll_up.description
    assert {one.initiated_by_app for one in roll_up.findings} == {"Backup", "Nameless"}
    assert run.incidents == run.delivered == (roll_up.id,)
    assert Deliveries(world.table).pending(RULE.id) == ()


def test_degraded_again(world: World) -> None:
    """Run again, nothing is raised a second time."""
    world.silent = set(WEEK)
    world.run(SUNDAY)
    run = world.run(SUNDAY)
    assert (len(run.changes.confirmed), len(world.sink.calls)) == (2, 1)


def test_degraded_only_where_it_is(world: World) -> None:
    """Of two days, the one with enough days behind it raises as ever."""
    world.silent = {*WEEK[:7], "2026-03-09"}
    run = world.run(SUNDAY, MONDAY)
    assert run.degraded == (SUNDAY,)
    assert _raised(world) == [
        f"Baseline incomplete: 2 apps with seemingly rare activity on {SUNDAY}",
        "Rare activity by app Stranger: Consent",
    ]


def test_degraded_without_findings(world: World) -> None:
    """Where nothing looks rare there is nothing to roll up; the run is marked all the same."""
    world.silent = set(WEEK)
    run = world.run(SATURDAY)
    assert (run.degraded, world.sink.calls) == ((SATURDAY,), [])


def test_degraded_after_it_was_raised(world: World) -> None:
    """An incident that was raised with a whole baseline stays, and is not told again in a roll-up."""
    world.run(SUNDAY)
    first = list(world.sink.calls)
    world.silent = set(WEEK)
    run = world.run(SUNDAY)
    assert run.degraded == (SUNDAY,)
    assert {one.id for one in world.sink.calls} == {one.id for one in first}
    assert set(run.incidents) == {one.id for one in first}


@pytest.mark.parametrize(("least", "degraded"), [(6, ()), (7, (SUNDAY,)), (0, ()), (400, (SUNDAY,))])
def test_where_degraded_begins(world: World, least: int, degraded: tuple[str, ...]) -> None:
    """Six days with data are enough where six are asked for; more than the lookback asks for all of it."""
    world.silent = set(WEEK)
    world.options = Options(min_days=least)
    assert world.run(SUNDAY).degraded == degraded


# Silence


def test_silent_day(world: World) -> None:
    """A day without any event is no success: the run says so, and one incident says it to the analysts."""
    world.events = []
    world.silent = {SUNDAY, MONDAY}
    run = world.run(SUNDAY, MONDAY)
    assert (run.state, run.silent, run.error) == (State.NO_DATA, (SUNDAY, MONDAY), "")
    (incident,) = world.sink.calls
    assert incident.title == f"AuditLogs went silent: no event since {SUNDAY}"
    assert incident.findings == ()
    assert run.delivered == run.incidents == (incident.id,)


def test_silence_is_told_once(world: World) -> None:
    """The next day's run, which is silent too, raises nothing new; the days stay due."""
    world.events = []
    ProgressRows(world.table).begin(RULE.id, SATURDAY)
    world.silent = {SUNDAY, MONDAY}
    world.run(SATURDAY, SUNDAY)
    assert ProgressRows(world.table).get(RULE.id).due == SUNDAY
    world.run(SUNDAY, MONDAY)
    assert ProgressRows(world.table).get(RULE.id).due == SUNDAY
    assert len(world.sink.calls) == 1
    world.silent = set()
    assert world.run(SUNDAY, MONDAY).state is State.DONE
    assert ProgressRows(world.table).get(RULE.id).due == "2026-03-17"


def test_silence_longer_than_the_lookback(world: World) -> None:
    """Day after day, once nothing is left to see of its beginning and days were skipped: still one incident."""
    world.events = []
    world.silent = {f"2026-{month:02d}-{day:02d}" for month in (3, 4, 5) for day in range(1, 32)} - set(WEEK)
    for _ in range(45):
        run = world.dispatch().daily(past_due=False)
        world.dispatch().take(json.dumps({"run": run.id}))
        world.clock.advance(86_400)
    assert _raised(world) == ["AuditLogs went silent: no event since 2026-03-09"]
    assert {one.state for one in world.runs()} == {State.NO_DATA}
    world.silent = set()
    run = world.dispatch().daily(past_due=False)
    world.dispatch().take(json.dumps({"run": run.id}))
    assert world.last_run().state is State.DONE
    assert ProgressRows(world.table).get(RULE.id).silent_since == ""


def test_quiet_day_in_between(world: World) -> None:
    """A day without events that is followed by one with some is no silence: the run is done, and so is the day."""
    ProgressRows(world.table).begin(RULE.id, SUNDAY)
    world.events = world.events[2:]
    world.silent = {SUNDAY}
    run = world.run(SUNDAY, MONDAY)
    assert (run.state, run.silent, len(run.changes.new)) == (State.DONE, (SUNDAY,), 1)
    assert _raised(world) == ["Rare activity by app Stranger: Consent"]
    assert ProgressRows(world.table).get(RULE.id).due == "2026-03-17"


def test_old_silence_is_not_told(world: World) -> None:
    """Days of which the workspace no longer has any event give a run without data, and no incident."""
    world.events = []
    world.silent = {SATURDAY}
    assert world.run(SATURDAY).state is State.NO_DATA
    assert _raised(world) == []


def test_two_silences(world: World) -> None:
    """A second silence is told as one of its own."""
    world.events = []
    world.silent = {MONDAY}
    world.run(MONDAY)
    world.clock.advance(86_400)
    world.run("2026-03-17")
    world.clock.advance(86_400)
    world.silent = {MONDAY, "2026-03-18"}
    world.run("2026-03-16", "2026-03-18")
    assert _raised(world) == [
        "AuditLogs went silent: no event since 2026-03-16",
        "AuditLogs went silent: no event since 2026-03-18",
    ]


def test_silence_is_delivered_later(world: World) -> None:
    """An incident that could not be delivered is made again from the store, though no finding is behind it."""
    world.events = []
    world.silent = {MONDAY}
    world.sink.failing = {""}
    with pytest.raises(ServiceError, match="stay queued"):
        world.run(MONDAY)
    assert len(Deliveries(world.table).pending(RULE.id)) == 1
    world.sink.failing = set()
    world.silent = set()
    assert len(world.run(SATURDAY).delivered) == 1


def test_silence_withdraws_nothing(world: World) -> None:
    """A day whose events are gone is not one without findings: what was found there stays."""
    world.run(SUNDAY)
    before = world.kept(SUNDAY)
    world.events = []
    world.silent = {SUNDAY}
    run = world.run(SUNDAY)
    assert run.changes.withdrawn == ()
    assert world.kept(SUNDAY) == before


def test_part_of_a_range_is_silent(world: World) -> None:
    """The other days are run as ever."""
    world.events = world.events[:2]
    world.silent = {MONDAY}
    run = world.run(SUNDAY, MONDAY)
    assert (run.state, run.silent, len(run.changes.new), len(world.sink.calls)) == (State.NO_DATA, (MONDAY,), 2, 3)


# Floods, observing, redaction


def test_flood(world: World) -> None:
    """No more incidents than allowed; one roll-up names the rest, and a rerun chooses the same."""
    world.options = Options(max_incidents=1)
    run = world.run(SUNDAY)
    assert sorted(title.split(":")[0][:23] for title in _raised(world)) == [
        "Rare activity by app Ba" if "Backup" in _raised(world)[0] else "Rare activity by app Na",
        "Rare activity by one mo",
    ]
    assert len(run.delivered) == 2
    assert world.run(SUNDAY).delivered == ()


def test_flood_keeps_what_was_raised(world: World) -> None:
    """An app that comes late does not push out one whose incident exists."""
    world.options = Options(max_incidents=1)
    late = [event(f"{SUNDAY}T06:00:00Z", f"Late {n}", "Consent", principal=f"late {n}") for n in range(9)]
    everything = [*world.events, *late]
    world.events = world.events[:1]
    world.run(SUNDAY)
    (first,) = world.sink.calls
    world.events = everything
    run = world.run(SUNDAY)
    assert run.incidents[0] == first.id
    assert len(run.incidents) == 2
    assert first.app.name not in world.sink.calls[-1].description


def test_observing(world: World) -> None:
    """Without a sink findings are kept, and nothing is queued for the day there is one."""
    run = world.run(SUNDAY, sink=None)
    assert (run.state, len(run.changes.new), run.incidents, run.delivered) == (State.DONE, 2, (), ())
    assert Deliveries(world.table).pending(RULE.id) == ()


def test_values_are_not_stored(world: World) -> None:
    """With a salt no old or new value is in any row or incident; a rerun confirms; the property's name is there."""
    world.options = Options(salt="workspace")
    world.run(SUNDAY)
    told = repr(world.table.contents()) + repr(world.sink.calls)
    assert "a secret value" not in told
    assert "KeyDescription" in told
    assert len(world.run(SUNDAY).changes.confirmed) == 2


def test_notes_of_the_sink(world: World) -> None:
    """What the sink left out is said by the run."""
    world.sink.notes = ["bookmarks were left out"]
    assert world.run(SUNDAY).notes == ("bookmarks were left out",)


def test_timings(world: World) -> None:
    """Each phase has its time."""
    assert list(world.run(SUNDAY).timings) == ["detect", "keep", "deliver"]


# Dry runs


def _dry(world: World, **wanted: str) -> Run:
    chosen = bounds(wanted["start"], wanted["end"], NOW) if wanted else whole_days(SUNDAY, MONDAY, NOW)
    return world.job().do(new_run(RULE.id, chosen, NOW, asked_by="test", dry_run=True))


def test_dry_run(world: World) -> None:
    """It finds what a run would, keeps that apart, raises nothing and makes no day done."""
    ProgressRows(world.table).begin(RULE.id, SUNDAY)
    run = _dry(world)
    assert (run.state, len(run.changes.new), run.incidents) == (State.DONE, 3, ())
    assert (world.sink.calls, Findings(world.table).of_day(RULE.id, SUNDAY)) == ([], ())
    found = DryFindings(world.table).of_run(run.id)
    assert {one.finding.id for one in found} == set(run.changes.new)
    progress = ProgressRows(world.table).get(RULE.id)
    assert (progress.due, progress.last_success) == (SUNDAY, "")
    real = world.run(SUNDAY, MONDAY)
    assert set(real.changes.new) == set(run.changes.new)


def test_dry_run_of_own_bounds(world: World) -> None:
    """Bounds may cut a day: what lies before them is baseline."""
    run = _dry(world, start=f"{SUNDAY}T03:30:00Z", end=f"{SUNDAY}T05:00:00Z")
    (only,) = DryFindings(world.table).of_run(run.id)
    assert only.finding.initiated_by_app == "Nameless"
    assert (run.start[:16], run.end[:16]) == (f"{SUNDAY}T03:30", f"{SUNDAY}T05:00")


def test_dry_run_is_degraded_too(world: World) -> None:
    """It says so, and so does each of its findings."""
    world.silent = set(WEEK)
    run = _dry(world, start=SUNDAY, end=MONDAY)
    assert run.degraded == (SUNDAY,)
    assert {one.coverage.days for one in DryFindings(world.table).of_run(run.id)} == {6}


def test_dry_findings_go_after_a_week(world: World) -> None:
    """The next run that is due a week later lets them go, and leaves what counts."""
    world.run(SUNDAY)
    run = _dry(world)
    world.clock.advance(9 * 86_400)
    world.run("2026-03-25")
    assert DryFindings(world.table).of_run(run.id) == ()
    assert len(Findings(world.table).of_day(RULE.id, SUNDAY)) == 2
    assert Runs(world.table).get(run.id) is not None


# Retention, ends


def test_retention(world: World) -> None:
    """What is older than the limit goes at the end of a run; at 0 nothing does."""
    world.run(SUNDAY)
    world.clock.advance(200 * 86_400)
    world.options = Options(retention_days=0)
    world.run("2026-10-02")
    assert len(Findings(world.table).of_day(RULE.id, SUNDAY)) == 2
    world.options = Options()
    world.run("2026-10-02")
    assert Findings(world.table).of_day(RULE.id, SUNDAY) == ()


def test_retention_tells_what_was_never_delivered(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A delivery that was refused to the end goes with its day, and that is told once, as an error."""
    world.sink.failing = {"Backup"}
    with pytest.raises(ServiceError):
        world.run(SUNDAY)
    world.clock.advance(200 * 86_400)
    with pytest.raises(ServiceError):
        world.run("2026-10-02")
    told = [record for record in caplog.records if "never succeeded" in record.getMessage()]
    assert [(one.levelname, one.args[1]) for one in told if isinstance(one.args, tuple)] == [("ERROR", 1)]
    assert Deliveries(world.table).pending(RULE.id) == ()
    world.run("2026-10-02")


def test_retention_spares_the_days_just_run(world: World) -> None:
    """Who asks for days older than the limit still finds what was found."""
    world.clock.advance(300 * 86_400)
    world.run(SUNDAY)
    assert len(Findings(world.table).of_day(RULE.id, SUNDAY)) == 2


def test_ended_run_is_left_alone(world: World) -> None:
    """A run that is asked to be done a second time is returned as it ended, and nothing is fetched."""
    run = world.run(SUNDAY)
    counting = FailingTable(world.table)
    assert world.job(runs=Runs(counting)).do(run) == run
    assert counting.written == 0


def test_success_is_noted(world: World) -> None:
    """A run that ended well is the last success; one without data, and a dry one, is not."""
    run = world.run(SUNDAY, MONDAY)
    assert ProgressRows(world.table).get(RULE.id).last_success == run.ended
    world.run(SUNDAY)  # by hand, of an older day: it says nothing of yesterday
    world.events, world.silent = [], {MONDAY}
    world.run(MONDAY)
    _dry(world)
    assert ProgressRows(world.table).get(RULE.id).last_success == run.ended


def test_older_row_is_read() -> None:
    """A run's row of before there were dry runs, coverage and notes can be read."""
    old = (
        '{"id":"r","ruleId":"x","firstDay":"2026-03-15","lastDay":"2026-03-15","askedBy":"timer","state":"done",'
        '"started":"2026-03-16T01:30:00+00:00"}'
    )
    run = msgspec.json.decode(old, type=Run)
    assert (run.state, run.dry_run, run.coverage, run.notes) == (State.DONE, False, {}, ())


# What the review of the whole found


def test_roll_up_that_waits_is_not_lost(world: World) -> None:
    """Apps that waited in a roll-up for a service that was away are told, though a setting has changed since."""
    world.options = Options(max_incidents=1)
    world.sink.failing = {"Backup", "Nameless", "one more app"}
    with pytest.raises(ServiceError):
        world.run(SUNDAY)
    world.sink.failing, world.sink.calls = set(), []
    world.options = Options(max_incidents=50)
    world.run(MONDAY)
    told = {finding.initiated_by_app for incident in world.sink.calls for finding in incident.findings}
    assert told == {"Backup", "Nameless", "Stranger"}


def test_rolled_up_app_stays_there(world: World) -> None:
    """Once a roll-up was told, an app of it gets no incident of its own because another is withdrawn."""
    world.events += [event(f"{SUNDAY}T06:00:00Z", "Third", "Consent", principal="p-third")]
    world.options = Options(max_incidents=1)
    world.run(SUNDAY)
    single = next(one for one in world.sink.calls if len(one.findings) == 1)
    rolled = {finding.initiated_by_app for one in world.sink.calls if one is not single for finding in one.findings}
    world.events = [one for one in world.events if single.app.name not in str(one)]
    world.sink.calls = []
    world.run(SUNDAY)
    assert len(rolled) == 2
    # the roll-up is brought up to date, and nothing else is raised
    assert [{one.initiated_by_app for one in told.findings} for told in world.sink.calls] == [rolled]
    assert "roll-up" in world.sink.calls[0].labels


def test_service_that_is_away_does_not_outlast_the_run(world: World) -> None:
    """After ten failures no more is tried; those that failed come last the next time, so that none bars the way."""
    world.events += [event(f"{SUNDAY}T07:00:00Z", f"App {n}", "Consent", principal=f"p-{n}") for n in range(20)]
    world.sink.failing = {f"App {n}" for n in range(20)}
    with pytest.raises(ServiceError, match=r"^(\d+) incidents could not be delivered") as raised:
        world.run(SUNDAY)
    left = len(world.job().stores.deliveries.pending(world.job().rule.id))
    assert left >= 20
    assert str(raised.value).startswith(f"{left} incidents"), "those that were not tried are undelivered, too"
    assert sum(one.app.name.startswith("App") for one in world.sink.calls) == 10
    refused = {one.id for one in world.sink.calls if one.app.name.startswith("App")}
    world.sink.calls = []
    with pytest.raises(ServiceError):
        world.run(SUNDAY)
    assert not refused & {one.id for one in world.sink.calls[:10]}


def test_refused_delivery_does_not_stop_the_rest(world: World) -> None:
    """A run whose delivery failed has told what it found, and removes what is too old."""
    world.run(SUNDAY)
    world.clock.advance(200 * 86_400)
    world.events.append(event("2026-10-02T03:00:00Z", "Late", "Consent"))
    world.sink.failing = {"Late"}
    with pytest.raises(ServiceError):
        world.run("2026-10-02")
    assert Findings(world.table).of_day(RULE.id, SUNDAY) == ()
    with pytest.raises(ServiceError):
        world.run("2026-10-02")
    assert [len(run.changes.new) for run in world.runs()[-2:]] == [1, 0]
