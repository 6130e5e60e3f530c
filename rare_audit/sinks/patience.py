"""What clients of a service share: which failures may pass, how to repeat them, and what may be told of them."""

import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, TypeVar

import msgspec

from rare_audit.errors import ServiceError
from rare_audit.reporting.secrets import error_line

_LONGEST_WAIT: Final = 16.0

T = TypeVar("T")


class _Trouble(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""


class _Answer(msgspec.Struct, frozen=True):
    error: _Trouble = _Trouble()


class UnsettledError(ServiceError):
    """An attempt that may do better when repeated; `retry_after` is what the service asks to wait, in seconds."""

    def __init__(self, text: str, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Patience(msgspec.Struct, frozen=True):
    """How long to repeat what fails, in seconds, and how to wait and tell the time meanwhile."""

    seconds: float = 60.0
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


def again(attempt: Callable[[], T], patience: Patience) -> T:
    """Return what `attempt` returns, repeated while it raises UnsettledError and patience lasts.

    Waits at least as long as the service asks, growing and with jitter. Raises the last error.
    """
    until = patience.clock() + patience.seconds
    delay = 0.5
    while True:
        try:
            return attempt()
        except UnsettledError as error:
            jitter = random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, guards nothing
            wait = max(error.retry_after, delay * jitter)
            if patience.clock() + wait > until:
                raise
            patience.pause(wait)
            delay = min(2 * delay, _LONGEST_WAIT)


def reason(content: bytes) -> str:
    """Return what an answer's body says of an error, as Azure's services say it: code and message, without secrets."""
    try:
        trouble = msgspec.json.decode(content, type=_Answer).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "no reason given"
    return error_line(": ".join(filter(None, (trouble.code, trouble.message))))


def retry_after(text: str) -> float:
    """Return the seconds a Retry-After header asks for, as a number or a date; 0 for any other text (RFC 9110)."""
    if text.strip().isdecimal():
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return 0.0
    return max(0.0, (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
