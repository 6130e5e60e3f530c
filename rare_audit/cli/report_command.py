"""A run's report, as a page."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rare_audit.cli.output import opened, say, warnings_said
from rare_audit.detection.ticks import day_ticks
from rare_audit.errors import InputError
from rare_audit.reporting.text import one_line

if TYPE_CHECKING:
    from rare_audit.detection.rule import Rule
    from rare_audit.ports import Stores
    from rare_audit.records import Run


@click.command()
@click.option("--run", "run_id", metavar="ID", help="The run, by its id.")
@click.option(
    "--date", "day", metavar="DAY", help="A UTC day, as YYYY-MM-DD: all that is kept of it, whoever found it."
)
@click.option(
    "--home", type=click.Path(path_type=Path), help="A folder of the demo, in place of the deployed app's storage."
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a file, not to standard output.")
def report(run_id: str | None, day: str | None, home: Path | None, output: Path | None) -> None:
    """Write what a run found as one HTML page: no script in it, nothing that it loads.

    With the settings of the deployed app, from what is kept now. It changes nothing.
    """
    # Imported here since start-up counts, and no other command needs these.
    from rare_audit.pages import run_of_day, run_page  # noqa: PLC0415

    if (run_id is None) == (day is None):
        raise click.UsageError("expected --run or --date, and one of them")
    if day is not None:
        _check(day)
    with opened(output) as file:
        with _kept(home) as (stores, rule), warnings_said():
            run = run_of_day(stores, rule, day) if day else _run(stores, run_id or "")
            if run is None:
                raise InputError(f"no run of {day} is kept; have it done with: run --date {day}")
            page = run_page(stores, rule, run, day or "")
        file.write(page.html)
    if output:
        say(f"run {run.id}: {output}, {len(page.html.encode()):,} bytes")


def _check(day: str) -> None:
    try:
        day_ticks(day)
    except ValueError as error:
        raise click.BadParameter(f"days are written YYYY-MM-DD: {error}", param_hint="--date") from error


def _run(stores: "Stores", run_id: str) -> "Run":
    run = stores.runs.get(run_id)
    if run is None:
        raise InputError(f"no run {one_line(run_id, 60)!r} is kept; it may have been removed by retention")
    return run


@contextmanager
def _kept(home: Path | None) -> Iterator[tuple["Stores", "Rule"]]:
    """Yield all that is kept, and the rule: of the demo in a folder, or of the deployed app. Raises InputError."""
    from rare_audit.app import DATABASE, azure, embedded_job  # noqa: PLC0415  (see report)
    from rare_audit.exports.export_files import ExportFiles  # noqa: PLC0415  (see report)
    from rare_audit.settings import read_settings  # noqa: PLC0415  (see report)

    if home is None:
        with azure(read_settings(os.environ)) as dispatch:
            yield dispatch.stores, dispatch.job.rule
        return
    if not (home / DATABASE).is_file():
        raise InputError(f"{home}: there is no {DATABASE} in it; the demo makes one: demo --into {home}")
    with embedded_job(ExportFiles([]), home) as job:
        yield job.stores, job.rule
