"""The deployed app in Microsoft's own Python worker, from the timer to the incident, over the real wire.

Azurite is real; the Functions host, Log Analytics, Sentinel and the managed identity are stand-ins. What they do not
show, their own files say.
"""

import base64
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from rare_audit.app import OUTBOX, embedded_job
from rare_audit.exports.export_files import ExportFiles
from rare_audit.reporting.incident import Incident
from rare_audit.reporting.sentinel_bodies import incident_properties
from rare_audit.sources.sample import FIRST_HUNTED, LAST_HUNTED, planted
from tests.azure.asking import ask, done, posted
from tests.azure.azurite import KEY, connection_string
from tests.azure.functions_host import FunctionsHost
from tests.azure.gate import killing
from tests.azure.local_stack import ROOT, SAMPLE, Stack
from tests.job_world import files

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 13), reason="Microsoft's Python worker comes as a package for Python 3.13 and later only"
)
QUEUE: Final = "rare-audit-runs"
WRONG_KEY: Final = base64.b64encode(b"a key that is not the account's").decode()


@pytest.fixture(scope="module")
def running() -> Iterator[Stack]:
    """Start all of it on the sample as it is."""
    with Stack(visibility=1.0) as stack:
        yield stack


@pytest.fixture
def stack(running: Stack) -> Stack:
    """Give it empty."""
    running.host.settle()
    running.reset()
    return running


def _demo(folder: Path) -> dict[str, Incident]:
    """Return the incidents of the embedded demo, by id."""
    with embedded_job(ExportFiles([SAMPLE]), folder) as job:
        job.run(FIRST_HUNTED, LAST_HUNTED, asked_by="test")
    read = (msgspec.json.decode(path.read_bytes(), type=Incident) for path in files(folder / OUTBOX))
    return {incident.id: incident for incident in read}


def _minutes_pass(stack: Stack) -> None:
    for row in stack.rows():
        if row["PartitionKey"] == "leases":
            stack.table.delete_entity(row["PartitionKey"], row["RowKey"])


def test_rerun_by_http_equals_the_embedded_demo(stack: Stack, tmp_path: Path) -> None:
    """The same findings, and incidents that are letter for letter those the demo writes; a second time adds nothing."""
    run = posted(stack, **{"from": FIRST_HUNTED, "to": LAST_HUNTED, "reason": "a try"})
    assert (run["state"], run["error"], run["reason"], run["askedBy"]) == ("done", "", "a try", "http")
    expected = _demo(tmp_path)
    raised = {name: each["properties"] for name, each in stack.sentinel.incidents.items()}
    assert set(raised) == set(expected) == set(run["incidents"]) == set(run["delivered"])
    for name, incident in expected.items():
        wanted = incident_properties(incident)
        labels = [{"labelName": label["labelName"]} for label in raised[name]["labels"]]
        assert {field: (raised[name] | {"labels": labels})[field] for field in wanted} == wanted
        assert len(stack.sentinel.comments[name]) == 1
        assert len(stack.sentinel.relations[name]) == len(incident.findings)
    found = ask(stack, "GET", f"/api/runs/{run['id']}/findings").told["findings"]
    assert {one["kept"]["finding"]["id"] for one in found} == {
        finding.id for incident in expected.values() for finding in incident.findings
    }
    before = stack.sentinel.contents()
    again = posted(stack, **{"from": FIRST_HUNTED, "to": LAST_HUNTED})
    assert (len(again["changes"]["confirmed"]), again["changes"]["new"], again["delivered"]) == (13, [], [])
    assert stack.sentinel.contents() == before
    assert [one["id"] for one in ask(stack, "GET", "/api/runs").told["runs"]] == [again["id"], run["id"]]


def test_timer() -> None:
    """Fired by the host, it sends a message, the message runs yesterday, and yesterday's incidents are in Sentinel."""
    with Stack(shifted=True) as stack:
        assert ask(stack, "GET", "/api/health", key="").told == {"status": "never-run"}
        assert stack.host.fire("daily").ok
        stack.host.settle()
        (run,) = ask(stack, "GET", "/api/runs").told["runs"]
        assert (run["state"], run["askedBy"], run["error"]) == ("done", "timer", "")
        assert run["firstDay"] == run["lastDay"] == f"{stack.day}"
        cases = [case for case in planted() if case.day == LAST_HUNTED and case.seen and not case.excluded]
        assert run["new"] == len(cases)
        before = stack.sentinel.contents()
        assert len(before["incidents"]) == len({case.app for case in cases})
        assert stack.host.fire("daily", past_due=True).ok
        stack.host.settle()
        latest, _ = ask(stack, "GET", "/api/runs").told["runs"]
        assert (latest["reason"], latest["firstDay"], latest["new"]) == ("past due", f"{stack.day}", 0)
        assert stack.sentinel.contents() == before


def test_timer_on_silence(stack: Stack) -> None:
    """Where the workspace has no event of yesterday, the run says so, and one incident does."""
    assert stack.host.fire("daily").ok
    stack.host.settle()
    (run,) = ask(stack, "GET", "/api/runs").told["runs"]
    assert (run["state"], run["delivered"]) == ("no-data", 1)
    (incident,) = stack.sentinel.incidents.values()
    assert incident["properties"]["title"].startswith("AuditLogs went silent: no event since ")
    assert stack.host.fire("daily").ok
    stack.host.settle()
    assert len(stack.sentinel.incidents) == 1
    assert ask(stack, "GET", "/api/health", key="").status == 200


def test_keys_and_routes(stack: Stack) -> None:
    """Without its key the app answers nothing but its health; unknown runs are 404, bad days 400 with the field."""
    for method, path in (
        ("POST", "/api/runs"),
        ("GET", "/api/runs"),
        ("GET", "/api/runs/x"),
        ("GET", "/api/runs/x/findings"),
    ):
        assert ask(stack, method, path, {} if method == "POST" else None, key="wrong").status == 401
    assert ask(stack, "GET", "/api/health", key="").status in {200, 503}
    unknown = ask(stack, "GET", "/api/runs/no-such-run")
    assert (unknown.status, unknown.headers["content-type"].partition(";")[0]) == (404, "application/problem+json")
    bad = ask(stack, "POST", "/api/runs", {"date": "2999-01-01"})
    assert (bad.status, bad.told["field"]) == (400, "date")
    assert ask(stack, "POST", "/api/runs", b"no JSON").status == 400
    accepted = ask(stack, "POST", "/api/runs", {"date": LAST_HUNTED})
    assert (accepted.status, accepted.headers["location"]) == (202, f"/api/runs/{accepted.told['id']}")
    done(stack, accepted.told["id"])


def test_dry_run(stack: Stack) -> None:
    """Its findings can be asked for; nothing is kept with those that count, and nothing is raised."""
    run = posted(stack, start=f"{LAST_HUNTED}T00:00:00Z", end=f"{LAST_HUNTED}T12:00:00Z", dryRun=True)
    assert (run["state"], run["dryRun"]) == ("done", True)
    found = ask(stack, "GET", f"/api/runs/{run['id']}/findings").told["findings"]
    assert {one["kept"]["finding"]["day"] for one in found} == {LAST_HUNTED}
    assert stack.sentinel.incidents == {}
    partitions = {row["PartitionKey"].partition(".")[0] for row in stack.rows()}
    assert "dry" in partitions
    assert not partitions & {"findings", "deliveries"}


@pytest.mark.parametrize(("service", "number"), [("logs", 3), ("arm", 5), ("table", 30)])
def test_worker_killed(stack: Stack, service: str, number: int) -> None:
    """The message comes again, and once the lease of the dead process ran out the run ends well under its own id."""

    def kill() -> None:
        stack.host.kill_worker()
        _minutes_pass(stack)

    reply = ask(stack, "POST", "/api/runs", {"date": LAST_HUNTED})
    stack.host.settle()
    expected = stack.sentinel.contents()
    stack.reset()
    stack.gate.at(number, killing(kill), service=service)
    reply = ask(stack, "POST", "/api/runs", {"date": LAST_HUNTED})
    run = done(stack, reply.told["id"])
    stack.host.settle()
    assert (run["state"], run["attempts"]) == ("done", 2)
    # before them there may be one that came before the note that its message was sent, and put it back
    ends = [ended.ok for ended in stack.host.ended if ended.function == "run_days"]
    assert ends[-2:] == [False, True]
    assert ends.count(False) == 1
    assert stack.sentinel.contents() == expected


def test_poison(stack: Stack) -> None:
    """A run whose message landed in the poison queue is closed, and says why."""
    stack.make_queue(QUEUE)
    stack.gate.upon(killing(stack.host.kill_worker), service="logs")
    reply = ask(stack, "POST", "/api/runs", {"date": LAST_HUNTED})
    for _ in range(200):
        _minutes_pass(stack)
        run = ask(stack, "GET", f"/api/runs/{reply.told['id']}")
        if run.status == 200 and run.told["ended"]:
            break
        time.sleep(0.1)
    stack.host.settle()
    assert run.told["state"] == "failed"
    assert "it never came to an end" in run.told["error"]
    stack.gate.forget()
    assert posted(stack, date=LAST_HUNTED)["state"] == "done"


def test_failure_is_told(stack: Stack) -> None:
    """A workspace that may not be read fails the run with the remedy; its message is done with, the worker lives."""
    stack.logs.readable = False
    run = posted(stack, date=LAST_HUNTED)
    assert run["state"] == "failed"
    assert "Log Analytics Reader" in run["error"]
    stack.host.settle()
    assert stack.messages(QUEUE) == []
    stack.logs.readable = True
    assert posted(stack, date=LAST_HUNTED)["state"] == "done"


def test_settings_are_wrong() -> None:
    """The invocation fails in one line that names every setting; a request is told no detail, the log all."""
    with Stack(settings={"LOG_ANALYTICS_WORKSPACE_ID": "", "RARE_AUDIT_MIN_DAYS": "many"}) as stack:
        ended = stack.host.fire("daily")
        assert not ended.ok
        for name in ("LOG_ANALYTICS_WORKSPACE_ID is not set", "RARE_AUDIT_MIN_DAYS: expected a number"):
            assert name in ended.error
        reply = ask(stack, "GET", "/api/runs")
        assert reply.status == 503
        assert b"LOG_ANALYTICS" not in reply.body
        assert ask(stack, "GET", "/api/health", key="").told == {"status": "unknown"}


def test_no_secret_is_written() -> None:
    """Of a whole run, by identity and by key, no token, key or header is in any log, row, incident or answer."""
    with Stack() as stack:
        run = posted(stack, date=LAST_HUNTED)
        assert run["state"] == "done"
        stack.logs.readable = False
        assert posted(stack, date=LAST_HUNTED)["state"] == "failed"
        ask(stack, "GET", "/api/runs", key="wrong-key-" + "x" * 20)
        written = _written(stack) + _by_key(stack)
        keys = {stack.host.keys.function, stack.host.keys.master, KEY, WRONG_KEY}
        secrets = {*keys, stack.identity.header, *stack.identity.tokens()}
        assert len(secrets) > 6
    assert len(written) > 10_000
    for secret in secrets:
        assert secret not in written
    assert not re.search(r"AccountKey=(?!\[removed\])\S", written)
    assert not re.search(r"(?i)bearer ey", written)


def _by_key(stack: Stack) -> str:
    """Run another host of the app, by connection strings: a good one, and one whose key is not the account's."""
    services = {name: stack.environment[f"AzureWebJobsStorage__{name}ServiceUri"] for name in ("queue", "table")}
    good = connection_string(**services)
    environment = {name: value for name, value in stack.environment.items() if not name.startswith("AzureWebJobs")}
    log = stack.log.with_name("by-key.log")
    for key, ok in ((good, True), (good.replace(KEY, WRONG_KEY), False)):
        with FunctionsHost(ROOT, {**environment, "AzureWebJobsStorage": key}, stack.azurite, log) as host:
            ended = host.fire("daily")
            assert ended.ok is ok, ended
            host.settle()
    return log.read_text(encoding="utf-8") + ended.error


def _written(stack: Stack) -> str:
    """Return all that a stack's app wrote anywhere, rows unpacked."""
    runs = ask(stack, "GET", "/api/runs").body.decode()
    told = [stack.log_text(), repr(stack.rows()), repr(stack.sentinel.contents()), runs]
    return "\n".join(told)
