"""The gate that requests to the stand-ins pass."""

import json
import threading
import time
from typing import Any, Final

from tests.azure.gate import DROPPED, Answer, Gate, Passing, answering, dropping, killing, waiting

_DONE: Final = "done"


def _ask(gate: Gate, service: str = "table", path: str = "/a") -> str | Answer:
    return gate.around(service, "GET", path, lambda: _DONE)


def test_counts() -> None:
    """Requests are numbered over all, and within their service; forgetting begins anew."""
    gate = Gate()
    for service in ("table", "arm", "table"):
        assert _ask(gate, service) == _DONE
    assert gate.passed == (
        Passing(1, 1, "table", "GET", "/a"),
        Passing(2, 1, "arm", "GET", "/a"),
        Passing(3, 2, "table", "GET", "/a"),
    )
    assert (gate.count(), gate.count("table"), gate.count("logs")) == (3, 2, 0)
    gate.forget()
    _ask(gate)
    assert gate.count() == 1


def test_at_a_request() -> None:
    """An action happens at the request it is for, once, before it is done or after."""
    gate, happened = Gate(), list[Any]()
    gate.at(2, happened.append)
    gate.at(2, lambda passing: happened.append("applied"), applied=True)
    gate.at(2, lambda passing: happened.append("arm"), service="arm")
    for service in ("arm", "table", "arm", "arm"):
        gate.around(service, "PUT", "/", lambda: happened.append(_DONE))
    told = [each if isinstance(each, str) else each.number for each in happened]
    assert told == [_DONE, 2, _DONE, "applied", "arm", _DONE, _DONE]


def test_upon_a_service() -> None:
    """An action happens at all requests of a service, or at as many as it is for."""
    gate = Gate()
    gate.upon(answering(503, "ServerBusy", Retry_After="1"), service="arm", times=2)
    answers = [_ask(gate, service) for service in ("arm", "table", "arm", "arm")]
    assert [answer == _DONE for answer in answers] == [False, True, False, True]
    assert isinstance(answers[0], Answer)
    assert (answers[0].status, answers[0].headers["Retry-After"]) == (503, "1")
    assert json.loads(answers[0].body)["error"]["code"] == "ServerBusy"
    gate.upon(dropping)
    assert (_ask(gate), _ask(gate)) == (DROPPED, DROPPED)


def test_killing() -> None:
    """Who is killed at a request hears no more, and the request is done only if it already was."""
    for applied in (False, True):
        gate, done = Gate(), list[str]()
        gate.at(1, killing(lambda: done.append("killed")), applied=applied)  # noqa: B023 - called at once
        assert gate.around("arm", "PUT", "/", lambda: done.append(_DONE)) == DROPPED  # noqa: B023 - likewise
        assert done == ([_DONE] if applied else []) + ["killed"]


def test_many_at_once() -> None:
    """Threads pass side by side: one that waits holds nobody up, and each number is given once."""
    gate = Gate()
    gate.at(1, waiting(0.3), service="logs")
    began = time.monotonic()
    late = threading.Thread(target=_ask, args=(gate, "logs"))
    late.start()
    threads = [threading.Thread(target=_ask, args=(gate,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert late.is_alive()
    late.join()
    assert time.monotonic() - began >= 0.3
    assert sorted(passing.number for passing in gate.passed) == list(range(1, 22))
    assert sorted(passing.nth for passing in gate.passed if passing.service == "table") == list(range(1, 21))
