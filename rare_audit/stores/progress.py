"""How far each rule's days are done: a row for each rule."""

from contextlib import suppress
from typing import Final

import msgspec

from rare_audit.ports import ConflictError, Entity, Table
from rare_audit.records import Progress
from rare_audit.stores.bodies import BODY, pack, unpack
from rare_audit.stores.keys import key_of

_PROGRESS: Final = "progress"


class ProgressRows:
    """ports.ProgressStore."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, rule_id: str) -> Progress:
        """Return how far a rule is; an empty one where nothing was ever due."""
        return self._read(rule_id)[1]

    def begin(self, rule_id: str, day: str) -> Progress:
        """Make a day the first ever due, unless one is; return how far the rule is."""
        row, progress = self._read(rule_id)
        if progress.first:
            return progress
        begun = msgspec.structs.replace(progress, first=day, due=day)
        with suppress(ConflictError):  # a run came in between: the next timer finds what it wrote, and begins there
            self._table.put(msgspec.structs.replace(row, values={BODY: pack(begun)}), unless_changed=True)
        return begun

    def advance(self, progress: Progress) -> None:
        """Write how far a rule is."""
        self._table.put(Entity(_PROGRESS, key_of(progress.rule_id), {BODY: pack(progress)}))

    def _read(self, rule_id: str) -> tuple[Entity, Progress]:
        """Return a rule's row, one without etag where there is none, and what it says."""
        key = key_of(rule_id)
        row = self._table.get(_PROGRESS, key)
        return (row, unpack(row, Progress)) if row else (Entity(_PROGRESS, key, {}), Progress(rule_id))
