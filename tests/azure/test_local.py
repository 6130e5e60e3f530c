"""scripts/local, but for the setting up: what it prints, that it ends, and how it explains failures."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.azure.local import followed, readable
from tests.azure.local_stack import ROOT
from tests.azure.loopback import free_port

_COMMAND: Final = (sys.executable, "-m", "tests.azure.local")


@contextmanager
def _running(*words: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen([*_COMMAND, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_until_it_is_interrupted(number: signal.Signals) -> None:
    """It says where everything is and what to try, shows what the app logs, and ends cleanly when asked to."""
    pytest.importorskip("azure_functions_runtime", reason="Microsoft's worker is for Python 3.13 and later")
    with _running("--as-is") as process:
        assert process.stdout
        said = ""
        while "Ctrl-C ends it all" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        found = re.search(r"log is in (\S+)\.$", said, re.MULTILINE)
        assert found
        log = Path(found[1])
        assert "its last day is 2026-03-16." in said
        assert len(re.findall(r"^(?:RUN=\$\()?curl ", said, re.MULTILINE)) == 7
        assert log.exists()
        assert _pasted(said) == ["9 rows, equal"]
        process.send_signal(number)
        assert process.wait(30) == 0
    assert not log.parent.exists()


def _pasted(said: str) -> list[str]:
    """Paste what is said to need the workspace alone into a terminal without any setting; return how `verify` ends.

    The commands after it have to end well too.
    """
    paragraphs = said.partition("hunt --workspace, verify and run --dry-run need:\n\n")[2].partition("\n\n")[0]
    lines = paragraphs.splitlines()
    assert sum(line.startswith("export ") for line in lines) == len(lines) - 3
    ended = subprocess.run(
        ["bash", "-euc", paragraphs], cwd=ROOT, env={"LC_ALL": "C.UTF-8"}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert "Semaphore Dialler" in ended.stdout
    return [line for line in ended.stdout.splitlines() if line.endswith("rows, equal")]


def test_ports_that_are_taken() -> None:
    """A port that somebody listens on is left to them; one that is free is used."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) == 0
    assert free_port(port) == port


@pytest.mark.parametrize("words", [["/nowhere"], ["pyproject.toml"], ["pyproject.toml", "--as-is"]], ids=" ".join)
def test_failures(words: list[str]) -> None:
    """What can't be served is told in one line."""
    pytest.importorskip("azure_functions_runtime", reason="Microsoft's worker is for Python 3.13 and later")
    ended = subprocess.run([*_COMMAND, *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stderr.startswith(f"error: {words[0]}: expected one JSON object a line")


def test_log_is_followed(tmp_path: Path) -> None:
    """Lines are shown once they are whole; what Azure's clients log of each request is left out, with all its lines."""
    path = tmp_path / "log"
    with path.open("w") as writing, path.open() as reading:
        lines = readable(followed(reading, pause=0))
        writing.write(
            "[2026-03-16T01:30:00.000Z] INFO azure.core.pipeline: Request URL: 'https://…'\nRequest headers:\n"
            "[2026-03-16T01:30:00.001Z] WARNING azure.core: careful\n[2026-03-16T01:30:00.002Z] INFO rare_audit.job: do"
        )
        writing.flush()
        assert next(lines).endswith("careful\n")
        writing.write("ne\nand more\n")
        writing.flush()
        assert [next(lines), next(lines)] == ["[2026-03-16T01:30:00.002Z] INFO rare_audit.job: done\n", "and more\n"]
