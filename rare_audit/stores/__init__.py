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


def stores_on(table: Table, clock: Clock, lease: timedelta) -> Stores:
    """Return all stores on one table; a run that is killed keeps the next one waiting for as long as `lease`."""
    return Stores(
        findings=Findings(table),
        dry_findings=DryFindings(table),
        runs=Runs(table),
        deliveries=Deliveries(table),
        progress=ProgressRows(table),
        lease=Leases(table, clock, lease),
        retention=TableRetention(table),
    )
