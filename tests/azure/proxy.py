"""A stand-in for the network between a client and Azurite: it loses answers, and answers in the service's place."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

_PASSED_ON: Final = ("connection", "transfer-encoding", "keep-alive", "content-length")


@dataclass(frozen=True, kw_only=True, slots=True)
class Mishap:
    """What happens to a request: `forwarded` or not; after `pause` seconds and `meanwhile`, answered or cut off.

    With a `status`, the answer is this one in place of the service's.
    """

    forwarded: bool = True
    answered: bool = True
    pause: float = 0
    meanwhile: Callable[[], object] = lambda: None
    status: int = 0
    code: str = ""
    content: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


FINE: Final = Mishap()
LOST: Final = Mishap(answered=False)
CUT: Final = Mishap(forwarded=False, answered=False)


def refused(status: int, code: str = "", **headers: str) -> Mishap:
    """Return an answer that the service would give without doing anything."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Mishap(forwarded=False, status=status, code=code, headers=named)


class Proxy(ThreadingHTTPServer):
    """Lets requests through to `target`, the first ones with what `mishaps` say, one each. `seen` are their methods."""

    daemon_threads = True

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.url = f"http://127.0.0.1:{self.server_address[1]}{urlsplit(target).path}"
        self.mishaps: deque[Mishap] = deque()
        self.always: Mishap = FINE
        self.seen: list[str] = []

    def meet(self) -> Mishap:
        """Return what happens to the next request."""
        return self.mishaps.popleft() if self.mishaps else self.always


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        mishap = self.server.meet()
        self.server.seen.append(self.command)
        status, headers, content = self._forwarded(body) if mishap.forwarded else (0, {}, b"")
        mishap.meanwhile()
        time.sleep(mishap.pause)
        if mishap.status:
            status, headers = mishap.status, {"Content-Type": "application/json", **mishap.headers}
            told = {"code": mishap.code, "message": {"lang": "en-US", "value": f"{mishap.code}.\nRequestId:1"}}
            content = mishap.content or json.dumps({"odata.error": told}).encode()
        if not mishap.answered:
            self.close_connection = True
            return
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - the names http.server asks for

    def _forwarded(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection(self.server.target, timeout=30)
        try:
            connection.request(self.command, self.path, body or None, dict(self.headers.items()))
            answer: HTTPResponse = connection.getresponse()
            headers = {name: value for name, value in answer.getheaders() if name.lower() not in _PASSED_ON}
            return answer.status, headers, answer.read()
        finally:
            connection.close()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
        """Say nothing."""


@contextmanager
def proxied(target: str) -> Iterator[Proxy]:
    """Run a proxy before the account at `target`, an http URL."""
    with Proxy(target) as proxy:
        serving = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            serving.join()
