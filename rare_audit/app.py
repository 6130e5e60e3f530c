"""The only wiring: settings to adapters to job."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from rare_audit.detection.rule import Rule
from rare_audit.dispatch import Dispatch
from rare_audit.job import Job, Options
from rare_audit.places import Workspace
from rare_audit.ports import EventSource, IncidentSink, Stores, Watch
from rare_audit.rules import load_exclusions, load_rule
from rare_audit.settings import Account, DryRunSettings, Settings, WorkspaceSettings, read_workspace_settings
from rare_audit.stores import stores_on

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

    from rare_audit.sinks.arm import Arm
    from rare_audit.sinks.findings_table import FindingsTable
    from rare_audit.sinks.patience import Patience as SinkPatience
    from rare_audit.sources.log_analytics import LogAnalytics
    from rare_audit.sources.log_analytics_client import Patience
    from rare_audit.stores.run_queue import RunQueue
    from rare_audit.stores.tables import AzureTable

EMBEDDED_LEASE: Final = timedelta(seconds=60)
"""How long a killed run on this machine keeps the next one waiting."""
LEASE: Final = timedelta(minutes=5)
DATABASE: Final = "rare-audit.sqlite"
TOKEN_PATIENCE: Final[Mapping[str, float]] = {
    "retry_total": 3,
    "retry_backoff_factor": 0.5,
    "retry_backoff_max": 5,
    "connection_timeout": 5,
    "read_timeout": 10,
    "timeout": 30,
}
"""How long the identity endpoint, on the app's own machine, is asked for a token, in azure-core's words.

`read_timeout` is for an answer as a whole; no Retry-After is waited for longer than a pause. In all it takes 40 seconds
at most: an attempt that begins in time may end later.
"""
OUTBOX: Final = "outbox"


class SystemClock:
    """ports.Clock."""

    def now(self) -> datetime:
        """Return the machine's time, in UTC."""
        return datetime.now(UTC)


@contextmanager
def embedded_job(source: EventSource, home: Path) -> Iterator[Job]:
    """Yield the job on parts that need nothing but a disk: SQLite and an outbox, both in the folder `home`.

    With the published rule and its exclusions. Raises ServiceError.
    """
    from rare_audit.sinks.outbox import Outbox  # noqa: PLC0415 - start-up counts, and the deployed app has no use for it
    from rare_audit.stores.sqlite import SqliteTable  # noqa: PLC0415 - likewise

    clock = SystemClock()
    with SqliteTable(home / DATABASE) as table:
        yield Job(
            rule=load_rule(),
            exclusions=load_exclusions(),
            source=source,
            stores=stores_on(table, clock, EMBEDDED_LEASE),
            sink=Outbox(home / OUTBOX),
            clock=clock,
            options=Options(retention_days=0),
        )


class Deployed:
    """What a process keeps of the job in Azure, for any number of runs and requests: rule, exclusions, and clients.

    Threads may share it. Use it as a context manager, or close it.
    """

    def __init__(self, settings: Settings) -> None:
        """Read the rule and the exclusions; nothing is connected before it is needed. Raises RuleError."""
        workspace = settings.workspace
        self._settings = settings
        self._rule = load_rule(workspace.rule)
        self._exclusions = load_exclusions(workspace.exclusions)
        self._table = table(settings.tables, workspace.client_id)
        self._queue = run_queue(settings)
        self._arm = arm(settings, settings.sentinel) if settings.sentinel else None
        self._findings = findings_table(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the clients; the next use opens them again."""
        for client in (self._table, self._queue, self._arm, self._findings):
            if client is not None:
                client.close()

    def dispatch(self) -> Dispatch:
        """Return the job and all that is asked of it, for one run or request: it notes what it met."""
        settings, workspace, clock = self._settings, self._settings.workspace, SystemClock()
        source = log_analytics(workspace, self._rule)
        job = Job(
            rule=self._rule,
            exclusions=self._exclusions,
            source=source,
            counts=source,
            stores=stores_on(self._table, clock, LEASE),
            sink=self._sentinel(),
            table=self._findings,
            clock=clock,
            options=Options(
                min_days=workspace.min_days,
                max_incidents=settings.max_incidents,
                salt="" if settings.store_values else workspace.workspace_id,
                retention_days=settings.retention_days,
            ),
            watch=_watch(),
        )
        return Dispatch(job, self._queue, settings.catch_up_days, settings.late_days)

    def _sentinel(self) -> IncidentSink | None:
        if self._arm is None:
            return None
        from rare_audit.sinks.sentinel import Sentinel  # noqa: PLC0415 - start-up counts

        return Sentinel(self._arm, bookmarks=self._settings.bookmarks, mappings=self._rule.entity_mappings)


@contextmanager
def azure(settings: Settings) -> Iterator[Dispatch]:
    """Yield the job in Azure, and all that is asked of it; nothing is connected before it is needed.

    Raises RuleError, SettingsError.
    """
    with Deployed(settings) as deployed:
        yield deployed.dispatch()


@contextmanager
def dry_run_job(settings: DryRunSettings) -> Iterator[Job]:
    """Yield the job for dry runs: it reads the workspace, and has no way to raise or upload anything.

    Its runs are stored in the storage account where there is one. Else they are gone when the block ends, and are
    never written to a disk. Nothing is connected before it is needed. Raises RuleError, SettingsError.
    """
    workspace = settings.workspace
    rule = load_rule(workspace.rule)
    source = log_analytics(workspace, rule)
    with _dry_run_stores(settings) as stores:
        yield Job(
            rule=rule,
            exclusions=load_exclusions(workspace.exclusions),
            source=source,
            counts=source,
            stores=stores,
            sink=None,
            clock=SystemClock(),
            options=Options(
                min_days=workspace.min_days,
                salt="" if settings.store_values else workspace.workspace_id,
            ),
            watch=_watch(),
        )


@contextmanager
def _dry_run_stores(settings: DryRunSettings) -> Iterator[Stores]:
    if settings.tables is not None:
        with table(settings.tables, settings.workspace.client_id) as kept:
            yield stores_on(kept, SystemClock(), LEASE)
        return
    from rare_audit.stores.sqlite import IN_MEMORY, SqliteTable  # noqa: PLC0415 - start-up counts

    with SqliteTable(IN_MEMORY) as kept:
        yield stores_on(kept, SystemClock(), EMBEDDED_LEASE)


def workspace_events(environment: Mapping[str, str], workspace: str | None, rule: Rule) -> "LogAnalytics":
    """Return the events of a workspace that a rule does not drop first, for a hunt in it; not connected yet.

    `workspace` is the GUID from the command line, None where the one in LOG_ANALYTICS_WORKSPACE_ID is meant. Raises
    SettingsError for a GUID that is missing or malformed, and for whatever else of the environment is wrong of what it
    takes to read a workspace.
    """
    return log_analytics(read_workspace_settings(environment, workspace), rule)


def log_analytics(settings: WorkspaceSettings, *rules: Rule, patience: "Patience | None" = None) -> "LogAnalytics":
    """Return the workspace's events, of which the service drops what all of `rules` drop first; of none, nothing."""
    from rare_audit.sources.log_analytics import LogAnalytics  # noqa: PLC0415 - start-up counts
    from rare_audit.sources.log_analytics_client import DEFAULT_ENDPOINT  # noqa: PLC0415 - likewise

    return LogAnalytics(
        settings.workspace_id,
        partial(credential, settings.client_id),
        endpoint=settings.logs_endpoint or DEFAULT_ENDPOINT,
        rules=rules,
        patience=patience,
    )


def arm(settings: Settings, workspace: Workspace, *, patience: "SinkPatience | None" = None) -> "Arm":
    """Return the way to a workspace's incidents; not connected yet."""
    from rare_audit.sinks.arm import PUBLIC_CLOUD, Arm  # noqa: PLC0415 - start-up counts

    make = partial(credential, settings.workspace.client_id)
    return Arm(workspace, make, endpoint=settings.arm_endpoint or PUBLIC_CLOUD, patience=patience)


def findings_table(settings: Settings, *, patience: "SinkPatience | None" = None) -> "FindingsTable | None":
    """Return the workspace's table of findings, None where they go to none; not connected yet."""
    if settings.ingestion is None:
        return None
    from rare_audit.sinks.findings_table import FindingsTable  # noqa: PLC0415 - start-up counts

    make = partial(credential, settings.workspace.client_id)
    return FindingsTable(settings.ingestion, make, SystemClock(), patience=patience)


def table(account: Account, client_id: str, *, patience: Mapping[str, float] | None = None) -> "AzureTable":
    """Return the table that everything is kept in, in a storage account; not connected yet.

    `client_id` names the identity, as `credential` has it; a connection string needs none.
    """
    from rare_audit.stores import tables  # noqa: PLC0415 - start-up counts

    if account.connection_string:
        return tables.by_connection_string(account.connection_string.reveal(), patience=patience or tables.PATIENCE)
    make = partial(credential, client_id)
    return tables.by_identity(account.table_url, make, patience=patience or tables.PATIENCE)


def run_queue(settings: Settings, *, patience: Mapping[str, float] | None = None) -> "RunQueue":
    """Return the queue that runs wait in; not connected yet."""
    from rare_audit.stores import run_queue as queues  # noqa: PLC0415 - start-up counts

    account: Account = settings.queues
    if account.connection_string:
        return queues.by_connection_string(account.connection_string.reveal(), patience or queues.PATIENCE)
    make = partial(credential, settings.workspace.client_id)
    return queues.by_identity(account.queue_url, make, patience or queues.PATIENCE)


@lru_cache
def _watch() -> Watch:
    """Return who watches; one for the whole process, as instruments are made once."""
    from rare_audit.watch import OpenTelemetry  # noqa: PLC0415 - start-up counts

    return OpenTelemetry()


@lru_cache
def credential(client_id: str) -> "TokenCredential":
    """Return the app's managed identity, or where there is none whoever is signed in at the terminal.

    One for the whole process: it keeps its tokens. `client_id` names a user-assigned identity, "" the system's.
    """
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - start-up counts

    if os.environ.get("IDENTITY_ENDPOINT"):
        return managed_identity(client_id)
    return DefaultAzureCredential(managed_identity_client_id=client_id or None)


def managed_identity(client_id: str, *, patience: Mapping[str, float] | None = None) -> "TokenCredential":
    """Return the app's managed identity, by App Service's endpoint, which is asked for as long as `patience` has it."""
    from azure.identity import ManagedIdentityCredential  # noqa: PLC0415 - start-up counts

    from rare_audit.bounded_http import BoundedTransport  # noqa: PLC0415 - imports azure

    tries = patience or TOKEN_PATIENCE
    transport = BoundedTransport(
        connect=tries["connection_timeout"], whole=tries["read_timeout"], longest_pause=tries["retry_backoff_max"]
    )
    return ManagedIdentityCredential(client_id=client_id or None, transport=transport, **dict[str, Any](tries))
