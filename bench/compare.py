"""Compares hunt with a KQL engine and with the floor; see README.md."""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
DATA = HERE / "data"
START = "2026-03-16"


class Figures(NamedTuple):
    """One run of a command, or the medians of several: seconds, seconds, MiB."""

    wall: float
    processor: float
    memory: float


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--flat", action="store_true", help="also measure a file ten times as large")
    asked = parser.parse_args()
    export = export_of(asked.events)
    commands = {"hunt": hunt_of(export), "engine": [sys.executable, str(HERE / "kql_engine.py"), str(export), START],
                "floor": [sys.executable, str(HERE / "floor.py"), str(export)]}  # fmt: skip
    medians = _compare(commands, asked.runs)
    print(
        f"\n{export.name}, {asked.events:,} events, {export.stat().st_size / 1e6:.0f} MB, median of {asked.runs} runs"
    )
    for name, figures in medians.items():
        print(f"  {name:8}{figures.wall:8.2f} s wall {figures.processor:8.2f} s cpu {figures.memory:8.0f} MiB")
    hunt, engine, floor = medians["hunt"], medians["engine"], medians["floor"]
    print(f"  engine / hunt: {engine.wall / hunt.wall:.2f} of wall, {engine.processor / hunt.processor:.2f} of cpu")
    print(f"  hunt / floor:  {hunt.wall / floor.wall:.2f} of wall, {hunt.processor / floor.processor:.2f} of cpu")
    if asked.flat:
        large = measured(hunt_of(export_of(asked.events * 10)))
        print(f"  ten times the events: {large.memory:.0f} MiB against {hunt.memory:.0f} MiB, {large.wall:.1f} s")


def export_of(events: int) -> Path:
    """Return the path of a synthetic export, made once."""
    path = DATA / f"sample-{events}.ndjson"
    if not path.exists():
        DATA.mkdir(exist_ok=True)
        half = path.with_suffix(".half")
        print(f"generating {path}")
        subprocess.run(
            [sys.executable, "-m", "rare_audit", "sample", "--events", str(events), "-o", str(half)],
            check=True, cwd=HERE.parent, env=_environment(),
        )  # fmt: skip
        half.rename(path)
    return path


def hunt_of(export: Path) -> list[str]:
    """Return the command that hunts in an export."""
    return [sys.executable, "-m", "rare_audit", "hunt", str(export), "--start", START, "--format", "kql"]


def _compare(commands: dict[str, list[str]], runs: int) -> dict[str, Figures]:
    for command in commands.values():
        measured(command)  # not counted: the file is in memory from here on, and bytecode is compiled
    figures = {name: list[Figures]() for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            figures[name].append(measured(command))
    return {name: Figures(*map(statistics.median, _columns(runs))) for name, runs in figures.items()}


def _columns(runs: list[Figures]) -> Iterator[tuple[float, ...]]:
    return zip(*runs, strict=True)


def measured(command: list[str]) -> Figures:
    """Run a command to its end and return what the operating system says it used."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=HERE.parent, env=_environment()
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}")
    return Figures(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(HERE.parent)}


if __name__ == "__main__":
    main()
