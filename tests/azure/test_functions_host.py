"""The stand-in for the Functions host: what it lets through, refuses and survives. Its worker is the real one."""

import http.client
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.azure.azurite import Azurite
from tests.azure.conftest import Hosted, soon
from tests.azure.functions_host import FunctionsHost
from tests.azure.functions_settings import HostError
from tests.azure.scratch_app import FUNCTIONS, write

_JSON: Final = {"Content-Type": "application/json"}


def _call(
    host: FunctionsHost, path: str, method: str = "GET", body: bytes | None = None, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """Ask the host; `x_functions_key` is a header's name."""
    connection = http.client.HTTPConnection(urlsplit(host.url).netloc, timeout=30)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"User-Agent": "tests", **named})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def test_request_and_response(hosted: Callable[..., Hosted]) -> None:
    """Method, URL, query, route, headers and body reach the function as they are; so does its response the caller."""
    host = hosted().host
    path = f"/api/Things/a%20b?x=1&x=2&empty=&code={host.keys.function}"
    status, headers, body = _call(host, path, "POST", b"\x00\xff", x_two="ä".encode().decode("latin-1"))
    assert (status, headers["location"], headers["content-type"]) == (202, "/here", "application/json")
    told = msgspec.json.decode(body)
    assert told["method"] == "POST"
    assert told["url"] == host.url + path
    assert told["query"] == {"x": "1,2", "empty": "", "code": host.keys.function}
    assert told["route"] == {"id": "a b"}
    assert told["body"] == "00ff"
    assert told["agent"] == "tests"
    assert _call(host, "/api/things/latest") == (200, _headers("the latest"), b"the latest")


def test_chunks(hosted: Callable[..., Hosted]) -> None:
    """A body that is sent in chunks arrives whole, and the connection is good for the next request."""
    host = hosted().host
    connection = http.client.HTTPConnection(urlsplit(host.url).netloc, timeout=30)
    path = f"/api/things/a?code={host.keys.function}"
    try:
        for parts in ([b"\x00", b"\xff" * 70_000], [], [b"x"]):
            connection.request("POST", path, iter(parts), encode_chunked=True, headers={"User-Agent": "tests"})
            response = connection.getresponse()
            assert response.status == 202
            assert msgspec.json.decode(response.read())["body"] == b"".join(parts).hex()
    finally:
        connection.close()


def _headers(text: str) -> dict[str, str]:
    return {"content-type": "text/plain; charset=utf-8", "content-length": str(len(text))}


def test_refusals(hosted: Callable[..., Hosted]) -> None:
    """No key and a wrong one are 401, no route and no such method 404, a function's failure 500: with an empty body."""
    host = hosted().host
    key, master = host.keys.function, host.keys.master
    for path, method, given, status in (
        ("/api/things/1", "GET", "", 401),
        ("/api/things/1", "GET", "wrong", 401),
        ("/api/things/1", "GET", key, 202),
        ("/api/things/1", "GET", master, 202),
        ("/api/things/1", "DELETE", key, 404),
        ("/api/things", "GET", key, 404),
        ("/things/1", "GET", key, 404),
        ("/api/things/1/2", "GET", key, 404),
        ("/api/keys", "GET", key, 401),
        ("/api/keys", "POST", master, 200),
        ("/api/fails", "GET", "", 500),
    ):
        answer = _call(host, path, method, x_functions_key=given)
        assert answer[0] == status, (path, method, given)
        assert (answer[2] == b"") == (status >= 400)
    assert [ended.error for ended in host.ended if not ended.ok] == ["ValueError('a secret of the app')"]


def test_timers(hosted: Callable[..., Hosted]) -> None:
    """A timer is fired, past due or not, and it is told how that ended; the log has what the app prints and logs."""
    world = hosted()
    assert set(world.host.functions) == FUNCTIONS
    assert "function_app" in world.host.loaded
    assert world.host.fire("daily").ok
    assert world.host.fire("daily", past_due=True).ok
    failed = world.host.fire("failing")
    assert (failed.ok, failed.error) == (False, "ValueError('it had to fail')")
    assert 'raise ValueError("it had to fail")' in failed.traceback
    assert world.noted("daily") == ["False", "True"]
    log = (world.folder / "log").read_text()
    for text in ("INFO scratch: past due: True", "printed, and in nobody's way", "'Functions.failing' (Failed"):
        assert text in log


def test_admin_endpoint(hosted: Callable[..., Hosted]) -> None:
    """It takes the master key alone and answers 202 before the function has ended, whether that fails or not."""
    world = hosted()
    host, path, body = world.host, "/admin/functions/daily", b'{"input": ""}'
    master = host.keys.master
    for given, where, sent, status in (
        ("", path, body, 401),
        (host.keys.function, path, body, 401),
        (master, "/admin/functions/nobody", body, 404),
        (master, path, b"", 400),
        (master, path, b"no json", 400),
        (master, "/admin/functions/latest", body, 400),
        (master, path, body, 202),
        (master, "/admin/functions/Failing", body, 202),
        (master, "/admin/functions/work", b'{"input": "by hand"}', 202),
    ):
        assert _call(host, where, "POST", sent, x_functions_key=given, **_JSON)[0] == status, (where, given, sent)
    assert soon(lambda: len(host.ended) == 3)
    assert {(ended.function, ended.ok) for ended in host.ended} == {("daily", True), ("failing", False), ("work", True)}
    assert world.noted("done") == ["by hand"]


def test_several_at_once(hosted: Callable[..., Hosted]) -> None:
    """While one function works, others are invoked; when the worker is killed, all it worked on fails, and no more."""
    world = hosted()
    host = world.host
    answers: list[int] = []
    waiting = [
        threading.Thread(target=lambda name=name: answers.append(_call(host, f"/api/hangs/{name}/x")[0]))
        for name in ("a", "b")
    ]
    for thread in waiting:
        thread.start()
    assert soon(lambda: sorted(world.noted("hangs")) == ["a/x", "b/x"])
    assert host.fire("daily").ok
    before = host.pid
    host.kill_worker()
    for thread in waiting:
        thread.join()
    assert answers == [500, 500]
    errors = {ended.error for ended in host.ended if not ended.ok}
    assert errors == {"the worker process ended (SIGKILL) while the function ran"}
    assert host.fire("daily").ok
    assert host.pid != before
    host.restart_worker()
    assert host.fire("daily").ok


def test_a_function_that_takes_too_long(hosted: Callable[..., Hosted]) -> None:
    """After the functionTimeout of host.json the invocation fails, and its worker is replaced."""
    host = hosted(functionTimeout="00:00:01").host
    before, began = host.pid, time.monotonic()
    assert _call(host, "/api/hangs/x")[0] == 500
    assert 0.9 < time.monotonic() - began < 20
    assert host.ended[0].error == "Timeout value of 00:00:01 exceeded by function: Functions.hangs"
    assert host.pid != before


def test_route_prefix(hosted: Callable[..., Hosted]) -> None:
    """Routes begin where host.json says, or right away."""
    assert _call(hosted(extensions={"http": {"routePrefix": ""}}).host, "/things/latest")[0] == 200


_QUEUED: Final = """
import azure.functions as func
app = func.FunctionApp()
@app.queue_trigger(arg_name="message", queue_name="{queue}", connection="{connection}")
def work(message: func.QueueMessage) -> None: ...
"""
_PUTTING: Final = """
import azure.functions as func
app = func.FunctionApp()
@app.timer_trigger(arg_name="timer", schedule="0 0 0 * * *")
@app.queue_output(arg_name="out", queue_name="q", connection="AzureWebJobsStorage")
def work(timer: func.TimerRequest, out: func.Out[str]) -> None: ...
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import no_such_module", "the app was not indexed: .*no_such_module"),
        ("import os; os._exit(3)", "the worker process ended while it started"),
        (_QUEUED.format(queue="q", connection="Elsewhere"), "'work' was unable to start: Elsewhere is not set"),
        (_QUEUED.format(queue="%NONE%", connection="AzureWebJobsStorage"), "'%NONE%' does not resolve to a value"),
        (_PUTTING, "work: this stand-in has no binding queue"),
    ],
)
def test_apps_that_do_not_start(source: str, expected: str, emulator: Azurite, tmp_path: Path) -> None:
    """An app that can't be indexed or bound is told as such, and leaves no process behind."""
    pytest.importorskip("azure_functions_runtime", reason="Microsoft's worker is for Python 3.13 and later")
    settings = {"AzureWebJobsStorage__queueServiceUri": emulator.queue}
    with (
        pytest.raises(HostError, match=expected),
        FunctionsHost(write(tmp_path, source), settings, emulator, tmp_path / "log"),
    ):
        pass


def test_the_app_sees_its_settings_alone(hosted: Callable[..., Hosted], monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in this process's environment does not reach the app."""
    monkeypatch.setenv("LEAKED_INTO_THE_APP", "yes")
    world = hosted()
    seen = Path(f"/proc/{world.host.pid}/environ")
    if seen.exists():
        names = {line.partition(b"=")[0].decode() for line in seen.read_bytes().split(b"\0")}
        assert "QUEUE" in names
        assert "LEAKED_INTO_THE_APP" not in names


def test_nothing_is_left_behind(hosted: Callable[..., Hosted], tmp_path: Path, emulator: Azurite) -> None:
    """When the host ends, its worker is gone, whatever that was about."""
    settings: dict[str, Any] = {"QUEUE": "q-none", "SCHEDULE": "", "SCRATCH": str(tmp_path)}
    settings["AzureWebJobsStorage__queueServiceUri"] = emulator.queue
    with FunctionsHost(write(tmp_path / "other"), settings, emulator, tmp_path / "log") as host:
        caller = threading.Thread(target=_called, args=(host,))
        caller.start()
        assert soon((tmp_path / "hangs").exists)
        pid = host.pid
    caller.join()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def _called(host: FunctionsHost) -> None:
    with suppress(OSError, http.client.HTTPException):
        _call(host, "/api/hangs/x")
