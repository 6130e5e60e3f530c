"""The job in a process of its own, killed for real, and run again on what that left on the disk."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import pytest

from rare_audit.app import DATABASE, LEASE, OUTBOX, SystemClock
from rare_audit.records import Delivery, KeptFinding, Run
from rare_audit.sinks.outbox import Outbox
from rare_audit.sources.sample import FIRST_HUNTED, LAST_HUNTED
from rare_audit.stores import stores_on
from rare_audit.stores.deliveries import Deliveries
from rare_audit.stores.findings import Findings
from rare_audit.stores.runs import Runs
from rare_audit.stores.sqlite import SqliteTable
from tests.job_world import RULE, files
from tests.killed_job import job

ROOT: Final = Path(__file__).parents[1]
PATIENCE: Final = 30
POINTS: Final = [
    *[("put", 1), ("put", 3), ("put", 9), ("put", 18), ("put", 30), ("put", 45)],
    *[("delete", 1), ("delete", 7), ("outbox", 1), ("outbox", 10), ("half", 1), ("half", 6)],
]


class _Later:
    """ports.Clock that is ahead by a lease: whoever was killed holds none any more."""

    def now(self) -> datetime:
        """Return the time it will be."""
        return SystemClock().now() + LEASE + timedelta(seconds=1)


@dataclass(frozen=True)
class _Left:
    """What lies on the disk in the end, no matter which run put it there."""

    findings: tuple[KeptFinding, ...]
    pending: tuple[Delivery, ...]
    deliveries: tuple[Delivery | None, ...]
    outbox: dict[str, bytes]


def _run(home: Path) -> Run:
    with SqliteTable(home / DATABASE) as table:
        parts = job(home, table, Outbox(home / OUTBOX))
        later = replace(parts, clock=_Later(), stores=stores_on(table, _Later(), LEASE))
        return later.run(FIRST_HUNTED, LAST_HUNTED, asked_by="test")


def _left(home: Path) -> _Left:
    with SqliteTable(home / DATABASE) as table:
        kept = [one for day in (FIRST_HUNTED, LAST_HUNTED) for one in Findings(table).of_day(RULE.id, day)]
        deliveries = Deliveries(table)
        return _Left(
            findings=tuple(msgspec.structs.replace(one, first_run="", last_run="") for one in kept),
            pending=deliveries.pending(RULE.id),
            deliveries=tuple(deliveries.get(id_) for id_ in sorted({one.incident_id for one in kept})),
            outbox={str(path.relative_to(home)): path.read_bytes() for path in files(home / OUTBOX)},
        )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> _Left:
    """What an undisturbed run leaves."""
    home = tmp_path_factory.mktemp("undisturbed")
    run = _run(home)
    left = _left(home)
    assert (run.state, len(left.findings), len(left.outbox), left.pending) == ("done", 13, 10, ())
    return left


def _assert_mended(home: Path, undisturbed: _Left) -> None:
    run = _run(home)
    assert (run.state, run.error) == ("done", "")
    assert _left(home) == undisturbed
    with SqliteTable(home / DATABASE) as table:
        assert [one.state for one in Runs(table).latest(9) if one.state == "running"] == []


@pytest.mark.parametrize(("kind", "at"), POINTS, ids=[f"{kind}-{at}" for kind, at in POINTS])
def test_killed_at(kind: str, at: int, tmp_path: Path, undisturbed: _Left) -> None:
    """Killed right after a row or a file was written, or with a file half written."""
    command = [sys.executable, "-m", "tests.killed_job", str(tmp_path), kind, str(at)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=PATIENCE)
    assert (ended.returncode, ended.stderr) == (-signal.SIGKILL, b"")
    if kind == "half":
        assert len([path for path in files(tmp_path / OUTBOX) if path.suffix == ".tmp"]) == 1
    _assert_mended(tmp_path, undisturbed)


def _database(home: Path) -> bool:
    return (home / DATABASE).exists()


def _incident(home: Path) -> bool:
    return bool(files(home / OUTBOX))


@pytest.mark.parametrize("moment", [_database, _incident], ids=["database", "incident"])
def test_demo_killed_from_outside(moment: Callable[[Path], bool], tmp_path: Path, undisturbed: _Left) -> None:
    """`demo` itself, killed once its database is there, or its first incident."""
    command = [sys.executable, "-m", "rare_audit", "demo", "--into", str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + PATIENCE
        while not moment(tmp_path) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        process.kill()
    assert moment(tmp_path)
    _assert_mended(tmp_path, undisturbed)
