"""A stand-in for the Logs Ingestion API with clients on it that wait in no time and may be killed at any request."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from azure.core.rest import HttpRequest

from rare_audit.detection.finding import Finding
from rare_audit.places import Ingestion
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.finding_rows import COLUMNS, FindingRow, finding_row
from rare_audit.reporting.incident import incident_id
from rare_audit.rules import load_rule
from rare_audit.sinks.findings_table import FindingsTable
from tests.azure.gate import Gate
from tests.azure.ingestion_server import RULE_ID, STREAM, VERSION, IngestionServer
from tests.azure.tls import Authority
from tests.fakes import FixedClock
from tests.sinks.sentinel_world import SECRET, Credential, Time, Transport, named

RULE: Final = load_rule()
NOW: Final = datetime(2026, 3, 3, 1, 40, tzinfo=UTC)


def row(finding: Finding, *, run_id: str = "run 1", coverage: Coverage | None = None) -> FindingRow:
    """Return a finding's row."""
    coverage = coverage or Coverage(14, 14)
    return finding_row(RULE, finding, incident_id=incident_id(finding), run_id=run_id, coverage=coverage)


def rows(*names: str, **overrides: Any) -> tuple[FindingRow, ...]:
    """Return the rows of findings of these names."""
    return tuple(row(named(name, **overrides)) for name in names)


class World:
    """A stand-in server and the sinks made for it, on one clock."""

    def __init__(self, authority: Authority, server: IngestionServer, clock: FixedClock) -> None:
        self.server = server
        self.clock = clock
        self._authority = authority
        self._transports: list[Transport] = []
        self.renew()

    def renew(self) -> None:
        """Forget all that happened."""
        self.server.forget()
        self.server.gate.forget()
        self.server.denied = False
        self.server.refused = set()
        self.time = Time()
        self.credential = Credential()

    def sink(
        self, *, patience: float = 60.0, endpoint: str = "", rule_id: str = RULE_ID, **options: Any
    ) -> FindingsTable:
        """Return a sink as a new process has it; `options` are those of a transport."""
        self._transports.append(Transport(self._authority.bundle, **options))
        return FindingsTable(
            Ingestion(endpoint or self.server.endpoint, rule_id),
            lambda: self.credential,
            self.clock,
            patience=self.time.patience(patience),
            transport=self._transports[-1],
        )

    def upload(self, rows: Sequence[FindingRow], memo: str = "", **options: Any) -> str:
        """Upload with a new sink; return the last memo."""
        for part in self.sink(**options).upload(rows, memo):
            memo = part.memo
        return memo

    def post(self, body: bytes, *, path: str = "", method: str = "POST", **headers: str) -> Any:
        """Send a request as anybody might, by default a proper one; return the answer."""
        path = path or f"/dataCollectionRules/{RULE_ID}/streams/{STREAM}?api-version={VERSION}"
        usual = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}
        request = HttpRequest(method, f"{self.server.endpoint}{path}", content=body, headers=usual | headers)
        self._transports.append(Transport(self._authority.bundle))
        return self._transports[-1].send(request)

    def told(self) -> list[tuple[str, str]]:
        """Return ids and revisions as they came."""
        return [(each["FindingId"], each["Revision"]) for each in self.server.rows]

    def close(self) -> None:
        """Close what was opened."""
        for transport in self._transports:
            transport.close()


@contextmanager
def worlds(folder: Path) -> Iterator[World]:
    """Yield a world while the block runs."""
    authority, clock = Authority(folder), FixedClock(NOW)
    with IngestionServer(authority.context(), COLUMNS, gate=Gate(), now=clock.now) as server:
        world = World(authority, server, clock)
        try:
            yield world
        finally:
            world.close()


def ids(of: Sequence[FindingRow]) -> list[tuple[str, str]]:
    """Return ids and revisions of rows."""
    return [(each.finding_id, each.revision) for each in of]
