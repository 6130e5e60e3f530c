"""The table in Azure Table Storage: for the deployed job. Nothing of Azure is imported before the first call."""

import re
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec

from rare_audit.ports import ConflictError, Entity
from rare_audit.stores.keys import LONGEST, check_key
from rare_audit.stores.properties import MARK, UnpackError, decode, encode

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

    from rare_audit.stores.table_calls import TableCalls

TABLE: Final = "RareAudit"
PATIENCE: Final[Mapping[str, float]] = {
    "retry_total": 6,
    "retry_connect": 6,
    "retry_read": 6,
    "retry_status": 6,
    "retry_backoff_factor": 0.5,
    "retry_backoff_max": 15,
    "connection_timeout": 10,
    "read_timeout": 30,
    "timeout": 120,
}
"""How long a call is tried, in azure-core's words: pauses of 0, 1, 2, 4, 8 and 15 seconds, two minutes in all.

Storage moves an overloaded partition within some ten seconds; the job's lease lasts five minutes, and no call may
outlive it. `read_timeout` is for an answer as a whole, and no Retry-After is waited for longer than a pause.
"""
_NAME: Final = re.compile("[A-Za-z][A-Za-z0-9]{2,62}")


class AzureTable:
    """ports.Table in one table of a storage account, made when the first row is written; threads may share it.

    A write whose answer was lost is tried again. If it then meets its own first try, that is no conflict: each write
    leaves a mark of its own in the row. Only where a third writer came between the two is it told as one.
    """

    def __init__(self, connect: "Callable[[], TableCalls]") -> None:
        """Keep `connect` for the first call; by_connection_string and by_identity make it."""
        self._connect = connect
        self._lock = threading.Lock()
        self._connected: TableCalls | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close what was opened; another call opens it again."""
        with self._lock:
            if self._connected:
                self._connected.close()
            self._connected = None

    def get(self, partition: str, row: str) -> Entity | None:
        """Return a row, or None. ServiceError where the service can't be used."""
        found = self._calls().read(check_key(partition), check_key(row))
        return _entity(found) if found is not None else None

    def put(self, entity: Entity, *, unless_changed: bool = False) -> Entity:
        """Write a whole row and return it with its new etag; `unless_changed` as ports.Table has it.

        RefusedError where the row is larger than the service keeps (1 MiB, packed), or refused for what it holds.
        """
        check_key(entity.partition)
        check_key(entity.row)
        mark = uuid.uuid4().hex
        stored = encode(entity, mark)
        calls = self._calls()
        if not unless_changed:
            return msgspec.structs.replace(entity, etag=calls.upsert(stored))
        try:
            etag = calls.replace(stored, entity.etag) if entity.etag else calls.insert(stored)
        except ConflictError:
            found = calls.read(entity.partition, entity.row)
            if found is None or found.get(MARK) != mark:
                raise
            etag = str(found.metadata["etag"])
        return msgspec.structs.replace(entity, etag=etag)

    def query(self, partition: str, *, first: str = "", last: str = "\x7f") -> Iterator[Entity]:
        """Yield a partition's rows with `first <= row <= last`, in order of their keys.

        Read page by page from where the last one ended: rows may be written in between, and a row that is there all
        the time comes exactly once. Source: "Query timeout and pagination" of the Table service's REST reference.
        """
        check_key(partition)
        for found in self._calls().pages(partition, _key_part(first), _last_key(last)):
            if first <= found["RowKey"] <= last:
                yield _entity(found)

    def delete(self, partition: str, row: str) -> None:
        """Remove a row; one that is not there is no error."""
        self._calls().remove(check_key(partition), check_key(row))

    def _calls(self) -> "TableCalls":
        with self._lock:
            if self._connected is None:
                self._connected = self._connect()
            return self._connected


def by_connection_string(text: str, table: str = TABLE, patience: Mapping[str, float] = PATIENCE) -> AzureTable:
    """Return the table of the account that a storage connection string names, reached by its key or SAS.

    What is wrong with the string is told by the first call, as ServiceError. ValueError where `table` is no name.
    """
    name = _checked(table)

    def connect() -> "TableCalls":
        from rare_audit.stores import table_calls  # noqa: PLC0415 - imports azure, which start-up must not

        return table_calls.by_connection_string(text, name, patience)

    return AzureTable(connect)


def by_identity(
    account_url: str,
    credential: "Callable[[], TokenCredential]",
    table: str = TABLE,
    patience: Mapping[str, float] = PATIENCE,
) -> AzureTable:
    """Return the table of the account at `account_url` (https://NAME.table.core.windows.net), reached by a token.

    `credential` is called at the first call, which tells what is wrong with the URL too. ValueError where `table` is no
    name.
    """
    name = _checked(table)

    def connect() -> "TableCalls":
        from rare_audit.stores import table_calls  # noqa: PLC0415 - imports azure, which start-up must not

        return table_calls.by_identity(account_url, credential(), name, patience)

    return AzureTable(connect)


def _checked(table: str) -> str:
    """Return a table's name if it is one (3 to 63 letters and digits); what the client's own check misses."""
    if not _NAME.fullmatch(table):
        raise ValueError(f"not a table's name: {table[:80]!r}; expected 3 to 63 letters and digits, a letter first")
    return table


def _entity(found: Any) -> Entity:
    partition, row = found["PartitionKey"], found["RowKey"]
    etag = str(found.metadata["etag"])
    try:
        return Entity(partition, row, decode(found), etag)
    except UnpackError as error:
        return Entity(partition, row, {}, etag, unreadable=str(error))


def _key_part(bound: str) -> str:
    """Return the longest start of a bound that could be a key's: what the service may be asked for."""
    for at, letter in enumerate(bound):
        if not " " <= letter <= "~":
            return bound[:at]
    return bound


def _last_key(bound: str) -> str:
    """Return a key that no key up to `bound` is greater than."""
    part = _key_part(bound)
    return part if part == bound else part.ljust(LONGEST, "~")
