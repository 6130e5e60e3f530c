"""What is kept, on any table."""

from datetime import timedelta

from rare_audit.ports import Clock, Stores, Table
from rare_audit.stores.deliveries import Deliveries
from rare_audit.stores.dry_findings import DryFindings
from rare_audit.stores.findings import Findings
from rare_audit.stores.leases import Leases
from rare_audit.stores.progress import ProgressRows
from rare_audit.stores.retention import TableRetention
from rare_audit.stores.runs import Runs
from rare_audit.stores.set_aside import SetAside


def stores_on(table: Table, clock: Clock, lease: timedelta) -> Stores:
    """Return all stores on one table; a run that is killed keeps the next one waiting for as long as `lease`."""
    aside = SetAside()
    return Stores(
        findings=Findings(table, aside),
        dry_findings=DryFindings(table, aside),
        runs=Runs(table, aside),
        deliveries=Deliveries(table, aside),
        progress=ProgressRows(table),
        lease=Leases(table, clock, lease),
        retention=TableRetention(table),
        set_aside=aside,
    )
