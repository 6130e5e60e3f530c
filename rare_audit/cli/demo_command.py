"""The whole job on a synthetic tenant."""

import shlex
import sys
from pathlib import Path
from typing import Final

import click

from rare_audit.cli.output import drawn, say
from rare_audit.rules import load_exclusions, unmatchable

SAMPLE: Final = Path(__file__).parents[2] / "samples" / "tidewater.ndjson.gz"
QUERY: Final = "select Day, App, Operation, Target from findings"


@click.command()
@click.option(
    "--into", type=click.Path(path_type=Path), default=Path("demo-results"), show_default=True, help="A folder."
)
@click.option("--sample", "export", type=click.Path(path_type=Path), default=SAMPLE, help="Another export to run on.")
def demo(into: Path, export: Path) -> None:
    """Run the whole job on the bundled sample tenant, with findings in SQLite and incidents as files."""
    # Imported here since start-up counts, and few other commands need these.
    from rare_audit.app import DATABASE, OUTBOX, embedded_job  # noqa: PLC0415
    from rare_audit.cli.run_report import ending_line, sight_lines  # noqa: PLC0415
    from rare_audit.exports.export_files import ExportFiles  # noqa: PLC0415
    from rare_audit.sources.sample import FIRST_HUNTED, LAST_HUNTED, planted  # noqa: PLC0415

    for warning in unmatchable(load_exclusions()):
        say(warning)
    say(f"running the job on {export} for {FIRST_HUNTED} and {LAST_HUNTED}")
    with embedded_job(ExportFiles([export]), into) as job:
        run = job.run(FIRST_HUNTED, LAST_HUNTED, asked_by="demo")
        incidents = [*job.incidents(FIRST_HUNTED), *job.incidents(LAST_HUNTED)]
    for line in sight_lines(run, job.rule.lookback_days):
        say(line)
    from rare_audit.reporting.table import incident_table  # noqa: PLC0415  (rich is slow to load)

    click.echo(drawn(incident_table(incidents), sys.stdout))
    say(ending_line(run, incidents))
    if export == SAMPLE:
        say("planted, and not reported, as the rule goes:")
        for case in planted():
            if not case.seen:
                say(f"  {case.name}: {case.why}")
    say(f"incidents: {into / OUTBOX}   findings and runs: {into / DATABASE}")
    say(f"to query them: sqlite3 {shlex.quote(str(into / DATABASE))} '{QUERY}'")
