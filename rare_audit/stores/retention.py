"""What is kept for too long goes: findings, deliveries and runs, and the indexes that lead to them."""

from collections import Counter
from itertools import chain, islice
from typing import Final

from rare_audit.detection.ticks import day_ticks
from rare_audit.errors import ServiceError
from rare_audit.ports import Swept, Table
from rare_audit.reporting.secrets import error_line
from rare_audit.stores.deliveries import DELIVERIES, Deliveries
from rare_audit.stores.dry_findings import DryFindings
from rare_audit.stores.findings import Findings
from rare_audit.stores.runs import Runs

MOST: Final = 1_000
"""Rows deleted by one call: some twenty seconds on a storage account, well within the lease."""


class TableRetention:
    """ports.Retention."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def sweep(self, before_day: str, dry_before_day: str) -> Swept:
        """Remove some of what belongs to UTC days before these, of all and of dry runs."""
        return sweep(self._table, before_day, dry_before_day)


def sweep(table: Table, before_day: str, dry_before_day: str = "0001-01-01", most: int = MOST) -> Swept:
    """Remove what belongs to UTC days before `before_day` (`YYYY-MM-DD`): at most `most` rows; tell if more is due.

    What dry runs found goes earlier, before `dry_before_day`.

    A finding and a delivery belong to their day, a run to the day it started; pending deliveries go too, and are
    counted. Nothing else is ever removed. Cut short anywhere, the next call ends it: each row goes before the one it is
    found by. The caller holds the lease, so that no run writes what is being removed. ValueError where `before_day` is
    no day; ServiceError where the table can't be used, or an index is damaged.
    """
    day_ticks(before_day)
    day_ticks(dry_before_day)
    deliveries = Deliveries(table)
    due = chain(
        DryFindings(table).expired(max(before_day, dry_before_day)),
        Findings(table).expired(before_day),
        deliveries.expired(before_day),
        Runs(table).expired(before_day),
    )
    removed: Counter[str] = Counter()
    undelivered = 0
    try:
        for partition, row in islice(due, most):
            undelivered += partition == DELIVERIES and deliveries.is_pending(row)
            table.delete(partition, row)
            removed[partition.partition(".")[0]] += 1
        more = next(due, None) is not None
    except ValueError as error:  # what an index leads to is no key
        raise ServiceError(f"the index of what is to be removed is damaged: {error_line(str(error))}") from error
    return Swept(
        findings=removed["findings"],
        deliveries=removed["deliveries"],
        undelivered=undelivered,
        runs=removed["runs"],
        more=more,
    )
