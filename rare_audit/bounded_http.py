"""HTTP for Azure's clients in which nothing waits without end: a request has a time for all of it, its body included.

The timeouts of requests count the silence between two bytes, and not how long an answer takes in all:
https://requests.readthedocs.io/en/latest/user/advanced/#timeouts. A server that sends a byte every now and then is
waited for as long as it likes. Here the time left is counted before each read from the socket.

Imports azure: load it where a client is made.
"""

import io
import socket
import time
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any, Final

from azure.core.pipeline.transport import RequestsTransport
from requests import Session
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager, ProxyManager
from urllib3.util import Retry

LONGEST_PAUSE: Final = 15.0
"""Seconds slept at once, whatever a Retry-After asks for: whoever repeats a call counts tries, and then gives up."""
_UNTIL: ContextVar[float | None] = ContextVar("_UNTIL", default=None)
"""When the request under way has to have been answered, of time.monotonic."""


class BoundedTransport(RequestsTransport):  # type: ignore[misc]  # azure-core loads it by name, without its type
    """A client's way to the network, in which each request and each pause between two of them is bounded."""

    def __init__(self, *, connect: float, whole: float, longest_pause: float = LONGEST_PAUSE, **options: Any) -> None:
        """Take seconds: `connect` until a connection stands, `whole` for a request and all of its answer."""
        super().__init__(connection_timeout=connect, read_timeout=whole, **options)
        self._whole = whole
        self._longest_pause = longest_pause

    def send(self, request: Any, *, whole: float | None = None, **options: Any) -> Any:
        """Send a request; `whole` seconds are for this one, in place of the transport's own.

        Raises azure-core's errors, those of timeouts where the answer is not there in time. Of an answer that is
        streamed, reading raises them.
        """
        seconds = self._whole if whole is None else whole
        former = _UNTIL.set(time.monotonic() + seconds)
        try:
            return super().send(request, **options)
        finally:
            _UNTIL.reset(former)

    def sleep(self, duration: float) -> None:
        """Sleep between two tries, for `duration` seconds or the longest pause if that is less."""
        super().sleep(min(duration, self._longest_pause))

    def _init_session(self, session: Session) -> None:
        super()._init_session(session)
        for scheme in self._protocols:
            # As in azure-core's own: what is repeated is up to policies above.
            session.mount(scheme, _Adapter(max_retries=Retry(total=False, redirect=False, raise_on_status=False)))


class _Reader(io.RawIOBase):
    """Reads from a socket until the time for that is over."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, until: float) -> None:
        self._raw = raw
        self._sock = sock
        self._until = until
        self._silence = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer took too long")
        self._sock.settimeout(left if self._silence is None else min(left, self._silence))
        read: int | None = self._raw.readinto(buffer)
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(HTTPResponse):
    """An answer that is read by the time of the request it belongs to."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        until = _UNTIL.get()
        if until is not None:
            self.fp = io.BufferedReader(_Reader(self.fp.detach(), sock, until))


class _Plain(HTTPConnection):
    response_class = _Response


class _Tls(HTTPSConnection):
    response_class = _Response


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _Tls


class _Adapter(HTTPAdapter):
    """What makes connections for requests: those above, behind a proxy too."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        _bound(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **options: Any) -> ProxyManager:
        manager: ProxyManager = super().proxy_manager_for(*args, **options)
        _bound(manager)
        return manager


def _bound(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
