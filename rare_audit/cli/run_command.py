"""The deployed job, done at once from a terminal."""

import os
import sys
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from rare_audit.cli.output import drawn, say, warnings_said
from rare_audit.errors import RareAuditError

if TYPE_CHECKING:
    from rare_audit.job import Job
    from rare_audit.job.planning import Wanted
    from rare_audit.records import Run


@click.command()
@click.option("--date", "day", metavar="DAY", help="One UTC day, as YYYY-MM-DD.")
@click.option("--from", "first_day", metavar="DAY", help="The first of several UTC days, with --to.")
@click.option("--to", "last_day", metavar="DAY", help="The last of them; it is included.")
@click.option("--start", metavar="TIME", help="Where a dry run starts that is not about whole days, with --end.")
@click.option("--end", metavar="TIME", help="Where it ends; this instant itself is not in it.")
@click.option("--dry-run", is_flag=True, help="Find and tell; keep, withdraw and raise nothing.")
@click.option("--reason", default="", help="Why, for the run's record.")
def run(  # noqa: PLR0913, PLR0917  (click hands over an argument for each option)
    day: str | None,
    first_day: str | None,
    last_day: str | None,
    start: str | None,
    end: str | None,
    dry_run: bool,
    reason: str,
) -> None:
    """Run the job on Azure at once. For days that were missed, or are wanted again.

    It has the settings of the deployed app, and runs in this process. Days done before are done again, and nothing is
    raised twice. A day of which AuditLogs has no event is told on standard error, and stays due if none after it has.

    A dry run needs of the settings the workspace's GUID alone. It is stored for a week where a storage account is set.

    Exit code 0: done, days without any event included. 1: something outside failed, or another run is at work; what
    was found until then is kept. 2: the settings or the days can't be used.
    """
    # Imported here since start-up counts, and no other command needs these.
    from rare_audit.job.planning import LONGEST_REASON  # noqa: PLC0415

    form = _form(day, first_day, last_day, start, end, dry_run=dry_run)
    if len(reason) > LONGEST_REASON:
        raise click.BadParameter(f"longer than {LONGEST_REASON} characters", param_hint="--reason")
    with warnings_said():
        if dry_run:
            _run_dry(form, reason)
        else:
            _run_deployed(form, reason)


def _run_deployed(form: dict[str, str], reason: str) -> None:
    """Do a run with all that the deployed app has, and show the incidents of its days."""
    from rare_audit.app import azure  # noqa: PLC0415  (see run)
    from rare_audit.settings import read_settings  # noqa: PLC0415  (see run)

    with azure(read_settings(os.environ)) as dispatch:
        job = dispatch.job
        _show(job, _done(job, _new(job, form, reason=reason)))


def _run_dry(form: dict[str, str], reason: str) -> None:
    """Do a dry run, and show what it found; say so where it is not stored."""
    from rare_audit.app import dry_run_job  # noqa: PLC0415  (see run)
    from rare_audit.settings import read_dry_run_settings  # noqa: PLC0415  (see run)

    settings = read_dry_run_settings(os.environ)
    with dry_run_job(settings) as job:
        new = _new(job, form, reason=reason, dry_run=True)
        if settings.tables is None:
            say("no storage account is set: this dry run is not stored, and what it finds is shown here only")
        _show_dry(job, _done(job, new))


def _form(
    day: str | None, first_day: str | None, last_day: str | None, start: str | None, end: str | None, *, dry_run: bool
) -> dict[str, str]:
    """Return the one form that a run was asked for in, whole: texts by their options' names."""
    forms = ({"date": day}, {"from": first_day, "to": last_day}, {"start": start, "end": end})
    asked = [form for form in forms if any(text is not None for text in form.values())]
    whole = [{name: text for name, text in form.items() if text is not None} for form in asked]
    if len(asked) != 1 or len(whole[0]) < len(asked[0]):
        raise click.UsageError("expected --date, or --from and --to, or for a dry run --start and --end")
    if "start" in whole[0] and not dry_run:
        raise click.UsageError("only a --dry-run may have a --start and --end of its own; a run covers whole UTC days")
    return whole[0]


def _new(job: "Job", form: dict[str, str], **more: Any) -> "Run":
    """Return a new run of what was asked for, and say what it is; `more` are other fields of it."""
    from rare_audit.job.planning import new_run  # noqa: PLC0415  (see run)
    from rare_audit.rules import unmatchable  # noqa: PLC0415  (see run)

    now = job.clock.now()
    wanted = _wanted(form, now)
    for warning in unmatchable(job.exclusions):
        say(warning)
    new = new_run(job.rule.id, wanted, now, asked_by="terminal", **more)
    say(f"run {new.id}: {new.start or new.first_day} to {new.end or new.last_day}")
    return new


def _wanted(form: dict[str, str], now: datetime) -> "Wanted":
    from rare_audit.job.planning import FieldError, wanted_of  # noqa: PLC0415  (see run)

    try:
        return wanted_of(form, now)
    except FieldError as error:
        raise click.BadParameter(str(error), param_hint=f"--{error.field}") from error


def _done(job: "Job", new: "Run") -> "Run":
    """Do a run; of one that fails, tell first what it saw."""
    from rare_audit.cli.run_report import sight_lines  # noqa: PLC0415  (see run)

    lookback_days = job.rule.lookback_days
    try:
        ended = job.do(new)
    except RareAuditError:
        with suppress(RareAuditError):
            failed = job.stores.runs.get(new.id)
            for line in sight_lines(failed, lookback_days) if failed else ():
                say(line)
        raise
    for line in sight_lines(ended, lookback_days):
        say(line)
    return ended


def _show(job: "Job", ended: "Run") -> None:
    from rare_audit.cli.run_report import ending_line  # noqa: PLC0415  (see run)
    from rare_audit.job.planning import days_of  # noqa: PLC0415  (see run)
    from rare_audit.reporting.finding_rows import TABLE  # noqa: PLC0415  (see run)
    from rare_audit.reporting.table import incident_table  # noqa: PLC0415  (rich is slow to load)

    days = days_of(ended)
    incidents = [incident for each in days for incident in job.incidents(each)]
    if incidents:
        click.echo(drawn(incident_table(incidents), sys.stdout))
    else:
        click.echo("no data" if len(ended.silent) == len(days) else "nothing rare")
    say(ending_line(ended, incidents))
    if job.sink is None:
        if job.table is None:
            say("RARE_AUDIT_INCIDENTS is observe: these incidents are not raised")
        else:
            say(f"these incidents are not raised; the findings are rows of {TABLE}")


def _show_dry(job: "Job", ended: "Run") -> None:
    from rare_audit.dispatch import findings_of  # noqa: PLC0415  (see run)
    from rare_audit.reporting.table import finding_table  # noqa: PLC0415  (rich is slow to load)

    findings = sorted(
        (each.kept.finding for each in findings_of(job.stores, ended)),
        key=lambda finding: (finding.day, finding.target_user_principal_name, finding.start_time, finding.id),
    )
    if findings:
        click.echo(drawn(finding_table(findings, job.rule.lookback_days), sys.stdout))
    else:
        click.echo("nothing rare")
    say(f"run {ended.id}: {len(findings)} findings; a dry run, so none is kept and no incident raised")
