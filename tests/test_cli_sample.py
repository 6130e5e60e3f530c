"""The sample and the demo at the terminal, and what a terminal sees that a pipe does not."""

import gzip
import os
import pty
import re
import select
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from rare_audit.app import DATABASE, OUTBOX
from rare_audit.cli import SAMPLE
from rare_audit.reporting.incident import Incident
from rare_audit.sources.sample import Planted, planted
from rare_audit.stores.findings import Findings
from rare_audit.stores.runs import Runs
from rare_audit.stores.sqlite import SqliteTable
from tests.job_world import RULE, files, stamps
from tests.terminal import (
    FIRST_HUNTED,
    LAST_HUNTED,
    NORTHWIND,
    ROOT,
    assert_nothing_obeyed,
    called,
    process,
)

RAISED: Final = [case for case in planted() if case.seen and not case.excluded]
_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")


def _sample(*words: str) -> bytes:
    result = called("sample", *words)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout_bytes


# The sample


def test_bundled_sample_is_what_the_command_writes() -> None:
    """The file in the repository holds what `sample` writes, and is under 1 MB."""
    assert gzip.decompress(SAMPLE.read_bytes()) == _sample()
    assert SAMPLE.stat().st_size < 1_000_000


def test_sample_is_the_same_in_a_process_of_its_own() -> None:
    """Whatever a process's hash seed, the bytes are the same."""
    ended = [process("sample", "--events", "300", PYTHONHASHSEED=seed) for seed in ("1", "2")]
    assert ended[0].stdout == ended[1].stdout == _sample("--events", "300")
    assert [one.stderr for one in ended] == [b"", b""]


def test_sample_depends_on_its_seed_and_size() -> None:
    """Another seed gives another tenant, another size more of it."""
    assert _sample("--events", "300") == _sample("--events", "300", "--seed", "7") != _sample("--seed", "8")
    assert 450 <= len(_sample("--events", "500").splitlines()) <= 500


def test_sample_to_a_file(tmp_path: Path) -> None:
    """A file holds the same; one named .gz is compressed, and the same bytes each time."""
    plain, zipped = tmp_path / "sample.ndjson", tmp_path / "sample.ndjson.gz"
    expected = _sample("--events", "300")
    assert _sample("--events", "300", "-o", str(plain)) == b""
    assert _sample("--events", "300", "-o", str(zipped)) == b""
    assert plain.read_bytes() == gzip.decompress(zipped.read_bytes()) == expected
    before = zipped.read_bytes()
    _sample("--events", "300", "-o", str(zipped))
    assert zipped.read_bytes() == before


def test_compressed_sample_does_not_depend_on_its_name(tmp_path: Path) -> None:
    """The same sample is the same file, whatever that is called."""
    for name in ("a.gz", "b.gz"):
        _sample("--events", "300", "-o", str(tmp_path / name))
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


# The demo


def _demo(into: Path) -> tuple[str, str]:
    result = called("demo", "--into", str(into))
    assert (result.exit_code, result.exception) == (0, None), result.output
    return result.stdout, result.stderr


def _raised(into: Path) -> list[Incident]:
    return [msgspec.json.decode(path.read_bytes(), type=Incident) for path in files(into / OUTBOX)]


def _told(incidents: list[Incident]) -> Counter[tuple[str, str, str, str]]:
    return Counter(
        (one.day, one.initiated_by_app, one.operation_name, one.target_user_principal_name)
        for incident in incidents
        for one in incident.findings
    )


def _cases(cases: list[Planted]) -> Counter[tuple[str, str, str, str]]:
    return Counter((case.day, case.app, case.operation, case.target_upn) for case in cases)


def test_demo_raises_what_is_planted(tmp_path: Path) -> None:
    """Each planted case that the rule sees is in an incident, none of the others is; and it says where all lies."""
    out, told = _demo(tmp_path)
    incidents = _raised(tmp_path)
    assert _told(incidents) == _cases(RAISED)
    assert len(incidents) == len({(case.day, case.app) for case in RAISED}) == 10
    assert len(out.splitlines()) == 2 + len(incidents)
    assert f"incidents: {tmp_path / OUTBOX}   findings and runs: {tmp_path / DATABASE}" in told
    assert "13 findings new, 0 confirmed, 0 changed, 0 withdrawn; 10 of 10 incidents written" in told
    for case in planted():
        assert (f"  {case.name}: {case.why}" in told) == (not case.seen)


def test_demo_twins_are_two_apps(tmp_path: Path) -> None:
    """Two service principals of one name are told apart by the incident."""
    _demo(tmp_path)
    twin = next(one for one in _raised(tmp_path) if one.app.name == "Gangway Guest Desk")
    assert twin.app.service_principal_id
    assert twin.app.service_principal_id in twin.description.replace("\\", "")


def test_demo_again_finds_nothing_twice(tmp_path: Path) -> None:
    """Run again: the same files, untouched, and the same findings; what is printed is the same but for the run."""
    first = _demo(tmp_path)
    before = stamps(tmp_path / OUTBOX)
    again = _demo(tmp_path)
    assert stamps(tmp_path / OUTBOX) == before
    assert again[0] == first[0]
    assert "0 findings new, 13 confirmed, 0 changed, 0 withdrawn; 0 of 10 incidents written" in again[1]
    with SqliteTable(tmp_path / DATABASE) as table:
        runs = Runs(table).latest(9)
        kept = [one for day in (FIRST_HUNTED, LAST_HUNTED) for one in Findings(table).of_day(RULE.id, day)]
    assert [run.state for run in runs] == ["done", "done"]
    assert runs[0].changes.confirmed == runs[1].changes.new
    assert {(one.first_run, one.last_run, one.held) for one in kept} == {(runs[1].id, runs[1].id, True)}


def test_demo_in_a_process_of_its_own(tmp_path: Path) -> None:
    """The real command: incidents on standard output, all else on standard error; nothing that drives a terminal."""
    ended = process("demo", "--into", str(tmp_path))
    assert ended.returncode == 0
    assert len(ended.stdout.decode().splitlines()) == 12
    assert "URGENT" in ended.stdout.decode()
    assert_nothing_obeyed(ended.stdout.decode())
    assert_nothing_obeyed(ended.stderr.decode())
    for path in files(tmp_path / OUTBOX):
        assert_nothing_obeyed(path.read_text(encoding="utf-8"))


def test_demo_on_another_export(tmp_path: Path) -> None:
    """Another export says nothing of planted cases, and finds what is in it."""
    export = tmp_path / "other.ndjson.gz"
    _sample("--seed", "3", "--events", "1000", "-o", str(export))
    result = called("demo", "--into", str(tmp_path / "results"), "--sample", str(export))
    assert result.exit_code == 0
    assert "planted" not in result.stderr
    assert _told(_raised(tmp_path / "results")) == _cases(RAISED)


def test_demo_while_another_is_at_work(tmp_path: Path) -> None:
    """While another run holds the lease, a demo ends with code 1 and says who holds it until when."""
    _demo(tmp_path)
    until = (datetime.now(UTC) + timedelta(minutes=5)).replace(microsecond=0)
    with SqliteTable(tmp_path / DATABASE) as table:
        row = next(iter(table.query("leases")))
        body = msgspec.json.decode(str(row.values["body"])) | {"holder": "r1", "until": until.isoformat()}
        table.put(msgspec.structs.replace(row, values={"body": msgspec.json.encode(body).decode()}))
    result = called("demo", "--into", str(tmp_path))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == (
        f"rare-audit: the lease {RULE.id} is held by r1 until {until:%Y-%m-%d %H:%M:%S} UTC"
    )


# On a terminal


def _on_a_terminal(*words: str) -> tuple[str, str]:
    """Run a command whose standard output and error are terminals of their own; return what each was sent."""
    pairs = [pty.openpty(), pty.openpty()]
    command = [sys.executable, "-m", "rare_audit", *words]
    environment = {"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8", "TERM": "xterm-256color", "COLUMNS": "120"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=pairs[0][1], stderr=pairs[1][1]
    ) as started:
        for _, end in pairs:
            os.close(end)
        out, error = _sent([end for end, _ in pairs])
    assert started.returncode == 0
    return out, error


def _sent(ends: list[int]) -> list[str]:
    """Read what terminals are sent until nobody writes to them any more."""
    sent, still = dict.fromkeys(ends, b""), list(ends)
    while still:
        for end in select.select(still, [], [])[0]:
            piece = _piece(end)
            sent[end] += piece
            if not piece:
                still.remove(end)
                os.close(end)
    return [text.decode().replace("\r\n", "\n") for text in sent.values()]


def _piece(end: int) -> bytes:
    try:
        return os.read(end, 1 << 16)
    except OSError:  # how a terminal says that nobody writes to it any more
        return b""


def test_on_a_terminal() -> None:
    """There is colour and a bar that goes away; what came from the log still drives nothing."""
    out, error = _on_a_terminal("hunt", NORTHWIND, "--start", LAST_HUNTED)
    assert _STYLE.search(out)
    assert "URGENT" in out
    assert_nothing_obeyed(_STYLE.sub("", out))
    assert "reading" in error
    assert "findings: 9, from 11 events" in error
