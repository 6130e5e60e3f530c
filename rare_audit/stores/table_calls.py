"""The calls of azure-data-tables that the table makes, and what their errors mean to whoever runs the job."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any, Final

from azure.core import MatchConditions
from azure.core.credentials import TokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DeserializationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.data.tables import TableClient, TableEntity, UpdateMode

from rare_audit.bounded_http import BoundedTransport
from rare_audit.errors import RefusedError, ServiceError
from rare_audit.ports import ConflictError
from rare_audit.reporting.secrets import cause_of, error_line, unforeseen, without_secrets
from rare_audit.reporting.text import one_line
from rare_audit.stores.properties import Property

_PAGE: Final = 200
_TOLD: Final = 200
_ROLE: Final = "Storage Table Data Contributor"
# Of itself azure-core repeats no POST whose answer was lost. An insert may be: AzureTable knows its own row.
_REPEATED: Final[Mapping[str, Any]] = {"retry_on_methods": frozenset({"POST"})}
_INSERT: Final[Mapping[str, Any]] = {"response_preference": "return-no-content", **_REPEATED}
_THERE: Final = frozenset({"EntityAlreadyExists"})
_CHANGED: Final = frozenset(
    {"ConditionNotMet", "UpdateConditionNotSatisfied", "EntityNotFound", "ResourceNotFound", "TableNotFound"}
)
_NOISE: Final = re.compile(r"^.*Caused by |<?[\w.]*Connection(?: object at |\()[^>)]*[>)]: ")
_CODE: Final = re.compile(r'(?:"code":\s*"|<Code>)(\w+)')
_MESSAGE: Final = re.compile(r'(?:"value":\s*"|<Message>)([^"<\\\n]+)')
_REMEDIES: Final[Mapping[str, str]] = {
    "AuthorizationFailure": f"its firewall keeps the app out, or the identity lacks the role {_ROLE}",
    "AuthenticationFailed": "check the account key, the SAS's expiry, or that the identity is of the account's tenant",
    "KeyBasedAuthenticationNotPermitted": "it takes no keys; connect by identity, AzureWebJobsStorage__tableServiceUri",
    "TableBeingDeleted": "somebody is deleting it; try again in a minute",
    "AccountIsDisabled": "the storage account is disabled",
}


def by_connection_string(text: str, table: str, options: Mapping[str, Any]) -> "TableCalls":
    """Return the calls to a table by a connection string; ServiceError where it is none."""
    try:
        return TableCalls(TableClient.from_connection_string(text, table, **_bounded(options)))
    except ValueError as error:
        hint = "expected the one that the storage account shows under Access keys"
        raise ServiceError(f"the storage connection string can't be used: {told(error)}; {hint}") from error


def by_identity(url: str, credential: TokenCredential, table: str, options: Mapping[str, Any]) -> "TableCalls":
    """Return the calls to a table of the account at `url`, by tokens; ServiceError where that is no such URL."""
    try:
        return TableCalls(TableClient(url, table, credential=credential, **_bounded(options)))
    except ValueError as error:
        expected = "expected https://NAME.table.core.windows.net"
        raise ServiceError(f"the table service URL {told(url)} can't be used: {told(error)}; {expected}") from error


def _bounded(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a client's options, by which no request and no pause goes on without end, and no redirect is followed."""
    transport = BoundedTransport(
        connect=options["connection_timeout"],
        whole=options["read_timeout"],
        longest_pause=options["retry_backoff_max"],
    )
    return {**options, "permit_redirects": False, "transport": transport}


class TableCalls:
    """One table. Every error is a ServiceError that says what to do."""

    def __init__(self, client: TableClient) -> None:
        self._client = client
        # Without its query, which may be a SAS.
        self._name = f"the table {client.table_name} at {client.url.partition('?')[0]}"

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def read(self, partition: str, row: str) -> TableEntity | None:
        """Return a row, or None; none is there where the table is not."""
        with self._translated():
            try:
                return self._client.get_entity(partition, row)
            except ResourceNotFoundError:
                return None

    def insert(self, stored: Mapping[str, Property]) -> str:
        """Make a row and return its etag; ConflictError where it is there."""
        with self._translated(), _conflicting(stored, _THERE):
            return self._into_table(lambda: self._client.create_entity(stored, **_INSERT))

    def replace(self, stored: Mapping[str, Property], etag: str) -> str:
        """Write over the row that still has `etag` and return its new one; ConflictError where none has."""
        with self._translated(), _conflicting(stored, _CHANGED):
            written = self._client.update_entity(
                stored, UpdateMode.REPLACE, etag=etag, match_condition=MatchConditions.IfNotModified
            )
            return str(written["etag"])

    def upsert(self, stored: Mapping[str, Property]) -> str:
        """Write a row, whatever is there, and return its etag."""
        with self._translated():
            return self._into_table(lambda: self._client.upsert_entity(stored, UpdateMode.REPLACE))

    def remove(self, partition: str, row: str) -> None:
        """Remove a row, if it is there."""
        with self._translated():
            self._client.delete_entity(partition, row)

    def pages(self, partition: str, first: str, last: str) -> Iterator[TableEntity]:
        """Yield the rows of a partition from `first` to `last`, both included, in order."""
        found = self._client.query_entities(
            "PartitionKey eq @partition and RowKey ge @first and RowKey le @last",
            parameters={"partition": partition, "first": first, "last": last},
            results_per_page=_PAGE,
        )
        while True:
            with self._translated():
                try:
                    entity = next(found, None)
                except ResourceNotFoundError:
                    return
            if entity is None:
                return
            yield entity

    def _into_table(self, write: Callable[[], Mapping[str, Any]]) -> str:
        """Write, and make the table first where there is none: then alone can a write without etag meet a 404."""
        try:
            written = write()
        except ResourceNotFoundError:
            with suppress(ResourceExistsError):
                self._client.create_table(**_REPEATED)
            written = write()
        return str(written["etag"])

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ServiceError:
            raise
        except Exception as error:  # noqa: BLE001 - the libraries raise what an identity or a proxy makes them
            status = error.status_code if isinstance(error, HttpResponseError) else None
            if status is not None and 400 <= status < 500:
                raise RefusedError(self._explained(error), status) from cause_of(error)
            raise ServiceError(self._explained(error)) from cause_of(error)

    def _explained(self, error: Exception) -> str:
        if isinstance(error, HttpResponseError) and error.status_code:
            code = _code(error)
            answered = f"answered {error.status_code} {code}".rstrip()
            hint = _remedy(error.status_code, code) or told(_found(_MESSAGE, error) or error)
            return f"{self._name} {answered}: {hint}"
        if isinstance(error, ClientAuthenticationError):
            return f"no credentials for {self._name}: {told(error)}; check the account key, or the app's identity"
        if isinstance(error, ServiceRequestError):
            return f"{self._name} can't be reached: {told(error)}; check the account's name and the network"
        if isinstance(error, ServiceResponseError):
            return f"{self._name} did not answer, tried repeatedly: {told(error)}; try again later"
        if isinstance(error, AzureError | DeserializationError):
            return f"{self._name} gave an answer that is not the service's: {told(error)}; check its URL and any proxy"
        return f"{self._name} could not be asked: {unforeseen(error)}; check the app's identity, and any proxy"


@contextmanager
def _conflicting(stored: Mapping[str, Property], codes: frozenset[str]) -> Iterator[None]:
    """Raise ConflictError about a row where the service answers with one of its codes for that."""
    try:
        yield
    except HttpResponseError as error:
        if _code(error) not in codes:
            raise
        where = f"{stored['PartitionKey']!s} {stored['RowKey']!s}"
        raise ConflictError(f"the row {where} was changed by somebody else") from error


def _remedy(status: int, code: str) -> str:
    """Return what to do, "" where nobody knows. Source: the REST reference's lists of error codes."""
    if code in _REMEDIES:
        return _REMEDIES[code]
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return f"give the identity the role {_ROLE} on the storage account"
    if (
        status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
        or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    ):
        return "it is busy or out of order, and was tried repeatedly; try again later"
    return ""


def _code(error: HttpResponseError) -> str:
    """Return the service's own code for an error, "" where it told none."""
    # create_entity raises errors whose body nobody has read; the service may answer in XML where JSON was asked for.
    told = getattr(error, "error_code", None) or _found(_CODE, error)
    return one_line(str(getattr(told, "value", told)), _TOLD)


def _found(pattern: re.Pattern[str], error: HttpResponseError) -> str:
    found = pattern.search(error.response.text()) if error.response is not None else None
    return found[1] if found else ""


def told(error: object) -> str:
    """Return the first line of an error's text, without secrets and what only a debugger wants."""
    text = without_secrets(str(error)).strip().partition("\n")[0]
    return error_line(_NOISE.sub("", text), _TOLD)
