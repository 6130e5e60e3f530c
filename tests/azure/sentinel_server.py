"""A stand-in for Microsoft Sentinel's API: incidents, comments, relations and bookmarks of one workspace, in memory.

It is not Sentinel. It refuses what the real one is documented to refuse, and where that is not documented it takes the
stricter reading: a PUT clears what it leaves out, and a comment or a relation changes its incident's etag.
Etags in bodies and the 409: Azure/azure-rest-api-specs#13203, Azure/Azure-Sentinel#909.
"""

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

from tests.azure.gate import Answer, Gate
from tests.azure.sentinel_permissions import CONTRIBUTOR_AND_READER, Permission, permissions
from tests.azure.sentinel_rules import RefusalError, check, need
from tests.azure.sentinel_state import Fault, Resource, Workspace

SUBSCRIPTION: Final = "d0cfe6b2-9ac0-4464-9919-dccaee2e48c0"
GROUP: Final = "security"
WORKSPACE: Final = "soc-workspace"
WORKSPACE_ID: Final = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.OperationalInsights/workspaces/"
    f"{WORKSPACE}"
)
BASE: Final = f"{WORKSPACE_ID}/providers/Microsoft.SecurityInsights"
STABLE: Final = "2025-09-01"
PREVIEW: Final = "2025-07-01-preview"
_PATH: Final = re.compile(
    r"(?P<kind>incidents|bookmarks)(?:/(?P<id>[^/]+)(?:/(?P<inner>comments|relations)(?:/(?P<inner_id>[^/]+))?)?)?"
)
_RELATION: Final = re.compile(r"[a-zA-Z0-9-]{3,63}")
_NOW: Final = "2026-03-03T01:30:00.0000000Z"


_PLACE: Final = '[{"token":"+RID:~%d#RT:1#TRC:50","range":{"min":"","max":"FF"}}]'
"""A next page's token as Sentinel writes it: JSON, not encoded for a URL. Its links name the port."""


def _start(token: str) -> int:
    """Return where a page starts; RefusalError for a token that did not come back whole."""
    if not token:
        return 0
    start = re.search(r"~(\d+)#", token)
    if start is None or token != _PLACE % int(start[1]):
        raise RefusalError(400, "BadRequest", "the skip token is not valid")
    return int(start[1])


class SentinelServer(ThreadingHTTPServer):
    """The stand-in, listening on a loopback port over TLS."""

    daemon_threads = True

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        page: int = 5,
        accepts: Callable[[str], bool] = bool,
        gate: Gate | None = None,
        port: int = 0,
    ) -> None:
        """Listen on a port, of which 0 is any that is free.

        `accepts` tells whether a bearer token is good; any is, unless told otherwise.
        """
        super().__init__(("127.0.0.1", port), _Handler)
        self._context = context
        self.page = page
        self.accepts = accepts
        self.gate = gate or Gate()
        self.permissions: tuple[Permission, ...] = CONTRIBUTOR_AND_READER
        """What the caller may do by the permissions API; `denied` is what really is refused."""
        self.workspace = Workspace()
        self.lock = threading.Lock()
        self.requests: list[tuple[str, str]] = []
        self.faults: dict[int, Fault] = {}
        self.always: Fault | None = None
        self.denied: set[str] = set()
        """Beginnings of what may not be written, after the workspace's path: `bookmarks`, `incidents`."""
        self.before_write: list[Any] = []
        """Called once each, before the next writes of an incident are done: an analyst who comes in between."""

    @property
    def endpoint(self) -> str:
        """The address to be used in place of https://management.azure.com."""
        return f"https://127.0.0.1:{self.server_port}"

    @property
    def writes(self) -> list[tuple[str, str]]:
        """The requests since the last `forget` that were not mere reads."""
        return [request for request in self.requests if request[0] != "GET"]

    def forget(self) -> None:
        """Forget which requests came and which were to fail; what is kept stays."""
        self.requests.clear()
        self.faults.clear()
        self.always = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread."""
        try:
            request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._context.wrap_socket(request, server_side=True) as wrapped:
                _Handler(wrapped, client_address, self)
        except OSError:
            return  # the client gave up

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that gave up."""

    def answer(self, method: str, url: str, body: bytes) -> tuple[int, Any]:
        """Do what is asked; return status and body."""
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        path = unquote(parts.path)
        if (found := permissions(method, path, query, WORKSPACE_ID, self.permissions)) is not None:
            return 200, found
        with self.lock:
            return self._do(method, path, query, body)

    def _do(self, method: str, path: str, query: dict[str, str], body: bytes) -> tuple[int, Any]:
        version = query.get("api-version", "")
        need(version, "The api-version query parameter (?api-version=) is required", "MissingApiVersionParameter")
        need(version in (STABLE, PREVIEW), f"unknown api-version {version}", "InvalidApiVersionParameter")
        if not path.casefold().startswith(f"{BASE}/".casefold()):
            raise RefusalError(404, "ResourceNotFound", f"The Resource '{path[:200]}' was not found")
        rest = path[len(BASE) + 1 :]
        found = _PATH.fullmatch(rest)
        if found is None or (found["kind"] == "bookmarks" and found["inner"]):
            raise RefusalError(404, "NotFound", "no such route")
        if method != "GET" and any(rest.startswith(each) for each in self.denied):
            raise RefusalError(403, "AuthorizationFailed", f"does not have authorization to perform action on {rest}")
        those, name = self._collection(found)
        if name is None:
            if method != "GET":
                raise RefusalError(405, "UnsupportedApiVersion", f"does not support HTTP method '{method}'")
            return 200, self._list(those, path, query)
        if method == "GET":
            if name not in those:
                raise RefusalError(404, "NotFound", f"{name} was not found")
            return 200, self._shown(found, those[name])
        if method != "PUT":
            raise RefusalError(405, "UnsupportedApiVersion", f"does not support HTTP method '{method}'")
        return self._put(found, those, name, body, preview=version == PREVIEW)

    def _collection(self, found: re.Match[str]) -> tuple[dict[str, Resource], str | None]:
        if not found["inner"]:
            return getattr(self.workspace, found["kind"]), found["id"]
        if found["id"] not in self.workspace.incidents:
            raise RefusalError(404, "NotFound", f"incident {found['id']} was not found")
        return getattr(self.workspace, found["inner"]).setdefault(found["id"], {}), found["inner_id"]

    def _list(self, those: dict[str, Resource], path: str, query: dict[str, str]) -> dict[str, Any]:
        start, top = _start(query.get("$skipToken", "")), min(int(query.get("$top", "1000")), self.page)
        page: dict[str, Any] = {"value": list(those.values())[start : start + top]}
        if start + top < len(those) and "$top" not in query:
            token = _PLACE % (start + top)
            page["nextLink"] = f"{self.endpoint}{path}?api-version={query['api-version']}&$skipToken={token}"
        return page

    def _put(
        self, found: re.Match[str], those: dict[str, Resource], name: str, body: bytes, *, preview: bool
    ) -> tuple[int, Any]:
        kind = found["inner"] or found["kind"]
        if kind == "incidents" and self.before_write:
            self.before_write.pop(0)(self.workspace)
        given = _parsed(body)
        old = those.get(name)
        if given.get("etag") and given["etag"] != (old or {}).get("etag"):
            message = f"Newer version of resource '{name}' exists. Data was not saved"
            raise RefusalError(409, "Conflict", message)
        properties = check(kind, given["properties"], preview=preview)
        if kind == "comments":
            need(old or len(those) < 100, "an incident holds 100 comments")
        elif kind == "relations":
            self._check_relation(name, properties, those)
        elif kind == "incidents":
            number = old["properties"]["incidentNumber"] if old else next(self.workspace.numbers)
            properties |= {"incidentNumber": number, "createdTimeUtc": _NOW, "providerName": "Azure Sentinel"}
        those[name] = {
            "id": f"{BASE}/{found[0]}",
            "name": name,
            "type": f"Microsoft.SecurityInsights/{kind}",
            "etag": self.workspace.etag(),
            "properties": properties,
        }
        if found["inner"]:
            self.workspace.incidents[found["id"]]["etag"] = self.workspace.etag()
        return 200 if old else 201, self._shown(found, those[name])

    def _check_relation(self, name: str, properties: Resource, those: dict[str, Resource]) -> None:
        need(_RELATION.fullmatch(name), "a relation's name is 3 to 63 letters, digits and hyphens")
        target = properties["relatedResourceId"]
        need(target.startswith(f"{BASE}/bookmarks/"), "expected the id of a bookmark of this workspace")
        if target.rpartition("/")[2] not in self.workspace.bookmarks:
            raise RefusalError(404, "NotFound", f"{target} was not found")
        need(name in those or len(those) < 20, "an incident holds 20 bookmarks")

    def _shown(self, found: re.Match[str], resource: Resource) -> Resource:
        if found["inner"] or found["kind"] != "incidents":
            return resource
        counts = {
            "bookmarksCount": len(self.workspace.relations.get(found["id"], {})),
            "commentsCount": len(self.workspace.comments.get(found["id"], {})),
            "alertsCount": 0,
            "tactics": [],
        }
        return resource | {"properties": resource["properties"] | {"additionalData": counts}}


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
        json.dumps(given, ensure_ascii=False).encode()
    except ValueError as error:
        raise RefusalError(400, "InvalidRequestContent", "the body is no well-formed JSON") from error
    need(isinstance(given, dict) and isinstance(given.get("properties"), dict), "properties is required")
    return given  # type: ignore[no-any-return]  # just checked


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # an answer is one packet: two would wait for each other
    server: SentinelServer

    def log_message(self, *args: object) -> None:
        """Log nothing."""

    def handle_any(self) -> None:
        """Answer a request, or fail as it is scripted to."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        with self.server.lock:
            self.server.requests.append((self.command, urlsplit(self.path).path.removeprefix(f"{BASE}/")))
            fault = self.server.faults.pop(len(self.server.requests), self.server.always)
        path = urlsplit(self.path).path
        answered = self.server.gate.around("arm", self.command, path, lambda: None if fault else self._answered(body))
        if isinstance(answered, Answer):
            self._send_answer(answered)
        elif answered:
            self._send(*answered)
        elif fault:
            self._fail(fault, body)

    do_GET = do_PUT = do_POST = do_DELETE = do_PATCH = handle_any  # noqa: N815 - http.server's names

    def _answered(self, body: bytes) -> tuple[int, Any]:
        try:
            token = re.fullmatch(r"Bearer (\S+)", self.headers.get("Authorization", ""))
            if not token:
                raise RefusalError(401, "AuthenticationFailed", "the 'Authorization' header is missing")  # noqa: TRY301 - answered like all else
            if not self.server.accepts(token[1]):
                raise RefusalError(401, "InvalidAuthenticationToken", "the access token is invalid")  # noqa: TRY301 - as above
            if "json" not in self.headers.get("Content-Type", "json"):
                raise RefusalError(415, "UnsupportedMediaType", "expected JSON")  # noqa: TRY301 - as above
            return self.server.answer(self.command, self.path, body)
        except RefusalError as refusal:
            return refusal.status, {"error": {"code": refusal.code, "message": str(refusal)}}

    def _fail(self, fault: Fault, body: bytes) -> None:
        answered = self._answered(body) if fault.applied or fault.seconds or fault.cut else (0, None)
        if fault.seconds:
            time.sleep(fault.seconds)
            self._send(*answered)
        elif fault.garbage:
            self._send_bytes(fault.status or 200, fault.garbage, fault.headers)
        elif fault.cut:
            self._send(*answered, cut=True)
        elif fault.status:
            error = {"error": {"code": f"Fault{fault.status}", "message": "scripted"}}
            self._send_bytes(fault.status, json.dumps(error).encode(), fault.headers)
        else:
            self.close_connection = True

    def _send_answer(self, answer: Answer) -> None:
        if answer.status:
            self._send_bytes(answer.status, answer.body, dict(answer.headers))
        else:
            self.close_connection = True

    def _send(self, status: int, body: Any, *, cut: bool = False) -> None:
        self._send_bytes(status, json.dumps(body).encode(), {}, cut=cut)

    def _send_bytes(self, status: int, body: bytes, headers: dict[str, str], *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": "application/json", "Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut


@contextmanager
def serving(context: ssl.SSLContext, **options: Any) -> Iterator[SentinelServer]:
    """Run the stand-in while the block runs, with the options of SentinelServer."""
    with SentinelServer(context, **options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
