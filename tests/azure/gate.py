"""The one gate that every request to a stand-in passes twice: as it arrives, and when it is done but not yet answered.

There a test counts, and lets things happen: a process is killed, an answer is another one, or is lost, or is late.
"""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Passing:
    """A request at the gate. `number` counts all of them from 1, `nth` those of its service."""

    number: int
    nth: int
    service: str
    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back. Status 0 sends nothing and drops the connection."""

    status: int = 0
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Action = Callable[[Passing], Answer | None]
"""What happens at the gate. An Answer is sent in place of the service's own, which then is not even asked for one."""
DROPPED: Final = Answer()


@dataclass(slots=True)
class _Rule:
    action: Action
    applied: bool
    service: str
    number: int | None
    left: int | None

    def concerns(self, passing: Passing, *, applied: bool) -> bool:
        """Tell whether the rule is for this moment, and take it as used if so."""
        if self.applied != applied or (self.service and self.service != passing.service) or self.left == 0:
            return False
        if self.number is not None and self.number != (passing.nth if self.service else passing.number):
            return False
        if self.left is not None:
            self.left -= 1
        return True


class Gate:
    """Counts requests and lets things happen at them; any number of threads may pass at once.

    Services are `identity`, `logs`, `arm`, `ingestion`, and `blob`, `queue` and `table` of the storage account.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._passed: list[Passing] = []
        self._rules: list[_Rule] = []

    @property
    def passed(self) -> tuple[Passing, ...]:
        """What came since the last `forget`."""
        with self._lock:
            return tuple(self._passed)

    def count(self, service: str = "") -> int:
        """Return how many requests came, to one service or to all."""
        return sum(not service or passing.service == service for passing in self.passed)

    def forget(self) -> None:
        """Count from 1 again, and let nothing happen any more."""
        with self._lock:
            self._passed.clear()
            self._rules.clear()

    def at(self, number: int, action: Action, *, service: str = "", applied: bool = False) -> None:
        """Let an action happen once, at the n-th request (of a service): before it is done or, `applied`, after."""
        self._add(_Rule(action, applied, service, number, 1))

    def upon(self, action: Action, *, service: str = "", times: int | None = None, applied: bool = False) -> None:
        """Let an action happen at every request, or at the next `times`, of a service or of all."""
        self._add(_Rule(action, applied, service, None, times))

    def around(self, service: str, method: str, path: str, handle: Callable[[], T]) -> T | Answer:
        """Take a request through: return what `handle` returns, or what an action answers in its place."""
        with self._lock:
            nth = 1 + sum(passing.service == service for passing in self._passed)
            passing = Passing(len(self._passed) + 1, nth, service, method, path)
            self._passed.append(passing)
        instead = self._happens(passing, applied=False)
        if instead is not None:
            return instead
        answer = handle()
        instead = self._happens(passing, applied=True)
        return answer if instead is None else instead

    def _add(self, rule: _Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    def _happens(self, passing: Passing, *, applied: bool) -> Answer | None:
        with self._lock:
            due = [rule.action for rule in self._rules if rule.concerns(passing, applied=applied)]
        for action in due:  # without the lock: an action may take its time, or look at the gate
            if (instead := action(passing)) is not None:
                return instead
        return None


def killing(kill: Callable[[], object]) -> Action:
    """Kill who asks, who therefore hears nothing more; the request is not done unless it already was."""

    def action(passing: Passing) -> Answer:
        kill()
        return DROPPED

    return action


def dropping(passing: Passing) -> Answer:
    """Close the connection without an answer."""
    return DROPPED


def waiting(seconds: float) -> Action:
    """Let the request, or its answer, be late."""
    return lambda passing: time.sleep(seconds)


def answering(status: int, code: str = "", **headers: str) -> Action:
    """Answer with an error, worded so that every service's client finds its code; `Retry_After="1"` is a header."""
    told = code or f"Status{status}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {
        "error": {"code": told, "message": f"{told}, as the test wants it"},
        "odata.error": {"code": told, "message": {"lang": "en-US", "value": f"{told}, as the test wants it"}},
    }
    answer = Answer(
        status, json.dumps(body).encode(), {"Content-Type": "application/json", "x-ms-error-code": told, **named}
    )
    return lambda passing: answer
