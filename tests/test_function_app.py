"""The triggers: how they are indexed by Microsoft's worker, and what they hand over and answer, called as functions.

How they behave in that worker, behind a host, is in test_azure_end_to_end.
"""

import base64
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import azure.functions as func
import pytest
from azure.functions.timer import TimerRequest

import function_app
from rare_audit import app
from rare_audit.errors import SettingsError
from tests.azure.gate import DROPPED, Answer
from tests.azure.local_stack import Stack
from tests.azure.log_analytics_world import wait_for
from tests.terminal import ROOT

SLOW_TO_LOAD: Final = (
    "azure.core",
    "azure.data.tables",
    "azure.identity",
    "azure.monitor.query",
    "azure.storage.queue",
    "duckdb",
    "jinja2",
    "rich",
    "yaml",
    "click",
    "sqlite3",
)
QUEUE: Final = "rare-audit-runs"
DAY: Final = "2026-03-16"
needs_worker: Final = pytest.mark.skipif(
    sys.version_info < (3, 13), reason="Microsoft's Python worker comes as a package for Python 3.13 and later only"
)


def _python(*words: str, **environment: str) -> str:
    ended = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"} | environment,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout.decode()


def _worker(**environment: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_python("-m", "tests.functions_worker", str(ROOT), **environment))
    return found


# Indexing


@needs_worker
def test_indexes() -> None:
    """The worker finds a timer, two queues and six routes, of which the health alone needs no key."""
    functions = _worker()["functions"]
    triggers = {
        name: next(one for one in bound if one["type"].endswith("Trigger")) for name, bound in functions.items()
    }
    assert triggers["daily"] == {
        "direction": "IN", "type": "timerTrigger", "name": "timer", "schedule": "0 30 1 * * *",
    }  # fmt: skip
    queues = {name: (one["queueName"], one["connection"]) for name, one in triggers.items() if "queueName" in one}
    assert queues == {
        "run_days": (QUEUE, "AzureWebJobsStorage"),
        "poison": (f"{QUEUE}-poison", "AzureWebJobsStorage"),
    }
    routes = {
        name: (one["route"], one["methods"], one["authLevel"]) for name, one in triggers.items() if "route" in one
    }
    assert routes == {
        "runs": ("runs", ["GET", "POST"], "FUNCTION"),
        "run": ("runs/{id}", ["GET"], "FUNCTION"),
        "findings": ("runs/{id}/findings", ["GET"], "FUNCTION"),
        "report": ("runs/{id}/report", ["GET"], "FUNCTION"),
        "health": ("health", ["GET", "HEAD"], "ANONYMOUS"),
        "openapi": ("openapi.json", ["GET"], "FUNCTION"),
    }
    assert len(functions) == 9


@needs_worker
def test_schedule() -> None:
    """Half past one at night unless the settings say otherwise; an empty one is none."""
    for given, expected in (("", "0 30 1 * * *"), ("0 0 5 * * 1", "0 0 5 * * 1")):
        (timer,) = _worker(RARE_AUDIT_SCHEDULE=given)["functions"]["daily"]
        assert timer["schedule"] == expected


@needs_worker
def test_indexing_loads_little() -> None:
    """Indexing, which every cold start waits for, loads nothing of the job and no client."""
    loaded = _worker()["loaded"]
    assert "function_app" in loaded
    assert [name for name in loaded if name.startswith("rare_audit")] == []
    assert not set(SLOW_TO_LOAD) & set(loaded)


def test_import_loads_little() -> None:
    """The same of a plain import, on every Python."""
    loaded = _python("-c", "import sys, function_app; print(*sys.modules)").split()
    assert "function_app" in loaded
    assert [name for name in loaded if name.startswith("rare_audit")] == []
    assert not set(SLOW_TO_LOAD) & set(loaded)


def test_host_json() -> None:
    """One message at a time, as the lease wants it; the queue's text is base64, as it is sent."""
    host = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
    queues = host["extensions"]["queues"]
    assert (queues["batchSize"], queues["newBatchThreshold"], queues["visibilityTimeout"]) == (1, 0, "00:05:00")
    assert queues["messageEncoding"] == "base64"
    assert host["functionTimeout"] == "01:00:00"


# Called as functions


@pytest.fixture(scope="module")
def running() -> Iterator[Stack]:
    """Start a whole Azure without a host."""
    with Stack(host=False) as stack:
        yield stack


@pytest.fixture
def stack(running: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """Give it empty, its settings being this process's."""
    running.reset()
    for name, value in running.environment.items():
        monkeypatch.setenv(name, value)
    function_app._known_health.cache_clear()
    function_app._deployed.cache_clear()
    return running


def _asked(function: Any, method: str, body: Any = None, params: dict[str, str] | None = None, **route: str) -> Any:
    answer = _answer(function, method, body, params, **route)
    return answer.status_code, json.loads(answer.get_body()), answer


def _answer(function: Any, method: str, body: Any = None, params: dict[str, str] | None = None, **route: str) -> Any:
    # The decorators leave a builder in the function's place, which holds it.
    data = json.dumps(body).encode() if body is not None else b""
    return _function(function)(
        func.HttpRequest(method, "https://app/api", params=params, route_params=route, body=data)
    )


def _function(built: Any) -> Any:
    return built._function._func if hasattr(built, "_function") else built


def _taken(stack: Stack, function: Any) -> None:
    for text in stack.messages(QUEUE):
        _function(function)(func.QueueMessage(id="1", body=base64.b64decode(text)))


def test_from_request_to_incident(stack: Stack) -> None:
    """A request is answered at once, its message runs it, and what it found can be asked for."""
    status, told, answer = _asked(function_app.runs, "POST", {"date": DAY})
    assert (status, answer.headers["Location"]) == (202, f"/api/runs/{told['id']}")
    _taken(stack, function_app.run_days)
    status, run, _ = _asked(function_app.run, "GET", id=told["id"])
    assert (status, run["state"]) == (200, "done")
    assert len(stack.sentinel.incidents) > 3
    status, found, _ = _asked(function_app.findings, "GET", id=told["id"])
    assert (status, len(found["findings"])) == (200, len(run["changes"]["new"]))
    assert len(_asked(function_app.runs, "GET", params={"count": "5"})[1]["runs"]) == 1
    # a success with days long past says nothing of yesterday
    assert _asked(function_app.health, "GET")[:2] == (200, {"status": "never-run"})


def test_report_is_a_page(stack: Stack) -> None:
    """HTML in UTF-8 that nobody may keep, frame or run a script in; of an unknown run a problem."""
    _, told, _ = _asked(function_app.runs, "POST", {"date": DAY})
    _taken(stack, function_app.run_days)
    answer = _answer(function_app.report, "GET", id=told["id"])
    assert (answer.status_code, answer.mimetype, answer.charset) == (200, "text/html", "utf-8")
    assert answer.get_body().startswith(b"<!DOCTYPE html>")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; style-src 'sha256-")
    status, _, refused = _asked(function_app.report, "GET", id="none")
    assert (status, refused.mimetype) == (404, "application/problem+json")


def test_refusals_are_problems(stack: Stack) -> None:
    """What can't be done is a problem with the field; what is not there is 404."""
    status, told, answer = _asked(function_app.runs, "POST", {"date": "2999-01-01"})
    assert (status, told["field"], answer.mimetype) == (400, "date", "application/problem+json")
    assert _asked(function_app.run, "GET", id="none")[0] == 404
    assert stack.messages(QUEUE) == []


def test_timer(stack: Stack) -> None:
    """It sends a message for what is due; being late is the run's reason."""
    _function(function_app.daily)(TimerRequest(past_due=True))
    assert len(stack.messages(QUEUE)) == 1
    (run,) = _asked(function_app.runs, "GET")[1]["runs"]
    assert (run["state"], run["askedBy"], run["reason"]) == ("queued", "timer", "past due")
    assert _asked(function_app.health, "GET")[:2] == (200, {"status": "never-run"})


def test_poison(stack: Stack) -> None:
    """The run of a message that nobody could finish is closed."""
    _, told, _ = _asked(function_app.runs, "POST", {"date": DAY})
    _taken(stack, function_app.poison)
    assert _asked(function_app.run, "GET", id=told["id"])[1]["state"] == "failed"


def test_health_is_looked_up_once_a_minute(stack: Stack) -> None:
    """Anybody may ask for it: storage is not asked each time."""
    _asked(function_app.health, "GET")
    before = stack.gate.count()
    for _ in range(20):
        _asked(function_app.health, "GET")
    assert stack.gate.count() == before


def test_without_settings(stack: Stack, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A request learns that the app can't answer, the log why; a timer fails with the names."""
    monkeypatch.delenv("LOG_ANALYTICS_WORKSPACE_ID")
    status, told, _ = _asked(function_app.runs, "GET")
    assert (status, "LOG_ANALYTICS" in json.dumps(told)) == (503, False)
    assert "LOG_ANALYTICS_WORKSPACE_ID is not set" in caplog.text
    assert _asked(function_app.health, "GET")[:2] == (503, {"status": "unknown"})
    with pytest.raises(SettingsError, match="LOG_ANALYTICS_WORKSPACE_ID is not set"):
        _function(function_app.daily)(TimerRequest())
    assert stack.messages(QUEUE) == []


@pytest.mark.parametrize("status", [200, 400, 500])
def test_identity_that_answers_html(stack: Stack, status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the libraries make of it, who asks gets a problem document, and the log a line without a traceback."""
    app.credential.cache_clear()
    stack.gate.upon(
        lambda _: Answer(status, b"<html>Sign in</html>", {"Content-Type": "text/html"}), service="identity"
    )
    for function, method in ((function_app.runs, "GET"), (function_app.runs, "POST"), (function_app.run, "GET")):
        code, told, answer = _asked(function, method, {"date": DAY} if method == "POST" else None, id="x")
        assert (code, told["title"], answer.mimetype) == (503, "Not available", "application/problem+json")
    assert _asked(function_app.health, "GET")[:2] == (503, {"status": "unknown"})
    assert "Traceback" not in caplog.text
    assert "a request could not be answered: the table RareAudit at" in caplog.text
    app.credential.cache_clear()


def test_year_one(stack: Stack) -> None:
    """A day whose baseline would begin before there are days is refused; its report can't fail."""
    status, told, _ = _asked(function_app.runs, "POST", {"date": "0001-01-05"})
    assert (status, told["field"]) == (400, "date")


def test_health_occupies_one_thread(stack: Stack) -> None:
    """While storage keeps one look-up waiting, all others get the last known status at once."""
    let_go = threading.Event()
    stack.gate.upon(lambda _: DROPPED if not let_go.wait(20) else None, service="table", times=1)
    first = threading.Thread(target=_asked, args=(function_app.health, "GET"))
    first.start()
    assert wait_for(lambda: stack.gate.count("table") == 1)
    began = time.monotonic()
    for _ in range(30):
        assert _asked(function_app.health, "GET")[:2] == (503, {"status": "unknown"})
    assert time.monotonic() - began < 2
    let_go.set()
    first.join()
    assert _asked(function_app.health, "GET")[:2] == (200, {"status": "never-run"})


def test_head_of_health(stack: Stack) -> None:
    """A watcher that asks by HEAD gets what GET answers; the host leaves the body out."""
    answer = _answer(function_app.health, "HEAD")
    assert (answer.status_code, json.loads(answer.get_body())) == (200, {"status": "never-run"})
