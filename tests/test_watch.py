"""What the outside is told of a run: a trace with a span a phase, metrics, log lines with the run's id; no names."""

import logging
from pathlib import Path
from typing import Final

import msgspec
import pytest

from rare_audit.detection.event import AuditEvent
from rare_audit.errors import ServiceError
from rare_audit.watch import OpenTelemetry
from tests.job_world import ListSource, World, event
from tests.watched import Watched

SUNDAY, MONDAY = "2026-03-15", "2026-03-16"
APP: Final = "An app whose name nobody may read in a trace"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give a world in which an app did something for the first time."""
    return World(tmp_path / "outbox", [event(f"{SUNDAY}T03:00:00Z", APP, "Consent", upn="ann@x.example")])


def test_a_trace_a_run(world: World) -> None:
    """One trace, a span for each phase under it, each with the run's id and its days."""
    watched = Watched()
    run = world.run(SUNDAY, watch=watched.watch)
    assert [span.name for span in watched.spans] == [
        "rare_audit.detect", "rare_audit.keep", "rare_audit.deliver", "rare_audit.run",
    ]  # fmt: skip
    whole = watched.spans[-1]
    assert {span.context.trace_id for span in watched.spans} == {whole.context.trace_id}
    assert {span.parent.span_id for span in watched.spans[:-1]} == {whole.context.span_id}
    assert {span.attributes["run.id"] for span in watched.spans} == {run.id}
    assert whole.attributes["run.first_day"] == SUNDAY


def test_metrics(world: World) -> None:
    """What was read, found, delivered and not; how whole the baseline was, how late and how long it took."""
    watched = Watched()
    world.silent = {"2026-03-03"}
    world.run(SUNDAY, watch=watched.watch)
    told = watched.metrics()
    counted = [told[f"rare_audit.{name}"] for name in ("runs", "events", "findings", "incidents", "undelivered")]
    assert counted == [1, 1, 1, 1, 0]
    assert told["rare_audit.coverage_days"] == 14
    assert told["rare_audit.lateness_seconds"] == 25.5 * 3600 + 1  # it runs on Tuesday, half past one
    assert told["rare_audit.duration_seconds"] == 0


def test_failures_are_measured(world: World) -> None:
    """A run that fails is a run of that state, and its span says so; undelivered incidents are counted."""
    watched = Watched()
    with pytest.raises(ServiceError):
        world.run(SUNDAY, watch=watched.watch, source=ListSource(world.events, ServiceError("no answer")))
    assert not watched.spans[-1].status.is_ok
    world.sink.failing = {APP}
    with pytest.raises(ServiceError):
        world.run(SUNDAY, watch=watched.watch)
    assert watched.metrics()["rare_audit.undelivered"] == 1
    assert watched.metrics()["rare_audit.runs"] == 2
    assert "failed" in watched.text()


def test_the_line_that_alerts_go_by(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Each end of a run is one line, whose attributes are plain texts and numbers."""
    world.silent = {f"2026-03-{day:02}" for day in range(2, 12)}
    with caplog.at_level(logging.INFO, "rare_audit.watch"):
        run = world.run(SUNDAY, watch=Watched().watch)
        world.sink.failing = {APP}
        with pytest.raises(ServiceError):
            world.run(SUNDAY, watch=Watched().watch, source=ListSource(world.events, ServiceError("no answer")))
    done, failed = caplog.records
    assert done.getMessage() == f"run {run.id}: done, 1 findings new"
    told = {name: value for name, value in vars(done).items() if name.startswith("run.")}
    assert told == {
        "run.id": run.id, "run.first_day": SUNDAY, "run.last_day": SUNDAY, "run.state": "done", "run.dry": "false",
        "run.degraded": "true", "run.undelivered": 0, "run.refused": 0, "run.unreadable": 0,
    }  # fmt: skip
    assert (failed.levelname, vars(failed)["run.state"]) == ("ERROR", "failed")
    assert not hasattr(failed, "run.undelivered"), "a run that did not come to deliver can't say what is left"


def test_what_was_refused_and_not_read_is_counted(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """In the line that alerts go by, and as metrics."""
    world.events += [event(f"{SUNDAY}T04:00:00Z", "Fine", "Consent", principal="p"), _cut_off(world.events[0])]
    world.sink.refusing = {APP}
    watched = Watched()
    with caplog.at_level(logging.INFO, "rare_audit.watch"):
        world.run(SUNDAY, watch=watched.watch)
    (line,) = caplog.records
    assert (vars(line)["run.refused"], vars(line)["run.unreadable"]) == (1, 1)
    assert (watched.metrics()["rare_audit.refused"], watched.metrics()["rare_audit.unreadable"]) == (1, 1)


def _cut_off(one: AuditEvent) -> AuditEvent:
    """Return an event whose targets are no whole JSON."""
    return msgspec.structs.replace(one, id="cut", target_resources="[{")


def test_nothing_of_an_event_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """No name, user or value gets into a span, a metric or a log line; the run's id does."""
    watched = Watched()
    with caplog.at_level(logging.DEBUG):
        run = world.run(SUNDAY, watch=watched.watch)
    for told in (watched.text(), caplog.text):
        assert APP not in told
        assert "ann@x.example" not in told
        assert "Consent" not in told
        assert run.id in told


def test_nobody_listens(world: World) -> None:
    """Without a provider it costs nothing and changes nothing."""
    assert world.run(SUNDAY, watch=OpenTelemetry()).state == "done"
