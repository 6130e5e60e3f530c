"""Drives the Python worker of Azure Functions without the Functions host, which no package registry has.

    python -m tests.functions_worker PATH_OF_THE_APP [FUNCTION …]

Indexes the app's function_app.py and fires each FUNCTION as its timer would; prints one JSON object with what came of
it. The code that indexes and invokes is Microsoft's, see functions_worker_process. Routing, schedules and host.json are
the host's business, so nothing here says that they work.
"""

import asyncio
import json
import logging
import sys
import uuid
from typing import Any, Final

from tests.azure.functions_worker_process import bindings, index, invoke

TIMER: Final = '{"IsPastDue": false, "Schedule": {}, "ScheduleStatus": null}'
LATE_TIMER: Final = TIMER.replace("false", "true")


async def main(app_path: str, *names: str) -> dict[str, Any]:
    """Index an app and fire functions; a name that ends in `!` is past due."""
    sys.path.insert(0, app_path)
    functions = await index(app_path)
    loaded = sorted(sys.modules)
    fired = []
    for name in names:
        timer = LATE_TIMER if name.endswith("!") else TIMER
        ended = await invoke(functions[name.rstrip("!")], str(uuid.uuid4()), ["json", timer], {})
        fired.append({"ok": ended["ok"], "error": ended["error"]})
    import azure_functions_runtime as worker  # noqa: PLC0415  (there for Python 3.13 and later only)

    worker.stop_threadpool_executor()
    return {"functions": {name: bindings(each) for name, each in functions.items()}, "loaded": loaded, "fired": fired}


if __name__ == "__main__":
    logging.disable()
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))  # noqa: T201  (its one result)
