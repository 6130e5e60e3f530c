"""What a cold start waits for: importing function_app, against importing the clients of Azure that it puts off.

    python bench/start_up.py [--runs 7]

Each import is timed in a process of its own, in which azure.functions is loaded already, as Microsoft's worker has it.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
CLIENTS: Final = "import azure.identity, azure.monitor.query, azure.data.tables"
_TIMED: Final = "import azure.functions, time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"


def seconds(statement: str) -> float:
    """Return how long an import takes in a fresh process."""
    ran = subprocess.run(
        [sys.executable, "-c", _TIMED.format(statement)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return float(ran.stdout)


def main() -> None:
    """Time both, in turn, and print medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    ours, theirs = [], []
    for _ in range(runs + 1):
        ours.append(seconds("import function_app"))
        theirs.append(seconds(CLIENTS))
    app, clients = (statistics.median(taken[1:]) for taken in (ours, theirs))  # the first ones warm the disk
    print(f"import function_app    {app * 1000:8.1f} ms")
    print(f"{CLIENTS}    {clients * 1000:8.1f} ms")
    print(f"ratio {app / clients:.3f} (asked for: under 0.5)")


if __name__ == "__main__":
    main()
