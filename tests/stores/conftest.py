"""Every store is tested on every backend that needs nothing but this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rare_audit.ports import Table
from rare_audit.stores.sqlite import SqliteTable
from tests.fakes import MemoryTable

pytest.register_assert_rewrite("tests.stores.table_contract")


@pytest.fixture(params=["sqlite", "memory"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Table]:
    """Give an empty table."""
    if request.param == "memory":
        yield MemoryTable()
        return
    with SqliteTable(tmp_path / "folder" / "table.db") as opened:
        yield opened
