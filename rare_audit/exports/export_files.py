"""Audit events from exports, as people have them: files, folders, archives and standard input."""

import codecs
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from io import BufferedReader, BytesIO
from itertools import chain
from pathlib import Path
from typing import BinaryIO, Final

from rare_audit.detection.event import AuditEvent
from rare_audit.detection.funnel import Reading
from rare_audit.errors import InputError
from rare_audit.exports.answers import answer_rows
from rare_audit.exports.context import Clock, Context, Probe
from rare_audit.exports.csv_export import csv_rows
from rare_audit.exports.inputs import Named, named_files
from rare_audit.exports.json_export import records, row_lines
from rare_audit.exports.layout import Container, Layout, recognise
from rare_audit.exports.opening import HEAD, Input, translated
from rare_audit.exports.shapes import ROW
from rare_audit.exports.survey import Survey, survey_of
from rare_audit.exports.times import DateOrder
from rare_audit.sources.tally import Tally

NOT_AN_EXPORT: Final = "not an export of audit events"
BROKEN: Final = "could not be read to its end"
NOT_UTF8: Final = "not UTF-8"
_SHOWN: Final = 300


@dataclass(frozen=True)
class Reads:
    """How files are read.

    `strict` makes the first record that can't be read an error; `lenient` passes on records that the rule can't see,
    which are unreadable otherwise.

    `order` is that of day and month in dates such as 3/4/2026, None where each file decides; `encoding` that of text,
    "" for UTF-8. Raises InputError for an encoding that is not known.
    """

    strict: bool = False
    lenient: bool = False
    order: DateOrder | None = None
    encoding: str = ""

    def __post_init__(self) -> None:
        """Check the encoding's name."""
        try:
            codecs.lookup(self.encoding or "utf-8")
        except LookupError as error:
            raise InputError(f"unknown encoding {self.encoding[:40]!r}; write one such as cp1252 or utf-16") from error


@dataclass(frozen=True)
class _File:
    """A file as it is read: its input, which of the input's files it is, its name, its content."""

    source: Input
    number: int
    name: str
    content: BufferedReader

    @property
    def head(self) -> bytes:
        """What it begins with; only before anything of it is read."""
        return self.content.peek()[:HEAD]


class ExportFiles:
    """An event source of files, each in any shape of `shapes`, recognised by its content alone."""

    def __init__(
        self,
        paths: Sequence[str | Path],
        reads: Reads | None = None,
        *,
        stdin: BinaryIO | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Take what to read, in order: files, folders, patterns; "-" is `stdin`, by default the process's.

        `progress` is called with how many further bytes were consumed, those on disk, as they are read. Raises
        InputError where a folder or a pattern has no file, or standard input is named twice.
        """
        self._reads = reads or Reads()
        self._inputs = [
            (named, Input(named.path, stdin, self._reads.encoding))
            for named in named_files([str(each) for each in paths])
        ]
        self._progress = progress
        self._tally = Tally(strict=self._reads.strict)
        self._notes: set[str] = set()

    @property
    def size(self) -> int | None:
        """The bytes of all files on disk, None where one is a stream; InputError where there is no such file."""
        sizes = [each.size() for _, each in self._inputs]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def paths(self) -> list[str]:
        """The files that are read, as they are named on disk; "-" for standard input."""
        return [named.path for named, _ in self._inputs]

    def events(self, start: int, end: int) -> Iterator[AuditEvent]:  # noqa: ARG002 - more than asked for does no harm
        """Yield every event of every file.

        Records that can't be read are counted, see `reading`, and so are files of folders and archives. Raises
        InputError where a file that was named can't be read, is empty, of unknown shape, or not whole, where nothing in
        it can be read, or if strict, at the first bad record.
        """
        self._tally, self._notes = Tally(strict=self._reads.strict), set()
        return self._all(self._tally, self._progress)

    def reading(self) -> Reading:
        """Return what the last `events` made of its records, once it is exhausted."""
        return self._tally.reading()

    def first_places(self) -> dict[str, str]:
        """Return where the first record was that was rejected for each reason.

        A place is `file:line`; in JSON documents, `file:record n`.
        """
        return dict(self._tally.first_places)

    def first_details(self) -> dict[str, str]:
        """Return what was found in the first record that was rejected for each reason, "" for nothing to say."""
        return dict(self._tally.first_details)

    def notes(self) -> list[str]:
        """Return what the formats that were read do not carry, a sentence each."""
        return sorted(self._notes)

    def survey(self) -> Survey:
        """Return what each day has; reads all files, and raises as `events` does.

        What can be read only once is copied to a temporary file first.
        """
        return survey_of(self._again(Tally(strict=self._reads.strict)))

    def coverage(self, start: int, end: int) -> dict[str, int]:
        """Return how many records each UTC day (`YYYY-MM-DD`) of a range (ticks) has; reads all, as `survey` does."""
        events = self._again(Tally(strict=False))
        return dict(Counter(event.time_generated[:10] for event in events if start <= event.ticks < end))

    def _again(self, tally: Tally) -> Iterator[AuditEvent]:
        """Return all events, in a way that lets them be read once more."""
        for _, each in self._inputs:
            each.keep()
        return self._all(tally, None)

    def _all(self, tally: Tally, progress: Callable[[int], None] | None) -> Iterator[AuditEvent]:
        # Chained, not yielded one by one: for large exports that is a tenth of the time.
        return chain.from_iterable(self._some_at_a_time(tally, progress))

    def _some_at_a_time(self, tally: Tally, progress: Callable[[int], None] | None) -> Iterator[Sequence[AuditEvent]]:
        for named, source in self._inputs:
            try:
                yield from self._events_in(named, source, tally, progress)
            except InputError as error:
                if not named.is_found or self._reads.strict:
                    raise
                tally.reject_file(BROKEN, source.name, str(error))
        if tally.files and not _used(tally):
            first = next(iter(tally.files))
            raise InputError(tally.first_details[first])

    def _events_in(
        self, named: Named, source: Input, tally: Tally, progress: Callable[[int], None] | None
    ) -> Iterator[Sequence[AuditEvent]]:
        """Yield the events of an input: of itself, or of all the files in it."""
        number = -1
        with translated(source.name):
            for number, (name, content) in enumerate(source.contents(progress)):
                file = _File(source, number, name, content)
                if named.is_found or name != source.name:
                    yield from self._found(file, tally)
                else:
                    yield from self._named(file, tally)
        if number < 0:
            raise InputError(f"{source.name} is an archive without a file in it")

    def _named(self, file: _File, tally: Tally) -> Iterator[Sequence[AuditEvent]]:
        """Yield the events of a file that was named itself: if it can't be used, nothing can be concluded."""
        yield from self._events_of(file, recognise(file.head, file.name), tally)

    def _found(self, file: _File, tally: Tally) -> Iterator[Sequence[AuditEvent]]:
        """Yield the events of a file that a folder or an archive holds; one that can't be used is counted."""
        if not file.head:
            tally.skip("empty file")
            return
        try:
            layout = recognise(file.head, file.name)
        except InputError as error:
            tally.reject_file(NOT_AN_EXPORT, file.name, str(error))
            return
        try:
            with translated(file.name):
                yield from self._events_of(file, layout, tally)
        except InputError as error:
            tally.reject_file(BROKEN, file.name, str(error))

    def _events_of(self, file: _File, layout: Layout, tally: Tally) -> Iterator[Sequence[AuditEvent]]:
        used, rejected, had_text = _used(tally), tally.unreadable.copy(), tally.has_text
        tally.has_text = False
        clock = Clock(self._reads.order, partial(_order_of, file, layout, file.head))
        context = Context(clock, self._reads.lenient, self._notes)
        yield from _read(file.content, file.name, layout, tally, context)
        reasons = tally.unreadable - rejected
        if NOT_UTF8 in reasons and not tally.has_text and not self._reads.lenient:
            raise InputError(
                f"{file.name} is not UTF-8, first at {tally.first_places[NOT_UTF8]}: give its encoding, such as "
                "--encoding cp1252 for what Excel and Windows write, or save it as UTF-8"
            )
        if reasons and _used(tally) == used:
            raise InputError(f"{file.name} holds nothing that can be read: {_explained(reasons, tally)}")
        tally.has_text |= had_text


def _order_of(file: _File, layout: Layout, head: bytes, value: object) -> DateOrder:
    """Return the order of day and month in a file's dates, from those that show it.

    All of the file is looked at, or of a stream, which can't be read twice, what it began with. `value` is a date that
    shows no order. Raises InputError where none does, or some contradict each other.
    """
    probe = Probe()
    context = Context(probe, lenient=True)
    if file.source.can_be_read_again:
        for number, (name, content) in enumerate(file.source.contents()):
            if number == file.number:
                _exhaust(_read(content, name, layout, Tally(strict=False), context))
                break
    else:
        with suppress(InputError):  # it breaks off somewhere
            _exhaust(_read(BufferedReader(BytesIO(head)), file.name, layout, Tally(strict=False), context))
    if len(probe.orders) == 1:
        return probe.orders.pop()
    why = "it has dates of both orders" if probe.orders else "no date in it shows whether the day comes first"
    raise InputError(
        f"{file.name} has dates such as {str(value)[:40]!r}, and {why}: give --date-order dmy or --date-order mdy"
    )


def _exhaust(events: Iterator[Sequence[AuditEvent]]) -> None:
    for _ in events:
        pass


def _read(
    content: BufferedReader, name: str, layout: Layout, tally: Tally, context: Context
) -> Iterator[Sequence[AuditEvent]]:
    if layout == Layout(Container.LINES, ROW):
        return row_lines(content, name, tally, context)
    if layout.container is Container.CSV:
        return zip(csv_rows(content, name, tally, context))
    if layout.container is Container.ANSWER:
        return zip(answer_rows(content, name, tally, context))
    return zip(records(content, name, layout, tally, context))


def _used(tally: Tally) -> int:
    return tally.events + tally.skipped.total()


def _explained(reasons: Counter[str], tally: Tally) -> str:
    """Return reasons with how often each was met, and what was found first."""
    counted = ", ".join(f"{reason} ({count})" for reason, count in reasons.items())
    first = next(iter(reasons))
    place, detail = tally.first_places.get(first, ""), tally.first_details.get(first, "")
    return f"{counted}; first at {place}" + (f": {detail}" if detail else "")
