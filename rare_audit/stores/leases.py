"""Leases on a table: a row for each name, always written by etag."""

import logging
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec

from rare_audit.ports import Clock, ConflictError, Entity, Table
from rare_audit.reporting.text import one_line
from rare_audit.stores.bodies import BODY, StoredRowError, pack, unpack
from rare_audit.stores.keys import key_of

_LEASES: Final = "leases"
_SHOWN: Final = 100
_LONGEST: Final = 10
"""How many times its own duration a lease may have left: more than clocks differ by, and than two versions do."""
_log: Final = logging.getLogger(__name__)


class _Held(msgspec.Struct, frozen=True):
    """Who holds a lease ("" for nobody), and until when."""

    name: str
    holder: str
    until: Annotated[datetime, msgspec.Meta(tz=True)]


class Leases:
    """ports.Lease: held for `duration` from when it was taken or last renewed."""

    def __init__(self, table: Table, clock: Clock, duration: timedelta) -> None:
        self._table = table
        self._clock = clock
        self._duration = duration

    def acquire(self, name: str, holder: str) -> None:
        """Take the lease, or take it over once it has expired; its holder may take it again.

        ConflictError, which says who holds it until when, while somebody else does, or was quicker.
        """
        row, held = self._read(name)
        if held and held.holder not in ("", holder) and self._is_valid(held):
            raise _conflict(name, held)
        self._take(row, name, holder)

    def renew(self, name: str, holder: str) -> None:
        """Hold it for longer, even if it had expired, as long as nobody took it; ConflictError if it was lost."""
        row, held = self._read(name)
        if held is None or held.holder != holder:
            raise _conflict(name, held)
        self._take(row, name, holder)

    def release(self, name: str, holder: str) -> None:
        """Give it up, if it is still held."""
        row, held = self._read(name)
        if held is None or held.holder != holder:
            return
        try:
            # Not deleted, which can't be done by etag: somebody who took it over in between would lose it.
            self._write(row, msgspec.structs.replace(held, holder="", until=self._clock.now()))
        except ConflictError:
            return

    def is_held(self, name: str) -> bool:
        """Tell whether somebody holds it now."""
        _, held = self._read(name)
        return held is not None and bool(held.holder) and self._is_valid(held)

    def _is_valid(self, held: _Held) -> bool:
        """Tell whether a lease has not expired.

        One for far longer than any is given, by a clock that was wrong, or by somebody's hand, is no lease.
        """
        left = held.until - self._clock.now()
        return timedelta() < left <= _LONGEST * self._duration

    def _take(self, row: Entity, name: str, holder: str) -> None:
        try:
            self._write(row, _Held(name, holder, self._clock.now() + self._duration))
        except ConflictError as error:
            held = self._read(name)[1]
            if held is None or held.holder != holder:  # else two threads of the holder renewed it at once
                raise _conflict(name, held) from error

    def _read(self, name: str) -> tuple[Entity, _Held | None]:
        """Return the row, one without etag where there is none, and what it says."""
        key = key_of(name)
        row = self._table.get(_LEASES, key)
        if row is None:
            return Entity(_LEASES, key, {}), None
        try:
            return row, unpack(row, _Held)
        except StoredRowError as error:  # who holds it can't be told; whoever does finds it lost
            _log.warning("%s; it can be taken", error)
            return row, None

    def _write(self, row: Entity, held: _Held) -> None:
        self._table.put(msgspec.structs.replace(row, values={BODY: pack(held)}), unless_changed=True)


def _conflict(name: str, held: _Held | None) -> ConflictError:
    shown = one_line(name, _SHOWN)
    if held is None or not held.holder:
        return ConflictError(f"the lease {shown} was given up; nobody holds it now")
    until = held.until.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return ConflictError(f"the lease {shown} is held by {one_line(held.holder, _SHOWN)} until {until} UTC")
