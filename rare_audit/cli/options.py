"""Options that several commands take."""

from pathlib import Path

import click

from rare_audit.cli.times import instant
from rare_audit.rules import DEFAULT_RULE

rule_option = click.option(
    "--rule", "rule_file", type=click.Path(path_type=Path), default=DEFAULT_RULE, show_default="the published one",
    help="A rule file.",
)  # fmt: skip
by_property_option = click.option(
    "--by-property", is_flag=True, help="The variant the rule comments out: a new property of a known activity counts."
)
end_option = click.option("--end", callback=instant, help="End of the window, UTC (exclusive).")
