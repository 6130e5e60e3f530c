"""Times hunt on one log in the shapes that exports come in; see README.md."""

import argparse
import csv
import gzip
import json
import shutil
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.compare import DATA, export_of, hunt_of, measured

Row = dict[str, Any]


def main() -> None:
    """Write the log in each shape, once, run hunt on each in turn, and print medians and ratios to the first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--events", type=int, default=100_000)
    asked = parser.parse_args()
    export = export_of(asked.events)
    files = {name: _written(export, name, write) for name, write in SHAPES.items()}
    runs = {name: [measured(hunt_of(path)) for _ in range(asked.runs)] for name, path in files.items()}
    first = statistics.median(run.wall for run in runs["rows"])
    for name, figures in runs.items():
        wall = statistics.median(run.wall for run in figures)
        memory = statistics.median(run.memory for run in figures)
        size = files[name].stat().st_size / 1e6
        print(f"  {name:24}{wall:8.2f} s {wall / first:8.2f} {memory:8.0f} MiB  of {size:.0f} MB")


def _written(export: Path, name: str, write: Callable[[Path, Path], None]) -> Path:
    path: Path = DATA / f"{export.stem}-{name.replace(' ', '-')}"
    if not path.exists():
        half = path.with_suffix(".half")
        write(export, half)
        half.rename(path)
    return path


def _rows(export: Path) -> Iterator[Row]:
    with export.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def _native(row: Row) -> Row:
    return row | {name: json.loads(row[name]) for name in ("InitiatedBy", "TargetResources")}


def _audit(row: Row) -> Row:
    return {
        "id": row["Id"],
        "category": row["Category"],
        "correlationId": row["CorrelationId"],
        "result": row["Result"],
        "activityDisplayName": row["OperationName"],
        "activityDateTime": row["TimeGenerated"],
        "initiatedBy": json.loads(row["InitiatedBy"]),
        "targetResources": json.loads(row["TargetResources"]),
    }


def _record(row: Row) -> Row:
    return {
        "time": row["TimeGenerated"],
        "operationName": row["OperationName"],
        "category": "AuditLogs",
        "correlationId": row["CorrelationId"],
        "properties": _audit(row),
    }


def _lines(make: Callable[[Row], Row]) -> Callable[[Path, Path], None]:
    def write(export: Path, path: Path) -> None:
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(make(row), ensure_ascii=False) + "\n" for row in _rows(export))

    return write


def _graph(export: Path, path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write('{"value":[')
        for number, row in enumerate(_rows(export)):
            file.write(("," if number else "") + json.dumps(_audit(row), ensure_ascii=False))
        file.write("]}")


def _csv(export: Path, path: Path) -> None:
    rows = _rows(export)
    first = next(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(first))
        writer.writeheader()
        writer.writerow(first)
        writer.writerows(rows)


def _zipped(export: Path, path: Path) -> None:
    with export.open("rb") as rows, gzip.open(path, "wb", 6) as file:
        shutil.copyfileobj(rows, file)


SHAPES: dict[str, Callable[[Path, Path], None]] = {
    "rows": lambda export, path: path.hardlink_to(export),
    "rows gzip": _zipped,
    "rows with native values": _lines(_native),
    "CSV": _csv,
    "diagnostic settings": _lines(_record),
    "Graph": _graph,
}

if __name__ == "__main__":
    main()
