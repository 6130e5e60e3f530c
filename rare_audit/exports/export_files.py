"""Audit events from exports, as people have them: files and standard input."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from rare_audit.detection.event import AuditEvent
from rare_audit.detection.funnel import Reading
from rare_audit.errors import InputError
from rare_audit.exports.csv_export import csv_rows
from rare_audit.exports.json_export import records, row_lines
from rare_audit.exports.layout import HEAD, Container, Layout, recognise
from rare_audit.exports.opening import STDIN, Input
from rare_audit.exports.shapes import ROW
from rare_audit.sources.tally import Tally


class ExportFiles:
    """An event source of files, each in any shape of `shapes`, plain or gzip, recognised by its content alone."""

    def __init__(
        self,
        paths: Sequence[str | Path],
        *,
        strict: bool = False,
        stdin: BinaryIO | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Take the files to read, in order; "-" is `stdin`, by default the process's, and may be named once.

        If `strict`, a record that can't be read is an error. `progress` is told how many further bytes were consumed,
        those on disk, as they are read.
        """
        names = [str(path) for path in paths]
        if names.count(STDIN) > 1:
            raise InputError("standard input is named twice")
        self._inputs = [Input(name, stdin) for name in names]
        self._strict = strict
        self._progress = progress
        self._tally = Tally(strict=strict)

    @property
    def size(self) -> int | None:
        """The bytes of all files on disk, None where one is a stream; InputError where there is no such file."""
        sizes = [each.size() for each in self._inputs]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def events(self, start: int, end: int) -> Iterator[AuditEvent]:  # noqa: ARG002 - more than asked for does no harm
        """Yield every event of every file.

        Records that can't be read are counted, see `reading`. Raises InputError where a file can't be read, is empty,
        of unknown shape, or not whole, where nothing in it can be read, or if strict, at the first bad record.
        """
        self._tally = Tally(strict=self._strict)
        return self._all(self._tally, self._progress)

    def reading(self) -> Reading:
        """Return what the last `events` made of its records, once it is exhausted."""
        return self._tally.reading()

    def first_places(self) -> dict[str, str]:
        """Return where the first record was that was rejected for each reason.

        A place is `file:line`; in JSON documents, `file:record n`.
        """
        return dict(self._tally.first_places)

    def last_instant(self) -> int | None:
        """Return the latest TimeGenerated, None where there is no event; reads all files, and raises as `events` does.

        What can be read only once is copied to a temporary file first.
        """
        for each in self._inputs:
            each.keep()
        return max((event.ticks for event in self._all(Tally(strict=self._strict), None)), default=None)

    def coverage(self, start: int, end: int) -> dict[str, int]:
        """Return how many records each UTC day (`YYYY-MM-DD`) of a range (ticks) has; reads all files, like `events`.

        What can be read only once is copied to a temporary file first.
        """
        for each in self._inputs:
            each.keep()
        events = self._all(Tally(strict=False), None)
        return dict(Counter(event.time_generated[:10] for event in events if start <= event.ticks < end))

    def _all(self, tally: Tally, progress: Callable[[int], None] | None) -> Iterator[AuditEvent]:
        # Chained, not yielded one by one: for large exports that is a tenth of the time.
        return chain.from_iterable(self._some_at_a_time(tally, progress))

    def _some_at_a_time(self, tally: Tally, progress: Callable[[int], None] | None) -> Iterator[Sequence[AuditEvent]]:
        for each in self._inputs:
            used, rejected = _used(tally), tally.unreadable.copy()
            with each.opened(progress) as file:
                layout = recognise(file.peek()[:HEAD], each.name)
                if layout == Layout(Container.LINES, ROW):
                    yield from row_lines(file, each.name, tally)
                elif layout.container is Container.CSV:
                    yield from zip(csv_rows(file, each.name, tally))
                else:
                    yield from zip(records(file, each.name, layout, tally))
            reasons = tally.unreadable - rejected
            if reasons and _used(tally) == used:
                told = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
                raise InputError(f"{each.name} holds nothing that can be read: {told}")


def _used(tally: Tally) -> int:
    return tally.events + tally.skipped.total()
