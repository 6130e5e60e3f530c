"""Ports in memory, for tests of what stands on them."""

import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count

import msgspec

from rare_audit.errors import RefusedError, ServiceError
from rare_audit.ports import ConflictError, Entity, Table
from rare_audit.stores.keys import check_key


class MemoryTable:
    """ports.Table in a dictionary."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Entity] = {}
        self._versions = count(1)
        self._lock = threading.Lock()

    def get(self, partition: str, row: str) -> Entity | None:
        """Return a row, or None."""
        found = self._rows.get((check_key(partition), check_key(row)))
        return found and _copy(found, found.etag)

    def put(self, entity: Entity, *, unless_changed: bool = False) -> Entity:
        """Write a row, or raise ConflictError."""
        key = check_key(entity.partition), check_key(entity.row)
        with self._lock:
            stored = self._rows.get(key)
            if unless_changed and entity.etag != (stored.etag if stored else ""):
                raise ConflictError(f"the row {entity.partition} {entity.row} was changed by somebody else")
            self._rows[key] = _copy(entity, f"v{next(self._versions)}")
            return _copy(self._rows[key], self._rows[key].etag)

    def query(self, partition: str, *, first: str = "", last: str = "\x7f") -> Iterator[Entity]:
        """Yield rows in order, those deleted meanwhile left out."""
        check_key(partition)
        with self._lock:
            keys = sorted(key for key in self._rows if key[0] == partition and first <= key[1] <= last)
        for key in keys:
            found = self._rows.get(key)
            if found:
                yield _copy(found, found.etag)

    def delete(self, partition: str, row: str) -> None:
        """Remove a row, if it is there."""
        with self._lock:
            self._rows.pop((check_key(partition), check_key(row)), None)

    def empty(self) -> "MemoryTable":
        """Return a table of the same kind without any row."""
        return MemoryTable()

    def contents(self) -> dict[tuple[str, str], dict[str, str | int | bool]]:
        """Return all rows without their etags: what two runs can be compared by."""
        return {key: dict(entity.values) for key, entity in self._rows.items()}


def _copy(entity: Entity, etag: str) -> Entity:
    return msgspec.structs.replace(entity, values=dict(entity.values), etag=etag)


class Killed(BaseException):
    """What a process does not survive: nothing may catch it by name."""


class FailingTable:
    """A table whose n-th call (from 1) raises `error` in place of doing anything; 0 for never. `calls` counts them."""

    def __init__(self, table: Table, failing: int = 0, error: BaseException | None = None) -> None:
        self._table = table
        self._failing = failing
        self._error = error or Killed()
        self.calls = 0
        self.written = 0

    def get(self, partition: str, row: str) -> Entity | None:
        """Return a row, or None."""
        self._count()
        return self._table.get(partition, row)

    def put(self, entity: Entity, *, unless_changed: bool = False) -> Entity:
        """Write a row."""
        self._count()
        self.written += 1
        return self._table.put(entity, unless_changed=unless_changed)

    def query(self, partition: str, *, first: str = "", last: str = "\x7f") -> Iterator[Entity]:
        """Yield rows in order."""
        self._count()
        return self._table.query(partition, first=first, last=last)

    def delete(self, partition: str, row: str) -> None:
        """Remove a row."""
        self._count()
        self.written += 1
        self._table.delete(partition, row)

    def _count(self) -> None:
        self.calls += 1
        if self.calls == self._failing:
            raise self._error


class RefusingTable(MemoryTable):
    """A table that never takes a row for what it holds: one whose texts have any of `refused` in them."""

    def __init__(self, *refused: str) -> None:
        super().__init__()
        self.refused = set(refused)

    def empty(self) -> MemoryTable:
        """Return one that refuses the same."""
        return RefusingTable(*self.refused)

    def put(self, entity: Entity, *, unless_changed: bool = False) -> Entity:
        """Write a row, or refuse it as Table Storage refuses what is too large."""
        texts = [value for value in entity.values.values() if isinstance(value, str)]
        if entity.partition.startswith(("findings.", "dry.")) and any(
            word in text for text in texts for word in self.refused
        ):
            raise RefusedError(f"the row {entity.partition} {entity.row} is too large to be stored", 413)
        return super().put(entity, unless_changed=unless_changed)


class ListQueue:
    """ports.RunQueue in a list of run ids with their delays; refuses all messages while `broken`."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int]] = []
        self.broken = False

    def send(self, run_id: str, delay: int = 0) -> None:
        """Note a message."""
        if self.broken:
            raise ServiceError("the queue is away")
        self.sent.append((run_id, delay))


class FixedClock:
    """A clock that stands still until it is told."""

    def __init__(self, at: datetime) -> None:
        self._now = at

    def now(self) -> datetime:
        """Return the time it was last told."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += timedelta(seconds=seconds)
