"""A synthetic tenant."""

import gzip
import sys
from pathlib import Path

import click

from rare_audit.cli.output import opened_binary


@click.command()
@click.option("--events", default=4_000, show_default=True, type=click.IntRange(min=1), help="How many.")
@click.option("--seed", default=7, show_default=True, help="The same seed gives the same bytes.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to a file; one named .gz is compressed.")
def sample(events: int, seed: int, output: Path | None) -> None:
    """Write a synthetic tenant's AuditLogs, sixteen days with planted attacks, as a Log Analytics export has them."""
    from rare_audit.sources.sample import sample_lines  # noqa: PLC0415  (only this command and demo need it)

    if output is None:
        sys.stdout.buffer.writelines(sample_lines(events, seed))
        return
    with opened_binary(output) as file:
        if output.suffix != ".gz":
            file.writelines(sample_lines(events, seed))
            return
        # Neither its time nor its name goes in: the same sample is the same file.
        with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as compressed:
            compressed.writelines(sample_lines(events, seed))
