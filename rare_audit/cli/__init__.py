"""The terminal's face. Results go to standard output, all else to standard error."""

import os
import sys
from io import TextIOWrapper
from pathlib import Path

import click

from rare_audit.cli.demo_command import SAMPLE, demo
from rare_audit.cli.doctor_command import doctor
from rare_audit.cli.group import OneLine
from rare_audit.cli.hunt_command import hunt
from rare_audit.cli.kql_command import kql
from rare_audit.cli.report_command import report
from rare_audit.cli.run_command import run
from rare_audit.cli.sample_command import sample
from rare_audit.cli.verify_command import verify
from rare_audit.errors import InputError

__all__ = ["SAMPLE", "hunt", "main"]


@click.group(cls=OneLine, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rare-audit", version="0.1.0", message="rare-audit %(version)s")
def main() -> None:
    """Find what an app did in Microsoft Entra that it did not do in the two weeks before."""
    streams = vars(sys)  # a stream is None where whoever called closed it, whatever its type says
    if streams["stderr"] is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    if streams["stdout"] is None:
        raise InputError("standard output is closed: results would be lost")
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # results are the same whatever the machine's own encoding


for _command in (hunt, kql, sample, demo, run, report, doctor, verify):
    main.add_command(_command)
