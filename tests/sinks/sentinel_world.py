"""A Sentinel stand-in with clients on it that wait in no time, may be killed at any request, and hold a secret."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import RequestsTransport

from rare_audit.detection.finding import Finding, TargetResource, content_id
from rare_audit.places import parse_workspace
from rare_audit.reporting.incident import Incident, group
from rare_audit.rules import load_rule
from rare_audit.sinks.arm import Arm
from rare_audit.sinks.patience import Patience
from rare_audit.sinks.sentinel import Sentinel
from tests.azure.sentinel_server import WORKSPACE_ID, SentinelServer, serving
from tests.azure.tls import Authority
from tests.builders import DAY, finding
from tests.fakes import Killed

RULE: Final = load_rule()
SECRET: Final = "eyJhbGciOiJub25l.c2VjcmV0LXRva2Vu.c2lnbmF0dXJl"  # noqa: S105 - opens nothing
USER_ID: Final = "33333333-3333-3333-3333-333333333333"


class Credential:
    """A credential that gives one token, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Return the token, or raise."""
        self.scopes += scopes
        if self._error:
            raise self._error
        return AccessToken(SECRET, int(datetime(2100, 1, 1, tzinfo=UTC).timestamp()))


class Time:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def patience(self, seconds: float = 60.0) -> Patience:
        """Return a patience that waits by this clock."""
        return Patience(seconds, self.waits.append, lambda: sum(self.waits))


class Transport(RequestsTransport):  # type: ignore[misc]  # azure-core imports it when asked, which mypy can't see
    """The real transport, whose n-th request (from 1) the process does not survive: not sent, or sent and answered."""

    def __init__(self, bundle: Path, *, at: int = 0, after: bool = False, read_timeout: float = 10.0) -> None:
        super().__init__(connection_verify=str(bundle), read_timeout=read_timeout)
        self._at = at
        self._after = after
        self.sent = 0

    def send(self, request: Any, **options: Any) -> Any:
        """Send a request, or be killed."""
        self.sent += 1
        if self.sent == self._at and not self._after:
            raise Killed
        answer = super().send(request, **options)
        if self.sent == self._at:
            raise Killed
        return answer


class World:
    """A stand-in server and the clients made for it."""

    def __init__(self, server: SentinelServer, authority: Authority) -> None:
        self.server = server
        self.time = Time()
        self.credential = Credential()
        self._authority = authority
        self._transports: list[Transport] = []
        self._plain: Transport | None = None

    def sentinel(self, *, patience: float = 60.0, bookmarks: bool = True, **transport: Any) -> Sentinel:
        """Return a sink as a new process has it."""
        arm = Arm(
            parse_workspace(WORKSPACE_ID),
            lambda: self.credential,
            endpoint=self.server.endpoint,
            patience=self.time.patience(patience),
            transport=self.transport(**transport),
        )
        return Sentinel(arm, bookmarks=bookmarks, mappings=load_rule().entity_mappings)

    def transport(self, **options: Any) -> Transport:
        """Return a transport that trusts the server and is closed with the world; a plain one serves again."""
        if not options and self._plain:
            return self._plain
        self._transports.append(Transport(self._authority.bundle, **options))
        if not options:
            self._plain = self._transports[-1]
        return self._transports[-1]

    def close(self) -> None:
        """Close what was opened."""
        for transport in self._transports:
            transport.close()


@contextmanager
def worlds(folder: Path) -> Iterator[World]:
    """Yield a world while the block runs."""
    authority = Authority(folder)
    with serving(authority.context()) as server:
        world = World(server, authority)
        try:
            yield world
        finally:
            world.close()


def named(name: str, **overrides: Any) -> Finding:
    """Return a finding with an id and an evidence of its own."""
    return finding(id=content_id(name), **overrides)


def incident(*findings: Finding, **overrides: Any) -> Incident:
    """Return the incident of findings of one app."""
    (only,) = group(RULE, findings or (named("one"),), {})
    return replaced(only, **overrides)


def replaced(of: Incident, **overrides: Any) -> Incident:
    """Return an incident with other values."""
    return msgspec.structs.replace(of, **overrides)


ONE: Final = named("one")
TWO: Final = named(
    "two",
    start_time=f"{DAY}T09:00:00.0000000Z",
    end_time=f"{DAY}T09:30:00.0000000Z",
    operation_name="Add member to group",
    target_user_principal_name="ada@contoso.example",
    targets=(TargetResource(USER_ID, "User", "Ada", "Ada@contoso.example"),),
    host="laptop-7",
)
THREE: Final = named("three", start_time=f"{DAY}T10:00:00.0000000Z", end_time=f"{DAY}T10:00:00.0000000Z")
