"""Rows that have one writer at a time, and the versions by which a writer that is not the one any more is noticed."""

import msgspec

from rare_audit.ports import ConflictError, Entity, Table

Values = dict[str, str | int | bool]


class Versions:
    """Reads rows, and writes over the version that was read or written last.

    A writer that was paused for longer than its lease can't take back what was written since: it meets ConflictError.
    A row that was not looked at before is written whatever is there.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        self._etags: dict[tuple[str, str], str] = {}
        self._tried: dict[tuple[str, str], Values] = {}

    def get(self, partition: str, row: str) -> Entity | None:
        """Return a row, or None; the next `put` of it is over this version."""
        found = self._table.get(partition, row)
        self.saw(found or Entity(partition, row, {}))
        return found

    def saw(self, entity: Entity) -> None:
        """Take note of a row that was read in another way."""
        self._etags[entity.partition, entity.row] = entity.etag

    def put(self, entity: Entity) -> None:
        """Write a row over the version last read or written; ConflictError where another is there.

        What this writer wrote itself, without hearing of it, is no other.
        """
        key = entity.partition, entity.row
        tried = self._tried.get(key)
        self._tried[key] = dict(entity.values)
        if key not in self._etags:
            self._etags[key] = self._table.put(entity).etag
            return
        try:
            written = self._table.put(_over(entity, self._etags[key]), unless_changed=True)
        except ConflictError:
            found = self._table.get(*key)
            if found is None or tried is None or dict(found.values) != tried:
                raise
            written = self._table.put(_over(entity, found.etag), unless_changed=True)
        self._etags[key] = written.etag


def _over(entity: Entity, etag: str) -> Entity:
    return msgspec.structs.replace(entity, etag=etag)
