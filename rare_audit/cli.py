"""The terminal's face. Results go to standard output, all else to standard error."""

import gzip
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import click

from rare_audit.detection.detector import Detector
from rare_audit.detection.query import render
from rare_audit.detection.result import Detection, conclude
from rare_audit.detection.rule import Rule
from rare_audit.detection.ticks import TICKS_PER_DAY, format_day, parse_ticks
from rare_audit.detection.windows import Windows
from rare_audit.errors import InputError, RareAuditError, ServiceError
from rare_audit.reporting import formats
from rare_audit.reporting.summary import funnel_lines
from rare_audit.reporting.text import visible
from rare_audit.rules import DEFAULT_EXCLUSIONS, DEFAULT_RULE, load_exclusions, load_rule, unmatchable
from rare_audit.sources.export import ExportFiles

if TYPE_CHECKING:
    from rich.console import RenderableType

SAMPLE: Final = Path(__file__).parents[1] / "samples" / "tidewater.ndjson.gz"
_PAGE: Final = 160
"""Columns of a table that is not shown on a terminal."""
_ALMOST_A_DAY: Final = TICKS_PER_DAY - TICKS_PER_DAY // 24


class _OneLine(click.Group):
    """A group whose commands explain a failure in one line: exit code 2 for what the user can mend, 1 for the rest."""

    def invoke(self, context: click.Context) -> Any:
        """Run a command."""
        try:
            result = super().invoke(context)
            sys.stdout.flush()
        except BrokenPipeError:
            raise  # a reader that has seen enough: click ends without a word
        except OSError as error:  # files are InputErrors where they are opened
            click.echo(f"rare-audit: standard output can't be written: {error.strerror}", err=True)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what is still buffered, which Python writes at its end
            context.exit(1)
        except RareAuditError as error:
            click.echo(f"rare-audit: {visible(str(error))}", err=True)
            context.exit(1 if isinstance(error, ServiceError) else 2)
        else:
            return result


@click.group(cls=_OneLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rare-audit", version="0.1.0", message="rare-audit %(version)s")
def main() -> None:
    """Find what an app did in Microsoft Entra that it did not do in the two weeks before."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # results are the same whatever the machine's own encoding


def _instant(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    try:
        return None if text is None else parse_ticks(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}; write 2026-03-15 or 2026-03-15T08:00:00Z") from error


_rule_option = click.option(
    "--rule", "rule_file", type=click.Path(path_type=Path), default=DEFAULT_RULE, show_default="the published one",
    help="A rule file.",
)  # fmt: skip
_by_property_option = click.option(
    "--by-property", is_flag=True, help="The variant the rule comments out: a new property of a known activity counts."
)
_end_option = click.option("--end", callback=_instant, help="Where the window ends; this instant itself is not in it.")


@main.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--start", callback=_instant, help="Where the window starts, UTC. Default: the last whole day in the data."
)
@_end_option
@click.option(
    "--daily", is_flag=True, help="One window for each UTC day from start to end, each with its own lookback."
)
@_by_property_option
@_rule_option
@click.option("--exclusions", is_flag=True, help="Leave out the known false positives; by default nothing is.")
@click.option("--strict", is_flag=True, help="Stop at the first record that can't be read.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv", "kql"]), default="table", show_default=True
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a file, not to standard output.")
def hunt(  # noqa: PLR0913, PLR0917  (click hands over an argument for each option)
    files: tuple[str, ...],
    start: int | None,
    end: int | None,
    daily: bool,
    by_property: bool,
    rule_file: Path,
    exclusions: bool,
    strict: bool,
    form: str,
    output: Path | None,
) -> None:
    """Hunt in exports of AuditLogs: files, plain or gzip, or - for standard input.

    Reads Log Analytics exports (NDJSON, CSV, the query API's answer), diagnostic-settings records and Microsoft Graph
    directoryAudits, and tells them apart by itself.
    """
    rule = load_rule(rule_file)
    excluded = load_exclusions(DEFAULT_EXCLUSIONS) if exclusions else ()
    for warning in unmatchable(excluded):
        _say(warning)
    _try(output)
    with _progress(ExportFiles(files).size) as advance:
        source = ExportFiles(files, strict=strict, progress=advance)
        windows = _windows(rule, source, start, end, daily=daily)
        detector = Detector(rule, windows, by_property=by_property, exclusions=excluded)
        detector.feed(source.events(windows.origin, windows.end))
    detection = conclude(detector, source.reading())
    for line in funnel_lines(detection.funnel, source.first_places()):
        _say(line)
    with _opened(output) as file:
        for line in _results(form, rule, windows, detection, file):
            file.write(line + "\n")


def _windows(rule: Rule, source: ExportFiles, start: int | None, end: int | None, *, daily: bool) -> Windows:
    """Return the windows asked for; what was left open is read off the data, and said."""
    last = source.last_instant() if start is None or (daily and end is None) else None
    try:
        if start is None:
            start = _last_whole_day(last, end)
            end = start + TICKS_PER_DAY
            _say(f"no --start: the last whole UTC day in the data is {format_day(start)}")
        if not daily:
            return Windows.single(start, end, rule.lookback_days)
        if end is None:
            end = max(start, last or 0) // TICKS_PER_DAY * TICKS_PER_DAY + TICKS_PER_DAY
        if start % TICKS_PER_DAY or end % TICKS_PER_DAY:
            raise InputError("--daily splits into whole UTC days: --start and --end must be midnights")
        return Windows.days(start, end, rule.lookback_days)
    except ValueError as error:
        raise InputError(f"no such window: {error}") from error


def _last_whole_day(last: int | None, end: int | None) -> int:
    """Return the start of the last UTC day that the data covers to its end: its last event is in the final hour."""
    if end is not None:
        raise InputError("--end needs --start")
    if last is None:
        raise InputError("there is no event in the data, so no day to hunt in; give --start")
    today, time_of_day = last // TICKS_PER_DAY * TICKS_PER_DAY, last % TICKS_PER_DAY
    return today if time_of_day >= _ALMOST_A_DAY else today - TICKS_PER_DAY


def _results(form: str, rule: Rule, windows: Windows, detection: Detection, file: IO[str]) -> Iterable[str]:
    if form == "json":
        return [formats.json_document(rule, windows, detection)]
    if form == "csv":
        return formats.csv_lines(detection)
    if form == "kql":
        return formats.kql_lines(detection)
    if not detection.findings:
        return ["nothing rare"]
    from rare_audit.reporting.table import finding_table  # noqa: PLC0415  (rich is slow to load)

    return [_drawn(finding_table(detection.findings, rule.lookback_days), file)]


def _drawn(table: "RenderableType", file: IO[str]) -> str:
    from rich.console import Console  # noqa: PLC0415  (rich is slow to load)

    width = None if file.isatty() else _PAGE
    console = Console(file=file, width=width, markup=False, highlight=False, emoji=False)
    with console.capture() as drawn:
        console.print(table)
    return drawn.get().rstrip("\n")


@main.command()
@click.option("--start", callback=_instant, required=True, help="Where the window starts, UTC.")
@_end_option
@_by_property_option
@_rule_option
def kql(start: int, end: int | None, by_property: bool, rule_file: Path) -> None:
    """Print the rule's query for a window, ready to paste into the portal."""
    rule = load_rule(rule_file)
    try:
        Windows.single(start, end, rule.lookback_days)
    except ValueError as error:
        raise InputError(f"no such window: {error}") from error
    click.echo(render(rule, start, end, by_property=by_property), nl=False)


@main.command()
@click.option("--events", default=4_000, show_default=True, type=click.IntRange(min=1), help="How many.")
@click.option("--seed", default=7, show_default=True, help="The same seed gives the same bytes.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a file; one named .gz is compressed.")
def sample(events: int, seed: int, output: Path | None) -> None:
    """Write a synthetic tenant's AuditLogs, sixteen days with planted attacks, as a Log Analytics export has them."""
    from rare_audit.sources.sample import sample_lines  # noqa: PLC0415  (only this command and demo need it)

    if output is None:
        sys.stdout.buffer.writelines(sample_lines(events, seed))
        return
    with _explained(output), output.open("wb") as file:
        if output.suffix != ".gz":
            file.writelines(sample_lines(events, seed))
            return
        # Neither its time nor its name goes in: the same sample is the same file.
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as compressed:
            compressed.writelines(sample_lines(events, seed))


@main.command()
@click.option(
    "--into", type=click.Path(path_type=Path), default=Path("demo-results"), show_default=True, help="A folder."
)
@click.option("--sample", "export", type=click.Path(path_type=Path), default=SAMPLE, help="Another export to run on.")
def demo(into: Path, export: Path) -> None:
    """Run the whole job on the bundled sample tenant, with findings in SQLite and incidents as files."""
    # Imported here since start-up counts, and no other command needs these.
    from rare_audit.app import DATABASE, OUTBOX, embedded_job  # noqa: PLC0415
    from rare_audit.settings import Settings  # noqa: PLC0415
    from rare_audit.sources.sample import FIRST_HUNTED, LAST_HUNTED, planted  # noqa: PLC0415

    settings = Settings(exports=(export,), home=into)
    for warning in unmatchable(load_exclusions(settings.exclusions)):
        _say(warning)
    _say(f"running the job on {export} for {FIRST_HUNTED} and {LAST_HUNTED}")
    with embedded_job(settings) as job:
        run = job.run(FIRST_HUNTED, LAST_HUNTED, asked_by="demo")
        incidents = [*job.incidents(FIRST_HUNTED), *job.incidents(LAST_HUNTED)]
    for line in funnel_lines(run.funnel, {}) if run.funnel else ():
        _say(line)
    from rare_audit.reporting.table import incident_table  # noqa: PLC0415  (rich is slow to load)

    click.echo(_drawn(incident_table(incidents), sys.stdout))
    changes = run.changes
    _say(
        f"run {run.id}: {len(changes.new)} findings new, {len(changes.confirmed)} confirmed, {len(changes.changed)} "
        f"changed, {len(changes.withdrawn)} withdrawn; {len(run.delivered)} of {len(incidents)} incidents written"
    )
    if export == SAMPLE:
        _say("planted, and not reported, as the rule goes:")
        for case in planted():
            if not case.seen:
                _say(f"  {case.name}: {case.why}")
    _say(f"incidents: {into / OUTBOX}   findings and runs: {into / DATABASE}")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _try(output: Path | None) -> None:
    """Find out before the work is done, not after, that a file can't be written."""
    if output is not None:
        with _explained(output):
            output.open("ab").close()


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        return
    with _explained(output), output.open("w", encoding="utf-8") as file:
        yield file


@contextmanager
def _explained(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{output}: can't be written: {error.strerror}") from error


@contextmanager
def _progress(total: int | None) -> Iterator[Callable[[int], None] | None]:
    """Show a bar of the bytes read, of `total` where that is known, on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415  (rich is slow to load)
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn  # noqa: PLC0415  (the same)

    columns = ("reading", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=total)
        yield lambda count: bar.advance(task, count)
