"""A look at everything that the deployed job needs."""

import os
from typing import TYPE_CHECKING, Final

import click

from rare_audit.cli.output import warnings_said
from rare_audit.errors import RuleError, SettingsError
from rare_audit.reporting.text import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rare_audit.doctor import Check

_MOST: Final = 600


@click.command()
@click.pass_context
def doctor(context: click.Context) -> None:
    """Look at all that the deployed job needs. Says what is missing, and how to mend it.

    One line a check: ok, warn or FAIL, what was looked at, what was found. These are the settings, the identity's
    tokens, AuditLogs and how many days of it there are, the table, the queue, what the identity may do in Sentinel,
    and the last run. Nothing is raised or sent; a row is written to the table, and removed. Away from the app it is
    the identity of whoever is signed in that is looked at.

    Exit code 0: the job can work. 1: something fails. 2: the settings are wrong, each problem on a line of its own.
    """
    failed = False
    try:
        with warnings_said():
            for check in _checks():
                click.echo(one_line(f"{check.verdict:<4}  {check.what}: {check.found}", _MOST))
                failed |= check.verdict.fails
    except (SettingsError, RuleError) as error:
        for problem in error.problems if isinstance(error, SettingsError) else (error,):
            click.echo(one_line(f"FAIL  settings: {problem}", _MOST))
        context.exit(2)
    context.exit(1 if failed else 0)


def _checks() -> "Iterator[Check]":
    # Imported here since start-up counts, and no other command needs these.
    from rare_audit.doctor import examine  # noqa: PLC0415
    from rare_audit.rules import load_exclusions, load_rule  # noqa: PLC0415
    from rare_audit.settings import read_settings  # noqa: PLC0415

    settings = read_settings(os.environ)
    rule, exclusions = load_rule(settings.workspace.rule), load_exclusions(settings.workspace.exclusions)
    yield from examine(settings, rule, exclusions)
