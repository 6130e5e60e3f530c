"""What dry runs found, on a table: a partition for each run, apart from all that counts."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from rare_audit.errors import RefusedError
from rare_audit.ports import Entity, Table
from rare_audit.records import KeptFinding, Run
from rare_audit.stores.bodies import LongRow, long_parts, pack, put_each, unpack_long
from rare_audit.stores.keys import key_of
from rare_audit.stores.set_aside import SetAside

_DAYS: Final = "dry-days"


class DryFindings:
    """ports.DryFindingStore."""

    def __init__(self, table: Table, aside: SetAside | None = None) -> None:
        self._table = table
        self._aside = aside or SetAside()

    def keep(self, run: Run, findings: Iterable[KeptFinding]) -> dict[str, RefusedError]:
        """Write a dry run's findings; done twice, they are there once.

        Returns those that were refused for what they hold, by id.
        """
        self._table.put(Entity(_DAYS, f"{run.started[:10]}.{key_of(run.id)}", {}))  # first: retention goes by it
        partition = _partition(key_of(run.id))
        return put_each(self._table, (LongRow(partition, one.finding.id, pack(one)) for one in findings))

    def of_run(self, run_id: str) -> tuple[KeptFinding, ...]:
        """Return what a dry run found, ordered by id; a row that can't be read is set aside."""
        return tuple(self.each(run_id))

    def each(self, run_id: str, after: str = "") -> Iterator[KeptFinding]:
        """Yield what `of_run` returns, of ids greater than `after`; no more is read than is taken."""
        rows = self._table.query(_partition(key_of(run_id)), first=f"{after}\0" if after else "")
        found = (self._aside.read(partial(unpack_long, self._table, entity, KeptFinding)) for entity in rows)
        yield from (one for one in found if one)

    def expired(self, before_day: str) -> Iterator[tuple[str, str]]:
        """Yield the keys of the rows of dry runs that started before the UTC day `before_day` (`YYYY-MM-DD`).

        In the order in which they may be deleted while this goes on: what they are found by comes last.
        """
        for index in self._table.query(_DAYS, last=before_day):
            for entity in self._table.query(_partition(index.row.partition(".")[2])):
                yield from long_parts(self._table, entity.partition, entity.row)
                yield entity.partition, entity.row
            yield index.partition, index.row


def _partition(run: str) -> str:
    return f"dry.{run}"
