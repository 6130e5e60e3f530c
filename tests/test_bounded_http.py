"""Requests that a server would keep waiting: they end in time, whatever it does."""

import time
from typing import Any, Final

import pytest
from azure.core import PipelineClient
from azure.core.exceptions import AzureError
from azure.core.pipeline.policies import RetryPolicy
from azure.core.rest import HttpRequest

from rare_audit.bounded_http import BoundedTransport
from tests.azure.dripping import dripping

HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n"


def _ask(url: str, seconds: float = 0.4, **options: Any) -> bytes:
    transport = BoundedTransport(connect=1, whole=seconds)
    client: Any  # its types are those of the policies, of which there are none
    with PipelineClient(url, policies=[], transport=transport) as client:
        answer = client.send_request(HttpRequest("GET", url), **options)
        return b"".join(answer.iter_bytes()) if options.get("stream") else answer.content


@pytest.mark.parametrize(
    ("parts", "drip"),
    [
        ((), b""),
        ((), b"H"),
        ((b"HTTP/1.1 200 OK\r\n",), b"X: y\r\n"),
        ((HEAD, b"\r\n"), b"x"),
        ((b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",), b"1\r\nx\r\n"),
    ],
    ids=["silence", "status line", "headers", "body", "chunks"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_no_answer_takes_for_ever(parts: tuple[bytes, ...], drip: bytes, *, stream: bool) -> None:
    """However the bytes come, a request ends with azure-core's error once its time is over."""
    began = time.monotonic()
    with dripping(*parts, drip=drip) as url, pytest.raises(AzureError):
        _ask(url, stream=stream)
    assert time.monotonic() - began < 3


def test_time_of_one_request() -> None:
    """A request may be given another time than the transport has for all."""
    began = time.monotonic()
    with dripping(HEAD, b"\r\n", drip=b"x") as url, pytest.raises(AzureError):
        _ask(url, 60, stream=True, whole=0.3)
    assert time.monotonic() - began < 3


def test_answer_in_time() -> None:
    """What comes in time is read whole, over one connection after the other."""
    body = b"x" * 100_000
    with dripping(HEAD, b"\r\n", body[:70_000], body[70_000:], close=True) as url:
        for stream in (False, True):
            assert _ask(url, 10, stream=stream) == body


def test_retry_after_is_no_order() -> None:
    """A service that asks for an hour's pause gets a short one, and the call ends after its tries."""
    busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 3600\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    began = time.monotonic()
    with dripping(busy, close=True) as url:
        transport = BoundedTransport(connect=1, whole=5, longest_pause=0.1)
        client: Any  # its types are those of the policies, of which there are none
        with PipelineClient(url, policies=[RetryPolicy(retry_total=3)], transport=transport) as client:
            assert client.send_request(HttpRequest("GET", url)).status_code == 503
    assert 0.3 <= time.monotonic() - began < 5
