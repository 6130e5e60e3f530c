"""Runs on a table: one partition in which the latest come first, and an index of ids."""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Final

from rare_audit.detection.ticks import END_OF_TIME, day_ticks, parse_ticks
from rare_audit.ports import ConflictError, Entity, Table
from rare_audit.records import Run
from rare_audit.stores.bodies import PartsError, StoredRowError, long_parts, long_row, pack, unpack_long
from rare_audit.stores.keys import key_of
from rare_audit.stores.set_aside import SetAside
from rare_audit.stores.versions import Versions

_RUNS: Final = "runs"
_IDS: Final = "run-ids"
_ROW: Final = "row"


class Runs:
    """ports.RunStore. A run keeps the place its first `save` gave it, whatever becomes of its `started`."""

    def __init__(self, table: Table, aside: SetAside | None = None) -> None:
        self._table = table
        self._aside = aside or SetAside()
        self._versions = Versions(table)

    def save(self, run: Run) -> None:
        """Write a run's row. ValueError where `started` of a new run is no instant.

        ConflictError where somebody else wrote it since it was read or written here.
        """
        self._versions.put(long_row(self._table, _RUNS, self._place(run), pack(run)))

    def get(self, run_id: str) -> Run | None:
        """Return a run, or None; any text may be asked for."""
        index = self._table.get(_IDS, key_of(run_id))
        row = str(index.values.get(_ROW, "")) if index else ""
        found = self._versions.get(_RUNS, row) if row else None
        return self._aside.read(lambda: unpack_long(self._table, found, Run)) if found else None

    def latest(self, count: int) -> tuple[Run, ...]:
        """Return the last `count` runs that can be read, the latest first."""
        found = (self._aside.read(partial(self._listed, entity)) for entity in self._table.query(_RUNS))
        return tuple(islice((run for run in found if run), count))

    def _listed(self, entity: Entity) -> Run | None:
        """Return a run; None for one that retention has begun to remove, its index first, and did not end with."""
        self._versions.saw(entity)
        try:
            return unpack_long(self._table, entity, Run)
        except PartsError:
            if self._table.get(_IDS, entity.row.partition(".")[2]) is None:
                return None
            raise

    def expired(self, before_day: str) -> Iterator[tuple[str, str]]:
        """Yield the keys of the rows of runs that started before the UTC day `before_day` (`YYYY-MM-DD`).

        In the order in which they may be deleted while this goes on: what they are found by comes last.
        """
        first = f"{END_OF_TIME - day_ticks(before_day) + 1:019d}"
        for entity in self._table.query(_RUNS, first=first):
            yield _IDS, entity.row.partition(".")[2]
            yield from long_parts(self._table, entity.partition, entity.row)
            yield entity.partition, entity.row

    def _place(self, run: Run) -> str:
        """Return the key of a run's row, which stands in the index from here on.

        The index is written first: where it has no row to point to, the run was never saved, and saving it again
        mends that. The other way round, a run could be listed and yet not be found, or be listed twice.
        """
        key = key_of(run.id)
        index = self._table.get(_IDS, key)
        if index is None:
            row = f"{END_OF_TIME - parse_ticks(run.started):019d}.{key}"
            try:
                index = self._table.put(Entity(_IDS, key, {_ROW: row}), unless_changed=True)
            except ConflictError:
                index = self._table.get(_IDS, key)
                if index is None:
                    raise
        if _ROW not in index.values:
            raise StoredRowError(f"{_IDS} {key}", index.unreadable or "names no row")
        return str(index.values[_ROW])
