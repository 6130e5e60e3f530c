"""Runs the app as it is deployed on a whole Azure on this machine (see local_stack), and says how to talk to it.

scripts/local [EXPORT] [--as-is]
"""

import argparse
import importlib.util
import re
import shlex
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import IO, Final

import duckdb

from tests.azure.functions_settings import HostError
from tests.azure.identity_server import ARM
from tests.azure.local_stack import SAMPLE, Stack
from tests.azure.loopback import free_port
from tests.azure.sentinel_server import BASE, STABLE

_RECORD: Final = re.compile(r"\[20\S+Z\] (?P<level>\S+) (?P<logger>\S*)")
PORTS: Final = {"host": 7071, "logs": 7072, "arm": 7073, "identity": 7074}
"""Where everything listens, so that what was pasted into a terminal once is good the next time; another where taken.

7071 is that of Azure Functions Core Tools.
"""
_ENDING: Final = (signal.SIGINT, signal.SIGTERM)
_TRY: Final = """
The app is at {app}; what it and its host log is in {log}.
Log Analytics has {export}{moved}; its last day is {day}. In another terminal:

export APP={app} KEY={key} MASTER={master}
export CA={ca} INCIDENTS='{incidents}' TOKEN={token}

curl $APP/api/health
RUN=$(curl -s -H "x-functions-key: $KEY" -d '{{"from": "{before}", "to": "{day}", "reason": "a try"}}' $APP/api/runs |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')
curl -s -H "x-functions-key: $KEY" $APP/api/runs/$RUN
curl -s -H "x-functions-key: $KEY" $APP/api/runs/$RUN/findings
curl -s -H "x-functions-key: $KEY" $APP/api/runs
curl -i -H "x-functions-key: $MASTER" -H "content-type: application/json" -d '{{"input": ""}}' \\
  $APP/admin/functions/daily
curl -s --cacert $CA -H "Authorization: Bearer $TOKEN" "$INCIDENTS"

The workspace and a sign-in are all that hunt --workspace, verify and run --dry-run need:

{reading}
{python} -m rare_audit hunt --workspace --date {day}
{python} -m rare_audit verify --date {day}
{python} -m rare_audit run --date {day} --dry-run

Ctrl-C ends it all. The log, without what Azure's clients log of each request:
"""


def told(stack: Stack, export: Path, *, moved: bool) -> str:
    """Return what to try."""
    return _TRY.format(
        app=stack.host.url,
        log=stack.log,
        export=export,
        day=stack.day,
        moved=", moved by whole days" if moved else "",
        before=stack.day - timedelta(days=1),
        key=stack.host.keys.function,
        master=stack.host.keys.master,
        ca=stack.authority.bundle,
        incidents=f"{stack.arm.endpoint}{BASE}/incidents?api-version={STABLE}",
        token=stack.identity.token(ARM),
        reading="\n".join(f"export {name}={shlex.quote(text)}" for name, text in stack.reading.items()),
        python=shlex.quote(sys.executable),
    )


def followed(file: IO[str], pause: float = 0.2) -> Iterator[str]:
    """Yield the lines of a file that grows, for ever."""
    begun = ""
    while True:
        begun += file.readline()
        if begun.endswith("\n"):
            yield begun
            begun = ""
        else:
            time.sleep(pause)


def readable(lines: Iterable[str]) -> Iterator[str]:
    """Leave out what the clients of Azure log of every request and every token."""
    shown = True
    for line in lines:
        if found := _RECORD.match(line):
            shown = not (found["level"] == "INFO" and found["logger"].startswith("azure."))
        if shown:
            yield line


def run(export: Path, *, moved: bool) -> None:
    """Start everything and show the log until it is interrupted."""
    stack = Stack(export, shifted=moved)
    stack.ports = {name: free_port(port) for name, port in PORTS.items()}
    with stack:
        stack.arm.page = 1000
        print(told(stack, export, moved=moved), flush=True)  # noqa: T201 - what it is for
        with stack.log.open(encoding="utf-8") as file:
            for line in readable(followed(file)):
                print(line, end="", flush=True)  # noqa: T201 - likewise


def main(words: list[str] | None = None) -> int:
    """Read the command line and run; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/local", description="Runs the app on a whole Azure on this machine.")
    parser.add_argument("export", type=Path, nargs="?", default=SAMPLE, help="AuditLogs rows, one JSON object a line")
    parser.add_argument("--as-is", action="store_true", help="leave the export's days as they are")
    given = parser.parse_args(words)
    for each in _ENDING:
        signal.signal(each, _interrupted)
    if not importlib.util.find_spec("azure_functions_runtime"):
        return _failed("Microsoft's Python worker, azure-functions-runtime, needs Python 3.13 or later")
    try:
        run(given.export, moved=not given.as_is)
    except KeyboardInterrupt:
        return 0
    except (HostError, OSError, RuntimeError, ValueError, duckdb.Error) as error:
        return _failed(" ".join(str(error).split()))
    return 0


def _interrupted(number: int, frame: FrameType | None) -> None:
    """Interrupt once: what is being ended is not to be interrupted in that."""
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _failed(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)  # noqa: T201 - where it belongs
    return 1


if __name__ == "__main__":
    sys.exit(main())
