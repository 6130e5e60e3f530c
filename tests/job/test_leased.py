"""The lease that is kept while work goes on."""

import logging
import threading
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from rare_audit.errors import ServiceError
from rare_audit.job.leased import leased
from rare_audit.ports import ConflictError
from rare_audit.stores.leases import Leases
from tests.fakes import FixedClock, MemoryTable

NOW: Final = datetime(2026, 3, 17, tzinfo=UTC)


class CountingLease(Leases):
    """A lease on a table in memory that tells when it was renewed, and fails where it is told to."""

    def __init__(self) -> None:
        super().__init__(MemoryTable(), FixedClock(NOW), timedelta(minutes=5))
        self.renewed = threading.Semaphore(0)
        self.failures: list[Exception] = []
        self.unreleasable = False

    def renew(self, name: str, holder: str) -> None:
        """Renew it, or fail."""
        self.renewed.release()
        if self.failures:
            raise self.failures.pop(0)
        super().renew(name, holder)

    def release(self, name: str, holder: str) -> None:
        """Give it up, or fail."""
        if self.unreleasable:
            raise ServiceError("the table is away")
        super().release(name, holder)

    def beats(self, count: int) -> bool:
        """Wait for renewals."""
        return all(self.renewed.acquire(timeout=5) for _ in range(count))


def test_renewed_while_work_goes_on() -> None:
    """Again and again, by itself; given up at the end, and no thread is left."""
    lease = CountingLease()
    with leased(lease, "rule", "run", beat=0.001):
        assert lease.is_held("rule")
        assert lease.beats(3)
    assert not lease.is_held("rule")
    assert "lease" not in {thread.name for thread in threading.enumerate()}


def test_held_by_another() -> None:
    """Who comes second learns so, does nothing, and takes nothing from the holder."""
    lease = CountingLease()
    with leased(lease, "rule", "one"):
        with pytest.raises(ConflictError), leased(lease, "rule", "other"):
            pytest.fail("two at once")
        lease.renew("rule", "one")


def test_trouble_in_the_background_is_tried_again() -> None:
    """A renewal that fails is logged, and the next one is made; the work is not disturbed."""
    lease = CountingLease()
    lease.failures = [ServiceError("away"), ServiceError("away")]
    with leased(lease, "rule", "run", beat=0.001):
        assert lease.beats(4)


def test_lost_in_the_background() -> None:
    """Once it is lost there is nothing to renew: the block finds out for itself."""
    lease = CountingLease()
    with leased(lease, "rule", "run", beat=0.001):
        lease.failures = [ConflictError("taken over")]
        assert lease.beats(1)
        while lease.failures:
            assert lease.beats(1)
        lease.renew("rule", "run")


def test_error_of_the_work_is_the_one_told(caplog: pytest.LogCaptureFixture) -> None:
    """A lease that can't be given up either does not hide why the work failed."""
    lease = CountingLease()
    lease.unreleasable = True
    with caplog.at_level(logging.WARNING), pytest.raises(KeyError, match="work"), leased(lease, "rule", "run"):
        raise KeyError("work")
    assert "runs out by itself: the table is away" in caplog.text


def test_two_threads_of_one_holder() -> None:
    """Renewals of one holder that meet are no conflict: both find the lease theirs."""

    class Meeting(MemoryTable):
        """A table in which another renewal comes between reading and writing, once."""

        meet = False

        def put(self, entity, *, unless_changed=False):  # type: ignore[no-untyped-def]  # ports.Table's
            """Write, after the other."""
            if self.meet:
                self.meet = False
                Leases(self, FixedClock(NOW), timedelta(minutes=5)).renew("rule", "run")
            return super().put(entity, unless_changed=unless_changed)

    table = Meeting()
    lease = Leases(table, FixedClock(NOW), timedelta(minutes=5))
    lease.acquire("rule", "run")
    table.meet = True
    lease.renew("rule", "run")
    assert not table.meet
    assert lease.is_held("rule")
