"""What the tests of the Log Analytics source stand on: a stand-in to ask, an identity, and a time that only pauses."""

import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from azure.core.credentials import AccessToken

from rare_audit.detection.event import AuditEvent
from rare_audit.detection.ticks import TICKS_PER_DAY, format_ticks
from rare_audit.sources.log_analytics import THREAD_NAME, LogAnalytics
from rare_audit.sources.log_analytics_client import Patience
from tests.azure.kql_table import KqlTable
from tests.azure.log_analytics_server import WORKSPACE, LogAnalyticsServer
from tests.azure.tls import Authority

TOKEN: Final = "eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJsb2dzIn0.c2lnbmF0dXJl"  # noqa: S105 - good at the stand-in alone


class StaticCredential:
    """A TokenCredential that always has the same token; `scopes` is what it was asked for."""

    def __init__(self, token: str = TOKEN) -> None:
        self._token = token
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """Return the token."""
        self.scopes += scopes
        return AccessToken(self._token, int(time.time()) + 3600)


class Pauses:
    """A clock that only pauses move, and what they were."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def clock(self) -> float:
        """Return the sum of all pauses."""
        return sum(self.seconds)

    def sleep(self, halt: threading.Event, seconds: float) -> None:
        """Let the clock move on at once."""
        self.seconds.append(seconds)

    def patience(self, **overrides: Any) -> Patience:
        """Return the production's patience on this clock."""
        return Patience(clock=self.clock, sleep=self.sleep, **overrides)


@contextmanager
def workspace(rows: Iterable[dict[str, Any]]) -> Iterator[LogAnalyticsServer]:
    """Serve rows, with clients of this process trusting the server."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        authority = Authority(Path(folder))
        patch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
        table = KqlTable()
        table.fill(rows)
        with LogAnalyticsServer(table, authority, TOKEN.__eq__) as server:
            yield server


def source(server: LogAnalyticsServer, **overrides: Any) -> LogAnalytics:
    """Return the source, on a clock of pauses unless told otherwise."""
    given = {"endpoint": server.endpoint, "patience": Pauses().patience(), "first_slice": TICKS_PER_DAY, **overrides}
    return LogAnalytics(WORKSPACE, StaticCredential, **given)


def row(ticks: int, number: int, app: str = "Sync") -> dict[str, Any]:
    """Return a row of AuditLogs as an export has it, told by its number."""
    return {
        "TimeGenerated": format_ticks(ticks), "OperationName": "Update user", "Category": "UserManagement",
        "Id": f"Directory_{number}", "CorrelationId": f"c{number}", "Result": "success", "ResourceGroup": "",
        "Type": "AuditLogs", "InitiatedBy": msgspec.json.encode({"app": {"displayName": app}}).decode(),
        "TargetResources": '[{"userPrincipalName":"a@b.example","modifiedProperties":[]}]',
    }  # fmt: skip


def ids(events: Iterable[AuditEvent]) -> list[str]:
    """Return events by their ids, sorted, doubles kept."""
    return sorted(event.id or "" for event in events)


def threads() -> int:
    """Return how many threads fetch slices."""
    return sum(thread.name == THREAD_NAME for thread in threading.enumerate())


def wait_for(condition: Any, seconds: float = 5) -> bool:
    """Wait until a condition holds; False where it does not in time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True
