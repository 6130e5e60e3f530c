"""Who may ask the stand-in for Sentinel, and what it tells a caller of its permissions."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.azure.gate import Gate, answering
from tests.azure.sentinel_permissions import CONTRIBUTOR_AND_READER, VERSION, permission
from tests.azure.sentinel_server import BASE, STABLE, WORKSPACE_ID, SentinelServer, serving
from tests.azure.tls import Authority

_GROUP = WORKSPACE_ID.partition("/providers/")[0]


class _Caller:
    def __init__(self, server: SentinelServer, authority: Authority) -> None:
        self.server = server
        self._context = ssl.create_default_context(cafile=str(authority.bundle))

    def ask(self, path: str, token: str = "right", method: str = "GET") -> tuple[int, Any]:  # noqa: S107 - opens nothing
        request = urllib.request.Request(self.server.endpoint + path, method=method)  # noqa: S310 - a loopback address
        request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=10, context=self._context) as answer:  # noqa: S310 - likewise
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[_Caller]:
    """Give a caller of a stand-in that takes one token."""
    authority = Authority(tmp_path)
    with serving(authority.context(), accepts="right".__eq__, gate=Gate()) as server:
        yield _Caller(server, authority)


def test_tokens(caller: _Caller) -> None:
    """A token that is not accepted is refused."""
    path = f"{BASE}/incidents?api-version={STABLE}"
    assert caller.ask(path) == (200, {"value": []})
    status, answer = caller.ask(path, "wrong")
    assert (status, answer["error"]["code"]) == (401, "InvalidAuthenticationToken")


@pytest.mark.parametrize("scope", [WORKSPACE_ID, _GROUP, WORKSPACE_ID.upper()])
def test_permissions(caller: _Caller, scope: str) -> None:
    """Workspace and resource group have the same permissions: those of our roles, or what a test gives."""
    path = f"{scope}/providers/Microsoft.Authorization/permissions?api-version={VERSION}"
    assert caller.ask(path) == (200, {"value": list(CONTRIBUTOR_AND_READER)})
    caller.server.permissions = (permission("*/read", no=("Microsoft.SecurityInsights/*",)),)
    status, answer = caller.ask(path)
    assert status == 200
    assert answer["value"][0]["actions"] == ["*/read"]
    assert answer["value"][0]["notActions"] == ["Microsoft.SecurityInsights/*"]


def test_permissions_refused(caller: _Caller) -> None:
    """Another scope, another version or none, another method and another token are refused."""
    suffix = "/providers/Microsoft.Authorization/permissions"
    right = f"?api-version={VERSION}"
    assert caller.ask(f"{_GROUP}x{suffix}{right}")[0] in {400, 404}
    assert caller.ask(f"{_GROUP}{suffix}")[0] == 400
    assert caller.ask(f"{_GROUP}{suffix}?api-version={STABLE}")[0] == 400
    assert caller.ask(f"{_GROUP}{suffix}{right}", method="PUT")[0] == 405
    assert caller.ask(f"{_GROUP}{suffix}{right}", "wrong")[0] == 401


def test_gate(caller: _Caller) -> None:
    """Every request passes the gate, which may answer in the service's place."""
    path = f"{BASE}/incidents?api-version={STABLE}"
    caller.server.gate.at(2, answering(429, "TooManyRequests"))
    assert [caller.ask(path)[0] for _ in range(3)] == [200, 429, 200]
    assert [(passing.service, passing.path) for passing in caller.server.gate.passed] == [
        ("arm", f"{BASE}/incidents")
    ] * 3
