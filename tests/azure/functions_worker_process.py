"""A worker process: Microsoft's own code that indexes a function app and invokes its functions, driven over a pipe.

    python -m tests.azure.functions_worker_process PATH_OF_THE_APP

Writes what it found in the app as its first line: {"functions": {name: [binding, …]}, "loaded": [module, …]}, or
{"error": …}. After that, each line it reads is an invocation, {"id", "function", "data", "metadata"}, and each line it
writes is how one ended: {"id", "ok", "error", "traceback", "returned"}. Several may be under way at once. It ends when
its input does. What the app prints and logs goes to standard error.

A datum is [kind, value], as the worker's own: string, json, bytes (in base64 here) or http. What the worker is sent are
plain objects that look like the host's messages. The package, azure-functions-runtime, needs Python 3.13 or later.
"""

import asyncio
import base64
import json
import logging
import os
import sys
import threading
import time
import types
from typing import IO, Any, Final

_KINDS: Final = (
    "RpcException RpcFunctionMetadata RpcRetryOptions WorkerMetadata WorkerInitResponse FunctionMetadataResponse "
    "FunctionLoadResponse InvocationResponse ParameterBinding TypedData RpcHttp FunctionEnvironmentReloadResponse "
    "NullableString NullableBool NullableDouble NullableTimestamp RpcHttpCookie"
).split()
_DIRECTIONS: Final = {"in": 0, "out": 1, "inout": 2, "undefined": 0, "string": 1, "binary": 2, "stream": 3}
_FORMAT: Final = "[%(asctime)s.%(msecs)03dZ] %(levelname)s %(name)s: %(message)s"


class Message:
    """A message of the host, with whatever fields it is given."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


def _kind(name: str, **constants: int) -> type[Message]:
    return type(name, (Message,), constants)


PROTOS: Final = types.SimpleNamespace(
    BindingInfo=_kind("BindingInfo", **_DIRECTIONS),
    StatusResult=_kind("StatusResult", Failure=0, Success=1, Cancelled=2),
    **{name: _kind(name) for name in _KINDS},
)


class IndexingError(Exception):
    """The worker could not index the app."""


async def index(app_path: str) -> dict[str, Any]:
    """Start the worker on an app and return its functions' metadata by name. Once a process: the worker remembers."""
    import azure_functions_runtime as worker  # noqa: PLC0415  (there for Python 3.13 and later only)

    worker.start_threadpool_executor()
    init = Message(worker_init_request=Message(capabilities={}, function_app_directory=app_path))
    answer = await worker.worker_init_request(Message(request=init, properties={"protos": PROTOS, "host": "127.0.0.1"}))
    if answer.result.status != PROTOS.StatusResult.Success:
        raise IndexingError(answer.result.exception.message)
    metadata = await worker.functions_metadata_request(Message(request=Message()))
    return {function.name: function for function in metadata.function_metadata_results or ()}


def bindings(function: Any) -> list[dict[str, Any]]:
    """Return a function's bindings, each as function.json would have it."""
    return [json.loads(binding) for binding in function.raw_bindings]


async def invoke(function: Any, id_: str, datum: Any, metadata: dict[str, Any]) -> dict[str, Any]:
    """Invoke a function of the index with what triggers it, and say how that ended."""
    from azure_functions_runtime.native_invocation import invocation_request_native  # noqa: PLC0415  (see above)

    trigger = next(binding["name"] for binding in bindings(function) if binding["type"].endswith("Trigger"))
    given = {name: _datum(value) for name, value in metadata.items()}
    ok, returned, _, error, traceback = await invocation_request_native(
        id_, function.function_id, [(trigger, _datum(datum))], given
    )
    ended = {"id": id_, "ok": bool(ok), "error": str(error or ""), "traceback": traceback or ""}
    return ended | {"returned": _returned(returned) if ok and returned else None}


def _datum(given: Any) -> Any:
    from azure_functions_runtime.bindings.datumdef import Datum  # noqa: PLC0415  (see above)

    kind, value = given
    if kind == "bytes":
        value = base64.b64decode(value)
    elif kind == "http":
        texts = {name: Datum(value[name], "string") for name in ("method", "url")}
        maps = {
            name: {key: Datum(each, "string") for key, each in value[name].items()}
            for name in ("headers", "params", "query")
        }
        value = texts | maps | {"body": _datum(["bytes", value["body"]])}
    return Datum(value, kind)


def _returned(datum: Any) -> dict[str, Any]:
    """Word what an HTTP function returned: a response, or no more than a text."""
    if datum.type != "http":
        body = datum.value if isinstance(datum.value, bytes) else str(datum.value).encode()
        return {
            "status": 200,
            "headers": {"content-type": "text/plain; charset=utf-8"},
            "body": base64.b64encode(body).decode(),
        }
    return {
        "status": int(datum.value["status_code"].value),
        "headers": {name: each.value for name, each in datum.value["headers"].items()},
        "body": base64.b64encode(datum.value["body"].value).decode(),
    }


class _Pipe:
    """The way back to the host: whole lines, whichever thread writes them."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._lock = threading.Lock()

    def send(self, message: dict[str, Any]) -> None:
        with self._lock:
            self._file.write(json.dumps(message) + "\n")
            self._file.flush()


async def serve(app_path: str, pipe: _Pipe) -> None:
    """Index the app and invoke what standard input asks for, until that ends."""
    try:
        functions = await index(app_path)
    except IndexingError as error:
        pipe.send({"error": str(error)})
        return
    found = {name: bindings(function) for name, function in functions.items()}
    pipe.send({"functions": found, "loaded": sorted(sys.modules)})
    under_way: set[asyncio.Task[None]] = set()

    async def answer(asked: dict[str, Any]) -> None:
        pipe.send(await invoke(functions[asked["function"]], asked["id"], asked["data"], asked["metadata"]))

    while line := await asyncio.to_thread(sys.stdin.readline):
        task = asyncio.create_task(answer(json.loads(line)))
        under_way.add(task)
        task.add_done_callback(under_way.discard)


def main(app_path: str) -> None:
    """Serve an app on the standard streams."""
    pipe = _Pipe(os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)  # what the app prints must not get in between
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(level=logging.INFO, format=_FORMAT, datefmt="%Y-%m-%dT%H:%M:%S")
    sys.path.insert(0, app_path)
    asyncio.run(serve(app_path, pipe))
    sys.stderr.flush()
    os._exit(0)  # as a host that is done with a worker: what hangs in it is not waited for


if __name__ == "__main__":
    main(sys.argv[1])
