"""The contract on both backends, and what only SQLite can get wrong."""

import sqlite3
import subprocess
import sys
import tempfile
import threading
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rare_audit.errors import ServiceError
from rare_audit.ports import ConflictError, Entity, Table
from rare_audit.stores.keys import check_key, key_of
from rare_audit.stores.sqlite import IN_MEMORY, SqliteTable, _log_ahead
from tests.fakes import MemoryTable
from tests.stores.table_contract import TableContract

_ROOT: Final = Path(__file__).parents[2]
_RACERS: Final = 4
_RACE: Final = """
import sys
from pathlib import Path
from rare_audit.ports import ConflictError, Entity
from rare_audit.stores.sqlite import SqliteTable
from tests.stores.table_contract import count_up

print("ready", flush=True)
sys.stdin.readline()
for number in range(20):
    SqliteTable(Path(f"{sys.argv[1]}{number}")).close()
won = []
with SqliteTable(Path(sys.argv[1])) as table:
    for row in range(50):
        try:
            table.put(Entity("p", f"{row}", {"by": sys.argv[2]}), unless_changed=True)
        except ConflictError:
            continue
        won.append(row)
    for _ in range(50):
        count_up(table)
print(*won)
"""
_WRITE_FOR_EVER: Final = """
import sys
from itertools import count
from pathlib import Path
from rare_audit.ports import Entity
from rare_audit.stores.sqlite import SqliteTable

table = SqliteTable(Path(sys.argv[1]))
for number in count():
    table.put(Entity("p", "r", {"n": number, "text": f"{number} " * 500}))
    print(number, flush=True)
"""


class TestTables(TableContract):
    """The contract on every backend of the fixture."""


def _python(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )


def test_racing_processes(tmp_path: Path) -> None:
    """Processes that open new files and write the same rows at once: each row has one winner, and no count is lost."""
    path = tmp_path / "table.db"
    racers = [_python(_RACE, str(path), str(racer)) for racer in range(_RACERS)]
    for racer in racers:
        assert racer.stdout
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    won = [list(map(int, racer.communicate(timeout=60)[0].split())) for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * _RACERS
    assert sorted(chain.from_iterable(won)) == list(range(50))
    for number in range(20):
        with closing(sqlite3.connect(f"{path}{number}")) as plain:
            assert plain.execute("SELECT count(*) FROM findings").fetchall() == [(0,)]
    with SqliteTable(path) as table:
        for winner, rows in enumerate(won):
            for row in rows:
                found = table.get("p", f"{row}")
                assert found is not None
                assert found.values == {"by": f"{winner}"}
        counter = table.get("p", "counter")
    assert counter is not None
    assert counter.values == {"n": 50 * _RACERS}


def test_killed_writer(tmp_path: Path) -> None:
    """What a killed process wrote is there, whole, and its lock is not."""
    path = tmp_path / "table.db"
    with _python(_WRITE_FOR_EVER, str(path)) as writer:
        assert writer.stdout
        told = [writer.stdout.readline() for _ in range(50)]
        writer.kill()
        told += writer.stdout.readlines()  # not communicate: it would miss what readline has buffered
    last = int(next(line for line in reversed(told) if line.endswith("\n")))
    with SqliteTable(path, patience=1) as table:
        found = table.get("p", "r")
        assert found is not None
        number = int(found.values["n"])
        assert number in (last, last + 1)
        assert found.values["text"] == f"{number} " * 500
        table.put(Entity("p", "r", {}))


def test_waits_for_a_lock(tmp_path: Path) -> None:
    """A file that somebody else has locked for a moment is waited for."""
    path = tmp_path / "table.db"
    with SqliteTable(path) as table:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        released = threading.Event()

        def release() -> None:
            released.set()
            other.execute("COMMIT")

        releasing = threading.Timer(0.2, release)
        releasing.start()
        table.put(Entity("p", "r", {}))
        assert released.is_set()
        releasing.join()
        other.close()


class _Busy(sqlite3.Connection):
    """A connection whose first statement meets a lock that SQLite does not wait for."""

    met = False

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        """Refuse the first time."""
        if self.met:
            return super().execute(*arguments)
        self.met = True
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error


@pytest.mark.parametrize("patience", [1, -1])
def test_lock_that_sqlite_does_not_wait_for(patience: float) -> None:
    """The one statement that SQLite's timeout leaves out is repeated, as long as there is patience."""
    with closing(sqlite3.connect(":memory:", factory=_Busy)) as connection:
        if patience > 0:
            _log_ahead(connection, patience)
        else:
            with pytest.raises(sqlite3.OperationalError, match="database is locked"):
                _log_ahead(connection, patience)


def test_lock_that_stays(tmp_path: Path) -> None:
    """A file that stays locked is an error that names it, to writers and to those who open it anew."""
    path = tmp_path / "table.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ServiceError, match=r"table\.db can't be used: database is locked"):
        SqliteTable(path, patience=0.05)
    other.execute("COMMIT")
    with SqliteTable(path, patience=0.05) as table:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ServiceError, match=r"table\.db can't be used: database is locked") as caught:
            table.put(Entity("p", "r", {}))
        assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
        assert table.get("p", "r") is None
    other.close()


@pytest.mark.parametrize("content", [b"not a database, but long enough to have a header" * 20, b"short"])
def test_not_a_database(tmp_path: Path, content: bytes) -> None:
    """A file that is something else is left alone, and said to be in one line."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(ServiceError, match=r"^the database \S+notes\.txt can't be used: file is not a database$"):
        SqliteTable(path)
    assert path.read_bytes() == content


def test_impossible_places(tmp_path: Path) -> None:
    """A folder in place of a file, a file in place of a folder: one error each."""
    (tmp_path / "file").touch()
    with pytest.raises(ServiceError, match="unable to open database file"):
        SqliteTable(tmp_path)
    with pytest.raises(ServiceError, match="can't make the folder"):
        SqliteTable(tmp_path / "file" / "table.db")


def test_reopening(tmp_path: Path) -> None:
    """Rows and etags outlive the table that wrote them; a closed table says so."""
    path = tmp_path / "table.db"
    with SqliteTable(path) as table:
        written = table.put(Entity("p", "r", {"n": 1}))
    with pytest.raises(ServiceError, match="closed"):
        table.get("p", "r")
    with SqliteTable(path) as again:
        assert again.get("p", "r") == written
        again.put(written, unless_changed=True)


def test_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table in memory is there for itself alone, and leaves no file behind."""
    monkeypatch.chdir(tmp_path)
    entity = Entity("p", "r", {"n": 1})
    with SqliteTable(IN_MEMORY) as table, SqliteTable(IN_MEMORY) as other:
        table.put(entity)
        assert table.get("p", "r") is not None
        assert other.get("p", "r") is None
        assert list(tmp_path.iterdir()) == []
    with SqliteTable(IN_MEMORY) as table:
        assert table.get("p", "r") is None


def test_keys_of_free_text() -> None:
    """Any text makes a key; other texts, or the same ones divided otherwise, make another."""
    texts = [
        ("a", "b"),
        ("ab",),
        ("a", "b", ""),
        ("b", "a"),
        ('a","b',),
        ("\ud83d\ude00",),
        ("😀",),
        ("/#?%'\\\n\0",),
        (),
    ]
    keys = [check_key(key_of(*parts)) for parts in texts]
    assert len(set(keys)) == len(texts)
    assert key_of("a", "b") == keys[0]


_KEYS: Final = st.sampled_from(["a", "b", "ab", "B"])
_TEXT: Final = st.text(st.characters(exclude_categories=()), max_size=5)
_VALUES: Final = st.dictionaries(
    st.sampled_from(["x", "y", "z"]), st.booleans() | st.integers(-(2**53), 2**53) | _TEXT, max_size=3
)
_STEPS: Final = st.lists(
    st.one_of(
        st.tuples(st.just("get"), _KEYS, _KEYS),
        st.tuples(st.just("put"), _KEYS, _KEYS, _VALUES),
        st.tuples(st.just("put if"), _KEYS, _KEYS, _VALUES, st.integers(0, 3)),
        st.tuples(st.just("query"), _KEYS, st.sampled_from(["", "a", "b"]), st.sampled_from(["a", "b", "\x7f"])),
        st.tuples(st.just("delete"), _KEYS, _KEYS),
    ),
    max_size=30,
)


class _Follower:
    """Does steps on a table and tells their outcome without etags: those it keeps, the latest last."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._etags = [""]

    def do(self, step: tuple[Any, ...]) -> Any:
        """Return what a step gave."""
        match step:
            case "get", partition, row:
                return self._told(self._table.get(partition, row))
            case "put", partition, row, values:
                return self._told(self._table.put(Entity(partition, row, values)))
            case "put if", partition, row, values, back:
                etag = self._etags[-1 - back] if back < len(self._etags) else ""
                try:
                    return self._told(self._table.put(Entity(partition, row, values, etag), unless_changed=True))
                except ConflictError:
                    return "conflict"
            case "query", partition, first, last:
                return [self._told(found) for found in self._table.query(partition, first=first, last=last)]
            case "delete", partition, row:
                return self._table.delete(partition, row)
        raise AssertionError(step)

    def _told(self, entity: Entity | None) -> Any:
        if entity is None:
            return None
        if entity.etag in self._etags:
            self._etags.remove(entity.etag)
        self._etags.append(entity.etag)
        return entity.partition, entity.row, [(name, type(value), value) for name, value in entity.values.items()]


@given(_STEPS)
@settings(max_examples=50, deadline=None)
def test_backends_agree(steps: list[tuple[Any, ...]]) -> None:
    """Whatever is done to both tables, they tell the same."""
    with tempfile.TemporaryDirectory() as folder, SqliteTable(Path(folder) / "table.db") as table:
        one, other = _Follower(table), _Follower(MemoryTable())
        for step in steps:
            assert one.do(step) == other.do(step)
