"""Indexes an app by the Python worker of Azure Functions without the Functions host, which no package registry has.

    python -m tests.functions_worker PATH_OF_THE_APP

Prints one JSON object: the functions of its function_app.py with their bindings, and the modules that this loaded. The
code that indexes is Microsoft's, see functions_worker_process. Routing, schedules and host.json are the host's
business, so nothing here says that they work.
"""

import asyncio
import json
import logging
import sys
from typing import Any

from tests.azure.functions_worker_process import bindings, index


async def main(app_path: str) -> dict[str, Any]:
    """Index an app."""
    sys.path.insert(0, app_path)
    functions = await index(app_path)
    loaded = sorted(sys.modules)
    import azure_functions_runtime as worker  # noqa: PLC0415  (there for Python 3.13 and later only)

    worker.stop_threadpool_executor()
    return {"functions": {name: bindings(each) for name, each in functions.items()}, "loaded": loaded}


if __name__ == "__main__":
    logging.disable()
    print(json.dumps(asyncio.run(main(sys.argv[1]))))  # noqa: T201  (its one result)
