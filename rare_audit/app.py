"""The only wiring: settings to adapters to job."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from rare_audit.job import Job
from rare_audit.ports import EventSource
from rare_audit.rules import load_exclusions, load_rule
from rare_audit.settings import Settings
from rare_audit.sinks.outbox import Outbox
from rare_audit.sources.export import ExportFiles
from rare_audit.stores.deliveries import Deliveries
from rare_audit.stores.findings import Findings
from rare_audit.stores.leases import Leases
from rare_audit.stores.runs import Runs
from rare_audit.stores.sqlite import SqliteTable

LEASE: Final = timedelta(seconds=60)
"""How long a killed run on this machine keeps the next one waiting."""
DATABASE: Final = "rare-audit.sqlite"
OUTBOX: Final = "outbox"


class SystemClock:
    """ports.Clock."""

    def now(self) -> datetime:
        """Return the machine's time, in UTC."""
        return datetime.now(UTC)


@contextmanager
def embedded_job(settings: Settings, source: EventSource | None = None) -> Iterator[Job]:
    """Yield the job on parts that need nothing but a disk: export files, SQLite and an outbox folder.

    `source` stands in for the settings' exports. Raises RuleError, ServiceError.
    """
    rule, exclusions = load_rule(settings.rule), load_exclusions(settings.exclusions)
    clock = SystemClock()
    with SqliteTable(settings.home / DATABASE) as table:
        yield Job(
            rule=rule,
            exclusions=exclusions,
            source=source or ExportFiles(settings.exports),
            findings=Findings(table),
            runs=Runs(table),
            lease=Leases(table, clock, LEASE),
            deliveries=Deliveries(table),
            sink=Outbox(settings.home / OUTBOX),
            clock=clock,
        )
