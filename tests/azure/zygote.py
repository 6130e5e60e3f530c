"""Processes of the app, quickly: one process that has everything loaded forks a child for each piece of work.

    python -m tests.azure.zygote

Reads a line of JSON for each child from standard input, `{"environment": {…}, "do": NAME, "with": [TEXT…]}`, and
prints `{"pid": N}`; the line `{"wait": N}` prints `{"status": S, "said": TEXT}` once that child has ended, S being
negative for a signal. Children are real processes: they can be killed, and what they were about is lost with them.
"""

import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from typing import IO, Any, Final, Self

import azure.data.tables
import azure.identity
import azure.monitor.ingestion
import azure.monitor.query
import azure.storage.queue  # noqa: F401 - with those above and below: loaded here so that no child has to

import rare_audit.sinks.findings_table
import rare_audit.sinks.sentinel
import rare_audit.sources.log_analytics
import rare_audit.stores.table_calls  # noqa: F401 - likewise
from rare_audit import app
from rare_audit.job.planning import whole_days
from rare_audit.settings import read_settings

_NOT_TOLD: Final = 3


def ask(first_day: str, last_day: str) -> str:
    """Have days done, as an HTTP request does; return the run's id."""
    with app.azure(read_settings(os.environ)) as dispatch:
        return dispatch.ask(whole_days(first_day, last_day, dispatch.now()), asked_by="test").id


def take(run_id: str) -> str:
    """Do a run, as its message has it; return how it stands, "" where the message goes back."""
    with app.azure(read_settings(os.environ)) as dispatch:
        run = dispatch.take(json.dumps({"run": run_id}))
        return f"{run.state}: {run.error}" if run else ""


def both(first_day: str, last_day: str) -> str:
    """Have days done and do them; return how the run stands."""
    return take(ask(first_day, last_day))


WORK: Final[Mapping[str, Callable[..., str]]] = {"ask": ask, "take": take, "both": both}


class Zygote:
    """The process that forks, while the block runs."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.azure.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=30)

    def start(self, environment: Mapping[str, str], name: str, *words: str) -> int:
        """Fork a child that does a piece of work; return its process id."""
        return int(self._told({"environment": dict(environment), "do": name, "with": words})["pid"])

    def wait(self, pid: int) -> tuple[int, str]:
        """Wait for a child to end; return its status, negative for a signal, and what it said."""
        told = self._told({"wait": pid})
        return int(told["status"]), str(told["said"])

    def run(self, environment: Mapping[str, str], name: str, *words: str) -> str:
        """Do a piece of work in a child that is to end well; return what it said."""
        status, said = self.wait(self.start(environment, name, *words))
        assert status == 0, said
        return said

    def _told(self, command: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told


def _child(command: dict[str, Any], said: int) -> None:
    os.environ.update(command["environment"])
    try:
        os.write(said, WORK[command["do"]](*command["with"]).encode())
    except BaseException:  # noqa: BLE001 - whatever it is, it is told
        os.write(said, traceback.format_exc().encode("utf-8", "backslashreplace"))
        os._exit(_NOT_TOLD)
    os._exit(0)


def main() -> None:
    """Fork a child for each line, until there are no more."""
    files: dict[int, IO[bytes]] = {}
    for line in sys.stdin:
        command = json.loads(line)
        if pid := command.get("wait"):
            _, status = os.waitpid(pid, 0)
            file = files.pop(pid)
            file.seek(0)
            told: dict[str, Any] = {"status": os.waitstatus_to_exitcode(status), "said": file.read().decode()}
            file.close()
        else:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - closed once its child has ended
            pid = os.fork()
            if pid == 0:
                _child(command, file.fileno())
            files[pid] = file
            told = {"pid": pid}
        print(json.dumps(told), flush=True)  # noqa: T201 - its answer


if __name__ == "__main__":
    main()
