"""A whole Azure on one machine: all that the deployed app meets, so that its code runs as it is, over the real wire.

The managed identity, Log Analytics and the way into its tables, Sentinel and the Functions host are stand-ins of this
project; storage is Azurite, Microsoft's emulator; the Python worker is Microsoft's own. Each says in its own file what
it does not show.
"""

import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import date
from pathlib import Path
from typing import Any, Final, Self

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables import TableClient, TableServiceClient
from azure.storage.queue import QueueServiceClient

from rare_audit.reporting.finding_rows import COLUMNS
from tests.azure import azurite, log_analytics_server, sentinel_server, storage_proxy
from tests.azure.azurite import Azurite
from tests.azure.functions_host import FunctionsHost
from tests.azure.functions_queues import Pace
from tests.azure.gate import Gate
from tests.azure.identity_server import ARM, CLIENT_ID, LOGS, IdentityServer
from tests.azure.ingestion_server import MONITOR, RULE_ID, IngestionServer
from tests.azure.kql_table import KqlTable
from tests.azure.log_analytics_server import LogAnalyticsServer
from tests.azure.sentinel_server import SentinelServer
from tests.azure.sentinel_state import Workspace
from tests.azure.shifted_export import last_day, shifted, yesterday
from tests.azure.storage_proxy import StorageProxy
from tests.azure.tls import Authority

ROOT: Final = Path(__file__).parents[2]
SAMPLE: Final = ROOT / "samples/tidewater.ndjson.gz"
TABLE: Final = "RareAudit"
READING: Final = (
    "LOG_ANALYTICS_WORKSPACE_ID RARE_AUDIT_LOGS_ENDPOINT REQUESTS_CA_BUNDLE "
    "AZURE_CLIENT_ID IDENTITY_ENDPOINT IDENTITY_HEADER"
).split()
"""The settings that a terminal needs to read the workspace, its sign-in included."""
_STORAGE: Final = "AzureWebJobsStorage"


class Stack:
    """All of it, while the block runs.

    `environment` is what the app's process gets: the settings, no key and no connection string. `day` is the last day
    with events. Requests of the app pass `gate`; the host's own, and those of `rows` and `messages`, do not. `ports`
    are those of `host`, `logs`, `arm` and `identity`, any that is free where none is named; set them before it starts.
    """

    environment: dict[str, str]
    day: date
    identity: IdentityServer
    logs: LogAnalyticsServer
    arm: SentinelServer
    ingestion: IngestionServer
    azurite: Azurite
    authority: Authority
    log: Path

    def __init__(
        self,
        export: Path = SAMPLE,
        *,
        shifted: bool = False,
        settings: Mapping[str, str] | None = None,
        app: Path = ROOT,
        host: bool = True,
        visibility: float | None = None,
    ) -> None:
        """Prepare; nothing runs yet.

        `export` is what Log Analytics has, one JSON object a line; `shifted` moves it by whole days so that its last
        day is yesterday. `settings` are added to the app's. Without `host`, the app is left to whoever reads
        `environment`. `visibility` is how many seconds a message stays unseen whose machine was lost, whose function
        failed, or that is sent with a longer delay: in place of ten minutes, of what host.json says, and of the delay.
        """
        self.gate = Gate()
        self._export = export
        self._shifted = shifted
        self._settings = dict(settings or {})
        self._app = app
        self._hosted = host
        self.ports: Mapping[str, int] = {}
        self._pace = Pace() if visibility is None else Pace(visibility=visibility, retry_after=visibility)
        self._host: FunctionsHost | None = None
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            self._start(exits)
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    @property
    def host(self) -> FunctionsHost:
        """The host; there is none where the stack was started without."""
        assert self._host, "the stack was started without a host"
        return self._host

    @property
    def sentinel(self) -> Workspace:
        """What Sentinel holds."""
        return self.arm.workspace

    @property
    def reading(self) -> dict[str, str]:
        """What of `environment` a terminal needs to read the workspace: nothing of storage or Sentinel."""
        return {name: self.environment[name] for name in READING}

    @property
    def table(self) -> TableClient:
        """The app's table, reached by the account's key."""
        return self._tables.get_table_client(TABLE)

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows of the app's table as they are stored, by partition and row."""
        try:
            found = [dict(entity) for entity in self.table.list_entities()]
        except ResourceNotFoundError:
            return []
        return sorted(found, key=lambda row: (row["PartitionKey"], row["RowKey"]))

    def messages(self, queue: str) -> list[str]:
        """Return the messages of a queue that can be seen, as they are stored, without taking them."""
        try:
            return [str(each.content) for each in self._queues.get_queue_client(queue).peek_messages(max_messages=32)]
        except ResourceNotFoundError:
            return []

    def make_queue(self, name: str) -> None:
        """Make a queue, as a deployment may do."""
        try:
            self._queues.create_queue(name)
        except ResourceExistsError:
            return

    def log_text(self) -> str:
        """Return what the app and the host logged so far."""
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def reset(self) -> None:
        """Empty storage and Sentinel, and forget what was asked and what was to happen; the worker process stays."""
        self.gate.forget()
        for queue in self._queues.list_queues():
            self._queues.get_queue_client(queue.name).clear_messages()
        for row in self.rows():
            self.table.delete_entity(row["PartitionKey"], row["RowKey"])
        with self.arm.lock:
            self.arm.workspace = Workspace()
            self.arm.forget()
        self.logs.reset()
        self.ingestion.forget()
        self.gate.forget()
        if self._host:
            self._host.ended.clear()

    def _start(self, exits: ExitStack) -> None:
        folder = Path(exits.enter_context(tempfile.TemporaryDirectory()))
        self.log = folder / "app.log"
        self.authority = Authority(folder)
        emulator = azurite.over_https()
        with ThreadPoolExecutor(1) as pool:  # it takes a second to start, in which the rest does
            starting = pool.submit(emulator.__enter__)
            try:
                self._start_services(exits, folder)
            finally:
                self.azurite = starting.result()
                exits.push(emulator)
        self._start_storage(exits)
        self.environment |= self._settings
        if self._hosted:
            host = FunctionsHost(
                self._app, self.environment, self.azurite, self.log, self._pace, self.ports.get("host", 0)
            )
            self._host = exits.enter_context(host)

    def _start_services(self, exits: ExitStack, folder: Path) -> None:
        self.identity = exits.enter_context(IdentityServer(self.gate, port=self.ports.get("identity", 0)))
        self.day = yesterday() if self._shifted else last_day(self._export)
        table = KqlTable()
        table.load(str(shifted(self._export, self.day, folder) if self._shifted else self._export))
        self.logs = exits.enter_context(
            LogAnalyticsServer(table, self.authority, self._for_logs, self.ports.get("logs", 0))
        )
        self.logs.gate = self.gate
        context = self.authority.context()
        arm = {"accepts": self._for_arm, "gate": self.gate, "port": self.ports.get("arm", 0)}
        self.arm = exits.enter_context(sentinel_server.serving(context, **arm))
        ingestion = IngestionServer(context, COLUMNS, accepts=self._for_ingestion, gate=self.gate)
        self.ingestion = exits.enter_context(ingestion)
        # the clients ask for tokens for whatever endpoint they are given, but for ingestion
        self.identity.audiences |= {self.logs.endpoint, self.arm.endpoint, MONITOR}
        self.environment = {
            "AZURE_CLIENT_ID": CLIENT_ID,
            "LOG_ANALYTICS_WORKSPACE_ID": log_analytics_server.WORKSPACE,
            "SENTINEL_WORKSPACE_RESOURCE_ID": sentinel_server.WORKSPACE_ID,
            "RARE_AUDIT_LOGS_ENDPOINT": self.logs.endpoint,
            "RARE_AUDIT_ARM_ENDPOINT": self.arm.endpoint,
            "RARE_AUDIT_INGESTION_ENDPOINT": self.ingestion.endpoint,
            "RARE_AUDIT_INGESTION_RULE_ID": RULE_ID,
            "REQUESTS_CA_BUNDLE": str(self.authority.bundle),
            **self.identity.environment,
        }

    def _start_storage(self, exits: ExitStack) -> None:
        trust = {"connection_verify": self.azurite.authority}
        way = self.azurite.connection_string
        self._tables = exits.enter_context(TableServiceClient.from_connection_string(way, **trust))
        self._queues = exits.enter_context(QueueServiceClient.from_connection_string(way, **trust))
        for service in ("blob", "queue", "table"):
            target = getattr(self.azurite, service)
            proxy = StorageProxy(service, target, self.gate, self.azurite.authority, self._pace.retry_after)
            url = exits.enter_context(storage_proxy.serving(proxy, self.authority.context()))
            self.environment[f"{_STORAGE}__{service}ServiceUri"] = url
        self.environment |= {f"{_STORAGE}__credential": "managedidentity", f"{_STORAGE}__clientId": CLIENT_ID}

    def _for_logs(self, token: str) -> bool:
        return self.identity.accepts(token, LOGS, self.logs.endpoint)

    def _for_ingestion(self, token: str) -> bool:
        return self.identity.accepts(token, MONITOR)

    def _for_arm(self, token: str) -> bool:
        return self.identity.accepts(token, ARM, self.arm.endpoint)
