"""The table in one SQLite file: for a laptop, and for tests."""

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from rare_audit.errors import ServiceError
from rare_audit.ports import ConflictError, Entity
from rare_audit.reporting.secrets import error_line
from rare_audit.stores.keys import check_key
from rare_audit.stores.sqlite_views import VIEWS

IN_MEMORY: Final = Path(":memory:")
"""As the path of a table: it is in memory, never on a disk, and gone once it is closed.

Source: https://www.sqlite.org/inmemorydb.html.
"""
PATIENCE: Final = 30.0
"""Seconds to wait for another process that is writing."""
_PAGE: Final = 200
_PAUSE: Final = 0.01
_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS entities(partition TEXT NOT NULL, row TEXT NOT NULL, etag TEXT NOT NULL, "
    "body BLOB NOT NULL, PRIMARY KEY (partition, row)) WITHOUT ROWID"
)
_INSERT: Final = "INSERT INTO entities(partition, row, etag, body) VALUES (:partition, :row, :etag, :body)"
_PUT: Final = f"{_INSERT} ON CONFLICT DO UPDATE SET etag = excluded.etag, body = excluded.body"
_CREATE: Final = f"{_INSERT} ON CONFLICT DO NOTHING"
_REPLACE: Final = (
    "UPDATE entities SET etag = :etag, body = :body WHERE partition = :partition AND row = :row AND etag = :expected"
)
_GET: Final = "SELECT partition, row, etag, body FROM entities WHERE partition = :partition AND row = :row"
_QUERY: Final = (
    "SELECT partition, row, etag, body FROM entities WHERE partition = :partition AND row >= :first AND row <= :last "
    "ORDER BY row LIMIT :page"
)
_DELETE: Final = "DELETE FROM entities WHERE partition = :partition AND row = :row"


class SqliteTable:
    """ports.Table in a SQLite file, which several processes and threads may use at once.

    Every write is one statement and so one transaction. It outlives the process that is killed right after it; a loss
    of power may take back the last ones, and never leaves half of one (https://www.sqlite.org/pragma.html,
    synchronous=NORMAL with a write-ahead log). The log lies beside the file while it is open: no network folders.
    """

    def __init__(self, path: Path, *, patience: float = PATIENCE) -> None:
        """Open the file, made with its folder if it isn't there.

        Waits up to `patience` seconds wherever another process has it locked. ServiceError where it is no database,
        or can't be opened.
        """
        self._path = path
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ServiceError(f"can't make the folder of {path}: {error.strerror}") from error
        try:
            self._connection = _connect(path, patience)
        except (sqlite3.Error, ValueError) as error:
            raise self._failed(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the table can't be used any more."""
        self._connection.close()

    def get(self, partition: str, row: str) -> Entity | None:
        """Return a row, or None."""
        found, _ = self._run(_GET, partition=check_key(partition), row=check_key(row))
        return _entity(found[0]) if found else None

    def put(self, entity: Entity, *, unless_changed: bool = False) -> Entity:
        """Write a whole row and return it with its new etag; `unless_changed` as ports.Table has it."""
        statement = _PUT
        if unless_changed:
            statement = _REPLACE if entity.etag else _CREATE
        # Not a count of versions: a row deleted and written anew must not have an etag it once had.
        etag = uuid.uuid4().hex
        _, written = self._run(
            statement,
            partition=check_key(entity.partition),
            row=check_key(entity.row),
            etag=etag,
            body=json.dumps(dict(entity.values), ensure_ascii=False).encode("utf-8", "surrogatepass"),
            expected=entity.etag,
        )
        if not written:
            raise ConflictError(f"the row {entity.partition} {entity.row} was changed by somebody else")
        return msgspec.structs.replace(entity, etag=etag)

    def query(self, partition: str, *, first: str = "", last: str = "\x7f") -> Iterator[Entity]:
        """Yield a partition's rows with `first <= row <= last`, in order of their keys.

        Read page by page, each after the last row of the one before, so that no statement stays open: rows may be
        written in between, and a row that is there all the time comes exactly once.
        """
        check_key(partition)
        while True:
            page, _ = self._run(_QUERY, partition=partition, first=first, last=last, page=_PAGE)
            yield from map(_entity, page)
            if len(page) < _PAGE:
                return
            first = page[-1][1] + "\0"  # the first text after that row's key

    def delete(self, partition: str, row: str) -> None:
        """Remove a row; one that is not there is no error."""
        self._run(_DELETE, partition=check_key(partition), row=check_key(row))

    def _run(self, statement: str, **values: Any) -> tuple[list[tuple[Any, ...]], int]:
        """Return the rows of a statement, and how many it wrote."""
        # The count of rows is the connection's, not the cursor's: another thread must not come in between.
        try:
            with self._lock, closing(self._connection.execute(statement, values)) as cursor:
                return cursor.fetchall(), cursor.rowcount
        except (sqlite3.Error, ValueError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> ServiceError:
        """Return an error about a file that can't be used, or is damaged so that even its messages are no text."""
        return ServiceError(f"the database {self._path} can't be used: {error_line(str(error))}")


def _connect(path: Path, patience: float) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        _log_ahead(connection, patience)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(_SCHEMA)
        _make_views(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make_views(connection: sqlite3.Connection) -> None:
    """Make the views that are not there, and those anew that another version made, all of them or none."""
    made = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'view'").fetchall())
    if VIEWS.items() <= made.items():
        return
    connection.execute("BEGIN IMMEDIATE")
    for name, statement in VIEWS.items():
        connection.execute(f"DROP VIEW IF EXISTS {name}")
        connection.execute(statement)
    connection.execute("COMMIT")


def _log_ahead(connection: sqlite3.Connection, patience: float) -> None:
    # Where processes open a new file at the same time, this statement can fail without SQLite's timeout (3.40.1).
    deadline = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return


def _entity(found: tuple[Any, ...]) -> Entity:
    partition, row, etag, body = found
    try:
        values = json.loads(body.decode("utf-8", "surrogatepass"))
    except (ValueError, AttributeError, RecursionError):
        values = None
    if not isinstance(values, dict):
        return Entity(partition, row, {}, str(etag), unreadable="holds no JSON object")
    return Entity(partition, row, values, str(etag))
