"""A lease held while work goes on, however long a service keeps it waiting."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rare_audit.errors import ServiceError
from rare_audit.ports import ConflictError, Lease

BEAT: Final = 60.0
"""Seconds between two renewals in the background; the deployed lease lasts five minutes."""
_log: Final = logging.getLogger(__name__)


@contextmanager
def leased(lease: Lease, name: str, holder: str, beat: float = BEAT) -> Iterator[None]:
    """Hold a lease while the block runs; ConflictError while somebody else holds it.

    A thread of its own renews it every `beat` seconds. Whether it is still held, the block has to find out itself,
    by renewing it before what must not be done without.
    """
    lease.acquire(name, holder)
    halt = threading.Event()
    thread = threading.Thread(target=_keep, args=(lease, name, holder, beat, halt), name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        halt.set()
        thread.join()
        try:
            lease.release(name, holder)
        except ServiceError as error:  # it ends by itself; an error of the block is the one to tell
            _log.warning("the lease could not be given up, and runs out by itself: %s", error)


def _keep(lease: Lease, name: str, holder: str, beat: float, halt: threading.Event) -> None:
    while not halt.wait(beat):
        try:
            lease.renew(name, holder)
        except ConflictError as error:
            _log.warning("%s", error)
            return
        except ServiceError as error:
            _log.warning("the lease could not be renewed, and is tried again: %s", error)
