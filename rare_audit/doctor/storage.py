"""Whether the table and the queue can be used."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, Protocol

from rare_audit.dispatch import STALE
from rare_audit.doctor.check import Check, fail, ok, warn
from rare_audit.doctor.workspace import ago
from rare_audit.ports import Entity, ProgressStore, Table

_PROBE: Final = ("doctor", "probe")
"""The keys of a row that nothing else reads; always the same, so that a doctor who is killed leaves one at most."""


class Queue(Protocol):
    """What a queue tells of itself; see stores.run_queue."""

    def length(self) -> int | None:
        """Return about how many messages it holds, None where it is not there yet."""
        ...


def look_at_table(table: Table) -> Iterator[Check]:
    """Yield that a row can be written, read and removed. Raises ServiceError where it can't."""
    table.put(Entity(*_PROBE, {"of": "python -m rare_audit doctor"}))
    read = table.get(*_PROBE)
    table.delete(*_PROBE)
    if read is None:
        yield fail("table", "a row that was written is not there; does somebody else use this account's tables?")
    else:
        yield ok("table", "a row was written, read and removed")


def look_at_queue(queue: Queue) -> Iterator[Check]:
    """Yield that the queue can be reached; nothing is sent. Raises ServiceError where it can't."""
    length = queue.length()
    found = "it is made with the first message" if length is None else f"about {length} messages wait"
    yield ok("queue", f"reached; {found}")


def look_at_progress(progress: ProgressStore, rule_id: str, now: datetime) -> Iterator[Check]:
    """Yield when a run of a rule last ended well. Raises ServiceError where that can't be read."""
    known = progress.get(rule_id)
    if not known.last_success:
        yield warn("last run", "none has ended well yet; the timer does the first, or python -m rare_audit run")
        return
    last = datetime.fromisoformat(known.last_success)
    found = f"ended well {ago(now - last)}, {last:%Y-%m-%dT%H:%M:%SZ}" + (
        f"; due next: {known.due}" if known.due else ""
    )
    if now - last > STALE:
        yield fail("last run", f"{found}; a day was missed: does the app run? see its log, and GET /api/runs")
    else:
        yield ok("last run", found)
