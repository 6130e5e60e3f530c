"""Hunting in exports."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Final

import click

from rare_audit.cli.options import by_property_option, end_option, instant, rule_option
from rare_audit.cli.output import drawn, opened, progress, say, try_output
from rare_audit.detection.detector import Detector
from rare_audit.detection.result import Detection, conclude
from rare_audit.detection.rule import Rule
from rare_audit.detection.ticks import TICKS_PER_DAY, format_day
from rare_audit.detection.windows import Windows
from rare_audit.errors import InputError
from rare_audit.exports.export_files import ExportFiles
from rare_audit.reporting import formats
from rare_audit.reporting.summary import funnel_lines
from rare_audit.rules import DEFAULT_EXCLUSIONS, load_exclusions, load_rule, unmatchable

_ALMOST_A_DAY: Final = TICKS_PER_DAY - TICKS_PER_DAY // 24


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    "--start", callback=instant, help="Where the window starts, UTC. Default: the last whole day in the data."
)
@end_option
@click.option(
    "--daily", is_flag=True, help="One window for each UTC day from start to end, each with its own lookback."
)
@by_property_option
@rule_option
@click.option("--exclusions", is_flag=True, help="Leave out the known false positives; by default nothing is.")
@click.option("--strict", is_flag=True, help="Stop at the first record that can't be read.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv", "kql", "html"]), default="table", show_default=True
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
        say(warning)
    try_output(output)
    with progress(ExportFiles(files).size) as advance:
        source = ExportFiles(files, strict=strict, progress=advance)
        windows = _windows(rule, source, start, end, daily=daily)
        detector = Detector(rule, windows, by_property=by_property, exclusions=excluded)
        detector.feed(source.events(windows.origin, windows.end))
    detection = conclude(detector, source.reading())
    for line in funnel_lines(detection.funnel, source.first_places()):
        say(line)
    with opened(output) as file:
        for line in _results(form, rule, windows, detection, source.first_places(), file):
            file.write(line + "\n")


def _windows(rule: Rule, source: ExportFiles, start: int | None, end: int | None, *, daily: bool) -> Windows:
    """Return the windows asked for; what was left open is read off the data, and said."""
    last = source.last_instant() if start is None or (daily and end is None) else None
    try:
        if start is None:
            start = _last_whole_day(last, end)
            end = start + TICKS_PER_DAY
            say(f"no --start: the last whole UTC day in the data is {format_day(start)}")
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


def _results(
    form: str, rule: Rule, windows: Windows, detection: Detection, places: Mapping[str, str], file: IO[str]
) -> Iterable[str]:
    if form == "html":
        from rare_audit.pages import hunt_page  # noqa: PLC0415  (templates are slow to load)

        return [hunt_page(rule, windows, detection, places).html]
    if form == "json":
        return [formats.json_document(rule, windows, detection)]
    if form == "csv":
        return formats.csv_lines(detection)
    if form == "kql":
        return formats.kql_lines(detection)
    if not detection.findings:
        return ["nothing rare"]
    from rare_audit.reporting.table import finding_table  # noqa: PLC0415  (rich is slow to load)

    return [drawn(finding_table(detection.findings, rule.lookback_days), file)]
