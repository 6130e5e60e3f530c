"""How the stand-in for the Functions host listens to a queue: with the real client, by the rules of the real listener.

Sources, at Azure/azure-sdk-for-net, sdk/storage: QueueListener.cs and QueueProcessor.cs (Microsoft.Azure.WebJobs.
Extensions.Storage.Common) and QueueServiceClientProvider.cs (….Queues). The real one too makes no queue but a poison
queue, has none for a queue whose name ends in -poison and leaves what failed there unseen, and moves at once what it
can't decode. Other than the real one it polls without growing pauses.
"""

import base64
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from azure.core.exceptions import AzureError, HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import QueueClient, QueueMessage, QueueServiceClient

from tests.azure.functions_settings import Queues

VISIBILITY: Final = 600.0
"""Seconds for which a message is unseen while its function works; renewed at half of it."""
_POISON: Final = "-poison"
_LONGEST: Final = 63

Run = Callable[[list[Any], Mapping[str, Any], float, Callable[[], None]], bool]
"""Invokes the function on a datum with metadata, calls back every so many seconds meanwhile, and says how it went."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How often a queue is asked, and for how long messages are unseen, in seconds; at least one where they are.

    `visibility` is for those whose function works, `retry_after` for those whose function failed: None as in host.json.
    """

    poll: float = 0.05
    visibility: float = VISIBILITY
    retry_after: float | None = None


class QueueListener:
    """Listens to one queue for one function, from `start` to `stop`."""

    def __init__(self, queue: str, service: QueueServiceClient, settings: Queues, pace: Pace, run: Run) -> None:
        self.queue = queue
        self._service = service
        self._client: QueueClient = service.get_queue_client(queue)
        has_poison = not queue.endswith(_POISON) and len(queue + _POISON) <= _LONGEST
        self._poison: QueueClient | None = service.get_queue_client(queue + _POISON) if has_poison else None
        self._settings = settings
        self._pace = pace
        self._run = run
        self._changed = threading.Condition()
        self._working: set[threading.Thread] = set()
        self._epoch = 0
        self._ended = False
        self._thread = threading.Thread(target=self._listen, daemon=True, name=f"queue {queue}")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End. The functions have ended, or are to be: what they worked on stays unseen for its time."""
        with self._changed:
            self._ended = True
            self._epoch += 1
            self._changed.notify_all()
        self._thread.join()
        for thread in tuple(self._working):
            thread.join()

    def lose(self) -> None:
        """Forget what is worked on, as a lost machine does: the messages are seen again when their time is up."""
        with self._changed:
            self._epoch += 1

    @property
    def idle(self) -> bool:
        """Whether no function works and no message waits, seen or unseen."""
        with self._changed:
            if self._working:
                return False
        try:
            return not self._client.get_queue_properties().approximate_message_count
        except ResourceNotFoundError:
            return True

    def _listen(self) -> None:
        while self._room():
            if not self._took():
                with self._changed:
                    self._changed.wait_for(lambda: self._ended, self._pace.poll)

    def _room(self) -> bool:
        """Wait until the next messages may be taken; False once it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or len(self._working) <= self._settings.threshold)
            return not self._ended

    def _took(self) -> bool:
        try:
            batch = list(
                self._client.receive_messages(
                    max_messages=self._settings.batch_size,
                    visibility_timeout=max(1, int(self._pace.visibility)),
                )
            )
        except (AzureError, OSError):  # no such queue, or storage is not well: it is asked again
            return False
        for message in batch:
            with self._changed:
                thread = threading.Thread(target=self._work, args=(message, self._epoch), daemon=True)
                self._working.add(thread)
            thread.start()
        return bool(batch)

    def _work(self, message: QueueMessage, epoch: int) -> None:
        try:
            self._process(message, epoch)
        finally:
            with self._changed:
                self._working.discard(threading.current_thread())
                self._changed.notify_all()

    def _process(self, message: QueueMessage, epoch: int) -> None:
        text = self._decoded(message.content)
        if text is None or (message.dequeue_count or 0) > self._settings.max_dequeue_count:
            self._move(message)
            return

        def renew() -> None:
            if self._epoch == epoch:
                self._show(message, self._pace.visibility)

        ok = self._run(["string", text], _metadata(message, text), self._pace.visibility / 2, renew)
        if self._epoch != epoch:
            return
        if ok:
            self._delete(message)
        elif self._poison is None:
            return  # it is left unseen, "to prevent a fast infinite loop"
        elif (message.dequeue_count or 0) >= self._settings.max_dequeue_count:
            self._move(message)
        else:
            after = self._pace.retry_after
            self._show(message, self._settings.retry_after if after is None else after)

    def _decoded(self, content: str) -> str | None:
        if self._settings.message_encoding == "none":
            return content
        try:
            return base64.b64decode(content, validate=True).decode()
        except ValueError:
            return None

    def _move(self, message: QueueMessage) -> None:
        if self._poison is not None:
            with suppress(ResourceExistsError):
                self._poison.create_queue()
            self._poison.send_message(message.content)
            self._delete(message)

    def _show(self, message: QueueMessage, seconds: float) -> None:
        """Let a message be seen in so many seconds; one that somebody else has by now is theirs."""
        with suppress(HttpResponseError):
            updated = self._client.update_message(message, visibility_timeout=round(seconds))
            message.pop_receipt = updated.pop_receipt

    def _delete(self, message: QueueMessage) -> None:
        with suppress(HttpResponseError):
            self._client.delete_message(message)


def _metadata(message: QueueMessage, text: str) -> dict[str, Any]:
    """Word what the host tells of a message besides its text."""
    times = {
        "InsertionTime": message.inserted_on,
        "ExpirationTime": message.expires_on,
        "NextVisibleTime": message.next_visible_on,
    }
    told: Iterable[tuple[str, Any]] = ((name, time.isoformat()) for name, time in times.items() if time)
    return {
        "QueueTrigger": ["string", text],
        "Id": ["string", message.id],
        "PopReceipt": ["string", message.pop_receipt],
        "DequeueCount": ["json", json.dumps(message.dequeue_count)],
        **{name: ["json", json.dumps(value)] for name, value in told},
    }
