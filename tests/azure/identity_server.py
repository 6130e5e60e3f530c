"""A stand-in for the managed identity endpoint of App Service, at which the real credential classes ask for tokens.

It speaks the protocol of https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
over plain http on the loopback address, as App Service does. Its tokens open the other stand-ins and Azurite; nobody
signs them, and there is no Entra behind them.
"""

import json
import secrets
import threading
import time
import uuid
from collections.abc import Iterable
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

from tests.azure.azurite import token
from tests.azure.gate import Answer, Gate
from tests.azure.loopback import Loopback, Request

STORAGE: Final = "https://storage.azure.com"
LOGS: Final = "https://api.loganalytics.io"
ARM: Final = "https://management.azure.com"
VERSION: Final = "2019-08-01"
CLIENT_ID: Final = "7c3a8f0e-52d4-4f0b-9d0e-6b1f2f5c9a41"
"""Of the one identity assigned to the app. There is no system-assigned one, as in our deployment."""
_PATH: Final = "/msi/token"


class IdentityServer:
    """The endpoint. `audiences` are the resources it knows; its next tokens are good for `lasts` seconds."""

    def __init__(self, gate: Gate, audiences: Iterable[str] = (STORAGE, LOGS, ARM), port: int = 0) -> None:
        self.audiences = set(audiences)
        self.lasts = 24 * 3600.0
        self.header = secrets.token_hex(16).upper()
        self._gate = gate
        self._lock = threading.Lock()
        self._given: dict[str, tuple[str, float]] = {}
        self._server = Loopback(self._passed, port=port)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    @property
    def environment(self) -> dict[str, str]:
        """What App Service sets for an app with an identity."""
        return {"IDENTITY_ENDPOINT": f"{self._server.url}{_PATH}", "IDENTITY_HEADER": self.header}

    def token(self, audience: str) -> str:
        """Return a new token for a resource, as the endpoint gives it."""
        return self._issued(audience)[0]

    def tokens(self) -> set[str]:
        """Return every token that was given."""
        with self._lock:
            return set(self._given)

    def accepts(self, text: str, *audiences: str) -> bool:
        """Tell whether a token was given here for one of these audiences and is still good."""
        with self._lock:
            audience, until = self._given.get(text, ("", 0.0))
        return audience in audiences and time.time() < until

    def _passed(self, request: Request) -> Answer:
        return self._gate.around("identity", request.method, request.path, lambda: self._answered(request))

    def _answered(self, request: Request) -> Answer:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.target).query).items()}
        if request.path != _PATH or request.method != "GET":
            return _refused(404, "there is nothing here")
        if request.headers.get("X-IDENTITY-HEADER") != self.header:
            return _refused(401, "the X-IDENTITY-HEADER is not this app's")
        if query.get("api-version") != VERSION:
            return _refused(400, f"expected api-version={VERSION}")
        if query.get("client_id", "").lower() != CLIENT_ID:
            return _refused(400, "no such identity is assigned to this app, and it has none of its own")
        resource = query.get("resource", "")
        if resource.rstrip("/") not in self.audiences:
            return _refused(400, f"the resource {resource[:200]!r} was not found in the tenant")
        text, until = self._issued(resource.rstrip("/"))
        return _said(200, {
            "access_token": text, "expires_on": str(int(until)), "resource": resource, "token_type": "Bearer",
            "client_id": CLIENT_ID,
        })  # fmt: skip

    def _issued(self, audience: str) -> tuple[str, float]:
        text, until = token(audience=audience, lasts=self.lasts), time.time() + self.lasts
        with self._lock:
            self._given[text] = audience, until
        return text, until


def _refused(status: int, message: str) -> Answer:
    return _said(status, {"statusCode": status, "message": message, "correlationId": str(uuid.uuid4())})


def _said(status: int, body: dict[str, Any]) -> Answer:
    return Answer(status, json.dumps(body).encode(), {"Content-Type": "application/json; charset=utf-8"})
