"""A stand-in for the Log Analytics query API on the loopback address: TLS, tokens, limits, errors and faults.

It speaks POST /v1/workspaces/{id}/query as https://learn.microsoft.com/azure/azure-monitor/logs/api/overview describes
it, its answers come from a KQL engine (see kql_table), and it refuses what the service refuses. It is no Log Analytics:
what only the service can show, its ingestion, its clusters, its roles, it does not.
"""

import argparse
import re
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import msgspec

from rare_audit.detection.ticks import parse_ticks
from tests.azure.gate import Answer, Gate
from tests.azure.kql_table import KqlTable, QueryError, Result
from tests.azure.tls import HOST, Authority

WORKSPACE: Final = "5f0d7b1e-3d5c-4b8e-9a53-2f6a1c0e7d42"
MOST_BYTES: Final = 64_000_000
MOST_ROWS: Final = 500_000
MOST_AT_ONCE: Final = 5
JSON: Final = "application/json; charset=utf-8"
_PATH: Final = re.compile(r"/v1/workspaces/([^/]+)/query")


class Asked(NamedTuple):
    """A query as it arrived, how it was answered and how long that took the engine, in seconds."""

    query: str
    timespan: str | None
    prefer: str
    agent: str
    status: int
    seconds: float


class Exchange:
    """One request being answered. `answer` makes the true answer: status and body."""

    def __init__(self, handler: "_Handler", answer: Callable[[], tuple[int, bytes]]) -> None:
        self._handler = handler
        self.answer = answer

    def send(self, status: int, body: bytes, *, length: int | None = None, kind: str = JSON, retry: str = "") -> None:
        """Send a response; `length` is what Content-Length claims where that is not the truth."""
        handler = self._handler
        handler.server.finished(handler, status)
        handler.send_response(status)
        if status != 204:
            handler.send_header("Content-Type", kind)
            handler.send_header("Content-Length", str(len(body) if length is None else length))
        if retry:
            handler.send_header("Retry-After", retry)
        handler.end_headers()
        handler.wfile.write(body)
        handler.wfile.flush()
        if length is not None:
            self.hang_up()

    def send_answer(self, answer: tuple[int, bytes] | Answer) -> None:
        """Send the true answer, or what the gate put in its place."""
        if not isinstance(answer, Answer):
            self.send(*answer)
        elif answer.status:
            self.send(answer.status, answer.body, retry=answer.headers.get("Retry-After", ""))
        else:
            self.hang_up()

    def send_chunk(self, body: bytes) -> None:
        """Send a chunked response that lacks its end."""
        handler = self._handler
        handler.server.finished(handler, 200)
        handler.send_response(200)
        handler.send_header("Content-Type", JSON)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))
        self.hang_up()

    def redirect(self, status: int, to: str) -> None:
        """Send whoever asks elsewhere."""
        handler = self._handler
        handler.server.finished(handler, status)
        handler.send_response(status)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def drip(self, body: bytes, length: int, seconds: float) -> None:
        """Send a response that claims `length` bytes, `seconds` before each of those that there are."""
        handler = self._handler
        handler.server.finished(handler, 200)
        handler.send_response(200)
        handler.send_header("Content-Type", JSON)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        with suppress(OSError):  # whoever asked has gone
            for at in range(len(body)):
                time.sleep(seconds)
                handler.wfile.write(body[at : at + 1])
                handler.wfile.flush()
        self.hang_up()

    def hang_up(self) -> None:
        """Close the connection."""
        self._handler.close_connection = True

    def authorization(self) -> str:
        """Return the request's Authorization header."""
        return self._handler.headers.get("Authorization", "")


Fault = Callable[[Exchange], None]


class LogAnalyticsServer:
    """The stand-in. `faults` are answered first, one a request; `asked` is what came; `most_at_once` ran together."""

    def __init__(self, table: KqlTable, authority: Authority, accepts: Callable[[str], bool], port: int = 0) -> None:
        """Listen on a port, of which 0 is any that is free. `accepts` tells whether a bearer token is good."""
        self.table = table
        self.gate = Gate()
        self.accepts = accepts
        self.workspace = WORKSPACE
        self.readable, self.most_bytes, self.most_rows = True, MOST_BYTES, MOST_ROWS
        self.faults: deque[Fault] = deque()
        self.asked: list[Asked] = []
        self.most_at_once = 0
        self._server = _Server(self, authority, port)
        self.endpoint = f"https://{HOST}:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05], daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def reset(self) -> None:
        """Forget what was asked and what was to go wrong."""
        self.readable, self.most_bytes, self.most_rows = True, MOST_BYTES, MOST_ROWS
        self.faults.clear()
        self.asked = []
        self.most_at_once = 0

    def answer(self, workspace: str, token: str, body: bytes) -> tuple[int, bytes]:
        """Return the true answer to a query: status and body."""
        if not self.accepts(token):
            return 401, error_body("InvalidTokenError", "The provided authentication is not valid for this resource")
        if workspace.lower() != self.workspace:
            return 404, error_body("WorkspaceNotFoundError", "The workspace could not be found")
        if not self.readable:
            return 403, error_body("InsufficientAccessError", "The provided credentials have insufficient access")
        try:
            read = msgspec.json.decode(body)
            query, timespan = str(read["query"]), _interval(read.get("timespan"))
        except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
            return 400, error_body("BadArgumentError", f"The request had some invalid properties: {error}")
        try:
            return 200, self._tables(self.table.run(query, timespan))
        except QueryError as error:
            inner = {"code": error.code, "message": str(error)}
            return 400, error_body("BadArgumentError", "The request had some invalid properties", inner)

    def _tables(self, result: Result) -> bytes:
        """Return a result as the API words it, cut off at the limits."""
        rows: list[bytes] = []
        size, over = 0, ""
        for row in result.rows:
            encoded = msgspec.json.encode(row)
            if len(rows) == self.most_rows:
                over = f"Query result set has exceeded the internal record count limit {self.most_rows}"
            elif size + len(encoded) > self.most_bytes:
                over = f"Query result set has exceeded the internal data size limit {self.most_bytes}"
            if over:
                break
            rows.append(encoded)
            size += len(encoded) + 1
        columns = msgspec.json.encode(result.columns)
        error = b',"error":' + msgspec.json.encode(partial_error(over)) if over else b""
        table = b'{"name":"PrimaryResult","columns":%s,"rows":[%s]}' % (columns, b",".join(rows))
        return b'{"tables":[%s]%s}' % (table, error)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, service: LogAnalyticsServer, authority: Authority, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        # the handshake is left to the connection's own thread
        self.socket = authority.context().wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.service = service
        self.lock = threading.Lock()
        self.running: set[BaseHTTPRequestHandler] = set()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away in the middle are part of the tests."""

    def finished(self, handler: "_Handler", status: int) -> None:
        """Take note that a query has run; what remains is to send its answer."""
        with self.lock:
            self.running.discard(handler)
            if handler.query is not None:
                seconds = time.perf_counter() - handler.began
                self.service.asked.append(handler.query._replace(status=status, seconds=seconds))
                handler.query = None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server
    query: Asked | None = None
    began = 0.0

    def do_POST(self) -> None:
        """Answer a query."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        found = _PATH.fullmatch(self.path)
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        self.began = time.perf_counter()
        self.query = self._as_asked(body)
        service = self.server.service
        with self.server.lock:
            self.server.running.add(self)
            together = len(self.server.running)
            service.most_at_once = max(service.most_at_once, together)
            fault = service.faults.popleft() if service.faults else None
        exchange = Exchange(self, lambda: service.answer(found[1] if found else "", token, body))
        try:
            if fault is not None and together <= MOST_AT_ONCE:
                fault(exchange)
            else:
                handle = partial(self._true, exchange, found, together)
                exchange.send_answer(service.gate.around("logs", "POST", self.path, handle))
        finally:
            self.server.finished(self, 0)

    @staticmethod
    def _true(exchange: Exchange, found: re.Match[str] | None, together: int) -> tuple[int, bytes]:
        if together > MOST_AT_ONCE:
            return 429, error_body("TooManyRequests", "Too many queries at a time")
        if found is None:
            return 404, error_body("PathNotFoundError", "The requested path does not exist")
        return exchange.answer()

    def _as_asked(self, body: bytes) -> Asked:
        try:
            read = msgspec.json.decode(body)
        except msgspec.DecodeError:
            read = {}
        prefer, agent = (self.headers.get(name, "") for name in ("Prefer", "User-Agent"))
        return Asked(str(read.get("query")), read.get("timespan"), prefer, agent, 0, 0.0)

    def do_GET(self) -> None:
        """Refuse: the stand-in has nothing to get."""
        self.send_error(405)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's own name
        """Say nothing."""


def _interval(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, last = text.split("/")
    return parse_ticks(first), parse_ticks(last)


def error_body(code: str, message: str, inner: dict[str, str] | None = None) -> bytes:
    """Return the body of a refusal."""
    error: dict[str, Any] = {"message": message, "code": code}
    if inner:
        error["innererror"] = inner
    return msgspec.json.encode({"error": error})


def partial_error(message: str) -> dict[str, Any]:
    """Return what stands beside the tables where they are not the whole result."""
    inner = {"code": "-2133196797", "message": message, "severity": 2, "severityName": "Error"}
    outer = {"code": "EngineError", "message": "Something went wrong processing your query on the server."}
    return {"code": "PartialError", "message": "There were some errors when processing your query.",
            "details": [{**outer, "innererror": inner}]}  # fmt: skip


@contextmanager
def serving(export: Path, accepts: Callable[[str], bool]) -> Iterator[tuple[LogAnalyticsServer, Authority]]:
    """Serve an export, one JSON row a line, with an authority of its own."""
    table = KqlTable()
    table.load(str(export))
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        with LogAnalyticsServer(table, authority, accepts) as server:
            yield server, authority


def main() -> None:
    """Serve an export until standard input ends; any token will do."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("export", type=Path)
    with serving(parser.parse_args().export, bool) as (server, authority):
        print(f"LOG_ANALYTICS_WORKSPACE_ID={WORKSPACE}")  # noqa: T201 - what it is for
        print(f"RARE_AUDIT_LOGS_ENDPOINT={server.endpoint}")  # noqa: T201 - what it is for
        print(f"REQUESTS_CA_BUNDLE={authority.bundle}", flush=True)  # noqa: T201 - what it is for
        input()


if __name__ == "__main__":
    main()
