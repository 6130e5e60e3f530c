"""One query over the wire, and what its answers mean.

Behaviour of the service: https://learn.microsoft.com/azure/azure-monitor/logs/api/timeouts and
https://learn.microsoft.com/azure/azure-monitor/fundamentals/service-limits. The client library is imported when the
first connection is made.
"""

import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from rare_audit.errors import ServiceError, SettingsError
from rare_audit.places import logs_endpoint
from rare_audit.reporting.secrets import cause_of, error_line, unforeseen
from rare_audit.sources.log_analytics_query import Question

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.rest import HttpResponse
    from azure.monitor.query import LogsQueryClient

DEFAULT_ENDPOINT: Final = "https://api.loganalytics.io"
"""azure-monitor-query's own, which its token's audience follows; the newer api.loganalytics.azure.com is a setting."""
_PASSING: Final = frozenset({408, 429, 500, 502, 503})
NO_DATA: Final = b'{"tables":[],"status":204}'
"""Stands for the body of a 204, which has none: the workspace has no data yet.

Source: https://learn.microsoft.com/azure/azure-monitor/logs/api/timeouts.
"""
_TOO_LARGE: Final = frozenset({504})
_BLOCK: Final = 1 << 20
_REMEDY: Final = {
    400: "Log Analytics refused the query",
    401: "Log Analytics did not accept the identity's token; check the identity, its tenant and "
    "RARE_AUDIT_LOGS_ENDPOINT",
    403: "the identity may not read the workspace; give it the role Log Analytics Reader or Microsoft Sentinel Reader "
    "on the workspace (a new role takes up to an hour to count)",
    404: "Log Analytics knows no such workspace; set LOG_ANALYTICS_WORKSPACE_ID to the Workspace ID that its overview "
    "page shows",
}


class IncompleteAnswerError(ServiceError):
    """An answer that is not the whole result. Asked for less, the service may send all of it."""


class TokenRefusedError(ServiceError):
    """A token was not accepted, which may pass once, as where the service and the identity disagree for a moment."""


class _PassingError(Exception):
    """What may be over soon; `pause` is how many seconds the service asked for, None where it did not."""

    def __init__(self, what: str, pause: float | None = None) -> None:
        super().__init__(what)
        self.pause = pause


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long to wait for a query, in seconds.

    `budget` covers a query with all its repetitions, their answers to the last byte, and the pauses between them, which
    double from `first_pause` to `longest_pause`. `server` is what the service may take for one, at most 600; `silence`
    how much longer than that it may say nothing; `connect` how long until it is reached. `sleep` waits unless the event
    is set.
    """

    budget: float = 1800
    first_pause: float = 1
    longest_pause: float = 60
    server: int = 600
    silence: float = 30
    connect: float = 20
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[threading.Event, float], object] = threading.Event.wait

    def pause(self, tried: int, asked: float | None) -> float:
        """Return how long to wait after `tried + 1` attempts: what the service asked for, or twice the last, jittered.

        Jitter keeps queries that were turned away together from coming back together.
        """
        step = min(self.longest_pause, self.first_pause * 2.0 ** min(tried, 30))
        jitter = random.uniform(0, step / 2)  # noqa: S311 - spreads requests, no secret
        return step / 2 + jitter if asked is None else asked + jitter


class Workspace:
    """Where queries go. Connections share its credential, made with the first of them."""

    def __init__(
        self, workspace_id: str, credential: "Callable[[], TokenCredential]", endpoint: str, patience: Patience
    ) -> None:
        """Check the settings; raises SettingsError for a workspace id or an endpoint that can't be one."""
        self.origin = _checked_endpoint(endpoint)
        self.url = f"{self.origin}/v1/workspaces/{_checked_id(workspace_id)}/query"
        self.patience = patience
        self._make_credential = credential
        self._credential: TokenCredential | None = None

    def connect(self) -> "Connection":
        """Return a connection, which opens with its first query. Not to be called by two threads at once."""
        from azure.monitor.query import LogsQueryClient  # noqa: PLC0415 - costs a second, and few commands need it

        from rare_audit.bounded_http import BoundedTransport  # noqa: PLC0415 - imports azure

        if self._credential is None:
            self._credential = self._make_credential()
        # Repeating is left to `ask`: azure-core repeats no POST after 502, 429 without Retry-After or a read timeout,
        # repeats 504 as it is, and has neither jitter nor an eye on bodies that end early.
        client = LogsQueryClient(
            self._credential,
            endpoint=self.origin,
            retry_total=0,
            permit_redirects=False,
            transport=BoundedTransport(
                connect=self.patience.connect, whole=self.patience.budget, connection_data_block_size=_BLOCK
            ),
        )
        return Connection(client, self.url, self.patience)


class Connection:
    """A client for one thread, since azure-core's transport is not made for more."""

    def __init__(self, client: "LogsQueryClient", url: str, patience: Patience) -> None:
        """Take a client over; `close` closes it."""
        self._client = client
        self._url = url
        self._patience = patience

    def ask(self, question: Question, deadline: float, halt: threading.Event) -> bytearray:
        """Return the bytes of an answer, asking again for as long as the deadline (of patience's clock) allows.

        Raises IncompleteAnswerError where the answer is not whole, or nobody wants it any more as `halt` is set;
        ServiceError for everything that time does not heal, and once time is up.
        """
        tried, refused = 0, False
        while not halt.is_set():
            try:
                return self._attempt(question, deadline, halt)
            except TokenRefusedError:
                if refused:
                    raise
                refused, pause = True, self._patience.pause(tried, None)
            except _PassingError as error:
                pause = self._patience.pause(tried, error.pause)
                if self._patience.clock() + pause > deadline:
                    raise ServiceError(f"Log Analytics gave no answer after {tried + 1} attempts: {error}") from error
            self._patience.sleep(halt, pause)
            tried += 1
        raise IncompleteAnswerError("the answer is no longer wanted")

    def close(self) -> None:
        """Close the client and its connections."""
        self._client.close()

    def _attempt(self, question: Question, deadline: float, halt: threading.Event) -> bytearray:
        left = max(0.0, min(deadline - self._patience.clock(), self._patience.budget))
        with self._send(question, left) as response:
            if response.status_code == HTTPStatus.OK:
                return _whole_body(response, halt)
            if response.status_code == HTTPStatus.NO_CONTENT:
                return bytearray(NO_DATA)
            raise _refusal(response.status_code, response.headers, _reason(response))

    def _send(self, question: Question, whole: float) -> "HttpResponse":
        """Send a question whose answer has to be there, whole, within that many seconds."""
        from azure.core.exceptions import (  # noqa: PLC0415 - see connect
            AzureError,
            ClientAuthenticationError,
            ServiceRequestError,
            ServiceResponseError,
        )
        from azure.core.rest import HttpRequest  # noqa: PLC0415 - see connect

        patience = self._patience
        body = {"query": question.text, "timespan": question.timespan}
        request = HttpRequest("POST", self._url, json=body, headers={"Prefer": f"wait={patience.server}"})
        try:
            return self._client.send_request(
                request,
                stream=True,
                connection_timeout=patience.connect,
                read_timeout=patience.server + patience.silence,
                whole=whole,
            )
        except ClientAuthenticationError as error:
            said = error_line(str(error))
            raise ServiceError(f"the identity got no token for Log Analytics: {said}") from cause_of(error)
        except (ServiceRequestError, ServiceResponseError) as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise ServiceError(
                    f"{urlsplit(self._url).netloc} has a certificate this machine does not trust; "
                    "check RARE_AUDIT_LOGS_ENDPOINT, or name its authority in REQUESTS_CA_BUNDLE"
                ) from error
            raise _PassingError(f"the connection failed: {error_line(str(error))}") from cause_of(error)
        except AzureError as error:
            raise ServiceError(f"the query could not be sent: {error_line(str(error))}") from cause_of(error)
        except Exception as error:  # noqa: BLE001 - the libraries raise what an identity or a proxy makes them
            raise ServiceError(f"the query could not be sent: {unforeseen(error)}") from cause_of(error)


def told(error: Any) -> str:
    """Return what the service says of an error: the innermost message, which alone is about the cause."""
    message = ""
    while isinstance(error, dict):
        message = str(error.get("message") or message)
        inner = error.get("innererror")
        details = error.get("details")
        error = inner or (details[0] if isinstance(details, list) and details else None)
    return error_line(message) or "no reason given"


def _whole_body(response: "HttpResponse", halt: threading.Event) -> bytearray:
    from azure.core.exceptions import AzureError, ServiceResponseTimeoutError  # noqa: PLC0415 - see connect

    body = bytearray()
    try:
        for chunk in response.iter_bytes():
            if halt.is_set():
                raise IncompleteAnswerError("the answer is no longer wanted")
            body += chunk
    except ServiceResponseTimeoutError as error:
        raise _PassingError("the answer stopped arriving") from error
    except AzureError as error:
        raise IncompleteAnswerError(f"the answer ended early, after {len(body):,} bytes") from error
    return body


def _reason(response: "HttpResponse") -> str:
    """Return what the body of a refusal says; it is no loss where it can't be read, since the status says enough."""
    from azure.core.exceptions import AzureError  # noqa: PLC0415 - see connect

    with suppress(AzureError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = msgspec.json.decode(response.read())
        return told(body.get("error")) if isinstance(body, dict) else "no reason given"
    return "no reason given"


def _refusal(status: int, headers: Mapping[str, str], reason: str) -> Exception:
    what = f"{status}, {reason}"
    if status in _TOO_LARGE:
        return IncompleteAnswerError(f"the service answered {what}")
    if status in _PASSING:
        return _PassingError(f"the service answered {what}", _asked_pause(headers))
    kind = TokenRefusedError if status == HTTPStatus.UNAUTHORIZED else ServiceError
    return kind(f"{_REMEDY.get(status, 'Log Analytics refused')} ({what})")


def _asked_pause(headers: Mapping[str, str]) -> float | None:
    from azure.core.pipeline.policies import RetryPolicy  # noqa: PLC0415 - see connect

    try:
        return float(RetryPolicy().parse_retry_after(headers.get("Retry-After", "")))
    except ValueError:
        return None


def _checked_id(workspace_id: str) -> uuid.UUID:
    try:
        return uuid.UUID(workspace_id)
    except ValueError:
        raise SettingsError("LOG_ANALYTICS_WORKSPACE_ID: expected the workspace's GUID") from None


def _checked_endpoint(endpoint: str) -> str:
    try:
        return logs_endpoint(endpoint)
    except ValueError as error:
        raise SettingsError(f"RARE_AUDIT_LOGS_ENDPOINT: {error}, e.g. {DEFAULT_ENDPOINT}") from error
