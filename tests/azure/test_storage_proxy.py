"""The gate before storage: the real clients on Azurite, by the identity's token, through the proxy."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ServiceResponseError
from azure.data.tables import TableClient
from azure.storage.queue import QueueClient

from tests.azure.azurite import Azurite, TokenInHand, token
from tests.azure.gate import Gate, answering, dropping
from tests.azure.storage_proxy import StorageProxy, serving
from tests.azure.tls import Authority

_ONCE: Final[dict[str, Any]] = {"retry_total": 0}


@contextmanager
def _proxied(emulator: Azurite, service: str, folder: Path, delay: float | None = None) -> Iterator[tuple[str, Gate]]:
    gate, authority = Gate(), Authority(folder)
    target = getattr(emulator, service)
    proxy = StorageProxy(service, target, gate, emulator.authority, delay)
    with serving(proxy, authority.context()) as url, pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
        yield url, gate


def _table(url: str, text: str = "") -> TableClient:
    return TableClient(url, f"T{uuid4().hex}", credential=TokenInHand(text or token()), **_ONCE)


def _queue(url: str) -> QueueClient:
    return QueueClient(url, f"q{uuid4().hex}", credential=TokenInHand(token()), **_ONCE)


def test_table(emulator: Azurite, tmp_path: Path) -> None:
    """Requests and answers of a table's client go through as they are, and are counted."""
    with _proxied(emulator, "table", tmp_path) as (url, gate), _table(url) as table:
        table.create_table()
        table.upsert_entity({"PartitionKey": "p", "RowKey": "ü'", "text": "ä" * 9000})
        assert table.get_entity("p", "ü'")["text"] == "ä" * 9000
        assert [row["RowKey"] for row in table.list_entities()] == ["ü'"]
        table.delete_entity("p", "ü'")
        assert [(passing.service, passing.method) for passing in gate.passed] == [
            ("table", method) for method in ("POST", "PATCH", "GET", "GET", "DELETE")
        ]


def test_queue(emulator: Azurite, tmp_path: Path) -> None:
    """So do those of a queue's client, but for delays that are longer than a test wants to wait for."""
    with _proxied(emulator, "queue", tmp_path, delay=1) as (url, gate), _queue(url) as queue:
        queue.create_queue()
        queue.send_message("late", visibility_timeout=600)
        assert queue.receive_message() is None
        until = time.monotonic() + 20
        while (found := queue.receive_message(visibility_timeout=600)) is None and time.monotonic() < until:
            time.sleep(0.1)
        assert found
        assert found.content == "late"
        assert gate.count("queue") == len(gate.passed)


def test_what_happens_at_the_gate(emulator: Azurite, tmp_path: Path) -> None:
    """An answer may be another one, or lost, and what was asked is done or not accordingly."""
    with _proxied(emulator, "table", tmp_path) as (url, gate), _table(url) as table:
        table.create_table()
        gate.forget()
        gate.at(1, answering(503, "ServerBusy"))
        gate.at(2, dropping)
        gate.at(3, dropping, applied=True)
        with pytest.raises(HttpResponseError, match="ServerBusy"):
            table.create_entity({"PartitionKey": "p", "RowKey": "refused"})
        for row in ("not done", "done"):
            with pytest.raises(ServiceResponseError):
                table.create_entity({"PartitionKey": "p", "RowKey": row})
        assert [row["RowKey"] for row in table.list_entities()] == ["done"]


@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")  # azure-data-tables 12.7 does
def test_tokens_are_looked_at(emulator: Azurite, tmp_path: Path) -> None:
    """A token for another audience is refused by the emulator behind the proxy."""
    wrong = token(audience="https://management.azure.com")
    with (
        _proxied(emulator, "table", tmp_path) as (url, _),
        _table(url, wrong) as table,
        pytest.raises((ClientAuthenticationError, HttpResponseError)),
    ):
        table.create_table()


def test_emulator_is_gone(tmp_path: Path) -> None:
    """Where nothing answers behind the proxy, the connection is dropped."""
    nobody = Azurite(blob="", queue="", table="http://127.0.0.1:9/account")
    with (
        _proxied(nobody, "table", tmp_path) as (url, gate),
        _table(url) as table,
        pytest.raises(ServiceResponseError),
    ):
        table.create_table()
    assert gate.count() == 1
