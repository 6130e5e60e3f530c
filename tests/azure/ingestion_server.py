"""A stand-in for Azure Monitor's Logs Ingestion API: one data collection rule with one stream, its table in memory.

It refuses what the real one is documented to refuse and cuts what it cuts, and where that is not documented it takes
the stricter reading: 1 MB is 1,000,000 bytes, before and after compression, and 64 KB are counted in UTF-16 as well as
in UTF-8. A column that the stream lacks is dropped, a value of another type is null, and a TimeGenerated of more than
two days ago or a day ahead is replaced. It does not show how long rows take to be seen, throttling by volume, or a
transformation; the real one's wording of errors is known for 403 and 404 alone.

https://learn.microsoft.com/azure/azure-monitor/logs/logs-ingestion-api-overview and its service limits.
"""

import json
import re
import ssl
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlsplit

from tests.azure.gate import Answer, Gate
from tests.azure.loopback import Loopback, Request

MONITOR: Final = "https://monitor.azure.com"
RULE_ID: Final = "dcr-5b0c2f7e9a1d4c6c8f3e0d2b4a697881"
STREAM: Final = "Custom-RareAuditFindings_CL"
VERSION: Final = "2023-01-01"
LIMIT: Final = 1_000_000
FIELD_LIMIT: Final = 64 * 1024
_PATH: Final = re.compile(r"/dataCollectionRules/(?P<rule>[^/]+)/streams/(?P<stream>[^/]+)")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?Z")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Arrived:
    """A row as the table keeps it, and when it came."""

    at: datetime
    row: Row


class RefusalError(Exception):
    """What is answered in place of 204."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class IngestionServer:
    """The endpoint over TLS. `columns` are the stream's, with their types; `now` tells when rows come."""

    def __init__(
        self,
        context: ssl.SSLContext,
        columns: Mapping[str, str],
        *,
        accepts: Callable[[str], bool] = bool,
        gate: Gate | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Prepare. `accepts` tells whether a bearer token is good; any is, unless told otherwise."""
        self.columns = dict(columns)
        self.gate = gate or Gate()
        self.denied = False
        """Whether the caller lacks the role on the rule."""
        self.refused: set[str] = set()
        """Ids of findings whose rows are not taken, with all that is sent beside them."""
        self.parts: list[int] = []
        """How many bytes each request had that was taken, before it was compressed."""
        self.cut: list[str] = []
        """The columns whose values were cut."""
        self._accepts = accepts
        self._now = now
        self._arrived: list[Arrived] = []
        self._lock = threading.Lock()
        self._server = Loopback(self._passed, context)
        self.endpoint = self._server.url

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__()

    @property
    def arrived(self) -> tuple[Arrived, ...]:
        """What came, in its order."""
        with self._lock:
            return tuple(self._arrived)

    @property
    def rows(self) -> list[Row]:
        """The table's rows, in the order in which they came."""
        return [each.row for each in self.arrived]

    def forget(self) -> None:
        """Empty the table."""
        with self._lock:
            self._arrived.clear()
            self.parts.clear()
            self.cut.clear()

    def _passed(self, request: Request) -> Answer:
        return self.gate.around("ingestion", request.method, request.path, lambda: self._answered(request))

    def _answered(self, request: Request) -> Answer:
        try:
            self._check(request)
            self._take(_unpacked(request))
        except RefusalError as refusal:
            body = {"error": {"code": refusal.code, "message": str(refusal)}}
            headers = {"Content-Type": "application/json", "x-ms-error-code": refusal.code}
            return Answer(refusal.status, json.dumps(body).encode(), headers)
        return Answer(204)

    def _check(self, request: Request) -> None:
        token = re.fullmatch(r"Bearer (\S+)", request.headers.get("Authorization", ""))
        if token is None or not self._accepts(token[1]):
            raise RefusalError(401, "InvalidToken", "the bearer token is missing, or not for this audience")
        found = _PATH.fullmatch(request.path)
        if found is None or request.method != "POST":
            raise RefusalError(404, "NotFound", "no such route")
        if parse_qs(urlsplit(request.target).query).get("api-version") != [VERSION]:
            raise RefusalError(400, "InvalidApiVersion", f"expected api-version={VERSION}")
        if found["rule"] != RULE_ID:
            raise RefusalError(404, "NotFound", f"Data collection rule with immutable Id {found['rule']!r} not found.")
        if self.denied:
            message = (
                "The authentication token provided does not have access to ingest data for the data collection rule "
                f"with immutable Id {RULE_ID!r}."
            )
            raise RefusalError(403, "OperationFailed", message)
        if found["stream"] != STREAM:
            raise RefusalError(400, "InvalidStream", f"the stream {found['stream']!r} is not configured in the rule")
        if "json" not in request.headers.get("Content-Type", ""):
            raise RefusalError(415, "UnsupportedMediaType", "expected JSON")

    def _take(self, body: bytes) -> None:
        try:
            rows = json.loads(body)
            json.dumps(rows, ensure_ascii=False).encode()
        except ValueError as error:
            raise RefusalError(400, "InvalidPayload", "malformed JSON") from error
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise RefusalError(400, "InvalidPayload", "expected an array of objects")
        if any(row.get("FindingId") in self.refused for row in rows):
            raise RefusalError(400, "InvalidPayload", "this row is refused")
        at = self._now()
        with self._lock:
            self._arrived += [Arrived(at, self._kept(row, at)) for row in rows]
            self.parts.append(len(body))

    def _kept(self, row: Row, at: datetime) -> Row:
        kept = {name: self._typed(name, row.get(name)) for name in self.columns}
        sent = kept["TimeGenerated"] and datetime.fromisoformat(kept["TimeGenerated"])
        if not sent or not at - timedelta(days=2) <= sent <= at + timedelta(days=1):
            kept["TimeGenerated"] = at.isoformat().replace("+00:00", "Z")
        return kept

    def _typed(self, name: str, value: Any) -> Any:
        match self.columns[name]:
            case "string":
                return self._fitted(name, value if isinstance(value, str) else "")
            case "int":
                return value if isinstance(value, int) and abs(value) < 2**31 else None
            case "datetime":
                return value if isinstance(value, str) and _TIME.fullmatch(value) else None
            case "dynamic":
                text = json.dumps(value, ensure_ascii=False)
                return value if self._fitted(name, text) == text else text[:100]
        raise AssertionError(f"a type that is not known here: {self.columns[name]}")

    def _fitted(self, name: str, text: str) -> str:
        if max(len(text.encode()), len(text.encode("utf-16-le"))) <= FIELD_LIMIT:
            return text
        self.cut.append(name)
        return text[: FIELD_LIMIT // 4]


def _unpacked(request: Request) -> bytes:
    """Return the body as it was before it was compressed; nothing larger than the limit is ever unpacked."""
    body = request.body
    if request.headers.get("Content-Encoding") == "gzip" and len(body) <= LIMIT:
        try:
            body = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(body, LIMIT + 1)
        except zlib.error as error:
            raise RefusalError(400, "InvalidPayload", "the body is no gzip") from error
    if len(body) > LIMIT:
        raise RefusalError(413, "ContentLengthLimitExceeded", "maximum allowed content length: 1 MB")
    return body
