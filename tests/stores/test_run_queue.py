"""The queue of runs in the real emulator, by key and by token."""

import base64
import json
import subprocess
import sys
import traceback
import uuid
from collections.abc import Iterator
from typing import Final

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.storage.queue import QueueClient

from rare_audit.errors import ServiceError
from rare_audit.stores.run_queue import PATIENCE, QUEUE, by_connection_string, by_identity
from tests.azure.azurite import KEY, Azurite, TokenInHand, token
from tests.terminal import ROOT

AT_ONCE: Final = {**PATIENCE, "retry_total": 0}
SECRET: Final = base64.b64encode(b"a secret key").decode()


@pytest.fixture
def queue(azurite: Azurite) -> Iterator[QueueClient]:
    """Give a client of the queue, which is not there at first nor at last."""
    with QueueClient.from_connection_string(azurite.connection_string, QUEUE) as client:
        _drop(client)
        yield client
        _drop(client)


def _drop(client: QueueClient) -> None:
    try:
        client.delete_queue()
    except Exception as error:
        if getattr(error, "status_code", 0) != 404:
            raise


def _messages(client: QueueClient) -> list[str]:
    return [base64.b64decode(message.content).decode() for message in client.receive_messages()]


def test_sent_as_the_host_reads_it(azurite: Azurite, queue: QueueClient) -> None:
    """The queue is made with the first message; content is JSON in base64, and lasts until it is taken."""
    run_id = uuid.uuid4().hex
    by_connection_string(azurite.connection_string).send(run_id)
    by_connection_string(azurite.connection_string).send(run_id)
    assert [json.loads(text) for text in _messages(queue)] == [{"run": run_id}] * 2


def test_delay(azurite: Azurite, queue: QueueClient) -> None:
    """A message with a delay is not seen yet."""
    by_connection_string(azurite.connection_string).send("run", 60)
    assert _messages(queue) == []
    assert queue.get_queue_properties().approximate_message_count == 1


def test_by_identity(secure_azurite: Azurite) -> None:
    """The same by a token, over TLS."""
    by_identity(secure_azurite.queue, lambda: TokenInHand(token())).send("run")
    with QueueClient(secure_azurite.queue, QUEUE, credential=TokenInHand(token())) as client:
        assert [json.loads(text) for text in _messages(client)] == [{"run": "run"}]


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "",
        f"DefaultEndpointsProtocol=http;AccountName=a;AccountKey={SECRET};QueueEndpoint=http://127.0.0.1:9/a;",
    ],
    ids=["no connection string", "empty", "nobody there"],
)
def test_what_can_not_be_sent(text: str) -> None:
    """It is told as an error that names the queue and the role, without the key."""
    with pytest.raises(ServiceError, match=f"no message could be sent to the queue {QUEUE}") as raised:
        by_connection_string(text, AT_ONCE).send("run")
    assert "Storage Queue Data Contributor" in str(raised.value)
    assert SECRET not in "".join(traceback.format_exception(raised.value))


def test_wrong_key(azurite: Azurite) -> None:
    """A key that is not the account's is refused, and not told."""
    wrong = azurite.connection_string.replace(KEY, SECRET)
    with pytest.raises(ServiceError) as raised:
        by_connection_string(wrong, AT_ONCE).send("run")
    assert SECRET not in str(raised.value)


def test_no_token(secure_azurite: Azurite) -> None:
    """An identity that gets no token is told as such."""

    class Refused:
        """A credential that has none."""

        def get_token(self, *scopes: str, **options: object) -> None:
            """Refuse."""
            raise ClientAuthenticationError("no identity here; Bearer eyJhbGciOi.secret.sig")

    with pytest.raises(ServiceError, match="no identity here") as raised:
        by_identity(secure_azurite.queue, Refused, AT_ONCE).send("run")  # type: ignore[arg-type]  # it never returns a token
    assert "secret" not in str(raised.value)


def test_import_loads_nothing_of_azure() -> None:
    """Start-up counts: the client is loaded with the first message."""
    code = "import sys; import rare_audit.stores.run_queue; print([n for n in sys.modules if n.startswith('azure')])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ended.stdout.strip() == "[]"
