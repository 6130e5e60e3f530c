"""The rule's query as text."""

from pathlib import Path

import click

from rare_audit.cli.options import by_property_option, end_option, rule_option
from rare_audit.cli.times import instant
from rare_audit.detection.query import render
from rare_audit.detection.windows import Windows
from rare_audit.errors import InputError
from rare_audit.rules import load_rule


@click.command()
@click.option("--start", callback=instant, required=True, help="Where the window starts, UTC.")
@end_option
@by_property_option
@rule_option
def kql(start: int, end: int | None, by_property: bool, rule_file: Path) -> None:
    """Print the rule's query for a window, ready to paste into the portal."""
    rule = load_rule(rule_file)
    try:
        Windows.single(start, end, rule.lookback_days)
    except ValueError as error:
        raise InputError(f"no such window: {error}") from error
    click.echo(render(rule, start, end, by_property=by_property), nl=False)
