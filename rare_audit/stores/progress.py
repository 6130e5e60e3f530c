"""How far each rule's days are done: a row for each rule."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

import msgspec

from rare_audit.detection.ticks import day_ticks
from rare_audit.errors import ServiceError
from rare_audit.ports import ConflictError, Entity, Table
from rare_audit.records import Progress
from rare_audit.reporting.secrets import error_line
from rare_audit.stores.bodies import BODY, StoredRowError, pack, unpack
from rare_audit.stores.keys import key_of

_PROGRESS: Final = "progress"
_TRIES: Final = 10


class ProgressRows:
    """ports.ProgressStore."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, rule_id: str) -> Progress:
        """Return how far a rule is; an empty one where nothing was ever due."""
        return self._read(rule_id)[1]

    def begin(self, rule_id: str, day: str) -> Progress:
        """Make a day the first ever due, unless one is; return how far the rule is."""
        return self._changed(rule_id, lambda it: it if it.first else msgspec.structs.replace(it, first=day, due=day))

    def change(self, rule_id: str, **fields: str) -> None:
        """Write some fields of a rule's Progress, and leave the others."""
        self._changed(rule_id, lambda it: msgspec.structs.replace(it, **fields))

    def _changed(self, rule_id: str, change: Callable[[Progress], Progress]) -> Progress:
        """Read, change and write, again where somebody else wrote in between; nothing is written that is so already."""
        for _ in range(_TRIES):
            row, progress = self._read(rule_id)
            changed = change(progress)
            if changed == progress:
                return progress
            with suppress(ConflictError):
                self._table.put(msgspec.structs.replace(row, values={BODY: pack(changed)}), unless_changed=True)
                return changed
        raise ServiceError(f"how far the days are done could not be written in {_TRIES} tries: others write it as well")

    def _read(self, rule_id: str) -> tuple[Entity, Progress]:
        """Return a rule's row, one without etag where there is none, and what it says."""
        key = key_of(rule_id)
        row = self._table.get(_PROGRESS, key)
        return (row, _checked(row)) if row else (Entity(_PROGRESS, key, {}), Progress(rule_id))


def _checked(row: Entity) -> Progress:
    """Return what a row says; StoredRowError where a day is none, or a success has no time with an offset."""
    progress = unpack(row, Progress)
    try:
        for day in filter(None, (progress.first, progress.due, progress.silent_since)):
            day_ticks(day)
        if progress.last_success:
            _ = datetime.fromisoformat(progress.last_success) - datetime.now(UTC)  # fails for a time without an offset
    except (ValueError, TypeError) as error:
        raise StoredRowError(f"{row.partition} {row.row}", f"holds no Progress: {error_line(str(error))}") from error
    return progress
