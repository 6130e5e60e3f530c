"""A process that runs the job on the bundled sample and kills itself, so that nothing can be tidied up.

    python -m tests.killed_job HOME put|delete|outbox|half N

It dies right after the N-th row is put or deleted, right after the N-th incident is written, or with the N-th one half
written: its file there under another name. Its lease has expired at once.
"""

import os
import signal
import sys
from datetime import timedelta
from pathlib import Path, PosixPath
from typing import Self

from rare_audit.app import DATABASE, OUTBOX, SystemClock
from rare_audit.cli import SAMPLE
from rare_audit.exports.export_files import ExportFiles
from rare_audit.job import Job, Options
from rare_audit.ports import Entity, IncidentSink, Table
from rare_audit.reporting.incident import Incident
from rare_audit.rules import load_exclusions, load_rule
from rare_audit.sinks.outbox import Outbox
from rare_audit.sources.sample import FIRST_HUNTED, LAST_HUNTED
from rare_audit.stores import stores_on
from rare_audit.stores.sqlite import SqliteTable


class Death:
    """Comes at the n-th event of a kind."""

    def __init__(self, kind: str, at: int) -> None:
        self._kind = kind
        self._left = at

    def near(self, kind: str) -> None:
        """Count an event, and die if it is the one."""
        self._left -= kind == self._kind
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


class DyingTable(SqliteTable):
    """The table in SQLite of a process that dies."""

    def __init__(self, path: Path, death: Death) -> None:
        super().__init__(path)
        self._death = death

    def put(self, entity: Entity, *, unless_changed: bool = False) -> Entity:
        """Write a row."""
        written = super().put(entity, unless_changed=unless_changed)
        self._death.near("put")
        return written

    def delete(self, partition: str, row: str) -> None:
        """Remove a row."""
        super().delete(partition, row)
        self._death.near("delete")


class DyingSink:
    """ports.IncidentSink of a process that dies."""

    notes: tuple[str, ...] = ()
    refused = 0

    def __init__(self, sink: IncidentSink, death: Death) -> None:
        self._sink = sink
        self._death = death

    def deliver(self, incident: Incident, memo: str) -> str:
        """Write an incident."""
        written = self._sink.deliver(incident, memo)
        self._death.near("outbox")
        return written


class DyingPath(PosixPath):
    """A path of a process that dies when it is about to give a file its last name."""

    death = Death("", 1)

    def replace(self, target: str | os.PathLike[str]) -> Self:
        """Move a file to its place."""
        self.death.near("half")
        return super().replace(target)


def job(home: Path, table: Table, sink: IncidentSink) -> Job:
    """Return the job that `demo` runs, on these parts, with a lease that keeps nobody waiting."""
    clock = SystemClock()
    return Job(
        rule=load_rule(),
        exclusions=load_exclusions(),
        source=ExportFiles([SAMPLE]),
        stores=stores_on(table, clock, timedelta(0)),
        sink=sink,
        clock=clock,
        options=Options(retention_days=0),
    )


def main(home: Path, death: Death) -> None:
    """Run the job until death comes."""
    DyingPath.death = death
    with DyingTable(home / DATABASE, death) as table:
        sink = DyingSink(Outbox(DyingPath(home / OUTBOX)), death)
        job(home, table, sink).run(FIRST_HUNTED, LAST_HUNTED, asked_by="test")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Death(sys.argv[2], int(sys.argv[3])))
