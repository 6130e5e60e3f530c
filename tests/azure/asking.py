"""HTTP as a person with curl does it."""

import json
import time
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from tests.azure.local_stack import Stack

PATIENCE = 60.0


class Reply(NamedTuple):
    """What came back; the names of headers are in lower case. `told` is the body as JSON, None where it is empty."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def told(self) -> Any:
        """The body."""
        return json.loads(self.body) if self.body else None


def ask(stack: Stack, method: str, path: str, body: Any = None, *, key: str | None = None) -> Reply:
    """Ask the app; with its function key where no other is given."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    headers = {"x-functions-key": stack.host.keys.function if key is None else key}
    request = Request(f"{stack.host.url}{path}", data, headers, method=method)  # noqa: S310 - loopback
    try:
        with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - likewise
            return _reply(answer.status, answer)
    except HTTPError as error:
        with error:
            return _reply(error.code, error)


def _reply(status: int, answer: Any) -> Reply:
    return Reply(status, {name.lower(): value for name, value in answer.headers.items()}, answer.read())


def done(stack: Stack, run_id: str) -> dict[str, Any]:
    """Ask for a run until it has ended; return it."""
    until = time.monotonic() + PATIENCE
    while True:
        reply = ask(stack, "GET", f"/api/runs/{run_id}")  # 500 without a body while a killed worker is replaced
        if (reply.status == 200 and reply.told["ended"]) or time.monotonic() > until:
            run: dict[str, Any] = reply.told
            return run
        time.sleep(0.05)


def posted(stack: Stack, **body: Any) -> dict[str, Any]:
    """Have a run done; return it as it ended."""
    reply = ask(stack, "POST", "/api/runs", body)
    assert reply.status == 202, reply
    return done(stack, reply.told["id"])
