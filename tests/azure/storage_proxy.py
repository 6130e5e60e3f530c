"""TLS in front of one service of Azurite, where every request of the app's clients passes the gate.

Requests and answers go through as they are, but for delays of messages, which a test may not want to wait for.
Connections are kept alive on both sides.
"""

import re
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final
from urllib.parse import urlsplit

from tests.azure.gate import Answer, Gate
from tests.azure.loopback import Loopback, Request

_IDLE: Final = 2.0
"""Seconds after which a kept connection is not used again: Node.js closes its side after five."""
_DELAY: Final = re.compile(r"(?<=[?&]visibilitytimeout=)\d+")


class StorageProxy:
    """Passes requests for `service` (blob, queue or table) on to `target`, an account's URL."""

    def __init__(
        self, service: str, target: str, gate: Gate, authority: str = "", longest_delay: float | None = None
    ) -> None:
        """Prepare; `authority` is the file of the certificate authority to trust where the target is https.

        Messages that are to be unseen for longer than `longest_delay` seconds are so for no longer.
        """
        parts = urlsplit(target)
        self._service = service
        self._netloc = parts.netloc
        self.path = parts.path
        self._gate = gate
        self._longest_delay = longest_delay
        self._context = ssl.create_default_context(cafile=authority) if parts.scheme == "https" else None
        self._lock = threading.Lock()
        self._kept: list[tuple[float, HTTPConnection]] = []

    def answer(self, request: Request) -> Answer:
        """Answer a request as the service does, if the gate lets it."""
        return self._gate.around(self._service, request.method, request.path, lambda: self._passed_on(request))

    def close(self) -> None:
        """Close what was kept."""
        with self._lock:
            for _, connection in self._kept:
                connection.close()
            self._kept.clear()

    def _passed_on(self, request: Request) -> Answer:
        connection = self._connection()
        target = _DELAY.sub(self._delay, request.target)
        try:
            connection.request(request.method, target, request.body or None, dict(request.headers.items()))
            response = connection.getresponse()
            answer = Answer(response.status, response.read(), dict(response.getheaders()))
        except (OSError, HTTPException):
            connection.close()
            return Answer()
        with self._lock:
            self._kept.append((time.monotonic(), connection))
        return answer

    def _delay(self, found: re.Match[str]) -> str:
        return found[0] if self._longest_delay is None else str(min(int(found[0]), round(self._longest_delay)))

    def _connection(self) -> HTTPConnection:
        with self._lock:
            while self._kept:
                since, connection = self._kept.pop()
                if time.monotonic() - since < _IDLE:
                    return connection
                connection.close()
        if self._context:
            return HTTPSConnection(self._netloc, timeout=60, context=self._context)
        return HTTPConnection(self._netloc, timeout=60)


@contextmanager
def serving(proxy: StorageProxy, context: ssl.SSLContext) -> Iterator[str]:
    """Run a proxy with the TLS of `context`; yield the account's URL to use in place of its target."""
    try:
        with Loopback(proxy.answer, context) as server:
            yield f"{server.url}{proxy.path}"
    finally:
        proxy.close()
