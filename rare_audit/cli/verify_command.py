"""The engine held against the workspace's own KQL."""

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from rare_audit.cli.options import by_property_option
from rare_audit.cli.output import say, warnings_said
from rare_audit.detection.ticks import TICKS_PER_DAY, day_ticks, format_day, parse_ticks
from rare_audit.reporting.text import one_line

if TYPE_CHECKING:
    from rare_audit.verify import Comparison
    from rare_audit.verify.comparison import Difference

_NAME: Final = 80
_VALUE: Final = 300


@click.command()
@click.option("--date", "day", metavar="DAY", required=True, help="A UTC day that is over, as YYYY-MM-DD.")
@by_property_option
@click.pass_context
def verify(context: click.Context, day: str, by_property: bool) -> None:
    """Compare the engine with your own workspace. It shows that both give the same rows.

    Has the workspace run the rule's own query, which the command kql prints, and asks it for every event of the day
    and of its lookback; runs the engine on these, without exclusions; compares row by row, column by column. Of the
    settings it needs the workspace's GUID alone.

    Exit code 0: equal. 1: different, with each difference on a line of its own, or the workspace can't be asked.
    """
    # Imported here since start-up counts, and no other command needs these.
    from rare_audit.app import SystemClock, log_analytics  # noqa: PLC0415
    from rare_audit.job.planning import FieldError, whole_days  # noqa: PLC0415
    from rare_audit.reporting.summary import funnel_lines  # noqa: PLC0415
    from rare_audit.rules import load_rule  # noqa: PLC0415
    from rare_audit.settings import read_workspace_settings  # noqa: PLC0415
    from rare_audit.verify import verify as verified  # noqa: PLC0415

    now = SystemClock().now()
    try:
        start = day_ticks(whole_days(day, day, now).first_day)
    except FieldError as error:
        raise click.BadParameter(str(error), param_hint="--date") from error
    settings = read_workspace_settings(os.environ)
    rule = load_rule(settings.rule)
    source = log_analytics(settings)  # of no rule: every event, see there
    first = format_day(start - rule.lookback_days * TICKS_PER_DAY)
    say(f"asking the workspace for the rule's own result for {day}, and for every event since {first}")
    with warnings_said():
        comparison = verified(source, rule, start, by_property=by_property)
    for line in funnel_lines(comparison.funnel, {}):
        say(line)
    for line in result_lines(comparison):
        click.echo(line)
    if not comparison.differences:
        return
    if (source.latest_arrival() or 0) > parse_ticks(now.isoformat()):
        say("events of that time arrived while this ran: they may be the whole difference; run it again")
    context.exit(1)


def result_lines(comparison: "Comparison") -> Iterator[str]:
    """Yield that all is equal, or a line for each difference and how many there are; safe to be shown."""
    if not comparison.differences:
        yield f"{comparison.engine_rows} rows, equal"
        return
    yield from map(_line, comparison.differences)
    rows = len({difference.row for difference in comparison.differences})
    yield (
        f"{len(comparison.differences)} differences in {rows} rows; the workspace has {comparison.workspace_rows} "
        f"rows, the engine {comparison.engine_rows}"
    )


def _line(difference: "Difference") -> str:
    from rare_audit.verify.comparison import GROUPING  # noqa: PLC0415  (see verify)

    named = zip(GROUPING, difference.row, strict=True)
    row = ", ".join(f'{name} "{one_line(text, _NAME)}"' for name, text in named if text)
    workspace, engine = (one_line(text, _VALUE) for text in (difference.workspace, difference.engine))
    column = f"{difference.column}: " if difference.column else ""
    return f"{row}: {column}workspace {workspace}; engine {engine}"
