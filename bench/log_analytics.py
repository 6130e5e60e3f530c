"""Measures the Log Analytics source over loopback TLS; see `--help`. The server is a process of its own.

One large answer: `query_workspace` of azure-monitor-query against `LogAnalytics`, each in a process of its own.
A fetch: fifteen days of an export of 300,000 events through the whole local stack, and how its time divides.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from rare_audit.detection.detector import Detector  # noqa: E402 - needs the path
from rare_audit.detection.result import conclude  # noqa: E402 - needs the path
from rare_audit.detection.ticks import TICKS_PER_DAY, day_ticks  # noqa: E402 - needs the path
from rare_audit.detection.windows import Windows  # noqa: E402 - needs the path
from rare_audit.rules import load_rule  # noqa: E402 - needs the path
from rare_audit.sources.log_analytics import LogAnalytics  # noqa: E402 - needs the path
from rare_audit.sources.log_analytics_answer import read_events  # noqa: E402 - needs the path
from rare_audit.sources.log_analytics_client import Patience, Workspace  # noqa: E402 - needs the path
from rare_audit.sources.log_analytics_query import common_condition, events_question  # noqa: E402 - needs the path

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA: Final = ROOT / "bench" / "data"
WORKSPACE: Final = "5f0d7b1e-3d5c-4b8e-9a53-2f6a1c0e7d42"
ANSWER: Final = DATA / "answer-60MB.json"
ENDPOINT: Final = "RARE_AUDIT_LOGS_ENDPOINT"
FIRST, LAST, END = day_ticks("2026-03-01"), day_ticks("2026-03-15"), day_ticks("2026-03-16")


class StaticCredential:
    """A TokenCredential with a token that the stand-in takes."""

    def get_token(self, *_: str, **__: Any) -> Any:
        """Return the token."""
        from azure.core.credentials import AccessToken  # noqa: PLC0415 - the measured import is the client's

        return AccessToken("token", int(time.time()) + 3600)


def main() -> None:
    """Run what the command line asks for; with nothing asked, all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("part", nargs="?", default="all", choices=["all", *_PARTS])
    parser.add_argument("export", nargs="?", type=Path)
    asked = parser.parse_args()
    if asked.part != "all":
        _PARTS[asked.part](asked.export)
        return
    export = _export(asked.events)
    subprocess.run([sys.executable, __file__, "answer", export], check=True)  # this process stays small
    with _serving("canned", ANSWER):
        _compare(asked.runs)
    for part in ("fetch", "parts"):
        with _serving("serve", export):
            subprocess.run([sys.executable, __file__, part], check=True)


def _export(events: int) -> Path:
    path = DATA / f"sample-{events}.ndjson"
    if not path.exists():
        DATA.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "rare_audit", "sample", "--events", str(events), "-o", str(path)]
        subprocess.run(command, check=True, cwd=ROOT)
    return path


def _answer(export: Path) -> None:
    """Write a file with one answer of about 60 MB: the first rows of an export, all columns of AuditLogs."""
    rows: list[bytes] = []
    size = 0
    with export.open("rb") as lines:
        names = list(msgspec.json.decode(lines.readline()))
        for line in lines:
            row = msgspec.json.decode(line)
            rows.append(msgspec.json.encode([row[name] for name in names]))
            size += len(rows[-1])
            if size > 60_000_000:
                break
    kinds = {"TimeGenerated": "datetime", "ActivityDateTime": "datetime", "DurationMs": "long",
             "InitiatedBy": "dynamic", "TargetResources": "dynamic", "AdditionalDetails": "dynamic"}  # fmt: skip
    columns = msgspec.json.encode([{"name": name, "type": kinds.get(name, "string")} for name in names])
    ANSWER.write_bytes(b'{"tables":[{"name":"PrimaryResult","columns":%s,"rows":[%s]}]}' % (columns, b",".join(rows)))
    print(f"one answer: {ANSWER.stat().st_size / 1e6:.0f} MB, {len(rows):,} rows of {len(names)} columns")


@contextmanager
def _serving(part: str, file: Path) -> "Iterator[None]":
    """Run the stand-in in a process of its own, with what clients need in the environment."""
    command = [sys.executable, __file__, part, str(file)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout  # noqa: S101 - it is a pipe
        os.environ[ENDPOINT] = server.stdout.readline().strip()
        os.environ["REQUESTS_CA_BUNDLE"] = server.stdout.readline().strip()
        yield
    finally:
        print(server.communicate("")[0], end="")


def _serve(export: Path) -> None:
    from tests.azure.log_analytics_server import serving  # noqa: PLC0415 - the clients are measured without it

    with serving(export, bool) as (server, authority):
        print(server.endpoint, authority.bundle, sep="\n", flush=True)
        with suppress(EOFError):
            input()
        seconds = sum(asked.seconds for asked in server.asked)
        print(f"  of which the stand-in, until it began to send: {seconds:.2f} s in {len(server.asked)} queries")


def _canned(answer: Path) -> None:
    from tests.azure.kql_table import KqlTable  # noqa: PLC0415 - the clients are measured without it
    from tests.azure.log_analytics_server import Exchange, LogAnalyticsServer  # noqa: PLC0415 - as above
    from tests.azure.tls import Authority  # noqa: PLC0415 - as above

    body = answer.read_bytes()

    def send(exchange: Exchange) -> None:
        exchange.send(200, body)

    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        with LogAnalyticsServer(KqlTable(), authority, bool) as server:
            server.faults.extend([send] * 1000)
            print(server.endpoint, authority.bundle, sep="\n", flush=True)
            with suppress(EOFError):
                input()


def _compare(runs: int) -> None:
    """Print the seconds and the memory of both clients, and of a process that only imports and connects."""
    medians = {}
    for part in ("idle", "sdk", "ours"):
        measured = [_measured(part) for _ in range(runs)]
        medians[part] = [statistics.median(column) for column in zip(*measured, strict=True)]
        seconds, wall, memory = medians[part]
        print(f"  {part:5} {seconds:7.2f} s fetching {wall:7.2f} s whole process {memory:6.0f} MiB peak")
    idle, sdk, ours = medians["idle"], medians["sdk"], medians["ours"]
    print(f"  sdk / ours: {sdk[0] / ours[0]:.1f} of time fetching, {sdk[2] / ours[2]:.1f} of peak memory, "
          f"{(sdk[2] - idle[2]) / (ours[2] - idle[2]):.1f} of memory on top of idle")  # fmt: skip


def _measured(part: str) -> tuple[float, float, float]:
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, __file__, part], stdout=subprocess.PIPE, text=True)
    assert process.stdout  # noqa: S101 - it is a pipe
    told = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.stdout.close()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{part} failed")
    return float(told), time.perf_counter() - started, usage.ru_maxrss / 1024


def _client() -> Any:
    from azure.monitor.query import LogsQueryClient  # noqa: PLC0415 - part of what is measured

    return LogsQueryClient(StaticCredential(), endpoint=os.environ[ENDPOINT])


def _idle(_: Path) -> None:
    _client()
    print(0.0)


def _sdk(_: Path) -> None:
    client = _client()
    started = time.perf_counter()
    answer = client.query_workspace(WORKSPACE, "AuditLogs", timespan=None)
    assert answer.tables[0].rows  # noqa: S101 - else nothing was measured
    print(time.perf_counter() - started)


def _ours(_: Path) -> None:
    source = LogAnalytics(WORKSPACE, StaticCredential, endpoint=os.environ[ENDPOINT])
    _client()  # the import is not what is measured
    started = time.perf_counter()
    events = list(source.events(FIRST, FIRST + TICKS_PER_DAY))
    print(time.perf_counter() - started)
    assert events  # noqa: S101 - else nothing was measured


def _fetch(_: Path) -> None:
    """Fetch and detect as the job does."""
    rule = load_rule()
    source = LogAnalytics(WORKSPACE, StaticCredential, endpoint=os.environ[ENDPOINT], rules=[rule])
    windows = Windows.days(LAST, END, rule.lookback_days)
    started = time.perf_counter()
    detector = Detector(rule, windows)
    detector.feed(source.events(windows.origin, windows.end))
    found = conclude(detector, source.reading())
    seconds = time.perf_counter() - started
    print(f"fifteen days, four queries at a time: {source.reading().events:,} events of apps in {seconds:.2f} s, "
          f"{len(found.findings)} findings")  # fmt: skip


def _parts(_: Path) -> None:
    """Do the same one step after the other, and print what each takes; what the stand-in takes it says itself."""
    rule = load_rule()
    workspace = Workspace(WORKSPACE, StaticCredential, os.environ[ENDPOINT], Patience())
    spent = dict.fromkeys(("server and wire", "decode", "engine"), 0.0)
    detector = Detector(rule, Windows.days(LAST, END, rule.lookback_days))
    size = 0
    with closing(workspace.connect()) as connection:
        for start in range(FIRST, END, TICKS_PER_DAY):
            at = time.perf_counter()
            question = events_question(start, start + TICKS_PER_DAY, common_condition([rule]))
            body = connection.ask(question, time.monotonic() + 600, threading.Event())
            fetched = time.perf_counter()
            answer = read_events(body)
            decoded = time.perf_counter()
            detector.feed(answer.events)
            spent["server and wire"] += fetched - at
            spent["decode"] += decoded - fetched
            spent["engine"] += time.perf_counter() - decoded
            size += answer.size
    total = sum(spent.values())
    print(f"the same, one step after the other: {size / 1e6:.0f} MB in {total:.2f} s")
    for step, seconds in spent.items():
        print(f"  {step:16}{seconds:6.2f} s {seconds / total:4.0%}")


_PARTS: Final = {"serve": _serve, "canned": _canned, "idle": _idle, "sdk": _sdk, "ours": _ours, "fetch": _fetch,
                 "parts": _parts, "answer": _answer}  # fmt: skip

if __name__ == "__main__":
    main()
