"""What stand-ins that only answer requests share: a server on the loopback address, with TLS or without.

Connections are kept alive, and end with the server.
"""

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, NamedTuple, Self
from urllib.parse import urlsplit

from tests.azure.gate import Answer
from tests.azure.tls import HOST

_OWN: Final = frozenset({"connection", "content-length", "keep-alive", "transfer-encoding"})
"""Headers of one connection, which are not passed on."""


class Request(NamedTuple):
    """A request as it came; `target` is its path with the query, as it was sent."""

    method: str
    target: str
    headers: Message
    body: bytes

    @property
    def path(self) -> str:
        """The path alone, still percent-encoded."""
        return urlsplit(self.target).path


def body_of(headers: Message, stream: Any) -> bytes:
    """Return a request's body, which has a length or comes in chunks (RFC 9112, 7.1)."""
    if headers.get("Transfer-Encoding", "").lower() != "chunked":
        return bytes(stream.read(int(headers.get("Content-Length") or 0)))
    body = b""
    while size := int(stream.readline().partition(b";")[0], 16):
        body += stream.read(size)
        stream.readline()
    while stream.readline().strip():  # trailers
        pass
    return body


def free_port(wanted: int) -> int:
    """Return a port if nobody listens on it, else 0, which stands for any."""
    with socket.socket() as trying:
        trying.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trying.bind((HOST, wanted))
        except OSError:
            return 0
    return wanted


class Loopback(ThreadingHTTPServer):
    """A server whose requests `answer` answers, each connection in a thread of its own. Use it as a context manager."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, answer: Callable[[Request], Answer], context: ssl.SSLContext | None = None, port: int = 0
    ) -> None:
        """Listen on a port, of which 0 is any that is free."""
        super().__init__((HOST, port), _Handler)
        self.answer = answer
        self.url = f"{'https' if context else 'http'}://{HOST}:{self.server_port}"
        self._context = context
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, args=[0.02], daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        with self._lock:
            connections = tuple(self._open)
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection; hands are shaken in its own thread."""
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):  # clients go away, or are killed
            if self._context:
                with self._context.wrap_socket(request, server_side=True) as wrapped:
                    self._serve(wrapped, client_address)
            else:
                self._serve(request, client_address)

    def _serve(self, connection: socket.socket, client_address: Any) -> None:
        with self._lock:
            self._open.add(connection)
        try:
            _Handler(connection, client_address, self)
        finally:
            with self._lock:
                self._open.discard(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # an answer is one packet: two would wait for each other
    server: Loopback

    def _handle(self) -> None:
        body = body_of(self.headers, self.rfile)
        answer = self.server.answer(Request(self.command, self.path, self.headers, body))
        if not answer.status:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            if name.lower() not in _OWN:
                self.send_header(name, value)
        if self.command == "HEAD":
            self.send_header("Content-Length", answer.headers.get("Content-Length", "0"))
        elif answer.status not in (204, 304):
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
        self.wfile.flush()

    def __getattr__(self, name: str) -> Any:
        """Take any method, as http.server looks for them by name: which are known is for the service to say."""
        if name.startswith("do_"):
            return self._handle
        raise AttributeError(name)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's own name
        """Say nothing."""
