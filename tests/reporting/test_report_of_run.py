"""The page of a run: from what is kept, as it is kept now."""

import json
from pathlib import Path

import msgspec
import pytest

from rare_audit import api
from rare_audit.errors import RareAuditError
from rare_audit.job import Options
from rare_audit.job.planning import bounds
from rare_audit.pages import run_of_day, run_page
from rare_audit.records import Run, State
from rare_audit.stores.runs import Runs
from tests.job.test_uploads import RecordingTable
from tests.job_world import NOW, RULE, World, event
from tests.reporting.report_world import HOSTILE, Reader, read

SUNDAY, MONDAY = "2026-03-15", "2026-03-16"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give a world in which a known app and a stranger do something new on two days."""
    return World(
        tmp_path / "outbox",
        [
            event("2026-03-03T10:00:00Z", "Sync", "Update user"),
            event(f"{SUNDAY}T03:00:00Z", "Sync", "Add owner to application"),
            event(f"{MONDAY}T04:00:00Z", "Stranger", "Consent to application"),
        ],
    )


def _page(world: World, run: Run, day: str = "") -> Reader:
    return read(run_page(world.job().stores, RULE, run, day))


def test_a_run_of_two_days(world: World) -> None:
    """What it found, on which days the apps were active, what was written."""
    text = _page(world, world.run(SUNDAY, MONDAY)).text
    assert text.index("Stranger , never seen") < text.index("Sync , known on 1 of 14 days, added an owner")
    assert text.count("new in this run incident written") == 2
    assert "incidents of the run's days 2 written by this run 2 written by other runs 0" in text
    assert "Application 2026-03- 01 2026-03- 02 2026-03- 03" in text
    assert "Sync active 1 rare" in text
    assert "not known" not in text
    assert f"Covers {SUNDAY} to {MONDAY}" in text


def test_a_day_of_a_run(world: World) -> None:
    """Its findings alone, held against its own days, with what its run saw."""
    run = world.run(SUNDAY, MONDAY)
    text = _page(world, run, MONDAY).text
    assert "Stranger" in text
    assert "Sync" not in text
    assert f"{MONDAY} , held against the 14 days before." in text
    assert f"What became of every event of {SUNDAY} to {MONDAY}" in text
    assert "Application 2026-03- 02 2026-03- 03" in text
    assert "Sync active 1 rare" in _page(world, run, SUNDAY).text


def test_again_nothing_is_new(world: World) -> None:
    """A second run confirms; the incidents stand."""
    world.run(SUNDAY)
    text = _page(world, world.run(SUNDAY)).text
    assert "found before incident written by another run" in text


def test_withdrawn_since(world: World) -> None:
    """A past run's page tells what has become of its findings."""
    first = world.run(SUNDAY)
    world.events.append(event("2026-03-05T10:00:00Z", "Sync", "Add owner to application"))
    second = world.run(SUNDAY)
    for run in (first, second):
        text = _page(world, run).text
        assert "Nothing rare." in text
        assert "Withdrawn Found once, and no longer" in text


def test_rolled_up_not_raised_and_waiting(world: World) -> None:
    """What became of an incident is told of each finding."""
    world.events.append(event(f"{MONDAY}T05:00:00Z", "Sync", "Delete user"))
    world.options = Options(max_incidents=1)
    text = _page(world, world.run(MONDAY)).text
    assert text.count("told in the day's roll-up") == 1
    assert "no incident raised" in _page(world, world.run(SUNDAY, sink=None)).text
    world.sink.failing = {"Sync"}
    with pytest.raises(RareAuditError):
        world.run(SUNDAY)
    text = _page(world, world.last_run()).text
    assert "The run failed. 1 incidents could not be delivered" in text
    assert "Not delivered. One incident is still to be delivered" in text
    assert "found before incident not delivered yet" in text


def test_what_a_later_run_delivered(world: World) -> None:
    """A run that could not deliver an incident does not say that it is missing once another run has written it."""
    world.sink.failing = {"Sync"}
    with pytest.raises(RareAuditError):
        world.run(SUNDAY)
    failed = world.last_run()
    world.sink.failing = set()
    world.run(SUNDAY)
    text = _page(world, failed).text
    assert "incident written by another run" in text
    assert "Not delivered." not in text


def test_a_rule_that_has_changed_since(world: World) -> None:
    """An old run is told with the lookback it had, not with the one that its rule has now."""
    run = world.run(SUNDAY)
    parameters = msgspec.structs.replace(RULE.parameters, lookback="30d")
    job = world.job()
    rule = msgspec.structs.replace(RULE, parameters=parameters)
    assert rule.lookback_days == 30
    assert run_page(job.stores, rule, run) == run_page(job.stores, RULE, run)
    assert "14 of 14 days had data" in run_page(job.stores, rule, run).html


def test_a_roll_up_that_waits(world: World) -> None:
    """Whose incident is the day's roll-up was not told of while that waits."""
    world.events.append(event(f"{MONDAY}T05:00:00Z", "Sync", "Delete user"))
    world.options = Options(max_incidents=1)
    world.sink.failing = {"one more app"}
    with pytest.raises(RareAuditError):
        world.run(MONDAY)
    text = _page(world, world.last_run()).text
    assert "incident not delivered yet" in text
    assert "told in the day's roll-up" not in text


def test_rows_of_the_table(world: World) -> None:
    """How many were added, and of which days they are still to come; without incidents none is told of."""
    with pytest.raises(RareAuditError):
        world.run(SUNDAY, sink=None, table=RecordingTable(failing=1))
    text = _page(world, world.last_run()).text
    assert f"Not uploaded. Findings of {SUNDAY} are still to come to their table" in text
    assert "Nothing was delivered." in text
    text = _page(world, world.run(SUNDAY, MONDAY, sink=None, table=RecordingTable())).text
    assert "Delivered By the run of 2026-03-15 to 2026-03-16 . rows added to the findings table 2 Run" in text
    assert "Not uploaded" not in text


def test_a_dry_run_of_any_bounds(world: World) -> None:
    """It says that nothing was kept, and its window is one column."""
    dispatch = world.dispatch()
    wanted = bounds(f"{SUNDAY}T01:00:00Z", f"{MONDAY}T12:00:00Z", NOW)
    run = dispatch.ask(wanted, asked_by="http", dry_run=True)
    assert "Not finished" in _page(world, run).text
    ended = dispatch.take(json.dumps({"run": run.id}))
    assert ended
    text = _page(world, ended).text
    assert "A dry run." in text
    assert f"{SUNDAY} 01:00:00 to {MONDAY} 12:00:00" in text
    assert "The last column is the whole window." in text
    assert "Delivered" not in text


def test_a_run_of_an_earlier_version(world: World) -> None:
    """It kept no activity; the days of its findings are known all the same."""
    run = msgspec.structs.replace(world.run(SUNDAY), activity={})
    text = _page(world, run).text
    assert "? 1 rare" in text
    assert "this run is of an earlier version" in text


def test_silent_and_degraded_days(world: World) -> None:
    """They stand at the top."""
    world.silent = {MONDAY, *(f"2026-03-{day:02}" for day in range(1, 11))}
    text = _page(world, world.run(SUNDAY, MONDAY)).text
    assert f"No data. AuditLogs has no event at all of {MONDAY}" in text
    assert f"Baseline incomplete. Too few days had data before {SUNDAY}" in text


def test_another_rule(world: World) -> None:
    """A run of a rule that is not the one configured now keeps that rule's id, and no other's name."""
    run = world.run(SUNDAY)
    other = msgspec.structs.replace(RULE, id="another", name="Another rule")
    text = read(run_page(world.job().stores, other, run)).text
    assert f"another than the one configured now , {RULE.id}" in text


def test_the_run_of_a_day(world: World) -> None:
    """The last that has ended over it, dry runs and failures before the first look aside; none is None."""
    stores = world.job().stores
    assert run_of_day(stores, RULE, SUNDAY) is None
    first = world.run(SUNDAY)
    both = world.run(SUNDAY, MONDAY)
    world.clock.advance(1)
    waiting = world.dispatch().ask(bounds(SUNDAY, MONDAY, NOW), asked_by="http", dry_run=True)
    for number, state in enumerate((State.QUEUED, State.FAILED)):
        Runs(world.table).save(msgspec.structs.replace(waiting, id=f"x{number}", dry_run=False, state=state))
    for day in (SUNDAY, MONDAY):
        found = run_of_day(stores, RULE, day)
        assert found is not None
        assert found.id == both.id
    assert run_of_day(stores, RULE, "2026-03-14") is None
    for number in range(60):
        later = msgspec.structs.replace(
            both, id=f"later {number}", first_day=MONDAY, started="2026-03-18T00:00:00+00:00"
        )
        Runs(world.table).save(later)
    found = run_of_day(stores, RULE, SUNDAY)
    assert found is not None
    assert found.id == both.id != first.id


def test_by_http(world: World) -> None:
    """HTML under the strictest policy, stored nowhere, told to no other site; no such run is 404."""
    world.events.append(event(f"{SUNDAY}T05:00:00Z", HOSTILE["html"], "Consent to application"))
    run = world.run(SUNDAY)
    answer = api.get_report(world.dispatch(), run.id)
    assert (answer.status, answer.kind) == (200, "text/html")
    policy = answer.headers.pop("Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in policy
    assert answer.headers == {
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
    }
    assert "<script" not in answer.body.decode()
    assert api.get_report(world.dispatch(), "nope").status == 404
