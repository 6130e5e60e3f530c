"""Drives the Python worker of Azure Functions without the Functions host, which no package registry has.

    python -m tests.functions_worker PATH_OF_THE_APP [FUNCTION …]

Indexes the app's function_app.py and fires each FUNCTION as its timer would; prints one JSON object with what came of
it. The code that indexes and invokes is Microsoft's (azure-functions-runtime, Python 3.13 and later); what it is sent
are plain objects that look like the host's messages. One app a process: the worker keeps what it indexed. Routing,
schedules and host.json are the host's business, so nothing here says that they work.
"""

import asyncio
import json
import logging
import sys
import types
import uuid
from typing import Any, Final

TIMER: Final = '{"IsPastDue": false, "Schedule": {}, "ScheduleStatus": null}'
LATE_TIMER: Final = TIMER.replace("false", "true")
_KINDS: Final = (
    "RpcException RpcFunctionMetadata RpcRetryOptions WorkerMetadata WorkerInitResponse FunctionMetadataResponse "
    "FunctionLoadResponse InvocationResponse ParameterBinding TypedData RpcHttp FunctionEnvironmentReloadResponse "
    "NullableString NullableBool NullableDouble NullableTimestamp RpcHttpCookie"
).split()


class Message:
    """A message of the host, with whatever fields it is given."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


def _kind(name: str, **constants: int) -> type[Message]:
    return type(name, (Message,), constants)


_DIRECTIONS: Final = {"in": 0, "out": 1, "inout": 2, "undefined": 0, "string": 1, "binary": 2, "stream": 3}
PROTOS: Final = types.SimpleNamespace(
    BindingInfo=_kind("BindingInfo", **_DIRECTIONS),
    StatusResult=_kind("StatusResult", Failure=0, Success=1, Cancelled=2),
    **{name: _kind(name) for name in _KINDS},
)


async def _indexed(app_path: str) -> dict[str, Any]:
    import azure_functions_runtime as worker  # noqa: PLC0415  (there for Python 3.13 and later only)

    worker.start_threadpool_executor()
    init = Message(worker_init_request=Message(capabilities={}, function_app_directory=app_path))
    answer = await worker.worker_init_request(Message(request=init, properties={"protos": PROTOS, "host": "127.0.0.1"}))
    if answer.result.status != 1:
        raise SystemExit(answer.result.exception.message)
    metadata = await worker.functions_metadata_request(Message(request=Message()))
    return {function.name: function for function in metadata.function_metadata_results}


async def _fired(function: Any, bindings: list[dict[str, Any]], timer: str) -> dict[str, Any]:
    from azure_functions_runtime.bindings.datumdef import Datum  # noqa: PLC0415  (as above)
    from azure_functions_runtime.native_invocation import invocation_request_native  # noqa: PLC0415  (as above)

    trigger = next(binding["name"] for binding in bindings if binding["type"].endswith("Trigger"))
    ok, _, _, error, _ = await invocation_request_native(
        str(uuid.uuid4()), function.function_id, [(trigger, Datum(timer, "json"))], {}
    )
    return {"ok": bool(ok), "error": str(error or "")}


async def main(app_path: str, *names: str) -> dict[str, Any]:
    """Index an app and fire functions; a name that ends in `!` is past due."""
    sys.path.insert(0, app_path)
    functions = await _indexed(app_path)
    bindings = {name: [json.loads(each) for each in one.raw_bindings] for name, one in functions.items()}
    loaded = sorted(sys.modules)
    fired = []
    for name in names:
        function, timer = name.rstrip("!"), LATE_TIMER if name.endswith("!") else TIMER
        fired.append(await _fired(functions[function], bindings[function], timer))
    import azure_functions_runtime as worker  # noqa: PLC0415  (as above)

    worker.stop_threadpool_executor()
    return {"functions": bindings, "loaded": loaded, "fired": fired}


if __name__ == "__main__":
    logging.disable()
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))  # noqa: T201  (its one result)
