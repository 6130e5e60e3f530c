"""The stand-in for the managed identity endpoint, asked by azure-identity itself and by hand."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

from tests.azure.gate import Gate, answering
from tests.azure.identity_server import ARM, CLIENT_ID, LOGS, STORAGE, IdentityServer


@pytest.fixture
def identity(monkeypatch: pytest.MonkeyPatch) -> Iterator[IdentityServer]:
    """Run the stand-in, and let this process find it as an app does."""
    with IdentityServer(Gate()) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def _ask(server: IdentityServer, header: str | None = None, **query: str) -> tuple[int, dict[str, Any]]:
    url = f"{server.environment['IDENTITY_ENDPOINT']}?{urlencode(query)}"
    request = urllib.request.Request(url, headers={"X-IDENTITY-HEADER": server.header if header is None else header})  # noqa: S310 - a loopback address
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - likewise
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_real_credentials(identity: IdentityServer) -> None:
    """The credential classes get tokens for the identity, each good for its audience alone."""
    for credential in (
        ManagedIdentityCredential(client_id=CLIENT_ID),
        DefaultAzureCredential(managed_identity_client_id=CLIENT_ID),
    ):
        with credential:
            for audience in (STORAGE, LOGS, ARM):
                token = credential.get_token(f"{audience}/.default").token
                assert identity.accepts(token, audience)
                assert identity.accepts(token, "https://elsewhere.example", audience)
                assert not identity.accepts(token, "https://elsewhere.example")
    assert not identity.accepts("eyJhbGciOiJIUzI1NiJ9.e30.x", ARM)


def test_answer(identity: IdentityServer) -> None:
    """The answer has the fields that App Service's has."""
    status, answer = _ask(identity, **{"api-version": "2019-08-01"}, resource=STORAGE, client_id=CLIENT_ID)
    assert status == 200
    assert set(answer) == {"access_token", "expires_on", "resource", "token_type", "client_id"}
    assert (answer["resource"], answer["token_type"], answer["client_id"]) == (STORAGE, "Bearer", CLIENT_ID)
    assert answer["expires_on"].isdigit()


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"header": "guessed"}, 401),
        ({"header": ""}, 401),
        ({"resource": "https://graph.microsoft.com"}, 400),
        ({"resource": ""}, 400),
        ({"client_id": "00000000-0000-0000-0000-000000000000"}, 400),
        ({"client_id": ""}, 400),
        ({"api-version": "2017-09-01"}, 400),
    ],
)
def test_refusals(identity: IdentityServer, wrong: dict[str, str], status: int) -> None:
    """Another app's header, another resource, another identity or none, and another version are refused."""
    right = {"api-version": "2019-08-01", "resource": ARM, "client_id": CLIENT_ID}
    assert _ask(identity, **right)[0] == 200
    assert _ask(identity, **{**right, **wrong})[0] == status


def test_no_identity_of_that_id(identity: IdentityServer) -> None:
    """A credential for an identity that the app does not have gets no token."""
    with (
        ManagedIdentityCredential(client_id="00000000-0000-0000-0000-000000000000") as credential,
        pytest.raises(ClientAuthenticationError),
    ):
        credential.get_token(f"{ARM}/.default")


def test_tokens_run_out(identity: IdentityServer) -> None:
    """A token is good for as long as it was given for."""
    identity.lasts = -1
    assert not identity.accepts(identity.token(ARM), ARM)


def test_gate() -> None:
    """Every request passes the gate."""
    gate = Gate()
    with IdentityServer(gate) as server:
        gate.at(2, answering(500))
        statuses = [_ask(server, resource=ARM)[0] for _ in range(3)]
    assert statuses == [400, 500, 400]
    assert [passing.service for passing in gate.passed] == ["identity"] * 3
