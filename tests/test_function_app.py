"""The deployed app in the real Python worker of Azure Functions, the host being stood in for by functions_worker."""

import json
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from azure.functions.timer import TimerRequest

import function_app
from rare_audit.app import DATABASE, OUTBOX
from rare_audit.errors import SettingsError
from rare_audit.ports import Run
from rare_audit.reporting.incident import Incident
from rare_audit.sources.sample import LAST_HUNTED, planted
from rare_audit.stores.runs import Runs
from rare_audit.stores.sqlite import SqliteTable
from tests.job_world import files, stamps
from tests.terminal import ROOT, northwind

SLOW_TO_LOAD: Final = (
    "rare_audit.app",
    "rare_audit.job",
    "azure.identity",
    "duckdb",
    "rich",
    "yaml",
    "click",
    "sqlite3",
)
SETTINGS: Final = ("RARE_AUDIT_EXPORTS", "RARE_AUDIT_HOME")
needs_worker: Final = pytest.mark.skipif(
    sys.version_info < (3, 13), reason="Microsoft's Python worker comes as a package for Python 3.13 and later only"
)


def _python(*words: str, **environment: str) -> str:
    ended = subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"} | environment,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout.decode()


def _worker(*names: str, **environment: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_python("-m", "tests.functions_worker", str(ROOT), *names, **environment))
    return found


def _yesterday() -> str:
    return f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"


def _shifted(folder: Path, last: str) -> str:
    """Write the bundled sample moved by whole days, so that it ends on `last`; return its path."""
    days = date.fromisoformat(last) - date.fromisoformat(LAST_HUNTED)
    lines = []
    for line in northwind():
        event = json.loads(line)
        day, time = event["TimeGenerated"].split("T")
        event["TimeGenerated"] = f"{date.fromisoformat(day) + days}T{time}"
        lines.append(msgspec.json.encode(event) + b"\n")
    file = folder / f"{last}.ndjson"
    file.write_bytes(b"".join(lines))
    return str(file)


def _fired_yesterday(folder: Path, *names: str) -> tuple[str, list[dict[str, Any]]]:
    """Fire functions on a sample that ends yesterday, which they find so too; return the day, and what came of it."""
    while True:
        day = _yesterday()
        fired = _worker(*names, RARE_AUDIT_EXPORTS=_shifted(folder, day), RARE_AUDIT_HOME=str(folder / "home"))["fired"]
        if day == _yesterday():
            return day, fired


def _runs(folder: Path) -> tuple[Run, ...]:
    with SqliteTable(folder / "home" / DATABASE) as table:
        return Runs(table).latest(9)


@needs_worker
def test_indexes() -> None:
    """There is one function: the timer, half past one at night unless the settings say otherwise."""
    binding = {"direction": "IN", "type": "timerTrigger", "name": "timer", "schedule": "0 30 1 * * *"}
    assert _worker()["functions"] == {"daily": [binding]}
    assert _worker(RARE_AUDIT_SCHEDULE="")["functions"] == {"daily": [binding]}
    other = _worker(RARE_AUDIT_SCHEDULE="0 0 5 * * 1")
    assert other["functions"] == {"daily": [binding | {"schedule": "0 0 5 * * 1"}]}


@needs_worker
def test_indexing_loads_little() -> None:
    """Indexing, which every cold start waits for, loads nothing of the job."""
    loaded = _worker()["loaded"]
    assert "function_app" in loaded
    assert [name for name in loaded if name.startswith("rare_audit")] == []
    assert not set(SLOW_TO_LOAD) & set(loaded)


def test_import_loads_little() -> None:
    """The same of a plain import, on every Python."""
    loaded = _python("-c", "import sys, function_app; print(*sys.modules)").split()
    assert "function_app" in loaded
    assert [name for name in loaded if name.startswith("rare_audit")] == []
    assert not set(SLOW_TO_LOAD) & set(loaded)


@needs_worker
def test_timer_runs_the_job_for_yesterday(tmp_path: Path) -> None:
    """Yesterday's planted cases are in the outbox as incidents; the row says who asked; a second time adds nothing."""
    day, fired = _fired_yesterday(tmp_path, "daily")
    assert fired == [{"ok": True, "error": ""}]
    (run,) = _runs(tmp_path)
    assert (run.state, run.first_day, run.last_day, run.asked_by, run.reason) == ("done", day, day, "timer", "")
    paths = files(tmp_path / "home" / OUTBOX)
    raised = [msgspec.json.decode(path.read_bytes(), type=Incident) for path in paths]
    assert {incident.day for incident in raised} == {path.parent.name for path in paths} == {day}
    assert sorted((one.initiated_by_app, one.operation_name) for each in raised for one in each.findings) == sorted(
        (case.app, case.operation) for case in planted() if case.day == LAST_HUNTED and case.seen and not case.excluded
    )
    before = stamps(tmp_path / "home" / OUTBOX)
    again, fired = _fired_yesterday(tmp_path, "daily!", "daily")
    assert fired == [{"ok": True, "error": ""}] * 2
    if again == day:  # it was not midnight meanwhile
        assert stamps(tmp_path / "home" / OUTBOX) == before
        assert [one.reason for one in _runs(tmp_path)] == ["", "past due", ""]


@needs_worker
@pytest.mark.parametrize("missing", [SETTINGS, SETTINGS[:1], SETTINGS[1:]], ids="+".join)
def test_missing_settings(missing: tuple[str, ...], tmp_path: Path) -> None:
    """Without its settings the invocation fails in one line that names every one that is missing, and no other."""
    given = {"RARE_AUDIT_EXPORTS": __file__, "RARE_AUDIT_HOME": str(tmp_path / "home")}
    (fired,) = _worker("daily", **{name: value for name, value in given.items() if name not in missing})["fired"]
    assert fired["ok"] is False
    assert len(fired["error"].splitlines()) == 1
    assert [name for name in SETTINGS if f"{name} is not set" in fired["error"]] == list(missing)
    assert not (tmp_path / "home").exists()


def test_called_as_a_function(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The same without the worker, on every Python: the function of the timer, in this process."""
    monkeypatch.setenv("RARE_AUDIT_EXPORTS", _shifted(tmp_path, _yesterday()))
    monkeypatch.setenv("RARE_AUDIT_HOME", str(tmp_path / "home"))
    with caplog.at_level("INFO", logger="function_app"):
        function_app.daily(TimerRequest(past_due=True))
    (run,) = _runs(tmp_path)
    assert (run.state, run.asked_by, run.reason) == ("done", "timer", "past due")
    assert len(run.delivered) == len(files(tmp_path / "home" / OUTBOX))
    told = f"run {run.id}: {len(run.changes.new)} findings, {len(run.delivered)} incidents"
    assert [record.message for record in caplog.records if record.name == "function_app"] == [told]
    monkeypatch.delenv("RARE_AUDIT_HOME")
    with pytest.raises(SettingsError, match="RARE_AUDIT_HOME is not set"):
        function_app.daily(TimerRequest())


@needs_worker
def test_failed_run_fails_the_invocation(tmp_path: Path) -> None:
    """What fails the run fails the invocation, so that it shows among the app's failures."""
    export = tmp_path / "export"
    export.write_bytes(b"{}")
    (fired,) = _worker("daily", RARE_AUDIT_EXPORTS=str(export), RARE_AUDIT_HOME=str(tmp_path / "home"))["fired"]
    assert fired["ok"] is False
    (run,) = _runs(tmp_path)
    assert run.state == "failed"
    assert run.error in fired["error"]
