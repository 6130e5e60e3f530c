"""Stored rows that can't be read: whoever reads goes on without them, and says which they are."""

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from rare_audit.stores.bodies import StoredRowError

_NAMED: Final = 5
"""How many rows a note names; the log has all of them."""
_log: Final = logging.getLogger(__name__)
T = TypeVar("T")


class SetAside:
    """ports.SetAside. Each row is logged once."""

    def __init__(self) -> None:
        self._rows: dict[str, None] = {}

    def read(self, read: Callable[[], T]) -> T | None:
        """Return what `read` returns, or None where it raises StoredRowError: the row is then noted."""
        try:
            return read()
        except StoredRowError as error:
            if error.where not in self._rows:
                self._rows[error.where] = None
                _log.warning("a stored row is set aside: %s", error)
            return None

    def notes(self) -> tuple[str, ...]:
        """Return one sentence about the rows that were set aside so far, or nothing where there is none."""
        if not self._rows:
            return ()
        named = ", ".join(list(self._rows)[:_NAMED])
        more = f" and {len(self._rows) - _NAMED} more" if len(self._rows) > _NAMED else ""
        return (f"{len(self._rows)} stored rows can't be read and were set aside: {named}{more}",)
