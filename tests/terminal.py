"""Ways to use the command line: in this process, and as people do, in one of its own."""

import gzip
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import IO, Any, Final

import msgspec
from click.testing import CliRunner, Result

from rare_audit.cli import SAMPLE, main
from rare_audit.sources.sample import FIRST_HUNTED, LAST_HUNTED

ROOT: Final = Path(__file__).parents[1]
NORTHWIND: Final = str(SAMPLE)
BOTH_DAYS: Final = (NORTHWIND, "--daily", "--start", FIRST_HUNTED, "--end", "2026-03-17")
COLUMNS: Final = (
    "InitiatedByApp OperationName TargetUserPrincipalName InitiatedByIpAddress TargetResourceName StartTime EndTime"
    " set_Activity set_PropertyName timestamp AccountCustomEntity HostCustomEntity IPCustomEntity"
).split()
OBEYED: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of characters that drive a terminal, turn its text around, or are not seen."""

Row = dict[str, Any]


def called(*words: str, input_: bytes | None = None) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, words, input=input_, prog_name="rare-audit")


def hunted(*words: str, input_: bytes | None = None) -> Result:
    """Hunt, successfully."""
    result = called("hunt", *words, input_=input_)
    assert (result.exit_code, result.exception) == (0, None), result.output
    return result


def northwind() -> list[bytes]:
    """Return the lines of the bundled sample."""
    return gzip.decompress(SAMPLE.read_bytes()).splitlines(keepends=True)


def rows(*words: str, input_: bytes | None = None) -> list[Row]:
    """Hunt, and return the rule's rows."""
    return [
        msgspec.json.decode(line) for line in hunted(*words, "--format", "ndjson", input_=input_).stdout.splitlines()
    ]


def case_of(row: Row) -> tuple[str, str, str, str]:
    """Return a row in the terms of a planted case: day, app, operation, user."""
    return row["StartTime"][:10], row["InitiatedByApp"], row["OperationName"], row["TargetUserPrincipalName"]


def process(
    *words: str, stdin: bytes = b"", stdout: int | IO[Any] = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Run `python -m rare_audit` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "rare_audit", *words],
        cwd=ROOT,
        env=_environment() | environment,
        input=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )


def running(*words: str) -> subprocess.Popen[bytes]:
    """Start `python -m rare_audit` with pipes to read from."""
    command = [sys.executable, "-m", "rare_audit", *words]
    return subprocess.Popen(command, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}


def assert_nothing_obeyed(text: str) -> None:
    """Fail where a character is left that a terminal may obey; a new line is none."""
    assert [letter for letter in text if unicodedata.category(letter) in OBEYED and letter != "\n"] == []


def assert_refused(result: Result | subprocess.CompletedProcess[bytes], told: str, *, lines: int = 1) -> None:
    """Fail unless a command ended with code 2, nothing on standard output, and an explanation without a traceback."""
    if isinstance(result, Result):
        code, out, error = result.exit_code, result.stdout, result.stderr
    else:
        code, out, error = result.returncode, result.stdout.decode(), result.stderr.decode()
    assert (code, out) == (2, ""), error
    assert "Traceback" not in error
    assert told in error, error
    assert len(error.splitlines()) == lines, error
    assert error.endswith("\n")


__all__ = [
    "BOTH_DAYS",
    "COLUMNS",
    "FIRST_HUNTED",
    "LAST_HUNTED",
    "NORTHWIND",
    "ROOT",
    "Row",
    "assert_nothing_obeyed",
    "assert_refused",
    "called",
    "case_of",
    "hunted",
    "northwind",
    "process",
    "rows",
    "running",
]
