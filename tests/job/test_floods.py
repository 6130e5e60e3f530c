"""A flood of one app and one operation: one finding that says so, with a query that finds all of it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from rare_audit.detection.event import AuditEvent
from rare_audit.detection.finding import FloodCounts
from rare_audit.detection.floods import FloodLimits
from rare_audit.detection.ticks import day_ticks
from rare_audit.errors import ServiceError
from rare_audit.job import Options
from rare_audit.reporting.report.words import sentence
from rare_audit.reporting.sentinel_bodies import comment, evidence_query, headline
from rare_audit.reporting.text import markdown
from tests.job_world import RULE, ListSource, World, event

SUNDAY: Final = "2026-03-15"
MOST: Final = 5
FLOOD: Final = [
    event(f"{SUNDAY}T03:00:{n:02d}Z", "Sync", "Update user", upn=f"u{n}@x.example", id=f"f{n}", principal="p-sync")
    for n in range(MOST + 3)
]
OTHER: Final = event(f"{SUNDAY}T05:00:00Z", "Stranger", "Consent", principal="p-stranger")
COUNTED: Final = FloodCounts(combinations=MOST + 3, users=MOST + 3, resources=1, addresses=0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give a world with a flood, and another app beside it."""
    return World(tmp_path / "outbox", [*FLOOD, OTHER], options=Options(floods=FloodLimits(of_one=MOST)))


def test_a_flood_is_one_finding(world: World) -> None:
    """It has its app's incident, the other app has its own; run again, nothing is new."""
    run = world.run(SUNDAY)
    assert (run.state, len(run.changes.new), len(run.delivered)) == ("done", 2, 2)
    flood = world.kept(SUNDAY)["Update user"].finding
    assert (flood.flood, flood.events, flood.start_time[11:19]) == (COUNTED, MOST + 3, "03:00:00")
    again = world.run(SUNDAY)
    assert (len(again.changes.confirmed), again.delivered) == (2, ())


def test_it_grows_and_stays_itself(world: World) -> None:
    """Late events change it; they make no second one."""
    world.run(SUNDAY)
    world.events.append(event(f"{SUNDAY}T04:00:00Z", "Sync", "Update user", upn="late@x.example", principal="p-sync"))
    run = world.run(SUNDAY)
    assert (len(run.changes.new), len(run.changes.changed), len(run.changes.withdrawn)) == (0, 1, 0)


def test_it_is_said_everywhere(world: World) -> None:
    """In the incident, its comment, the bookmark's headline and query, and the page."""
    world.run(SUNDAY)
    flood = world.kept(SUNDAY)["Update user"].finding
    said = "8 combinations: 8 users, 1 resource"
    (incident,) = (one for one in world.sink.calls if one.app.name == "Sync")
    assert f"- **Update user** on {markdown(said)}, 8 times" in incident.description
    assert markdown(said) in comment((flood,))
    assert headline(flood) == f"Update user on {said} by Sync"
    assert said in "".join(piece.text for piece in sentence(flood, RULE.lookback_days))
    query = evidence_query(flood).splitlines()
    assert query[2:] == [
        '| where OperationName == "Update user"',
        '| where tostring(parse_json(tostring(InitiatedBy.app)).displayName) == "Sync"',
    ]


def test_the_second_look_is_at_the_days_alone(world: World) -> None:
    """What lies before them is known by then."""
    source = ListSource(world.events)
    world.run(SUNDAY, source=source)
    end = day_ticks("2026-03-16")
    assert source.asked == [(day_ticks("2026-03-01"), end), (day_ticks(SUNDAY), end)]


class _Forgetful(ListSource):
    """A source that has less when it is asked again."""

    def events(self, start: int, end: int) -> Iterator[AuditEvent]:
        """Yield the events, but for one the second time."""
        those = list(super().events(start, end))
        return iter(those[len(self.asked) - 1 :])


def test_a_second_look_that_sees_less(world: World) -> None:
    """Fails the run: a part is never passed off as the whole."""
    with pytest.raises(ServiceError, match="1 events by apps that were there did not come when asked for once more"):
        world.run(SUNDAY, source=_Forgetful(world.events))
    assert world.kept(SUNDAY) == {}
