"""What a flood of findings costs the job: its peak memory, with Azure's clients imported, a process for each size.

    python bench/flood.py [--properties N] [--operations N] [COMBINATIONS …]

Every combination is an app's first change of another user, on one day, as in the morning after a first sync. The job
runs on SQLite and an outbox in a temporary folder.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # as a script, Python looks in bench/ alone

from rare_audit.app import embedded_job  # noqa: E402 - needs the path above
from rare_audit.detection.event import AuditEvent, decode_event  # noqa: E402
from rare_audit.detection.funnel import Reading  # noqa: E402
from rare_audit.detection.ticks import TICKS_PER_DAY, format_day  # noqa: E402

DAY: Final = "2026-03-15"
SIZES: Final = (0, 50_000, 200_000)
AZURE: Final = (
    "azure.core", "azure.data.tables", "azure.identity", "azure.monitor.ingestion", "azure.storage.queue",
)  # fmt: skip


def event(number: int, properties: int, operations: int) -> AuditEvent:
    """Return the n-th event: an app makes a user, whom it gives some properties, by one of some operations."""
    changed = [
        {"displayName": f"Property {at}", "oldValue": "[]", "newValue": json.dumps([f"value {number} {at}"])}
        for at in range(properties)
    ]
    user = {
        "id": f"{number:08d}-0000-4000-8000-000000000000",
        "type": "User",
        "displayName": f"User {number}",
        "userPrincipalName": f"user{number}@example.com",
        "modifiedProperties": changed,
    }
    app = {"displayName": "Sync", "appId": "a1", "servicePrincipalId": "p1"}
    row = {
        "TimeGenerated": f"{DAY}T{number // 3600 % 24:02d}:{number // 60 % 60:02d}:{number % 60:02d}Z",
        "OperationName": f"Add user {number % operations}",
        "Category": "UserManagement",
        "Id": f"Directory_{number:032x}",
        "CorrelationId": f"{number:032x}",
        "Result": "success",
        "InitiatedBy": json.dumps({"app": app}),
        "TargetResources": json.dumps([user]),
    }
    return decode_event(json.dumps(row).encode())


class Flood:
    """ports.EventSource of one day's flood; events are made as they are asked for."""

    def __init__(self, combinations: int, properties: int, operations: int) -> None:
        """Take how many events there are, how many properties each has, and of how many operations they are."""
        self._combinations = combinations
        self._properties = properties
        self._operations = operations

    def events(self, start: int, end: int) -> Iterator[AuditEvent]:  # noqa: ARG002 - all lie in the one day
        """Yield an event a combination."""
        return (event(number, self._properties, self._operations) for number in range(self._combinations))

    def reading(self) -> Reading:
        """Return that all was read."""
        return Reading(events=self._combinations)

    def coverage(self, start: int, end: int) -> dict[str, int]:
        """Return that every day had something."""
        return {format_day(ticks): 1 for ticks in range(start, end, TICKS_PER_DAY)}


def measure(combinations: int, properties: int, operations: int) -> None:
    """Run the job in this process, and print what it took."""
    for name in AZURE:
        __import__(name)
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as home,
        embedded_job(Flood(combinations, properties, operations), Path(home)) as job,
    ):
        run = job.run(DAY, DAY, asked_by="bench")
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{combinations:12,}{properties:12}{operations:12}{len(run.changes.new):10,}{peak:12,.0f}{seconds:10,.1f}",
        flush=True,
    )


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description="Peak memory of the job in a flood.")
    parser.add_argument("sizes", nargs="*", type=int, default=list(SIZES), metavar="COMBINATIONS")
    parser.add_argument("--properties", type=int, default=12)
    parser.add_argument("--operations", type=int, default=1)
    parser.add_argument("--one", action="store_true", help="measure one size, in this process")
    options = parser.parse_args()
    if options.one:
        measure(options.sizes[0], options.properties, options.operations)
        return
    print("combinations  properties  operations  findings    peak MiB   seconds")
    for size in options.sizes:
        command = [sys.executable, __file__, "--one", str(size)]
        command += ["--properties", str(options.properties), "--operations", str(options.operations)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
