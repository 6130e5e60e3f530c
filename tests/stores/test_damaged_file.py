"""A SQLite file in which bits have flipped: it can be read, or an error says in one line that it can't."""

import random
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from rare_audit.app import DATABASE, embedded_job
from rare_audit.errors import RareAuditError
from rare_audit.exports.export_files import ExportFiles
from rare_audit.pages import run_page
from rare_audit.stores import stores_on
from rare_audit.stores.sqlite import SqliteTable
from tests.fakes import FixedClock
from tests.job_world import NOW, RULE
from tests.terminal import NORTHWIND

DAY = "2026-03-16"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder in which a day was run."""
    folder = tmp_path_factory.mktemp("home")
    with embedded_job(ExportFiles([NORTHWIND]), folder) as job:
        job.run(DAY, DAY, asked_by="test")
    return folder


@pytest.mark.parametrize("seed", range(120))
def test_any_bit_may_flip(home: Path, tmp_path: Path, seed: int) -> None:
    """Whatever is read or written of such a file, nothing but an error of ours comes of it, in one line."""
    random_ = random.Random(seed)
    path = tmp_path / DATABASE
    shutil.copy(home / DATABASE, path)
    content = bytearray(path.read_bytes())
    for _ in range(random_.choice((1, 5, 50))):
        content[random_.randrange(100, len(content))] ^= 1 << random_.randrange(8)
    path.write_bytes(content)
    try:
        with SqliteTable(path) as table:
            stores = stores_on(table, FixedClock(NOW), timedelta(minutes=1))
            for run in stores.runs.latest(10):
                stores.runs.get(run.id)
                run_page(stores, RULE, run)
            stores.findings.of_day(RULE.id, DAY)
            stores.deliveries.pending(RULE.id)
            stores.progress.get(RULE.id)
            stores.retention.sweep("2027-01-01", "2027-01-01")
    except RareAuditError as error:
        assert "\n" not in str(error)  # noqa: PT017 - most files can be read after all
