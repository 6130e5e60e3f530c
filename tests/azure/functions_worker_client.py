"""The host's end of the pipe to a worker process."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from tests.azure.functions_settings import HostError

_ROOT: Final = Path(__file__).parents[2]
_PATIENCE: Final = 30


class Returned(msgspec.Struct, frozen=True):
    """An HTTP function's response."""

    status: int
    headers: dict[str, str]
    body: bytes


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How an invocation ended: as the worker says, or, where that is gone, as the host notices."""

    id: str
    function: str
    ok: bool
    error: str = ""
    traceback: str = ""
    returned: Returned | None = None


class Worker:
    """A worker process on an app, running once it is made. Any number of threads may invoke its functions."""

    def __init__(self, app: Path, environment: Mapping[str, str], log: Path) -> None:
        """Start it, with these environment variables and no others; its log is appended to a file.

        Raises HostError if the app can't be indexed.
        """
        self._lock = threading.Lock()
        self._under_way: dict[str, tuple[str, Future[Ended]]] = {}
        self._gone = False
        platform = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "FUNCTIONS_WORKER_RUNTIME": "python"}
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.azure.functions_worker_process", str(app)],
                cwd=app,
                env={**platform, **environment, "PYTHONPATH": str(_ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C at a terminal is for the host alone
            )
        try:
            self.functions, self.loaded = self._indexed()
        except BaseException:
            self._process.kill()
            self._close()
            raise
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        with self._lock:
            return not self._gone

    def invoke(self, id_: str, function: str, datum: Any, metadata: Mapping[str, Any]) -> "Future[Ended]":
        """Have a function invoked. The future always gets a result, if only that the process is gone."""
        future: Future[Ended] = Future()
        line = json.dumps({"id": id_, "function": function, "data": datum, "metadata": dict(metadata)})
        assert self._process.stdin
        with self._lock:
            if not self._gone:
                self._under_way[id_] = function, future
                with suppress(OSError):  # it has just ended, which the reader will notice
                    self._process.stdin.write(line + "\n")
                    self._process.stdin.flush()
                return future
        future.set_result(Ended(id=id_, function=function, ok=False, error="the worker process is gone"))
        return future

    def kill(self) -> None:
        """End it by SIGKILL, as the machine does when memory runs out; return once it is gone."""
        self._process.kill()
        self._process.wait(_PATIENCE)
        self._reader.join(_PATIENCE)

    def stop(self) -> None:
        """End it; what it works on is lost."""
        self.kill()
        self._close()

    def _indexed(self) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            raise HostError("the worker process ended while it started; its log says why")
        read = json.loads(line)
        if "error" in read:
            raise HostError(f"the app was not indexed: {read['error']}")
        return read["functions"], read["loaded"]

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            if not line.endswith("\n"):
                break  # it was killed in the middle of a word
            told = json.loads(line)
            with self._lock:
                function, future = self._under_way.pop(told["id"])
            if told["returned"]:
                told["returned"]["body"] = base64.b64decode(told["returned"]["body"])
                told["returned"] = Returned(**told["returned"])
            future.set_result(Ended(function=function, **told))
        code = self._process.wait()
        with self._lock:
            self._gone = True
            left, self._under_way = self._under_way, {}
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        for id_, (function, future) in left.items():
            error = f"the worker process ended ({how}) while the function ran"
            future.set_result(Ended(id=id_, function=function, ok=False, error=error))

    def _close(self) -> None:
        self._process.wait(_PATIENCE)
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with suppress(OSError):  # what was not written any more
                    stream.close()
