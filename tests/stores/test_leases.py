"""Leases: one holder at a time, whatever the race."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pytest

from rare_audit.ports import ConflictError, Entity, Table
from rare_audit.stores.leases import Leases
from tests.fakes import FailingTable, FixedClock, Killed, MemoryTable

_START = datetime(2026, 3, 3, 1, 30, tzinfo=UTC)
_HELD_BY_A = r"^the lease rule 1 is held by a until 2026-03-03 01:35:00 UTC$"


@pytest.fixture
def clock() -> FixedClock:
    """Give a clock that stands at half past one."""
    return FixedClock(_START)


@pytest.fixture
def leases(table: Table, clock: FixedClock) -> Leases:
    """Give leases of five minutes."""
    return Leases(table, clock, timedelta(minutes=5))


def test_held(leases: Leases, clock: FixedClock) -> None:
    """While one holds it nobody else gets it, and is told who does and until when, to its last second."""
    leases.acquire("rule 1", "a")
    with pytest.raises(ConflictError, match=_HELD_BY_A):
        leases.acquire("rule 1", "b")
    clock.advance(299.999)
    with pytest.raises(ConflictError, match=_HELD_BY_A):
        leases.acquire("rule 1", "b")
    leases.acquire("rule 2", "b")


def test_taken_over(leases: Leases, clock: FixedClock) -> None:
    """Once expired it goes to who asks; the former holder finds it lost and can't take it back or give it up."""
    leases.acquire("rule 1", "a")
    clock.advance(300)
    leases.acquire("rule 1", "b")
    with pytest.raises(ConflictError, match="held by b until 2026-03-03 01:40:00 UTC"):
        leases.renew("rule 1", "a")
    with pytest.raises(ConflictError, match="held by b"):
        leases.acquire("rule 1", "a")
    leases.release("rule 1", "a")
    with pytest.raises(ConflictError, match="held by b"):
        leases.acquire("rule 1", "c")


def test_acquired_again_by_its_holder(leases: Leases, clock: FixedClock) -> None:
    """Its holder may take it again, for the whole time."""
    leases.acquire("rule 1", "a")
    clock.advance(60)
    leases.acquire("rule 1", "a")
    with pytest.raises(ConflictError, match="until 2026-03-03 01:36:00 UTC"):
        leases.acquire("rule 1", "b")


def test_renewed(leases: Leases, clock: FixedClock) -> None:
    """Renewing holds it for longer, even late, as long as nobody took it."""
    leases.acquire("rule 1", "a")
    clock.advance(200)
    leases.renew("rule 1", "a")
    clock.advance(200)
    with pytest.raises(ConflictError, match="held by a"):
        leases.acquire("rule 1", "b")
    clock.advance(1_000)
    leases.renew("rule 1", "a")
    with pytest.raises(ConflictError, match="held by a"):
        leases.acquire("rule 1", "b")


def test_released(leases: Leases) -> None:
    """Given up, anyone may have it at once; giving up twice, or what one never had, is no error."""
    leases.release("rule 1", "a")
    leases.acquire("rule 1", "a")
    leases.release("rule 1", "b")
    leases.release("rule 1", "a")
    leases.release("rule 1", "a")
    leases.acquire("rule 1", "b")


@pytest.mark.parametrize("before", [False, True])
def test_renew_without_holding(leases: Leases, *, before: bool) -> None:
    """A lease that was never taken, or was given up, can't be renewed."""
    if before:
        leases.acquire("rule 1", "a")
        leases.release("rule 1", "a")
    with pytest.raises(ConflictError, match=r"^the lease rule 1 was given up; nobody holds it now$"):
        leases.renew("rule 1", "a")


def test_other_time_zone(table: Table) -> None:
    """The time told is UTC, whatever zone the clock is in."""
    clock = FixedClock(_START.astimezone(timezone(timedelta(hours=9))))
    leases = Leases(table, clock, timedelta(minutes=5))
    leases.acquire("rule 1", "a")
    with pytest.raises(ConflictError, match=_HELD_BY_A):
        leases.acquire("rule 1", "b")


def test_strange_names(leases: Leases) -> None:
    """Any text names a lease and its holder; the error shows it in one harmless line."""
    leases.acquire("a/b#\n\x1b[2J", "\u202e" * 200)
    with pytest.raises(ConflictError) as caught:
        leases.acquire("a/b#\n\x1b[2J", "b")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("expired", [False, True])
def test_race(table: Table, clock: FixedClock, *, expired: bool) -> None:
    """Of many who reach for a free or expired lease at once one gets it; the others are told who."""
    if expired:
        Leases(table, clock, timedelta(minutes=-5)).acquire("rule 1", "old")

    def reach(holder: str) -> str:
        try:
            Leases(table, clock, timedelta(minutes=5)).acquire("rule 1", holder)
        except ConflictError as error:
            return str(error)
        return holder

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(reach, "abcdefgh"))
    (winner,) = (text for text in told if len(text) == 1)
    others = {text for text in told if text != winner}
    assert others == {f"the lease rule 1 is held by {winner} until 2026-03-03 01:35:00 UTC"}


class _Interrupted(FailingTable):
    """A table in which somebody else acts right after the first read."""

    def __init__(self, table: Table, act: Callable[[], None]) -> None:
        super().__init__(table)
        self._act = act

    def get(self, partition: str, row: str) -> Entity | None:
        """Return a row as it was before the other acted."""
        found = super().get(partition, row)
        if self.calls == 1:
            self._act()
        return found


@pytest.mark.parametrize("call", ["acquire", "renew"])
def test_overtaken(table: Table, leases: Leases, clock: FixedClock, call: str) -> None:
    """Who is overtaken between reading and writing loses, even the holder of an expired lease."""
    leases.acquire("rule 1", "a")
    clock.advance(300)
    slow = Leases(_Interrupted(table, lambda: leases.acquire("rule 1", "b")), clock, timedelta(minutes=5))
    with pytest.raises(ConflictError, match=r"held by b until 2026-03-03 01:40:00 UTC"):
        getattr(slow, call)("rule 1", "a")


def test_overtaken_by_one_who_is_gone(table: Table, leases: Leases, clock: FixedClock) -> None:
    """Where the winner has given up already, that is what the loser is told."""

    def come_and_go() -> None:
        leases.acquire("rule 1", "b")
        leases.release("rule 1", "b")

    slow = Leases(_Interrupted(table, come_and_go), clock, timedelta(minutes=5))
    with pytest.raises(ConflictError, match="nobody holds it now"):
        slow.acquire("rule 1", "a")
    leases.acquire("rule 1", "a")


def test_late_release_takes_nothing(table: Table, leases: Leases, clock: FixedClock) -> None:
    """Who gives up a lease that was taken over in the same moment takes it from nobody."""
    leases.acquire("rule 1", "a")
    clock.advance(300)
    Leases(_Interrupted(table, lambda: leases.acquire("rule 1", "b")), clock, timedelta(minutes=5)).release(
        "rule 1", "a"
    )
    with pytest.raises(ConflictError, match="held by b"):
        leases.acquire("rule 1", "c")


def test_killed_at_any_call(clock: FixedClock) -> None:
    """Killed at any call, its holder's lease ends by itself."""
    undisturbed = FailingTable(MemoryTable())
    _work(Leases(undisturbed, clock, timedelta(minutes=5)))
    for call in range(1, undisturbed.calls + 1):
        table = MemoryTable()
        with pytest.raises(Killed):
            _work(Leases(FailingTable(table, call), clock, timedelta(minutes=5)))
        clock.advance(300)
        Leases(table, clock, timedelta(minutes=5)).acquire("rule 1", "b")


def _work(leases: Leases) -> None:
    leases.acquire("rule 1", "a")
    leases.renew("rule 1", "a")
    leases.release("rule 1", "a")


@pytest.mark.parametrize("until", ["2027-03-03T01:30:00+00:00", "9999-12-31T23:59:59+00:00"])
def test_lease_of_a_wrong_clock(table: Table, leases: Leases, until: str) -> None:
    """A lease for far longer than any is given holds nobody up; its holder finds it lost."""
    leases.acquire("rule 1", "a")
    (row,) = table.query("leases")
    body = str(row.values["body"]).replace("2026-03-03T01:35:00Z", until)
    assert until in body
    table.put(Entity("leases", row.row, {"body": body}))
    assert not leases.is_held("rule 1")
    leases.acquire("rule 1", "b")
    with pytest.raises(ConflictError, match="held by b"):
        leases.renew("rule 1", "a")


@pytest.mark.parametrize("body", ["", "[]", '{"name":"rule 1","holder":"a","until":"2026-03-03T01:35:00"}'])
def test_unreadable_lease(table: Table, leases: Leases, body: str, caplog: pytest.LogCaptureFixture) -> None:
    """A row that says nothing can be taken, and the log names it; whoever held it finds it lost."""
    leases.acquire("rule 1", "a")
    (row,) = table.query("leases")
    table.put(Entity("leases", row.row, {"body": body}))
    with pytest.raises(ConflictError, match="nobody holds it now"):
        leases.renew("rule 1", "a")
    leases.acquire("rule 1", "b")
    assert f"the stored row leases {row.row} holds no _Held" in caplog.text
