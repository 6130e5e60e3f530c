"""Every store is tested on every backend, Microsoft's own storage emulator among them."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from rare_audit.ports import Table
from rare_audit.stores.sqlite import SqliteTable
from rare_audit.stores.tables import by_connection_string
from tests.azure.azurite import Azurite, over_http, over_https
from tests.fakes import MemoryTable

pytest.register_assert_rewrite("tests.stores.table_contract")


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Start Azurite for the account's key."""
    with over_http() as running:
        yield running


@pytest.fixture(scope="session")
def secure_azurite() -> Iterator[Azurite]:
    """Start Azurite for tokens, over TLS, and have its certificate trusted."""
    with over_https() as running, pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", running.authority)
        yield running


@pytest.fixture
def name() -> str:
    """Return the name of a table that is not there."""
    return f"T{uuid.uuid4().hex}"


@pytest.fixture(params=["sqlite", "memory", "azurite"])
def table(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> Iterator[Table]:
    """Give an empty table."""
    match request.param:
        case "memory":
            yield MemoryTable()
        case "sqlite":
            with SqliteTable(tmp_path / "folder" / "table.db") as opened:
                yield opened
        case "azurite":
            running: Azurite = request.getfixturevalue("azurite")
            with by_connection_string(running.connection_string, name) as reached:
                yield reached
