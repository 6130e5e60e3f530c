"""A stand-in for the Azure Functions host, which no package registry has, around Microsoft's own Python worker.

It reads host.json, routes HTTP requests and asks for keys, fires timers when told to, listens to queues, ends functions
that take too long, and replaces a worker process that ended. What it does not show: schedules (nothing runs by the
clock, and no schedule is even read), the lock that keeps a timer on one instance, real keys, Easy Auth, output binding,
cookies, the 230 seconds a caller waits at most, scaling to more instances, dynamic concurrency, logging and telemetry
as host.json has them, cold starts, and whether the real host takes this host.json. How functions are invoked, and what
of theirs fails, is real.
"""

import base64
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

import msgspec
from azure.storage.queue import QueueServiceClient

from tests.azure.azurite import Azurite
from tests.azure.functions_queues import Pace, QueueListener
from tests.azure.functions_routes import Keys, Route, answer_of, datum_of, find, key_of, route
from tests.azure.functions_settings import HostError, read_host_json, resolved
from tests.azure.functions_worker_client import Ended, Worker
from tests.azure.gate import Answer
from tests.azure.loopback import Loopback, Request

_ADMIN: Final = "/admin/functions/"
_FOREVER: Final = 86400.0
_TIMER: Final[dict[str, Any]] = {"Schedule": {}, "ScheduleStatus": None}


class FunctionsHost:
    """The host of one app; use it as a context manager.

    `environment` is all the app sees. `storage` is where the queues are, reached by its key, so that what the host asks
    there is not among what the app asks. `log` gets the worker's log and the host's own lines.
    """

    def __init__(
        self,
        app: Path,
        environment: Mapping[str, str],
        storage: Azurite,
        log: Path,
        pace: Pace | None = None,
        port: int = 0,
    ) -> None:
        """Read host.json; nothing runs yet. It listens on a port, of which 0 is any that is free. Raises HostError."""
        self.keys = Keys()
        self.settings = read_host_json(app)
        self.ended: list[Ended] = []
        """How invocations ended, in this order."""
        self._app = app
        self._environment = dict(environment)
        self._log = log
        self._pace = pace or Pace()
        self._lock = threading.Lock()
        self._worker: Worker | None = None
        self._closing = False
        self._under_way = 0
        trust: dict[str, Any] = {"connection_verify": storage.authority} if storage.authority else {}
        # nothing is asked twice: the emulator is next door, and where it is gone nobody should wait for it
        self._storage = QueueServiceClient.from_connection_string(storage.connection_string, retry_total=0, **trust)
        self._listeners: list[QueueListener] = []
        self._routes: list[Route] = []
        self._server = Loopback(self._answered, port=port)
        self.url = self._server.url

    def __enter__(self) -> Self:
        try:
            for name, bindings in self.functions.items():
                self._bind(name, bindings)
            for listener in self._listeners:
                listener.start()
        except BaseException:
            self._close()
            self._server.server_close()
            raise
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._server.__exit__()

    @property
    def functions(self) -> dict[str, list[dict[str, Any]]]:
        """The app's functions, each with its bindings as function.json would have them."""
        return self._ready().functions

    @property
    def loaded(self) -> list[str]:
        """The modules that indexing the app loaded, those of the worker itself among them."""
        return self._ready().loaded

    @property
    def pid(self) -> int:
        """The id of the worker process."""
        return self._ready().pid

    def fire(self, name: str, *, past_due: bool = False) -> Ended:
        """Fire a timer and wait for how that ends."""
        return self._run(name, _timer(past_due=past_due), {}, "This function was programmatically called.")

    def kill_worker(self) -> None:
        """End the worker process by SIGKILL, alone: what it worked on has failed, and the host starts another one."""
        if self._worker:
            self._worker.kill()

    def kill_instance(self) -> None:
        """Lose the machine: worker and host end at once, and another machine takes over.

        Messages that were worked on stay unseen until their visibility ends; nobody says that their functions failed.
        """
        for listener in self._listeners:
            listener.lose()
        self.kill_worker()

    def restart_worker(self) -> None:
        """End the worker process and start another one."""
        self.kill_worker()
        self._ready()

    def settle(self, patience: float = 60.0) -> None:
        """Wait until no function works and no queue of a trigger has a message. Raises TimeoutError."""
        until = time.monotonic() + patience
        quiet = 0
        while quiet < 2:  # a message may go from a queue that is not yet looked at to one that was
            quiet = 0 if self._under_way or not all(listener.idle for listener in self._listeners) else quiet + 1
            if time.monotonic() > until:
                raise TimeoutError(f"after {patience:g} s the functions still work, or have messages to work on")
            time.sleep(0.02)

    def _ready(self) -> Worker:
        with self._lock:
            if self._closing:
                raise HostError("the host is shutting down")
            if self._worker and not self._worker.alive:
                self._worker.stop()
                self._worker = None
            if self._worker is None:
                self._worker = Worker(self._app, self._environment, self._log)
            return self._worker

    def _bind(self, name: str, bindings: list[dict[str, Any]]) -> None:
        for binding in bindings:
            match binding["type"]:
                case "timerTrigger":
                    resolved(binding["schedule"], self._environment)
                case "httpTrigger":
                    self._routes.append(route(name, binding, self.settings.extensions.http.route_prefix))
                case "http":
                    pass
                case "queueTrigger":
                    self._listeners.append(self._listener(name, binding))
                case other:
                    raise HostError(f"{name}: this stand-in has no binding {other}")

    def _listener(self, name: str, binding: Mapping[str, Any]) -> QueueListener:
        connection = binding.get("connection") or "AzureWebJobsStorage"
        ways = (connection, f"{connection}__queueServiceUri", f"{connection}__accountName")
        if not any(self._environment.get(way) for way in ways):
            raise HostError(f"The listener for function '{name}' was unable to start: {connection} is not set")
        queue = resolved(binding["queueName"], self._environment)

        def run(datum: list[Any], metadata: Mapping[str, Any], every: float, beat: Callable[[], None]) -> bool:
            return self._run(name, datum, metadata, f"New queue message detected on '{queue}'.", every, beat).ok

        return QueueListener(queue, self._storage, self.settings.extensions.queues, self._pace, run)

    def _run(
        self,
        name: str,
        datum: list[Any],
        metadata: Mapping[str, Any],
        reason: str,
        every: float = _FOREVER,
        beat: Callable[[], None] = lambda: None,
    ) -> Ended:
        id_, began = str(uuid.uuid4()), time.monotonic()
        self._say(f"Executing 'Functions.{name}' (Reason='{reason}', Id={id_})")
        with self._lock:
            self._under_way += 1
        try:
            ended = self._invoked(id_, name, datum, metadata, every, beat)
        except HostError as error:
            ended = Ended(id=id_, function=name, ok=False, error=str(error))
        with self._lock:
            self._under_way -= 1
            self.ended.append(ended)
        how = "Succeeded" if ended.ok else "Failed"
        self._say(f"Executed 'Functions.{name}' ({how}, Id={id_}, Duration={(time.monotonic() - began) * 1000:.0f}ms)")
        return ended

    def _invoked(
        self, id_: str, name: str, datum: list[Any], metadata: Mapping[str, Any], every: float, beat: Callable[[], None]
    ) -> Ended:
        worker = self._ready()
        future = worker.invoke(id_, name, datum, metadata)
        until = time.monotonic() + (self.settings.timeout or _FOREVER)
        while True:
            try:
                return future.result(min(every, max(0.0, until - time.monotonic())))
            except TimeoutError:
                if time.monotonic() >= until:
                    break
                beat()
        worker.kill()  # as the real host does: a function can't be ended otherwise
        error = f"Timeout value of {self.settings.function_timeout} exceeded by function: Functions.{name}"
        return Ended(id=id_, function=name, ok=False, error=error)

    def _answered(self, request: Request) -> Answer:
        if request.path.startswith(_ADMIN):
            return self._administered(request)
        found = find(self._routes, request)
        if found is None:
            return Answer(404)
        one, parameters = found
        if not self.keys.open(one.level, key_of(request)):
            return Answer(401)
        datum = datum_of(request, parameters, base64.b64encode(request.body).decode())
        return answer_of(
            self._run(one.function, datum, {}, "This function was programmatically called via the host APIs.")
        )

    def _administered(self, request: Request) -> Answer:
        """Invoke a function that has no route, as POST /admin/functions/NAME does; how that ends is not told."""
        if not self.keys.open("admin", key_of(request)):
            return Answer(401)
        try:
            given = msgspec.json.decode(request.body, type=dict[str, Any])
        except msgspec.DecodeError:
            return Answer(400)
        names = {name.lower(): name for name in self.functions}
        name = names.get(request.path.removeprefix(_ADMIN).lower())
        if name is None or request.method != "POST":
            return Answer(404)
        triggers = {binding["type"] for binding in self.functions[name]}
        if "httpTrigger" in triggers:
            return Answer(400, b"this stand-in has HTTP functions called by their routes")
        text = str(given.get("input") or "")
        datum, metadata = (_timer(), {}) if "timerTrigger" in triggers else (["string", text], _as_message(text))
        reason = "This function was programmatically called via the host APIs."
        threading.Thread(target=self._run, args=(name, datum, metadata, reason), daemon=True).start()
        return Answer(202)

    def _say(self, text: str) -> None:
        line = f"[{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}"[:24] + f"Z] HOST {text}\n"
        with self._log.open("a", encoding="utf-8") as file:
            file.write(line)

    def _close(self) -> None:
        with self._lock:
            self._closing = True
            worker, self._worker = self._worker, None
        for listener in self._listeners:
            listener.lose()
        if worker:
            worker.stop()
        for listener in self._listeners:
            listener.stop()
        self._storage.close()


def _timer(*, past_due: bool = False) -> list[Any]:
    return ["json", msgspec.json.encode({**_TIMER, "IsPastDue": past_due}).decode()]


def _as_message(text: str) -> dict[str, Any]:
    return {"QueueTrigger": ["string", text], "Id": ["string", str(uuid.uuid4())], "DequeueCount": ["json", "1"]}
