"""One thing that is too much, or is refused for what it holds, holds up no other: it is named, and all else goes on."""

import json
import logging
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from rare_audit.detection.bounds import MOST_NAMES
from rare_audit.detection.event import AuditEvent, decode_event
from rare_audit.errors import ServiceError
from rare_audit.job.delivery import MOST_FAILURES
from rare_audit.job.outcome import MOST_NAMED
from rare_audit.job.planning import new_run, whole_days
from rare_audit.stores.deliveries import Deliveries
from rare_audit.stores.sqlite import SqliteTable
from rare_audit.stores.tables import by_connection_string
from tests.azure.azurite import Azurite, over_http
from tests.fakes import RefusingTable
from tests.job_world import RULE, World, event, titles

SUNDAY, MONDAY = "2026-03-15", "2026-03-16"
STRANGER: Final = event(f"{SUNDAY}T05:00:00Z", "Stranger", "Consent", principal="p-stranger")
NAMELESS: Final = event(f"{MONDAY}T05:00:00Z", "Nameless", "Consent", principal="p-nameless")


def huge_events(count: int = 40, properties: int = 100, characters: int = 256) -> list[AuditEvent]:
    """Return events of one app on one user, each with many long new values: one finding of more than a megabyte."""
    return [
        decode_event(
            json.dumps(
                {
                    "TimeGenerated": f"{SUNDAY}T03:{number:02d}:00Z",
                    "OperationName": "Update user",
                    "Id": f"h{number}",
                    "InitiatedBy": {"app": {"displayName": "Flood", "servicePrincipalId": "p-flood"}},
                    "TargetResources": [
                        {
                            "displayName": "Ann",
                            "userPrincipalName": "ann@x.example",
                            "modifiedProperties": [
                                {
                                    "displayName": f"extension_{number}_{place}",
                                    "newValue": json.dumps([f"{number}-{place}-".ljust(characters, "v")]),
                                }
                                for place in range(properties)
                            ],
                        }
                    ],
                }
            )
        )
        for number in range(count)
    ]


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    """Start Azurite."""
    with over_http() as running:
        yield running


@pytest.fixture(params=["memory", "sqlite", "azurite"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Give a world with an ordinary finding a day, on each table."""
    world = World(tmp_path / "outbox", [STRANGER, NAMELESS])
    with ExitStack() as exits:
        match request.param:
            case "sqlite":
                world.table = exits.enter_context(SqliteTable(tmp_path / "rare-audit.sqlite"))  # type: ignore[assignment]  # nothing here looks into it
            case "azurite":
                account = request.getfixturevalue("azurite").connection_string
                world.table = exits.enter_context(by_connection_string(account, f"T{uuid.uuid4().hex}"))  # type: ignore[assignment]  # as above
        yield world


# One finding that is too much


def test_a_huge_finding_holds_up_no_other(world: World) -> None:
    """Forty events of a hundred attributes: both apps are found and raised, and the finding says what is left out."""
    world.events += huge_events()
    run = world.run(SUNDAY)
    assert (run.state, run.error, run.refused) == ("done", "", 0)
    assert len(run.delivered) == 2
    kept = world.kept(SUNDAY)["Update user"].finding
    assert (kept.events, len(kept.property_names)) == (40, MOST_NAMES)
    assert kept.left_out.property_names == 4_000 - MOST_NAMES
    again = world.run(SUNDAY)
    assert (again.state, len(again.changes.confirmed), again.delivered) == ("done", 2, ())


def test_a_long_value_is_kept_in_part(world: World) -> None:
    """25 properties of 60,000 characters that hardly deflate."""
    world.events += huge_events(count=1, properties=25, characters=60_000)
    run = world.run(SUNDAY)
    assert (run.state, len(run.delivered)) == ("done", 2)


# A store that refuses a finding


@pytest.fixture
def refusing(tmp_path: Path) -> World:
    """Give a world whose store never takes what names one app."""
    world = World(tmp_path / "outbox", [STRANGER, NAMELESS], table=RefusingTable("Evil"))
    world.events.append(event(f"{SUNDAY}T04:00:00Z", "Evil", "Add owner", principal="p-evil"))
    return world


def test_a_finding_that_the_store_refuses(refusing: World) -> None:
    """The others are stored and delivered, the run is done, and names and counts what is missing."""
    run = refusing.run(SUNDAY, MONDAY)
    assert (run.state, run.error, run.kept, run.refused) == ("done", "", True, 1)
    assert titles(refusing.sink.calls) == [
        "Rare activity by app Stranger: Consent",
        "Rare activity by app Nameless: Consent",
    ]
    (note,) = run.notes
    assert note.startswith("not stored: finding ")
    assert f"of {SUNDAY}, Add owner by Evil: the row findings.{SUNDAY}" in note
    assert len(run.changes.new) == 2
    assert set(run.incidents) == set(run.delivered)


def test_a_refused_finding_is_tried_again(refusing: World) -> None:
    """Once the store takes it, a run of its day finds it as new."""
    refusing.run(SUNDAY)
    assert isinstance(refusing.table, RefusingTable)
    refusing.table.refused.clear()
    run = refusing.run(SUNDAY)
    assert (run.refused, len(run.changes.new), len(run.changes.confirmed)) == (0, 1, 1)
    assert titles(refusing.sink.calls)[-1] == "Rare activity by app Evil: Add owner"


def test_what_was_stored_before_stays(refusing: World) -> None:
    """A finding that is refused once it changed stays as it was kept, and is not withdrawn."""
    assert isinstance(refusing.table, RefusingTable)
    refusing.table.refused.clear()
    refusing.run(SUNDAY)
    refusing.table.refused.add("Evil")
    refusing.events.append(event(f"{SUNDAY}T06:00:00Z", "Evil", "Add owner", principal="p-evil", id="e7", value="v7"))
    run = refusing.run(SUNDAY)
    assert (run.refused, run.changes.withdrawn) == (1, ())
    assert (refusing.kept(SUNDAY)["Add owner"].held, refusing.kept(SUNDAY)["Add owner"].finding.events) == (True, 1)


def test_many_refused_are_counted(refusing: World) -> None:
    """As many are named as a note has room for, and the others counted."""
    refusing.events += [
        event(f"{SUNDAY}T04:00:00Z", "Evil", f"Add {number}", principal="p-evil", id=f"n{number}")
        for number in range(MOST_NAMED + 5)
    ]
    run = refusing.run(SUNDAY)
    assert (run.state, run.refused, len(run.notes)) == ("done", MOST_NAMED + 6, MOST_NAMED + 1)
    assert run.notes[-1] == "refused as well: 6 more"


def test_a_dry_run_names_what_is_refused(refusing: World) -> None:
    """So does a run that only looks."""
    now = refusing.clock.now()
    run = refusing.job().do(new_run(RULE.id, whole_days(SUNDAY, SUNDAY, now), now, asked_by="test", dry_run=True))
    assert (run.state, run.refused, len(run.changes.new), len(run.notes)) == ("done", 1, 1, 1)


# A sink that refuses an incident


def test_an_incident_that_is_refused(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The others are delivered, the run is done and names it; no later run tries it again but one of its day."""
    world.sink.refusing = {"Stranger"}
    run = world.run(SUNDAY, MONDAY)
    assert (run.state, run.error, run.refused, len(run.delivered)) == ("done", "", 1, 1)
    (note,) = run.notes
    assert note.startswith("not delivered: incident ")
    assert note.endswith("Rare activity by app Stranger: Consent: what is said of Stranger is malformed")
    assert Deliveries(world.table).pending(RULE.id) == ()
    world.sink.calls = []
    assert world.run(MONDAY).refused == 0
    assert world.sink.calls == []
    world.sink.refusing = set()
    with caplog.at_level(logging.INFO):
        again = world.run(SUNDAY)
    assert (again.refused, titles(world.sink.calls)) == (0, ["Rare activity by app Stranger: Consent"])


def test_a_changed_incident_is_tried_again(world: World) -> None:
    """What was refused is one content, not the incident for ever."""
    world.sink.refusing = {"Stranger"}
    world.run(SUNDAY, MONDAY)
    world.sink.refusing = set()
    world.events.append(event(f"{SUNDAY}T07:00:00Z", "Stranger", "Add owner", principal="p-stranger"))
    run = world.run(SUNDAY)
    assert (run.refused, len(run.delivered)) == (0, 1)


def test_a_sink_that_refuses_everything(world: World) -> None:
    """That is no fault of an incident: the run fails, all stays queued, and goes once the sink takes it."""
    world.sink.refusing = {"Stranger", "Nameless"}
    with pytest.raises(ServiceError, match="2 incidents could not be delivered and stay queued: what is said of"):
        world.run(SUNDAY, MONDAY)
    assert len(Deliveries(world.table).pending(RULE.id)) == 2
    world.sink.refusing = set()
    assert len(world.run(MONDAY).delivered) == 2


def test_a_right_that_is_missing_is_no_refusal(world: World) -> None:
    """Where the sink lets nobody in, a few are tried and no more, whatever else it took before."""
    world.run(MONDAY)
    world.events += [event(f"{SUNDAY}T06:00:00Z", f"App {n}", "Consent", principal=f"p{n}") for n in range(20)]
    world.sink.calls = []
    world.sink.denied = True
    with pytest.raises(ServiceError, match="21 incidents could not be delivered and stay queued"):
        world.run(SUNDAY, MONDAY)
    assert len(world.sink.calls) == MOST_FAILURES


# Days as they are done


def test_days_are_delivered_as_they_are_done(tmp_path: Path) -> None:
    """What a day meets keeps no earlier one from its analyst."""
    world = World(tmp_path, [STRANGER, NAMELESS], table=_Broken(MONDAY))
    with pytest.raises(ServiceError, match="broken"):
        world.run(SUNDAY, MONDAY)
    assert titles(world.sink.calls) == ["Rare activity by app Stranger: Consent"]
    assert Deliveries(world.table).pending(RULE.id) == ()
    world.table = world.copied(tmp_path / "copy").table  # mended
    assert len(world.run(SUNDAY, MONDAY).delivered) == 1


class _Broken(RefusingTable):
    """A table that can't be read for one day."""

    def __init__(self, day: str) -> None:
        super().__init__()
        self._day = day

    def query(self, partition: str, *, first: str = "", last: str = "\x7f") -> Iterator:  # type: ignore[type-arg]
        """Fail for the day's findings."""
        if partition.startswith(f"findings.{self._day}"):
            raise ServiceError("broken")
        return super().query(partition, first=first, last=last)
