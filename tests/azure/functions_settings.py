"""host.json, read for real: what of it the stand-in for the Functions host obeys.

https://learn.microsoft.com/azure/azure-functions/functions-host-json and …/functions-bindings-storage-queue. Where it
says nothing, the defaults are those of the Flex Consumption plan on one core.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec

_SPAN: Final = re.compile(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,7}))?")
_SETTING: Final = re.compile("%([^%]+)%")


class HostError(Exception):
    """What keeps the host from starting."""


class Queues(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How queues are read. `new_batch_threshold` is half of the batch's size unless it is set."""

    batch_size: Annotated[int, msgspec.Meta(ge=1, le=32)] = 16
    new_batch_threshold: Annotated[int, msgspec.Meta(ge=0)] | None = None
    visibility_timeout: str = "00:00:00"
    max_dequeue_count: Annotated[int, msgspec.Meta(ge=1)] = 5
    message_encoding: Literal["base64", "none"] = "base64"

    @property
    def threshold(self) -> int:
        """How many messages may be worked on when the next ones are taken."""
        return self.batch_size // 2 if self.new_batch_threshold is None else self.new_batch_threshold

    @property
    def retry_after(self) -> float:
        """How many seconds a message whose function failed is not seen."""
        return seconds(self.visibility_timeout)


class Http(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where routes begin."""

    route_prefix: str = "api"


class _Extensions(msgspec.Struct, frozen=True):
    queues: Queues = Queues()
    http: Http = Http()


class HostJson(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The file."""

    version: Literal["2.0"]
    function_timeout: str = "00:30:00"
    extensions: _Extensions = _Extensions()

    @property
    def timeout(self) -> float | None:
        """How many seconds a function may take; None where it may take any."""
        return None if self.function_timeout == "-1" else seconds(self.function_timeout)


def read_host_json(app: Path) -> HostJson:
    """Read the file of an app. Raises HostError where the host would not start on it."""
    try:
        read = msgspec.json.decode((app / "host.json").read_bytes(), type=HostJson)
        _ = read.timeout, read.extensions.queues.retry_after
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise HostError(f"host.json: {error}") from error
    return read


def seconds(span: str) -> float:
    """Read a time span as .NET writes it, `[d.]hh:mm:ss[.fffffff]`. Raises ValueError."""
    found = _SPAN.fullmatch(span)
    if found is None or int(found[2]) > 23 or int(found[3]) > 59 or int(found[4]) > 59:
        raise ValueError(f"{span!r} is no time span")
    whole = int(found[1] or 0) * 86400 + int(found[2]) * 3600 + int(found[3]) * 60 + int(found[4])
    return whole + float(f"0.{found[5] or 0}")


def resolved(text: str, settings: Mapping[str, str]) -> str:
    """Put settings in the place of their %NAMES%. Raises HostError for one that is not set."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in settings:
            raise HostError(f"'%{found[1]}%' does not resolve to a value")
        return settings[found[1]]

    return _SETTING.sub(value, text)
