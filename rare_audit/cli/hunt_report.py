"""What a hunt says: notices before the results, the results in each format, the last line, the exit code."""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import IO, Final

import click

from rare_audit.cli.hunt_sources import Found
from rare_audit.cli.output import drawn
from rare_audit.detection.result import Detection
from rare_audit.detection.rule import Rule
from rare_audit.detection.ticks import format_ticks
from rare_audit.errors import InputError
from rare_audit.exports.inputs import named_files
from rare_audit.reporting import formats
from rare_audit.reporting.coverage import MIN_DAYS
from rare_audit.reporting.summary import coverage_lines, data_line
from rare_audit.reporting.text import one_line

_LEVELS: Final = ("informational", "low", "medium", "high")
_MOST_DAYS: Final = 5
_LONGEST: Final = 400
DONE, LOST, NO_EVENTS, FINDINGS = 0, 3, 4, 5


class Form(StrEnum):
    """A format of the results."""

    TABLE = "table"
    HTML = "html"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    NDJSON = "ndjson"


_SUFFIXES: Final = {".txt": Form.TABLE, ".htm": Form.HTML} | {f".{form}": form for form in Form if form != Form.TABLE}


def form_of(name: str | None, output: Path | None) -> Form:
    """Return the format by its name, "kql" being the former one of ndjson, or by the suffix of the output.

    Raises click.UsageError where the two contradict each other, or a suffix says nothing.
    """
    form = Form.NDJSON if name == "kql" else Form(name) if name else None
    suffix = output.suffix.lower() if output else ""
    implied = _SUFFIXES.get(suffix)
    if form and implied and form is not implied:
        raise click.UsageError(f"a file named {suffix} holds {implied}, and --format says {name}")
    if form is None and suffix and implied is None:
        raise click.UsageError(f"--format is needed: {suffix} is not one of {', '.join(_SUFFIXES)}")
    return form or implied or Form.TABLE


def check_output(output: Path | None, files: Sequence[str]) -> None:
    """Raise InputError where the results would be written over a file that is to be read."""
    if output is None or not output.exists():
        return
    for named in named_files(files):
        if Path(named.path).exists() and output.samefile(named.path):
            raise InputError(f"{output} is one of the files to read: write the results to another")


class Hunt:
    """A hunt's outcome, and what follows from it."""

    def __init__(self, rule: Rule, found: Found, *, lenient: bool) -> None:
        self.rule = rule
        self.found = found
        self.lenient = lenient

    @property
    def detection(self) -> Detection:
        """What the engine found."""
        return self.found.detection

    @property
    def has_events(self) -> bool:
        """Whether an app did anything in the windows: if not, nothing can be found, and nothing is cleared."""
        return self.detection.funnel.current.app_initiated > 0

    @property
    def degraded(self) -> tuple[str, ...]:
        """The days with too few days of data before them."""
        return tuple(day for day, coverage in self.found.coverage.items() if coverage.is_degraded(MIN_DAYS))

    @property
    def lost(self) -> int:
        """How many records and files could not be read, and events whose changes could not."""
        return self.detection.funnel.lost

    @property
    def is_whole(self) -> bool:
        """Whether all of the input was read and looked at."""
        return not self.lost and not self.found.left_out

    def exit_code(self, fail_on: str | None) -> int:
        """Return the process's exit code; `fail_on` is the severity from which findings make it 5."""
        severity = self.rule.severity.lower()
        if fail_on and self.detection.findings and _LEVELS.index(severity) >= _LEVELS.index(fail_on):
            return FINDINGS
        if not self.is_whole and not self.lenient:
            return LOST
        return DONE if self.has_events else NO_EVENTS


def notices(hunt: Hunt) -> Iterator[str]:
    """Yield what there is to know before the results are believed."""
    yield data_line(hunt.detection.data)
    for remark in hunt.found.remarks:
        yield one_line(remark, _LONGEST)
    if not hunt.has_events:
        yield _without_events(hunt)
    yield from coverage_lines(hunt.found.coverage, hunt.degraded, str(MIN_DAYS))
    if hunt.found.left_out:
        days = _listed(hunt.found.left_out)
        yield f"warning: {days} lie years apart from the other days and were not looked at: give --date"
    if hunt.lost:
        yield f"warning: {_lost(hunt)}"


def ending(hunt: Hunt) -> str:
    """Return the last line where the results are not of all the input, or there was nothing to look at; else ""."""
    if hunt.lost:
        return f"incomplete: {_lost(hunt)}"
    if hunt.found.left_out:
        return f"incomplete: {_listed(hunt.found.left_out)} were not looked at"
    return "" if hunt.has_events else _without_events(hunt)


def _lost(hunt: Hunt) -> str:
    reading, odd = hunt.detection.funnel.reading, hunt.detection.funnel.odd
    counts = (
        (sum(reading.unreadable.values()), "record"),
        (sum(reading.files.values()), "file"),
        (sum(odd.values()), "event"),
    )
    lost = " and ".join(f"{count:,} {what}{'s' if count > 1 else ''}" for count, what in counts if count)
    return f"{lost} could not be read; findings may be missing"


def _without_events(hunt: Hunt) -> str:
    windows, days = hunt.found.windows, hunt.detection.data.days_by_apps
    end = "now on" if windows.is_open else format_ticks(windows.end)[:16].replace("T", " ")
    start = format_ticks(windows.start)[:16].replace("T", " ")
    bounds = f"from {start} on" if windows.is_open else f"between {start} and {end}"
    if not days:
        return f"no events by apps {bounds}, and none on any other day that was read"
    return f"no events by apps {bounds}; there are some on {_listed(sorted(days))}: try --date {max(days)}"


def _listed(days: Sequence[str]) -> str:
    """Return days, or of many the first and the last ones."""
    if len(days) <= _MOST_DAYS:
        return ", ".join(days)
    return f"{', '.join(days[:2])} … {days[-1]} ({len(days):,} days)"


def results(hunt: Hunt, form: Form, file: IO[str]) -> Iterable[str]:
    """Yield the lines of the results, in a format."""
    detection = hunt.detection
    match form:
        case Form.HTML:
            from rare_audit.pages import hunt_page  # noqa: PLC0415  (templates are slow to load)

            found = hunt.found
            yield hunt_page(
                hunt.rule, found.windows, detection, found.places, coverage=found.coverage, degraded=hunt.degraded
            ).html
        case Form.JSON:
            yield formats.json_document(hunt.rule, hunt.found.windows, detection, hunt.found.coverage, hunt.degraded)
        case Form.JSONL:
            yield from formats.jsonl_lines(detection, hunt.found.coverage, hunt.degraded)
        case Form.CSV:
            yield from formats.csv_lines(detection, hunt.found.coverage, hunt.degraded)
        case Form.NDJSON:
            yield from formats.ndjson_lines(detection)
        case Form.TABLE:
            yield from _table(hunt, file)


def _table(hunt: Hunt, file: IO[str]) -> Iterator[str]:
    yield from notices(hunt)
    yield ""
    if hunt.detection.findings:
        from rare_audit.reporting.table import finding_table  # noqa: PLC0415  (rich is slow to load)

        yield drawn(finding_table(hunt.detection.findings, hunt.rule.lookback_days), file)
    elif hunt.has_events:
        yield "nothing rare" + ("" if hunt.is_whole else " in what could be read")
