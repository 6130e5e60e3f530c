"""Whatever the libraries of Azure raise, and however long an endpoint keeps them waiting: one line, and in time."""

import json
import time
import traceback
from collections.abc import Callable
from typing import Any, Final

import pytest
from azure.core.exceptions import ClientAuthenticationError

from rare_audit import app
from rare_audit.detection.ticks import TICKS_PER_DAY
from rare_audit.errors import ServiceError
from rare_audit.places import Ingestion, parse_workspace
from rare_audit.ports import Entity
from rare_audit.reporting.finding_rows import FindingRow
from rare_audit.sinks.arm import Arm
from rare_audit.sinks.findings_table import FindingsTable
from rare_audit.sinks.patience import Patience
from rare_audit.sources import log_analytics_client
from rare_audit.sources.log_analytics import LogAnalytics
from rare_audit.stores import run_queue, tables
from tests.azure.azurite import connection_string
from tests.azure.dripping import dripping

SECRET: Final = "c2VjcmV0LW9mLXRoZS1hY2NvdW50"  # noqa: S105 - stands for a token
NOBODY: Final = "https://127.0.0.1:9"
TABLE: Final = {**tables.PATIENCE, "retry_total": 1, "retry_backoff_max": 0.1, "read_timeout": 0.5}
QUEUE: Final = {**run_queue.PATIENCE, "retry_total": 1, "initial_backoff": 0.01, "increment_base": 0.01}
WORKSPACE: Final = (
    "/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/group/providers"
    "/Microsoft.OperationalInsights/workspaces/audit"
)
IDENTITY: Final = {**app.TOKEN_PATIENCE, "retry_total": 1, "read_timeout": 0.3, "retry_backoff_max": 0.1}
LOGS: Final = log_analytics_client.Patience(budget=1, first_pause=0.1, server=0, silence=1, connect=1)
Make = Callable[[], Any]


def _table(credential: Make) -> None:
    with tables.by_identity(NOBODY, credential, patience=TABLE) as table:
        table.put(Entity("p", "r", {}))


def _queue(credential: Make) -> None:
    run_queue.by_identity(NOBODY, credential, QUEUE).send("run")


def _arm(credential: Make) -> None:
    Arm(parse_workspace(WORKSPACE), credential, endpoint=NOBODY, patience=Patience(seconds=0)).check()


def _ingestion(credential: Make) -> None:
    row = FindingRow({"FindingId": "a", "Revision": "b"})
    table = FindingsTable(Ingestion(NOBODY, "dcr-1"), credential, app.SystemClock(), patience=Patience(seconds=0))
    list(table.upload([row], ""))


def _logs(credential: Make) -> None:
    workspace = "11111111-1111-1111-1111-111111111111"
    LogAnalytics(workspace, credential, endpoint=NOBODY, patience=LOGS).coverage(0, TICKS_PER_DAY)


ADAPTERS: Final = [_table, _queue, _arm, _ingestion, _logs]


class Raising:
    """A credential that raises an error when it is asked for a token."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_token(self, *scopes: str, **options: Any) -> Any:
        """Raise the error."""
        raise self._error


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize(
    "error",
    [
        json.JSONDecodeError("Expecting value", "<html>", 0),
        ValueError("invalid literal for int() with base 10: 'soon'"),
        KeyError("access_token"),
        RecursionError("maximum recursion depth exceeded"),
        OverflowError("date value out of range"),
        ClientAuthenticationError(f"refused: Bearer {SECRET}"),
        AttributeError(f"sig={SECRET}"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_credential_raises(adapter: Callable[[Make], None], error: Exception) -> None:
    """It is a ServiceError in one line, with its cause, and neither shows a secret."""
    with pytest.raises(ServiceError) as caught:
        adapter(lambda: Raising(error))
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None
    assert SECRET not in "".join(traceback.format_exception(caught.value))


# The identity endpoint


def _answer(status: int, body: bytes, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}"
    return f"{head}Connection: close\r\n\r\n".encode() + body


SOON: Final = json.dumps({"access_token": "t", "expires_on": "soon", "resource": "r", "token_type": "Bearer"}).encode()


@pytest.mark.parametrize("adapter", [_table, _arm, _logs])
@pytest.mark.parametrize("status", [200, 400, 500])
@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b"", SOON, b"[]", b"{}", b"[" * 100_000])
def test_identity_that_answers_anything(
    adapter: Callable[[Make], None], status: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An identity endpoint that answers with something else than a token is a ServiceError of whoever asked."""
    with dripping(_answer(status, body), close=True) as url:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "x")
        with pytest.raises(ServiceError):
            adapter(lambda: app.managed_identity("client", patience={**IDENTITY, "retry_total": 0}))


@pytest.mark.parametrize("answers", [(), (_answer(200, SOON)[:-1],), (_answer(429, b"{}", "Retry-After: 3600\r\n"),)])
def test_identity_that_keeps_waiting(answers: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that accepts and never answers, never ends, or asks for an hour's patience is given up in time."""
    began = time.monotonic()
    with dripping(*answers, close=bool(answers) and answers[0].startswith(b"HTTP/1.1 429")) as url:
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{url}/msi/token")
        monkeypatch.setenv("IDENTITY_HEADER", "x")
        with pytest.raises(ServiceError):
            _table(lambda: app.managed_identity("client", patience=IDENTITY))
    assert time.monotonic() - began < 10


# The services


@pytest.mark.parametrize("content", [b"<html>Sign in</html>", b"", b"<a>" * 50_000])
def test_queue_that_answers_anything(content: bytes) -> None:
    """A queue whose answer is none is a ServiceError."""
    with dripping(_answer(201, content), close=True) as url, pytest.raises(ServiceError, match="no message could be"):
        run_queue.by_connection_string(connection_string(queue=f"{url}/a"), QUEUE).send("run")


def _get(url: str) -> None:
    with tables.by_connection_string(connection_string(table=f"{url}/a"), patience=TABLE) as table:
        table.get("p", "r")


def _send(url: str) -> None:
    run_queue.by_connection_string(connection_string(queue=f"{url}/a"), {**QUEUE, "read_timeout": 0.5}).send("run")


@pytest.mark.parametrize("ask", [_get, _send])
@pytest.mark.parametrize("parts", [(), (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",)], ids=["silence", "body"])
def test_storage_that_drips(ask: Callable[[str], None], parts: tuple[bytes, ...]) -> None:
    """Storage that sends a byte now and then is given up in time."""
    began = time.monotonic()
    with dripping(*parts, drip=b"x" if parts else b"") as url, pytest.raises(ServiceError):
        ask(url)
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("ask", [_get, _send])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(ask: Callable[[str], None], status: int) -> None:
    """A service that sends its caller elsewhere is refused: nobody else is asked."""
    with dripping(b"", close=True) as elsewhere:
        answer = _answer(status, b"", f"Location: {elsewhere}/a\r\n")
        with dripping(answer, close=True) as url, pytest.raises(ServiceError, match=str(status)):
            ask(url)


@pytest.mark.parametrize("ask", [_get, _send])
def test_an_hour_is_not_waited_for(ask: Callable[[str], None]) -> None:
    """A Retry-After of an hour is no reason to sleep for one."""
    began = time.monotonic()
    busy = _answer(503, b"", "Retry-After: 3600\r\n")
    with dripping(busy, close=True) as url, pytest.raises(ServiceError):
        ask(url)
    assert time.monotonic() - began < 10
