"""Options that several commands take."""

from pathlib import Path

import click

from rare_audit.detection.ticks import parse_ticks
from rare_audit.rules import DEFAULT_RULE


def instant(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    """Return an option's instant in ticks, None where it is not given; click.BadParameter where it is none."""
    try:
        return None if text is None else parse_ticks(text)
    except ValueError as error:
        raise click.BadParameter(f"{error}; write 2026-03-15 or 2026-03-15T08:00:00Z") from error


rule_option = click.option(
    "--rule", "rule_file", type=click.Path(path_type=Path), default=DEFAULT_RULE, show_default="the published one",
    help="A rule file.",
)  # fmt: skip
by_property_option = click.option(
    "--by-property", is_flag=True, help="The variant the rule comments out: a new property of a known activity counts."
)
end_option = click.option("--end", callback=instant, help="Where the window ends; this instant itself is not in it.")
