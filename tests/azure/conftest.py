"""What the tests of the stand-ins stand on."""

import base64
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
from azure.storage.queue import QueueClient

from tests.azure.azurite import Azurite, over_https
from tests.azure.functions_host import FunctionsHost
from tests.azure.functions_queues import Pace
from tests.azure.log_analytics_world import wait_for
from tests.azure.scratch_app import noted, write

soon: Final = partial(wait_for, seconds=20)
"""Waits for what a busy machine takes its time for."""


@pytest.fixture(scope="session")
def emulator() -> Iterator[Azurite]:
    """Start Azurite for tokens and the key, over TLS."""
    with over_https() as running:
        yield running


@dataclass(frozen=True)
class Hosted:
    """The scratch app in a host, and its queue, which is there already."""

    host: FunctionsHost
    queue: QueueClient
    poison: QueueClient
    folder: Path

    def send(self, text: str) -> None:
        """Send a message as the host expects it, in base64."""
        self.queue.send_message(base64.b64encode(text.encode()).decode())

    def noted(self, file: str) -> list[str]:
        """Return what functions wrote into a file."""
        return noted(self.folder, file)


@pytest.fixture
def hosted(emulator: Azurite, tmp_path: Path) -> Iterator[Callable[..., Hosted]]:
    """Give what starts the scratch app: with a pace of the queues, and with what is in host.json."""
    pytest.importorskip("azure_functions_runtime", reason="Microsoft's worker is for Python 3.13 and later")
    with ExitStack() as exits:

        def start(pace: Pace | None = None, **host: Any) -> Hosted:
            name = f"q{uuid.uuid4().hex}"
            settings = {"QUEUE": name, "SCHEDULE": "0 0 1 * * *", "SCRATCH": str(tmp_path)}
            settings["AzureWebJobsStorage__queueServiceUri"] = emulator.queue
            queue, poison = (
                exits.enter_context(
                    QueueClient.from_connection_string(
                        emulator.connection_string, each, connection_verify=emulator.authority
                    )
                )
                for each in (name, f"{name}-poison")
            )
            queue.create_queue()
            app = write(tmp_path / "app", **host)
            running = FunctionsHost(app, settings, emulator, tmp_path / "log", pace)
            return Hosted(exits.enter_context(running), queue, poison, tmp_path)

        yield start
