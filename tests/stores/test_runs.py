"""Runs: the latest first, each under its id."""

from typing import Final

import pytest

from rare_audit.errors import ServiceError
from rare_audit.ports import ConflictError, Entity, Table
from rare_audit.records import Changes, Run
from rare_audit.stores.bodies import pack
from rare_audit.stores.keys import key_of
from rare_audit.stores.runs import Runs
from rare_audit.stores.set_aside import SetAside
from tests.builders import funnel, run
from tests.fakes import FailingTable, Killed, MemoryTable


def _done(**overrides: object) -> Run:
    return run(
        state="done",
        ended="2026-03-03T01:31:00Z",
        funnel=funnel(),
        changes=Changes(new=("a",), withdrawn=("b", "c")),
        incidents=("i",),
        delivered=("i",),
        **overrides,
    )


def _runs(*started: str) -> list[Run]:
    return [run(id=f"at {at}", started=at) for at in started]


@pytest.mark.parametrize("id_", ["", "run 1", "../../#?%'\\", "é😀\0\n", "\ud800", "x" * 2_000])
def test_any_id(table: Table, id_: str) -> None:
    """Any text may be an id, and any may be asked for."""
    runs = Runs(table)
    assert runs.get(id_) is None
    runs.save(run(id=id_))
    assert runs.get(id_) == run(id=id_)
    assert runs.get(f"{id_}.") is None


def test_whole_run_survives(table: Table) -> None:
    """All that a run tells comes back as it was; an error may hold a file name's undecodable bytes."""
    whole = _done(error="can't read caf\udce9.json", reason="line 1\nline 2")
    Runs(table).save(whole)
    assert Runs(table).get("run 1") == whole
    assert Runs(table).latest(1) == (whole,)


def test_latest(table: Table) -> None:
    """The latest runs come first, by their start, and no more than asked for; whatever the order of saving."""
    those = _runs(
        "0001-01-01T00:00:00Z",
        "2026-03-03T01:30:00Z",
        "2026-03-03T01:30:00.0000001Z",
        "2026-03-03T01:30:00.1Z",
        "2026-03-03T03:30:01+02:00",
        "2026-03-03T09:00:00Z",
        "2026-03-03T10:00:00Z",
        "9999-12-31T23:59:59.9999999Z",
    )
    runs = Runs(table)
    assert runs.latest(3) == ()
    for one in those[1::2] + those[::2]:
        runs.save(one)
    assert runs.latest(100) == tuple(reversed(those))
    assert runs.latest(3) == tuple(reversed(those))[:3]
    assert runs.latest(0) == ()


def test_same_start(table: Table) -> None:
    """Runs that started at the same instant are all kept."""
    runs = Runs(table)
    for name in "abc":
        runs.save(run(id=name))
    assert {one.id for one in runs.latest(9)} == {"a", "b", "c"}


def test_saved_again(table: Table) -> None:
    """A run is one row however often it is saved, even where it starts anew; it keeps its place."""
    runs = Runs(table)
    runs.save(run(state="queued"))
    runs.save(run(id="run 2", started="2026-03-04T01:30:00Z"))
    for again in (run(), run(started="2026-03-05T00:00:00Z"), _done(started="2026-03-05T00:00:00Z")):
        runs.save(again)
        assert runs.get("run 1") == again
        assert [one.id for one in runs.latest(9)] == ["run 2", "run 1"]


def test_latest_reads_no_more_than_asked() -> None:
    """The last runs cost one query, one run two reads: no scan."""
    table = MemoryTable()
    for one in _runs(*(f"2026-03-03T01:{minute:02d}:00Z" for minute in range(60))):
        Runs(table).save(one)
    counting = FailingTable(table)
    Runs(counting).latest(5)
    assert counting.calls == 1
    Runs(counting).get("at 2026-03-03T01:30:00Z")
    assert counting.calls == 3


def test_start_that_is_no_time(table: Table) -> None:
    """A run that never started can't be put in its place."""
    with pytest.raises(ValueError, match="not an ISO 8601 instant"):
        Runs(table).save(run(started="yesterday"))
    assert Runs(table).latest(1) == ()


def test_killed_at_any_call() -> None:
    """Killed at any call, a run is listed if and only if it is found; repeated, all is as if undisturbed."""
    undisturbed = FailingTable(expected := MemoryTable())
    _save_all(Runs(undisturbed))
    for call in range(1, undisturbed.calls + 1):
        table = MemoryTable()
        with pytest.raises(Killed):
            _save_all(Runs(FailingTable(table, call)))
        listed = Runs(table).latest(9)
        found = [Runs(table).get(id_) for id_ in ("run 2", "run 1")]
        assert listed == tuple(one for one in found if one)
        _save_all(Runs(table))
        assert table.contents() == expected.contents()


def _save_all(runs: Runs) -> None:
    for one in (run(), run(id="run 2", started="2026-03-04T00:00:00Z"), _done()):
        runs.save(one)


def test_saved_by_two_at_once() -> None:
    """Where another save of the same run comes in between, its place holds and there is still one row."""
    table = MemoryTable()

    class Slow(FailingTable):
        """Lets the other save in after this one has looked for the index."""

        def get(self, partition: str, row: str) -> Entity | None:
            """Return a row as it was before the other's save."""
            found = super().get(partition, row)
            if self.calls == 1:
                Runs(table).save(run(started="2026-03-04T00:00:00Z", asked_by="the other"))
            return found

    Runs(Slow(table)).save(run())
    assert Runs(table).latest(9) == (run(),)
    assert Runs(table).get("run 1") == run()


def test_refused_place() -> None:
    """A conflict without a row to show for it is passed on."""
    with pytest.raises(ConflictError):
        Runs(FailingTable(MemoryTable(), 2, ConflictError("no"))).save(run())


def test_unreadable_run(table: Table) -> None:
    """A row that holds no run is set aside and named, whatever it holds; the others are listed and found."""
    Runs(table).save(run())
    Runs(table).save(run(id="of a newer version"))
    for body in _BODIES:
        aside = SetAside()
        runs = Runs(table, aside)
        row = next(entity.row for entity in table.query("runs") if entity.row.endswith(key_of("of a newer version")))
        table.put(Entity("runs", row, {"body": body}))
        assert runs.latest(5) == (run(),)
        assert runs.get("of a newer version") is None
        assert aside.notes() == (f"1 stored rows can't be read and were set aside: runs {row}",)


_BODIES: Final = ["[]", "", '{"id":"x', pack(run()).replace('"running"', '"paused"'), "[" * 30_000]


def test_stale_writer() -> None:
    """A run that somebody else wrote since it was read here is not written over."""
    table = MemoryTable()
    Runs(table).save(run())
    stale = Runs(table)
    assert stale.get("run 1") == run()
    Runs(table).save(_done())
    with pytest.raises(ConflictError):
        stale.save(run(attempts=2))
    assert Runs(table).get("run 1") == _done()


def test_own_write_is_no_conflict() -> None:
    """What was written though no answer came is no other's: the next save goes over it."""
    table = MemoryTable()

    class Unanswered(FailingTable):
        """Does its third call, and loses the answer."""

        def put(self, entity: Entity, *, unless_changed: bool = False) -> Entity:
            """Write a row."""
            written = super().put(entity, unless_changed=unless_changed)
            if self.written == 3:
                raise ServiceError("no answer")
            return written

    runs = Runs(Unanswered(table))
    runs.save(run())
    with pytest.raises(ServiceError):
        runs.save(run(attempts=2))
    runs.save(_done())
    assert Runs(table).get("run 1") == _done()
