"""Public samples and inputs that people ran into, where they lie beside this repository: none is an empty all-clear."""

import re
import shlex
from pathlib import Path
from typing import Final

import msgspec
import pytest

from tests.exports.trio import RARE
from tests.terminal import called

DATA: Final = Path(__file__).parents[3] / "shared" / "data"
REFUSED: Final = {"06-ps-depth-2", "08-python-repr-csv", "10-displayed-columns", "21-trailing-comma"}
"""Cases that hold nothing the rule could see, or no JSON."""
COUNTED: Final = {"09-cut-dynamic-cell"}
"""Cases of which one record was lost before the file was written."""


def _commands() -> list[tuple[str, str]]:
    files = sorted(DATA.glob("cases/*/cmd.txt"))
    return [(file.parent.name, line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]


def _there() -> None:
    if not DATA.exists():
        pytest.skip("the public material is not beside this repository")


def test_cases() -> None:
    """Each gives the one row that the rule gives, or says what is wrong and fails."""
    _there()
    commands = _commands()
    assert commands
    for case, line in commands:
        name, *words = shlex.split(line)[1:]
        result = called("hunt", str(DATA / "cases" / case / name), *words)
        found = [msgspec.json.decode(row)["OperationName"] for row in result.stdout.splitlines()]
        if case in REFUSED:
            assert (result.exit_code, found) == (2, []), line
        elif case in COUNTED:
            assert (result.exit_code, found) == (3, []), line
        elif case == "11-tar-and-zip" and "fifteen" in name:
            assert (result.exit_code, len(found)) == (0, 1), line
        else:
            assert (result.exit_code, found) == (0, [RARE]), (line, result.stderr)


def test_samples() -> None:
    """`hunt FILE` alone finds what a file holds, or says that no app did anything in it, or why it can't be read."""
    _there()
    files = [*DATA.glob("native/*"), *DATA.glob("normalised/*")]
    assert len(files) > 5
    for file in files:
        result = called("hunt", str(file), "--format", "ndjson")
        if file.name == "log-analytics-export.csv":
            assert result.exit_code == 2
            assert "has no TimeGenerated column" in result.stderr
            continue
        first = result.stderr.splitlines()[0]
        by_apps = re.fullmatch(r"\d+ events, .+ UTC, (\d+) by apps", first)
        assert by_apps, first
        assert result.exit_code == (0 if int(by_apps[1]) else 4), file
        everything = called("hunt", str(file), "--start", "2015-01-01", "--format", "ndjson")
        assert len(everything.stdout.splitlines()) == len(result.stdout.splitlines())
