"""A look at everything the deployed job stands on, by the very parts it is made of, from wherever the settings are."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Final

from rare_audit import app
from rare_audit.detection.rule import Exclusion, Rule
from rare_audit.doctor import identity, sentinel, storage, workspace
from rare_audit.doctor.check import Check, Verdict, fail, ok, warn
from rare_audit.errors import RareAuditError
from rare_audit.ports import Table
from rare_audit.rules import unmatchable
from rare_audit.settings import Settings
from rare_audit.sinks.arm import Arm
from rare_audit.sinks.patience import Patience
from rare_audit.sources import log_analytics_client
from rare_audit.sources.log_analytics import LogAnalytics
from rare_audit.stores import stores_on, tables

__all__ = ["Check", "Verdict", "examine"]

# Somebody waits at a terminal: each part gives up within half a minute.
_LOGS: Final = log_analytics_client.Patience(budget=30, server=60, longest_pause=5, connect=10)
_ARM: Final = Patience(seconds=10)
_TABLE: Final = {**tables.PATIENCE, "retry_total": 1, "timeout": 30}
_QUEUE: Final = {
    "retry_total": 1,
    "initial_backoff": 1,
    "increment_base": 0,
    "random_jitter_range": 0,
    "connection_timeout": 10,
    "read_timeout": 15,
}

Look = Callable[[], Iterable[Check]]


def examine(settings: Settings, rule: Rule, exclusions: tuple[Exclusion, ...]) -> Iterator[Check]:
    """Yield the checks one by one, each as soon as it is done; what fails keeps none of the others from being done.

    Nothing is raised, sent or left behind. Raises SettingsError where the parts can't be made of the settings at all.
    """
    yield from _settings(settings, rule, exclusions)
    with app.table(settings.tables, settings.workspace.client_id, patience=_TABLE) as table:
        for what, look in _looks(settings, rule, table):
            try:
                yield from look()
            except RareAuditError as error:
                yield fail(what, str(error))


def _settings(settings: Settings, rule: Rule, exclusions: tuple[Exclusion, ...]) -> Iterator[Check]:
    raised = f"raised in {settings.sentinel.name}" if settings.sentinel else "observed only"
    raised += f", findings uploaded by {settings.ingestion.rule_id}" if settings.ingestion else ""
    used = sum(exclusion.enabled for exclusion in exclusions)
    workspace_id = settings.workspace.workspace_id
    yield ok("settings", f"workspace {workspace_id}; incidents are {raised}; {rule.name}; {used} exclusions")
    for sentence in unmatchable(exclusions):
        yield warn("settings", sentence)


def _looks(settings: Settings, rule: Rule, table: Table) -> Iterator[tuple[str, Look]]:
    clock = app.SystemClock()
    client_id, min_days = settings.workspace.client_id, settings.workspace.min_days
    source = app.log_analytics(settings.workspace, patience=_LOGS)
    way = app.arm(settings, settings.sentinel, patience=_ARM) if settings.sentinel else None
    make = partial(app.credential, client_id)
    yield "identity", lambda: identity.look(make, client_id, _scopes(settings, source, way))
    yield "AuditLogs", lambda: workspace.look(source, rule.lookback_days, min_days, clock.now())
    yield "table", lambda: storage.look_at_table(table)
    yield "queue", lambda: storage.look_at_queue(app.run_queue(settings, patience=_QUEUE))
    if way is None:
        why = "RARE_AUDIT_INCIDENTS is observe" if settings.ingestion is None else "only the table is asked for"
        yield "incidents", lambda: [ok("incidents", f"not needed: {why}, so none is raised")]
    else:
        yield "Sentinel", lambda: sentinel.look(way)
        yield "incidents", lambda: sentinel.look_at_permissions(way, bookmarks=settings.bookmarks)
    progress = stores_on(table, clock, app.LEASE).progress
    yield "last run", lambda: storage.look_at_progress(progress, rule.id, clock.now())


def _scopes(settings: Settings, source: LogAnalytics, way: Arm | None) -> dict[str, str]:
    """Return what tokens are asked for, by the services they are for."""
    scopes = {"Log Analytics": source.scope}
    if way is not None:
        scopes["Azure Resource Manager"] = way.scope
    ingestion = app.findings_table(settings)
    if ingestion is not None:
        scopes["Logs Ingestion"] = ingestion.scope
    if not (settings.tables.connection_string and settings.queues.connection_string):
        scopes["storage"] = identity.STORAGE_SCOPE
    return scopes
