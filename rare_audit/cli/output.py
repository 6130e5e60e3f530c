"""Where the words of commands go: lines, tables, files, a bar, and what the log has to say."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import click

from rare_audit.errors import InputError
from rare_audit.reporting.text import one_line

if TYPE_CHECKING:
    from rich.console import RenderableType

_PAGE: Final = 160
"""Columns of a table that is not shown on a terminal."""
_LONGEST: Final = 500


def say(line: str) -> None:
    """Write a line to standard error."""
    click.echo(line, err=True)


def drawn(table: "RenderableType", file: IO[str]) -> str:
    """Return a table as text, as wide as the terminal that `file` is, or as a page."""
    from rich.console import Console  # noqa: PLC0415  (rich is slow to load)

    width = None if file.isatty() else _PAGE
    console = Console(file=file, width=width, markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")


@contextmanager
def opened(output: Path | None) -> Iterator[IO[str]]:
    """Open a file for results, or standard output where there is none. Raises InputError.

    A file is written beside its place and moved there when the block is done: what fails in between leaves what was
    there before as it was, and nothing behind. That it can be written shows at once.
    """
    if output is None:
        yield sys.stdout
        return
    with opened_binary(output) as file:
        text = TextIOWrapper(file, encoding="utf-8", write_through=True)
        yield text
        text.detach()


@contextmanager
def opened_binary(output: Path) -> Iterator[IO[bytes]]:
    """Open a file for bytes, as `opened` does for text. Raises InputError."""
    with explained(output):
        place = output.resolve()
        if place.exists() and not place.is_file():  # a device or a pipe can't be replaced; a folder is refused
            with place.open("wb") as file:
                yield file
            return
        part = place.with_name(f".{place.name}.{os.getpid()}.part")
        try:
            with part.open("xb") as file:
                yield file
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def explained(output: Path) -> Iterator[None]:
    """Raise what goes wrong with a file while the block runs as InputError."""
    try:
        yield
    except BrokenPipeError:
        raise  # standard output's, not the file's
    except OSError as error:
        raise InputError(f"{output}: can't be written: {error.strerror}") from error


@contextmanager
def progress(total: int | None) -> Iterator[Callable[[int], None] | None]:
    """Show a bar of the bytes read, of `total` where that is known, on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console  # noqa: PLC0415  (rich is slow to load)
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn  # noqa: PLC0415  (the same)

    columns = ("reading", BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=total)
        yield lambda count: bar.advance(task, count)


class _Said(logging.Handler):
    """Writes warnings to standard error; those of sinks are left to a run's notes, which say the same."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record as one line."""
        if not record.name.startswith("rare_audit.sinks"):
            say(one_line(f"rare-audit: {record.getMessage()}", _LONGEST))


@contextmanager
def warnings_said() -> Iterator[None]:
    """Have the package's own warnings said while the block runs, and those of Azure's clients not: errors tell all."""
    said = {"rare_audit": _Said(logging.WARNING), "azure": logging.NullHandler()}
    for name, handler in said.items():
        logging.getLogger(name).addHandler(handler)
    try:
        yield
    finally:
        for name, handler in said.items():
            logging.getLogger(name).removeHandler(handler)
