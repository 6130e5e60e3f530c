"""The custom table of findings, by the Logs Ingestion API: which rows to send, in what parts, and what is there then.

The API only ever adds rows, so a part whose answer was lost is there twice once it is sent again. Both have one id and
one revision, by which whoever reads the table takes them for one: infra/rules/findings-to-incidents.kql does.

Limits: https://learn.microsoft.com/azure/azure-monitor/service-limits#logs-ingestion-api.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec

from rare_audit.errors import RefusedError, ServiceError
from rare_audit.places import Ingestion
from rare_audit.ports import Clock, Uploaded
from rare_audit.reporting.finding_rows import STREAM, FindingRow
from rare_audit.reporting.secrets import cause_of, error_line, unforeseen
from rare_audit.sinks.patience import Patience, UnsettledError, again, reason, retry_after

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.pipeline.transport import HttpTransport
    from azure.core.rest import HttpRequest, HttpResponse
    from azure.monitor.ingestion import LogsIngestionClient, LogsUploadError

MOST_BYTES: Final = 1_000_000
"""Of a request, before it is compressed."""
_AUDIENCES: Final = {"us": "https://monitor.azure.us", "cn": "https://monitor.azure.cn"}
"""By the last part of the endpoint's name; the public cloud's is the client's own default."""
_PUBLIC: Final = "https://monitor.azure.com"
_DIGITS: Final = 12
MOST_REFUSED: Final = 10
"""Rows of a day that may be refused for what they hold; with more it is the data collection rule that takes none."""
Values = MutableMapping[str, Any]
Part = list[tuple[FindingRow, Values]]
"""Rows, each as it is sent."""


class _Memo(msgspec.Struct, frozen=True):
    """What is there of a day: by which rule it went, and the revision of each finding, both cut to 48 bits."""

    rule: str
    told: dict[str, str] = {}


class FindingsTable:
    """ports.FindingSink into the table RareAuditFindings_CL of a Log Analytics workspace."""

    def __init__(
        self,
        place: Ingestion,
        credential: Callable[[], "TokenCredential"],
        clock: Clock,
        *,
        patience: Patience | None = None,
        transport: "HttpTransport[HttpRequest, HttpResponse] | None" = None,
    ) -> None:
        """Take the `credential` to make when first used; nothing is asked of the service yet."""
        self.place = place
        self._credential = credential
        self._clock = clock
        self._patience = patience or Patience()
        self._transport = transport

    @property
    def scope(self) -> str:
        """What the identity's token is asked for."""
        cloud = (urlsplit(self.place.endpoint).hostname or "").rpartition(".")[2]
        return f"{_AUDIENCES.get(cloud, _PUBLIC)}/.default"

    def upload(self, rows: Sequence[FindingRow], memo: str) -> Iterator[Uploaded]:
        """Send those of a day's rows that are new or have another revision; yield what to record after each part.

        `memo` is what was last recorded of this day, "" for nothing; of another rule it says nothing about this one.
        A row that is not taken for what it holds is left out, where others are taken, and named; more than MOST_REFUSED
        of them are a fault of something else. Raises ServiceError: repeat it with the last memo.
        """
        told = dict(self._read(memo).told)
        due = [row for row in rows if told.get(_short(row.finding_id)) != _short(row.revision)]
        sent = f"{self._clock.now():%Y-%m-%dT%H:%M:%S.%f}Z"
        refused: dict[str, RefusedError] = {}
        for part in _parts(due, sent):
            for some, error in self._sent(part):
                if error is None:
                    told |= {_short(row.finding_id): _short(row.revision) for row, _ in some}
                    yield Uploaded(len(some), self._memo(told))
                    continue
                refused[some[0][0].finding_id] = error
                if len(refused) > MOST_REFUSED:
                    raise error
        if refused and not told:
            raise next(iter(refused.values()))
        if refused:
            yield Uploaded(0, self._memo(told), tuple(f"{id_}: {error}" for id_, error in refused.items()))

    def _memo(self, told: Mapping[str, str]) -> str:
        return msgspec.json.encode(_Memo(self.place.rule_id, dict(told))).decode()

    def _sent(self, part: Part) -> Iterator[tuple[Part, RefusedError | None]]:
        """Send rows and yield those that went, in as many requests as it takes, and each that is refused by itself."""
        try:
            again(partial(self._send, [values for _, values in part]), self._patience)
        except RefusedError as error:
            if not error.is_for_content:
                raise
            if len(part) == 1:
                yield part, error
                return
        else:
            yield part, None
            return
        middle = len(part) // 2
        yield from self._sent(part[:middle])
        yield from self._sent(part[middle:])

    def close(self) -> None:
        """Close the connections; the next upload opens new ones."""
        client = self.__dict__.pop("_client", None)
        if client is not None:
            client.close()

    def _read(self, memo: str) -> _Memo:
        if not memo:
            return _Memo(self.place.rule_id)
        try:
            found = msgspec.json.decode(memo, type=_Memo)
        except msgspec.DecodeError as error:
            raise ServiceError(f"what was kept of an earlier upload can't be read: {error}") from error
        return found if found.rule == self.place.rule_id else _Memo(self.place.rule_id)

    @cached_property
    def _client(self) -> "LogsIngestionClient":
        from azure.monitor.ingestion import LogsIngestionClient  # noqa: PLC0415 - azure is imported when first used

        from rare_audit.bounded_http import BoundedTransport  # noqa: PLC0415 - as above

        return LogsIngestionClient(
            self.place.endpoint,
            self._credential(),
            credential_scopes=[self.scope],
            retry_total=0,  # what is repeated, and for how long, is this project's choice
            permit_redirects=False,
            user_agent="rare-audit",
            transport=self._transport or BoundedTransport(connect=10, whole=60),
        )

    def _send(self, batch: list[Values]) -> None:
        """Send one part, once: it is small enough that the client makes one request of it."""
        from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError  # noqa: PLC0415

        try:
            self._client.upload(self.place.rule_id, STREAM, batch, on_error=_raised)
        except HttpResponseError as error:
            response: Any = error.response
            if response is not None and response.request.url.startswith(self.place.endpoint):
                raise self._answered(response) from error
            if isinstance(error, ClientAuthenticationError):
                raise RefusedError(f"no token for {self.scope}: {error_line(str(error))}") from cause_of(error)
            said = error_line(str(error))
            raise UnsettledError(f"{self.place.endpoint} gave no answer: {said}") from cause_of(error)
        except AzureError as error:
            said = error_line(str(error))
            raise UnsettledError(f"{self.place.endpoint} can't be reached: {said}") from cause_of(error)
        except Exception as error:  # noqa: BLE001 - the libraries raise what an identity or a proxy makes them
            raise UnsettledError(f"{self.place.endpoint} could not be asked: {unforeseen(error)}") from cause_of(error)

    def _answered(self, response: Any) -> ServiceError:
        """Return what an answer means that is no success."""
        status = response.status_code
        said = f"{self.place.rule_id} was answered {status} {reason(response.content)}"
        if status in (408, 429) or status >= 500:
            return UnsettledError(said, retry_after(response.headers.get("Retry-After", "")))
        return RefusedError(f"{self._advice(status)}{said}", status)

    def _advice(self, status: int) -> str:
        """Say what to do.

        Role: https://learn.microsoft.com/azure/azure-monitor/logs/tutorial-logs-ingestion-portal.
        """
        if status in (401, 403):
            return (
                f"the identity needs the role Monitoring Metrics Publisher on the data collection rule "
                f"{self.place.rule_id}, which takes up to half an hour to hold: "
            )
        if status == 404:
            return (
                f"RARE_AUDIT_INGESTION_RULE_ID, RARE_AUDIT_INGESTION_ENDPOINT: at {self.place.endpoint} there is no "
                "such data collection rule: "
            )
        if status == 400:
            return f"the data collection rule should have the stream {STREAM} with the columns of this version: "
        return ""


def _parts(rows: Iterable[FindingRow], sent: str) -> Iterator[Part]:
    """Yield rows in parts of at most MOST_BYTES, as the client writes them; a single row is always smaller."""
    part: Part = []
    room = MOST_BYTES - 2
    for row in rows:
        values: Values = {"TimeGenerated": sent, **row.values}
        size = len(json.dumps(values)) + 2
        if part and size > room:
            yield part
            part, room = [], MOST_BYTES - 2
        part.append((row, values))
        room -= size
    if part:
        yield part


def _raised(failed: "LogsUploadError") -> None:
    """Raise what went wrong: without a callback, the client logs an error even of what the next attempt mends."""
    raise failed.error


def _short(id_: str) -> str:
    return id_.replace("-", "")[:_DIGITS]
