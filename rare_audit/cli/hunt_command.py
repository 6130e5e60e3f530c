"""Hunting in exports, or in a workspace."""

from pathlib import Path
from typing import Final

import click

from rare_audit.cli import hunt_options as options
from rare_audit.cli.hunt_report import Form, Hunt, check_output, ending, form_of, notices, results
from rare_audit.cli.hunt_sources import hunt_files, hunt_workspace
from rare_audit.cli.hunt_windows import Asked
from rare_audit.cli.options import by_property_option, end_option, rule_option
from rare_audit.cli.output import opened, say
from rare_audit.cli.times import day, instant
from rare_audit.exports.export_files import Reads
from rare_audit.exports.times import DateOrder
from rare_audit.reporting.summary import funnel_lines
from rare_audit.rules import DEFAULT_EXCLUSIONS, load_exclusions, load_rule, unmatchable

_LEVELS: Final = ("informational", "low", "medium", "high")


@click.command(epilog=options.EXIT_CODES)
@click.argument("files", nargs=-1, metavar="FILE…")
@click.option("--workspace", metavar="[GUID]", is_flag=False, flag_value="", help=options.WORKSPACE)
@click.option("--date", "only_day", callback=day, metavar="DAY", help="Look at one UTC day.")
@click.option("--from", "first_day", callback=day, metavar="DAY", help="The first of several UTC days.")
@click.option("--to", "last_day", callback=day, metavar="DAY", help="The last of several UTC days (inclusive).")
@click.option("--start", callback=instant, metavar="TIME", help="Start of one window, UTC; without --end it is open.")
@end_option
@click.option("--daily", is_flag=True, help="Split --start to --end into UTC days, each with its own lookback.")
@by_property_option
@rule_option
@click.option("--exclusions", is_flag=True, help="Suppress the rule's published false positives.")
@click.option("--strict", is_flag=True, help="Stop at the first record that can't be read.")
@click.option("--lenient", is_flag=True, help=options.LENIENT)
@click.option("--date-order", type=click.Choice([each.value for each in DateOrder]), help=options.DATE_ORDER)
@click.option("--encoding", default="", metavar="NAME", help="The files' text encoding, if it is not UTF-8 or UTF-16.")
@click.option("--format", "form", type=click.Choice([each.value for each in Form] + ["kql"]), help=options.FORMAT)
@click.option("--fail-on", type=click.Choice(_LEVELS), help=options.FAIL_ON)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the results to a file.")
@click.pass_context
def hunt(  # noqa: PLR0913, PLR0917  (click hands over an argument for each option)
    context: click.Context,
    files: tuple[str, ...],
    workspace: str | None,
    only_day: int | None,
    first_day: int | None,
    last_day: int | None,
    start: int | None,
    end: int | None,
    daily: bool,
    by_property: bool,
    rule_file: Path,
    exclusions: bool,
    strict: bool,
    lenient: bool,
    date_order: str | None,
    encoding: str,
    form: str | None,
    fail_on: str | None,
    output: Path | None,
) -> None:
    """Find rare app activity in exports of Entra audit logs.

    FILE is a file, a folder, a quoted pattern, a zip or tar archive, or - for standard input: Log Analytics exports
    (NDJSON, CSV, the query API's answer), diagnostic-settings records, Microsoft Graph directoryAudits, the Entra
    portal's downloads, and the unified audit log.

    By default every UTC day is looked at that has 14 days of data before it.
    """
    asked = _asked(only_day, first_day, last_day, start, end, daily=daily)
    if bool(files) == (workspace is not None):
        raise click.UsageError("give FILE… or --workspace, and one of them")
    if strict and lenient:
        raise click.UsageError("--strict and --lenient contradict each other")
    chosen_form = form_of(form, output)
    reads = Reads(strict, lenient, DateOrder(date_order) if date_order else None, encoding)
    rule = load_rule(rule_file)
    excluded = load_exclusions(DEFAULT_EXCLUSIONS) if exclusions else ()
    for warning in unmatchable(excluded):
        say(warning)
    check_output(output, files)
    with opened(output) as file:
        if workspace is None:
            found = hunt_files(files, reads, asked, rule, excluded, by_property=by_property)
        else:
            found = hunt_workspace(workspace, asked, rule, excluded, by_property=by_property)
        outcome = Hunt(rule, found, lenient=lenient)
        _say_all(outcome, chosen_form, is_file=output is not None)
        for line in results(outcome, chosen_form, file):
            file.write(line + "\n")
    last = ending(outcome)
    if last:
        say(last)
    context.exit(outcome.exit_code(fail_on))


def _asked(
    only_day: int | None,
    first_day: int | None,
    last_day: int | None,
    start: int | None,
    end: int | None,
    *,
    daily: bool,
) -> Asked:
    """Return what is asked for, in one of the ways there are. Raises click.UsageError."""
    forms = [only_day is not None, first_day is not None or last_day is not None, start is not None or end is not None]
    if sum(forms) > 1:
        raise click.UsageError("give --date, or --from and --to, or --start and --end")
    if daily and (forms[0] or forms[1]):
        raise click.UsageError("--daily goes with --start; --date, --from and --to are about days already")
    if only_day is not None:
        return Asked(only_day, only_day)
    if first_day is not None and last_day is not None and last_day < first_day:
        raise click.UsageError("--to is before --from")
    return Asked(first_day, last_day, start, end, daily)


def _say_all(outcome: Hunt, form: Form, *, is_file: bool) -> None:
    """Write to standard error what there is to know before the results are believed, then the funnel."""
    if form is not Form.TABLE or is_file or not options.is_one_terminal():
        for line in notices(outcome):
            say(line)
    for line in funnel_lines(outcome.detection.funnel, outcome.found.places, outcome.found.details):
        say(line)
