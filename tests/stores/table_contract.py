"""What ports.Table promises, as tests for every backend: subclass it where a fixture `table` gives an empty one."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from rare_audit.ports import ConflictError, Entity, Table, Value

TEXTS: Final = {
    "empty": "",
    "long": "0123456789" * 30_000,
    "long and wide": "é😀" * 20_000,
    "unicode": "Zoë · 東京 · 😀 · \u202egnp.exe",
    "controls": "".join(map(chr, range(32))) + "\x7f\x80\x9f\u2028",
    "quotes": "'\"\\/#?% <b> {}",
    "blanks": "  \n",
    "lone surrogates": "a\ud800b\udfff",
    "surrogates side by side": "\ud83d\ude00",
}
BAD_KEYS: Final = [*(f"a{letter}b" for letter in "/\\#?%'\n\0\x7f\x9fé😀\ud800"), "", "a" * 257, "a\n"]
RACERS: Final = 8


def entity(row: str, etag: str = "", **values: Value) -> Entity:
    """Return a row of the partition the tests are about."""
    return Entity("p", row, values, etag)


class TableContract:
    """Tests of one table."""

    def test_missing_row(self, table: Table) -> None:
        """A row that is not there is None."""
        assert table.get("p", "r") is None

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
    def test_text_survives(self, table: Table, text: str) -> None:
        """Any text comes back letter for letter, by get and by query."""
        written = table.put(entity("r", text=text))
        assert written.values == {"text": text}
        assert table.get("p", "r") == written
        assert list(table.query("p")) == [written]

    @pytest.mark.parametrize("number", [0, 1, -1, 2**31 - 1, 2**31, -(2**31) - 1, 2**53, -(2**53)])
    def test_number_survives(self, table: Table, number: int) -> None:
        """Whole numbers come back exactly, and as numbers."""
        table.put(entity("r", number=number))
        found = table.get("p", "r")
        assert found is not None
        assert found.values == {"number": number}
        assert type(found.values["number"]) is int

    def test_bool_stays_bool(self, table: Table) -> None:
        """True is not 1, nor the other way round."""
        table.put(entity("r", yes=True, no=False, one=1, nought=0))
        found = table.get("p", "r")
        assert found is not None
        assert [found.values[name] for name in ("yes", "no", "one", "nought")] == [True, False, 1, 0]
        assert {name: type(value) for name, value in found.values.items()} == {
            "yes": bool,
            "no": bool,
            "one": int,
            "nought": int,
        }

    def test_row_without_values(self, table: Table) -> None:
        """A row may say all by being there."""
        table.put(entity("r"))
        found = table.get("p", "r")
        assert found is not None
        assert found.values == {}

    def test_put_replaces(self, table: Table) -> None:
        """A row written again has none of its old values."""
        table.put(entity("r", old=1, both="a"))
        table.put(entity("r", both="b"))
        found = table.get("p", "r")
        assert found is not None
        assert found.values == {"both": "b"}

    def test_unconditional_put_ignores_etags(self, table: Table) -> None:
        """Without unless_changed an etag in hand does not matter."""
        table.put(entity("r", etag="stale", n=1))
        table.put(entity("r", etag="stale", n=2))
        found = table.get("p", "r")
        assert found is not None
        assert found.values == {"n": 2}

    def test_insert_only(self, table: Table) -> None:
        """Without an etag a conditional put only makes a row."""
        first = table.put(entity("r", n=1), unless_changed=True)
        with pytest.raises(ConflictError):
            table.put(entity("r", n=2), unless_changed=True)
        assert table.get("p", "r") == first

    def test_right_etag(self, table: Table) -> None:
        """With the etag of the row, as put, get or query told it, a conditional put writes."""
        put = table.put(entity("r", n=1))
        table.put(entity("r", put.etag, n=2), unless_changed=True)
        got = table.get("p", "r")
        assert got is not None
        table.put(entity("r", got.etag, n=3), unless_changed=True)
        (queried,) = table.query("p")
        last = table.put(entity("r", queried.etag, n=4), unless_changed=True)
        assert table.get("p", "r") == last
        assert last.values == {"n": 4}

    def test_stale_etag(self, table: Table) -> None:
        """With the etag of an older version it does not, even if that held the same values."""
        old = table.put(entity("r", n=1))
        new = table.put(entity("r", n=1))
        with pytest.raises(ConflictError):
            table.put(entity("r", old.etag, n=2), unless_changed=True)
        assert table.get("p", "r") == new

    def test_etag_of_deleted_row(self, table: Table) -> None:
        """A row deleted meanwhile is not brought back by its etag."""
        old = table.put(entity("r", n=1))
        table.delete("p", "r")
        with pytest.raises(ConflictError):
            table.put(entity("r", old.etag, n=2), unless_changed=True)
        assert table.get("p", "r") is None

    def test_etags_never_return(self, table: Table) -> None:
        """Every write has an etag of its own, also after the row was deleted, also for the same values."""
        etags = []
        for _ in range(5):
            etags += [table.put(entity("r", n=1)).etag, table.put(entity("r", n=1)).etag]
            table.delete("p", "r")
        assert "" not in etags
        assert len(set(etags)) == len(etags)

    def test_query_order(self, table: Table) -> None:
        """Rows come in the order of their keys' characters, not of their writing, nor of any language."""
        rows = ["b", "A", "a", "a.b", "a b", "a0", "10", "9", "~", "-", "_", "a" * 256]
        for row in rows:
            table.put(entity(row))
        assert [found.row for found in table.query("p")] == sorted(rows)

    def test_query_range(self, table: Table) -> None:
        """Both bounds are part of the range, and need not be rows."""
        for row in ("a", "b", "c", "d"):
            table.put(entity(row))

        def rows(**bounds: str) -> str:
            return "".join(found.row for found in table.query("p", **bounds))

        assert rows(first="b") == "bcd"
        assert rows(last="b") == "ab"
        assert rows(first="b", last="c") == "bc"
        assert rows(first="aa", last="cc") == "bc"
        assert rows(first="b", last="b") == "b"
        assert rows(first="c", last="b") == ""

    def test_partitions_are_apart(self, table: Table) -> None:
        """A partition's name that begins like another's is another partition."""
        for partition in ("p", "P", "p.", "pp", "q"):
            table.put(Entity(partition, "r", {"of": partition}))
        assert [found.values["of"] for found in table.query("p")] == ["p"]
        table.delete("p", "r")
        assert list(table.query("p")) == []
        assert [found.values["of"] for found in table.query("pp")] == ["pp"]

    def test_query_of_many(self, table: Table) -> None:
        """More rows than a page holds come all, once, in order."""
        rows = [f"{number:04d}" for number in range(450)]
        for row in reversed(rows):
            table.put(entity(row))
        assert [found.row for found in table.query("p")] == rows

    def test_writes_during_a_query(self, table: Table) -> None:
        """A query under which rows are written, deleted and added has every row that stays, once and in order."""
        rows = [f"{number:04d}" for number in range(0, 600, 2)]
        for row in rows:
            table.put(entity(row, n=0))
        seen = []
        for found in table.query("p"):
            seen.append(found.row)
            number = int(found.row)
            table.put(entity(found.row, n=1))
            table.put(entity(f"{number - 1:04d}"))
            table.delete("p", f"{number - 1:04d}")
            if number % 20 == 0:
                table.delete("p", found.row)
        assert seen == rows
        assert [found.row for found in table.query("p")] == [row for row in rows if int(row) % 20]

    def test_abandoned_query(self, table: Table) -> None:
        """A query that is not read to its end is in nobody's way."""
        for number in range(500):
            table.put(entity(f"{number:03d}"))
        assert next(iter(table.query("p"))).row == "000"
        table.put(entity("000", n=1))

    def test_delete_twice(self, table: Table) -> None:
        """Deleting is done once it is done."""
        table.put(entity("r"))
        table.delete("p", "r")
        table.delete("p", "r")
        assert table.get("p", "r") is None

    @pytest.mark.parametrize("key", BAD_KEYS, ids=ascii)
    def test_bad_keys(self, table: Table, key: str) -> None:
        """A key that some backend can't keep is refused by all, wherever it stands."""
        for partition, row in ((key, "r"), ("p", key)):
            with pytest.raises(ValueError, match="not a key"):
                table.get(partition, row)
            with pytest.raises(ValueError, match="not a key"):
                table.put(Entity(partition, row, {}))
            with pytest.raises(ValueError, match="not a key"):
                table.delete(partition, row)
        with pytest.raises(ValueError, match="not a key"):
            list(table.query(key))

    def test_longest_keys(self, table: Table) -> None:
        """Keys of 256 characters, of all kinds that are allowed, are kept."""
        allowed = "".join(letter for letter in map(chr, range(32, 127)) if letter not in "/\\#?%'")
        key = f"x{allowed}".ljust(256, "x")
        written = table.put(Entity(key, key, {"n": 1}))
        assert table.get(key, key) == written
        assert list(table.query(key, first=key, last=key)) == [written]

    def test_racing_threads(self, table: Table) -> None:
        """Of threads that make the same row at once exactly one wins, and none of their counting is lost."""

        def race(racer: int) -> int:
            won = 0
            for row in range(20):
                try:
                    table.put(entity(f"{row}", racer=racer), unless_changed=True)
                except ConflictError:
                    continue
                won += 1
            for _ in range(10):
                count_up(table)
            return won

        with ThreadPoolExecutor(RACERS) as pool:
            assert sum(pool.map(race, range(RACERS))) == 20
        counter = table.get("p", "counter")
        assert counter is not None
        assert counter.values == {"n": 10 * RACERS}


def count_up(table: Table) -> None:
    """Add one to a counter's row by etag, as often as it takes."""
    while True:
        found = table.get("p", "counter") or entity("counter", n=0)
        try:
            table.put(entity("counter", found.etag, n=int(found.values["n"]) + 1), unless_changed=True)
        except ConflictError:
            continue
        return
