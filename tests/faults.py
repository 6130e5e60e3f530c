"""Trouble at any call to any port: what the job must survive, one call after the other."""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, TypeVar, cast

from rare_audit.errors import ServiceError
from tests.fakes import Killed

Port = TypeVar("Port")
Answer = TypeVar("Answer")


class Trouble(StrEnum):
    """What a call can come to."""

    KILLED = "the process dies, so that this call and all after it never happen"
    REFUSED = "this one call fails and has done nothing"
    UNANSWERED = "this one call fails, yet it has done what it was asked"
    OUTAGE = "this call and all after it fail and have done nothing"


class Faults:
    """Counts calls to all ports together, and makes trouble at the n-th (from 1; 0 for never)."""

    def __init__(self, at: int = 0, trouble: Trouble = Trouble.KILLED) -> None:
        self.calls = 0
        self.names: list[str] = []
        self._at = at
        self._trouble = trouble

    def through(self, name: str, call: Callable[[], Answer]) -> Answer:
        """Make a call, if it may be made, and return its answer."""
        self.calls += 1
        self.names.append(name)
        lasting = self._trouble in {Trouble.KILLED, Trouble.OUTAGE}
        if not self._at or not (self.calls == self._at or (lasting and self.calls > self._at)):
            return call()
        if self._trouble is Trouble.KILLED:
            raise Killed
        if self._trouble is Trouble.UNANSWERED:
            call()
        raise ServiceError(f"call {self.calls}, {name}: no answer")

    def steps(self, name: str, answers: Iterator[Answer]) -> Iterator[Answer]:
        """Hand on an iterator's values; each one asked for, and the end, is a call."""
        end = object()
        while True:
            answer = self.through(name, lambda: next(answers, end))
            if answer is end:
                return
            yield cast("Answer", answer)


class FailingPort:
    """Stands before a port of any kind; every method, and every step of what it yields, is a call; values are none."""

    def __init__(self, port: object, faults: Faults) -> None:
        self._port = port
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._port, name)
        if not callable(method):
            return method
        told = f"{type(self._port).__name__}.{name}"

        def call(*args: Any, **kwargs: Any) -> Any:
            answer = self._faults.through(told, lambda: method(*args, **kwargs))
            return self._faults.steps(f"{told} step", answer) if isinstance(answer, Iterator) else answer

        return call


def failing(port: Port, faults: Faults) -> Port:
    """Return a port that meets trouble."""
    return cast("Port", FailingPort(port, faults))
