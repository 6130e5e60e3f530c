"""Audit events from a Log Analytics workspace, a slice of time at a time, several at once."""

import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing, suppress
from math import inf
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from rare_audit.detection.event import AuditEvent
from rare_audit.detection.funnel import Reading
from rare_audit.detection.rule import Rule
from rare_audit.detection.ticks import TICKS_PER_DAY, TICKS_PER_SECOND, format_ticks, parse_ticks
from rare_audit.errors import ServiceError
from rare_audit.sources.log_analytics_answer import Answer, Rows, read_days, read_events, read_last, read_rows
from rare_audit.sources.log_analytics_client import (
    DEFAULT_ENDPOINT,
    Connection,
    IncompleteAnswerError,
    Patience,
    Workspace,
)
from rare_audit.sources.log_analytics_query import (
    Question,
    apps_question,
    common_condition,
    coverage_question,
    events_question,
    last_event_question,
    whole_question,
)

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

LINES: Final = 4
"""Queries at a time. The service lets an identity have five, of which one is left to whoever else is that identity."""
THREAD_NAME: Final = "log-analytics"
REPEATED: Final = 3
"""How often a small answer that is not whole is asked for again."""
MOST_SLICES: Final = 400
"""How many slices a range is cut into at first, however long it is."""
_SMALL: Final = 12_000_000
"""Bytes of an answer so small that the next slice may be twice as long; the service cuts answers off at 64,000,000."""


Read = TypeVar("Read")


class Slice(NamedTuple):
    """A part of the range, in ticks. `deadline` is when it has to be answered, None before it was first asked for."""

    start: int
    end: int
    deadline: float | None = None

    def __str__(self) -> str:
        return f"{format_ticks(self.start)} to {format_ticks(self.end)}"


class LogAnalytics:
    """ports.EventSource and EventCounts on a workspace's AuditLogs. One fetch at a time."""

    def __init__(
        self,
        workspace_id: str,
        credential: "Callable[[], TokenCredential]",
        *,
        endpoint: str = DEFAULT_ENDPOINT,
        rules: Sequence[Rule] = (),
        first_slice: int = TICKS_PER_DAY,
        patience: Patience | None = None,
    ) -> None:
        """Take the settings; nothing is imported, made or asked before the first fetch.

        What all of `rules` drop first is dropped by the service; with none, every event is fetched. `first_slice` is
        how long slices are at most, in ticks. Raises SettingsError for a workspace id or endpoint that can't be one.
        """
        self._patience = patience or Patience()
        self._workspace = Workspace(workspace_id, credential, endpoint, self._patience)
        self._condition = common_condition(rules)
        self._first_slice = first_slice
        self._reading = Reading()
        self._arrived = ""

    @property
    def scope(self) -> str:
        """What the identity's token is asked for."""
        return f"{self._workspace.origin}/.default"

    def events(self, start: int, end: int) -> Generator[AuditEvent, None, None]:
        """Yield the events with `start <= TimeGenerated < end` (ticks) that meet the rules' common condition.

        Slices come in whatever order they arrive. At most four answers are held or on their way, the one whose events
        are being taken included; so whoever takes none stops the fetching, and closing the iterator ends it. Rows that
        can't be read are counted, see `reading`. Raises ServiceError where not every slice can be had whole; nothing of
        an answer in part is yielded.
        """
        self._reading, self._arrived = Reading(), ""
        return self._fetch(_Slices(start, end, self._first_slice))

    def reading(self) -> Reading:
        """Return what the last `events` made of its rows, once it is exhausted."""
        return self._reading

    def latest_arrival(self) -> int | None:
        """Return when the newest of the rows last read could first be queried (ticks), None where none says so."""
        return parse_ticks(f"{self._arrived}Z") if self._arrived else None

    def coverage(self, start: int, end: int) -> dict[str, int]:
        """Return how many events, of any initiator, each UTC day (`YYYY-MM-DD`) of a range (ticks) has.

        Days without any are left out; a day that the range cuts counts what lies in it. Raises ServiceError.
        """
        return self._once(coverage_question(start, end), read_days)

    def by_apps(self, start: int, end: int) -> dict[str, int]:
        """Return how many events by apps each UTC day of a range (ticks) has, as `coverage` does; ports.EventCounts."""
        return self._once(apps_question(start, end), read_days)

    def last_event(self, start: int, end: int) -> int | None:
        """Return the latest TimeGenerated in a range (all ticks), None where it has no event. Raises ServiceError."""
        return self._once(last_event_question(start, end), read_last)

    def query(self, text: str, start: int, end: int) -> Rows:
        """Return all columns and rows that a query gives over a range (ticks), which its own time bounds lie in.

        Raises ServiceError, where the answer is cut off too: a part of it is never returned.
        """
        try:
            return self._once(whole_question(text, start, end), read_rows, repeated=1)
        except IncompleteAnswerError as error:
            raise ServiceError(
                f"the query's result can't be had whole: {error}; the service gives at most 500,000 rows or 64 MB, so "
                "ask for a shorter time"
            ) from error

    def _once(self, question: Question, read: Callable[[bytearray], Read], repeated: int = REPEATED) -> Read:
        """Ask what has one answer; one that is not whole is asked for again, `repeated` times."""
        patience, halt = self._patience, threading.Event()
        deadline = patience.clock() + patience.budget
        with closing(self._workspace.connect()) as connection:
            for tried in range(repeated):
                with suppress(IncompleteAnswerError):
                    return read(connection.ask(question, deadline, halt))
                patience.sleep(halt, patience.pause(tried, None))
            return read(connection.ask(question, deadline, halt))

    def _fetch(self, slices: "_Slices") -> Generator[AuditEvent, None, None]:
        patience = self._patience
        crew = _Crew([self._workspace.connect() for _ in range(LINES)], self._condition)
        running: dict[Future[Answer], Slice] = {}

        def fill(lines: int) -> None:
            while len(running) < lines and (part := slices.next(patience.clock() + patience.budget)):
                running[crew.start(part)] = part

        try:
            fill(LINES)
            while running:
                future = wait(running, return_when=FIRST_COMPLETED).done.pop()
                answer = self._taken(future, running.pop(future), slices)
                del future  # it holds the answer
                if answer is not None:
                    fill(LINES - 1)  # the answer at hand is one of them
                    yield from answer.events
                    del answer
                fill(LINES)
        finally:
            crew.stop()

    def _taken(self, future: Future[Answer], part: Slice, slices: "_Slices") -> Answer | None:
        """Return a slice's answer and count it; None where it is not whole and its halves are to be fetched."""
        error = future.exception()
        if isinstance(error, IncompleteAnswerError):
            slices.halve(part, error, self._patience.clock())
            return None
        answer = future.result()
        slices.answered(answer.size)
        so_far = self._reading
        self._reading = Reading(
            events=so_far.events + len(answer.events),
            unreadable=dict(Counter(so_far.unreadable) + answer.unreadable),
        )
        self._arrived = max(self._arrived, answer.arrived)
        return answer


class _Slices:
    """What of a range is still to be fetched, cut as it is asked for.

    Slices get shorter where answers are not whole, and longer again where they are small.
    """

    def __init__(self, start: int, end: int, longest: int) -> None:
        self._at = start
        self._end = end
        self._longest = max(longest, -((start - end) // MOST_SLICES))
        self._length = self._longest
        self._halves: deque[Slice] = deque()

    def next(self, deadline: float) -> Slice | None:
        """Return the next slice, to be answered by `deadline` unless it has one already; None at the end."""
        if self._halves:
            part = self._halves.popleft()
            return part._replace(deadline=part.deadline or deadline)
        if self._at >= self._end:
            return None
        start = self._at
        self._at = min(start + self._length, self._end)
        return Slice(start, self._at, deadline)

    def halve(self, part: Slice, error: IncompleteAnswerError, now: float) -> None:
        """Put the halves of a slice first; ServiceError where it is too short for that or its time is up.

        The first half inherits the deadline, so that halving can't go on for ever; once there is an answer, the second
        has all the time again.
        """
        if part.end - part.start <= TICKS_PER_SECOND:
            raise ServiceError(f"Log Analytics gives no whole answer for {part}, a second or less: {error}") from error
        if part.deadline is not None and now >= part.deadline:
            raise ServiceError(f"Log Analytics gave no whole answer for {part} in time: {error}") from error
        half = -((part.start - part.end) // (2 * TICKS_PER_SECOND)) * TICKS_PER_SECOND
        middle = part.start + half
        self._halves.extendleft((Slice(middle, part.end), Slice(part.start, middle, part.deadline)))
        self._length = min(self._length, half)

    def answered(self, size: int) -> None:
        """Take note of how many bytes a whole answer had."""
        if size < _SMALL:
            self._length = min(self._length * 2, self._longest)


class _Crew:
    """Threads that fetch slices, each over a connection of its own.

    They are daemons: a query under way can't be called back, and the process need not wait for it.
    """

    def __init__(self, connections: Sequence[Connection], condition: str) -> None:
        self._condition = condition
        self._jobs: SimpleQueue[tuple[Slice, Future[Answer]] | None] = SimpleQueue()
        self._halt = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=[each], name=THREAD_NAME, daemon=True) for each in connections
        ]
        for thread in self._threads:
            thread.start()

    def start(self, part: Slice) -> Future[Answer]:
        """Have a slice fetched."""
        future: Future[Answer] = Future()
        self._jobs.put((part, future))
        return future

    def stop(self) -> None:
        """Let the threads end, each as soon as what it is doing lets it."""
        self._halt.set()
        for _ in self._threads:
            self._jobs.put(None)

    def _work(self, connection: Connection) -> None:
        with closing(connection):
            for part, future in iter(self._jobs.get, None):
                try:
                    future.set_result(self._answer(connection, part))
                except BaseException as error:  # noqa: BLE001 - whatever it is, whoever waits for the answer gets it
                    future.set_exception(error)
                del future  # it holds the answer, and the next job may be long in coming

    def _answer(self, connection: Connection, part: Slice) -> Answer:
        question = events_question(part.start, part.end, self._condition)
        return read_events(connection.ask(question, part.deadline or inf, self._halt))
