"""The queue that runs wait in, in Azure Queue Storage. Nothing of Azure is imported before the first message."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rare_audit.errors import ServiceError
from rare_audit.reporting.secrets import cause_of, unforeseen

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.storage.queue import QueueClient

QUEUE: Final = "rare-audit-runs"
_ROLE: Final = "Storage Queue Data Contributor"
_FOR_GOOD: Final = -1
PATIENCE: Final[Mapping[str, float]] = {
    "retry_total": 4,
    "initial_backoff": 1,
    "increment_base": 3,
    "connection_timeout": 10,
    "read_timeout": 20,
}
"""How long a call is tried, in azure-storage-queue's words: pauses of 1, 4, 10 and 15 seconds, with jitter.

`read_timeout` is for an answer as a whole, and no pause is longer than bounded_http has it.

Its own default, 15 seconds and more, outlasts whoever waits for an HTTP answer.
"""


class RunQueue:
    """ports.RunQueue. A message is `{"run": id}`, base64 as host.json's messageEncoding has it.

    Threads may share it.
    """

    def __init__(self, connect: "Callable[[], QueueClient]") -> None:
        """Keep `connect` for the first message; by_connection_string and by_identity make it."""
        self._connect = connect
        self._lock = threading.Lock()
        self._connected: QueueClient | None = None

    def close(self) -> None:
        """Close what was opened; another message opens it again."""
        with self._lock:
            if self._connected:
                self._connected.close()
            self._connected = None

    def _client(self) -> "QueueClient":
        with self._lock:
            if self._connected is None:
                self._connected = self._connect()
            return self._connected

    def send(self, run_id: str, delay: int = 0) -> None:
        """Send a message about a run, to be seen in `delay` seconds; the queue is made where it is not there.

        Sent twice where an answer got lost: whoever takes messages has to bear that. Raises ServiceError.
        """
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415 - start-up counts

        content = json.dumps({"run": run_id})
        with self._explained(f"no message could be sent to the queue {QUEUE}"):
            client = self._client()
            try:
                client.send_message(content, visibility_timeout=delay, time_to_live=_FOR_GOOD)
            except ResourceNotFoundError:
                client.create_queue()
                client.send_message(content, visibility_timeout=delay, time_to_live=_FOR_GOOD)

    def length(self) -> int | None:
        """Return about how many messages the queue holds, None where it is not there yet. Raises ServiceError."""
        from azure.core.exceptions import ResourceNotFoundError  # noqa: PLC0415 - start-up counts

        with self._explained(f"the queue {QUEUE} can't be looked at"):
            client = self._client()
            try:
                return int(client.get_queue_properties().approximate_message_count or 0)
            except ResourceNotFoundError:
                return None

    @staticmethod
    @contextmanager
    def _explained(what: str) -> Iterator[None]:
        from rare_audit.stores.table_calls import told  # noqa: PLC0415 - imports azure

        try:
            yield
        except Exception as error:  # noqa: BLE001 - the libraries raise what an identity or a proxy makes them
            hint = f"the identity needs the role {_ROLE} on the storage account, or a connection string its key"
            status = getattr(error, "status_code", None)
            said = told(error) or unforeseen(error)
            answered = f"it answered {status}, {said}" if status else said
            raise ServiceError(f"{what}: {answered}; {hint}") from cause_of(error)


def by_connection_string(text: str, patience: Mapping[str, float] = PATIENCE) -> RunQueue:
    """Return the queue of the account that a storage connection string names; what is wrong is told by `send`."""

    def connect() -> "QueueClient":
        from azure.storage.queue import QueueClient  # noqa: PLC0415 - start-up counts

        return QueueClient.from_connection_string(text, QUEUE, **_options(patience))

    return RunQueue(connect)


def by_identity(
    account_url: str, credential: "Callable[[], TokenCredential]", patience: Mapping[str, float] = PATIENCE
) -> RunQueue:
    """Return the queue of the account at `account_url` (https://NAME.queue.core.windows.net), reached by a token."""

    def connect() -> "QueueClient":
        from azure.storage.queue import QueueClient  # noqa: PLC0415 - start-up counts

        return QueueClient(account_url, QUEUE, credential=credential(), **_options(patience))

    return RunQueue(connect)


def _options(patience: Mapping[str, float]) -> dict[str, Any]:
    from azure.storage.queue import TextBase64EncodePolicy  # noqa: PLC0415 - start-up counts

    from rare_audit.bounded_http import BoundedTransport  # noqa: PLC0415 - imports azure

    times = {"connect": patience["connection_timeout"], "whole": patience["read_timeout"]}
    return {
        "message_encode_policy": TextBase64EncodePolicy(),
        "permit_redirects": False,
        "transport": BoundedTransport(**times),
        **patience,
    }
