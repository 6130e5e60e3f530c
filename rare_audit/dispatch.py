"""What is asked for becomes a run: a row that says what, a message that has it done, and an end that is recorded."""

import json
import logging
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from rare_audit.detection.ticks import day_after
from rare_audit.errors import RareAuditError, ServiceError
from rare_audit.job import Job
from rare_audit.job.leased import leased
from rare_audit.job.planning import Wanted, days_of, due, new_run, yesterday
from rare_audit.ports import ConflictError, RunQueue, Stores
from rare_audit.records import Run, RunFinding, State

AGAIN: Final = 60
"""Seconds until a message is seen again that met another run at work."""
MOST_ATTEMPTS: Final = 5
"""How often a run is taken up. The queue's own count begins anew with each message that is put back."""
MOST_WAITING: Final = 20
"""How many runs may wait for one another: the daily one stands in the same line."""
UNCONFIRMED: Final = timedelta(minutes=5)
"""How long a run may lack the note that its message was sent. Longer than any request is waited for."""
SOON: Final = 2
"""Seconds until a message is seen again that came before that note."""
STALE: Final = timedelta(hours=26)
"""A daily job whose last success is older has missed a day."""
_LOOKED_BACK: Final = 50
_FORGOTTEN: Final = timedelta(minutes=30)
"""How long a run may wait before the timer sends another message for it."""
_log: Final = logging.getLogger(__name__)


class BusyError(RareAuditError):
    """Too many runs wait already."""


class Dispatch:
    """Takes what timers, messages and people ask of a job."""

    def __init__(self, job: Job, queue: RunQueue, catch_up_days: int, late_days: int) -> None:
        self.job = job
        self._queue = queue
        self._catch_up_days = catch_up_days
        self._late_days = late_days

    @property
    def stores(self) -> Stores:
        """All that is kept."""
        return self.job.stores

    def now(self) -> datetime:
        """Return the time now, UTC."""
        return self.job.clock.now()

    def daily(self, *, past_due: bool) -> Run:
        """Have the days done that are due, and those runs that were left waiting; return the new run.

        Raises ServiceError; a run that could not be sent is never done, and its days stay due.
        """
        rule_id, now = self.job.rule.id, self.now()
        progress = self.stores.progress.begin(rule_id, yesterday(now))
        days = due(progress, now, catch_up_days=self._catch_up_days, late_days=self._late_days)
        waiting = self._waiting()
        run = new_run(
            rule_id,
            days.wanted,
            now,
            asked_by="timer",
            reason="past due" if past_due else "",
            resumes=progress.due,
            notes=(days.skipped,) if days.skipped else (),
        )
        self._send(run)
        for other in waiting:
            _log.warning("run %s was left waiting; another message is sent for it", other.id)
            self._queue.send(other.id)
        return run

    def ask(self, wanted: Wanted, *, asked_by: str, reason: str = "", dry_run: bool = False) -> Run:
        """Have days done, or looked at in a dry run; return the run that waits now.

        Raises BusyError where too many wait already: those that ask at the same moment may be one too many each.
        Raises ServiceError: then this run is never done, whatever became of its row and its message, and whoever asks
        again gets one run.
        """
        latest = self.stores.runs.latest(_LOOKED_BACK)
        waiting = sum(not run.state.ended and not self._is_left_unconfirmed(run) for run in latest)
        if waiting >= MOST_WAITING:
            raise BusyError(f"{waiting} runs wait already; ask again once some of them have ended")
        now = self.now()
        run = new_run(self.job.rule.id, wanted, now, asked_by=asked_by, reason=reason, dry_run=dry_run)
        return self._send(run)

    def take(self, message: str) -> Run | None:
        """Do the run that a message is about; return it as it ended, None where it is to come again or is unknown.

        What fails is recorded in the run and told in the log. Raises what could not be recorded: the message then
        comes again by itself.
        """
        run = self._named(message)
        if run is None or run.state.ended:
            return run
        if _is_unconfirmed(run):
            return self._not_yet(run)
        if run.attempts >= MOST_ATTEMPTS and (closed := self._given_up(run)):
            return closed
        try:
            return self.job.do(run)
        except ConflictError as error:
            _log.info("run %s waits: %s", run.id, error)
            self._queue.send(run.id, AGAIN)
            return None
        except RareAuditError as error:
            ended = self.stores.runs.get(run.id)
            if ended is None or not ended.state.ended:
                raise
            _log.error("run %s failed: %s", run.id, error)
            return ended

    def poisoned(self, message: str) -> Run | None:
        """Close the run that a message is about which was tried too often; return it, None where it is left alone."""
        run = self._named(message)
        return None if run is None else self._given_up(run)

    def findings(self, run: Run, day: str = "", after: str = "") -> Iterator[RunFinding]:
        """Yield what a run found, confirmed, changed and withdrew, as it is kept now, by day and id.

        With `day` and `after`, only what follows that finding of that day.
        """
        return each_finding(self.stores, run, day, after)

    def health(self) -> Literal["never-run", "ok", "stale"]:
        """Return "never-run", "ok", or "stale" where the last success is more than 26 hours ago.

        Where there was none yet, the hours count from the end of the first day that was ever due.
        """
        progress = self.stores.progress.get(self.job.rule.id)
        last = progress.last_success or (f"{day_after(progress.first)}T00:00:00+00:00" if progress.first else "")
        if last and self.now() - datetime.fromisoformat(last) > STALE:
            return "stale"
        return "ok" if progress.last_success else "never-run"

    def _send(self, run: Run) -> Run:
        """Write a run's row, send its message, and note in the row that it was sent: without that it is never done.

        So whoever is told by an error that a run failed can rely on it, and ask again.
        """
        run = msgspec.structs.replace(run, state=State.QUEUED)
        sent = msgspec.structs.replace(run, queued=run.started)
        try:
            self.stores.runs.save(run)
            self._queue.send(run.id)
            self.stores.runs.save(sent)
        except ServiceError as error:
            if self._withdrawn(run, str(error)):
                raise
        return sent

    def _withdrawn(self, run: Run, error: str) -> bool:
        """Close a run that nobody works on yet, if that can be; False where somebody does, as it was sent after all."""
        closed = self._failed(run, error)
        try:
            self.stores.runs.save(closed)
        except ConflictError:
            return False
        except ServiceError as failure:
            _log.warning("run %s could not be closed, and is not done either: %s", run.id, failure)
            return True
        self.job.watch.ended(closed)
        return True

    def _not_yet(self, run: Run) -> Run | None:
        """Wait for the note that a run's message was sent; close the run where it does not come."""
        if not self._is_left_unconfirmed(run):
            self._queue.send(run.id, SOON)
            return None
        self._withdrawn(run, "was never confirmed to whoever asked for it, so it is not done; ask again")
        return self.stores.runs.get(run.id)

    def _is_left_unconfirmed(self, run: Run) -> bool:
        return _is_unconfirmed(run) and self.now() - datetime.fromisoformat(run.started) > UNCONFIRMED

    def _waiting(self) -> list[Run]:
        """Return the runs that wait for a message which may be lost: unended, untouched for long, at work nowhere."""
        held, now = self.stores.lease.is_held(self.job.rule.id), self.now()
        return [
            run
            for run in self.stores.runs.latest(_LOOKED_BACK)
            if run.queued and run.rule_id == self.job.rule.id and not run.state.ended
            if (run.state is State.QUEUED or not held) and now - datetime.fromisoformat(run.started) > _FORGOTTEN
        ]

    def _named(self, message: str) -> Run | None:
        try:
            run_id = str(json.loads(message)["run"])
        except (ValueError, KeyError, TypeError, RecursionError):
            _log.warning("a message that names no run is dropped")
            return None
        run = self.stores.runs.get(run_id)
        if run is None:
            _log.warning("a message about a run that is not kept is dropped")
        return run

    def _given_up(self, run: Run) -> Run | None:
        told = f"was given up: taken up {run.attempts} times, it never came to an end; see the app's log"
        closed = self._closed(run, told)
        if closed:
            _log.error("run %s %s", run.id, told)
        return closed

    def _closed(self, run: Run, error: str) -> Run | None:
        """Close a run that has not ended; None where it has, or where some run is at work, which may be this one."""
        holder = f"{run.id}.closing.{uuid.uuid4().hex[:12]}"
        try:
            with leased(self.stores.lease, run.rule_id, holder):
                stored = self.stores.runs.get(run.id)
                if stored is None or stored.state.ended:
                    return None
                closed = self._failed(stored, error)
                self.job.watch.ended(closed)
                self.stores.runs.save(closed)
                return closed
        except ConflictError:
            return None

    def _failed(self, run: Run, error: str) -> Run:
        return msgspec.structs.replace(run, state=State.FAILED, error=error, ended=self.now().isoformat())


def _is_unconfirmed(run: Run) -> bool:
    """Tell whether it is not noted in a waiting run that its message was sent."""
    return run.state is State.QUEUED and not run.queued


def findings_of(stores: Stores, run: Run) -> tuple[RunFinding, ...]:
    """Return what a run found, confirmed, changed and withdrew, as it is kept now, by day and id."""
    return tuple(each_finding(stores, run))


def each_finding(stores: Stores, run: Run, day: str = "", after: str = "") -> Iterator[RunFinding]:
    """Yield what `findings_of` returns, but only what follows the finding `after` of a day; no more is read than taken.

    Those of a dry run are ordered by their ids alone.
    """
    if run.dry_run:
        yield from (RunFinding("new", one) for one in stores.dry_findings.each(run.id, after))
        return
    kinds = run.changes.by_id()
    for each in days_of(run) if kinds else ():
        if each < day:
            continue
        for kept in stores.findings.each(run.rule_id, each, after if each == day else ""):
            if kept.finding.id in kinds:
                yield RunFinding(kinds[kept.finding.id], kept)
