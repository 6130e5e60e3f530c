"""`run`: the deployed job from a terminal, on a whole Azure of stand-ins."""

import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from rare_audit.app import SystemClock
from rare_audit.records import Run
from rare_audit.stores.dry_findings import DryFindings
from rare_audit.stores.leases import Leases
from rare_audit.stores.runs import Runs
from rare_audit.stores.table_calls import TableCalls
from rare_audit.stores.tables import AzureTable
from tests.azure.gate import answering
from tests.azure_terminal import AzureTerminal, terminal
from tests.job_world import RULE
from tests.terminal import (
    FIRST_HUNTED,
    LAST_HUNTED,
    NORTHWIND,
    ROOT,
    assert_nothing_obeyed,
    assert_refused,
    called,
    hunted,
    process,
)

BOTH: Final = ("run", "--from", FIRST_HUNTED, "--to", LAST_HUNTED)
LAST: Final = ("run", "--date", LAST_HUNTED)


@pytest.fixture(scope="module")
def running() -> Iterator[AzureTerminal]:
    """The bundled sample in Azure."""
    with terminal() as started:
        yield started


@pytest.fixture
def azure(running: AzureTerminal) -> AzureTerminal:
    """The same, with nothing kept."""
    running.reset()
    return running


def _table(azure: AzureTerminal) -> AzureTable:
    return AzureTable(lambda: TableCalls(azure.stack.table))


def _runs(azure: AzureTerminal) -> tuple[Run, ...]:
    return Runs(_table(azure)).latest(9)


def _kept(azure: AzureTerminal) -> list[dict[str, Any]]:
    """Return all rows that are no record of a run or of who is at work."""
    apart = ("runs", "run-ids", "leases", "progress")
    return [row for row in azure.stack.rows() if row["PartitionKey"] not in apart]


def test_does_what_the_demo_does(azure: AzureTerminal, tmp_path: Path) -> None:
    """From Log Analytics, with Azure Tables and Sentinel, the same incidents as from an export; and told the same."""
    demo, run = called("demo", "--into", str(tmp_path)), azure.called(*BOTH)
    assert (run.exit_code, run.stdout) == (0, demo.stdout)
    told = run.stderr.splitlines()
    # The service leaves out what no app did, which an export has: so that alone is counted differently.
    apart = ("running", "read", "baseline", "current", "run ")
    of_demo = demo.stderr.partition("planted")[0].splitlines()
    assert [line for line in told if not line.startswith(apart)] == [
        line for line in of_demo if not line.startswith(apart)
    ]
    assert told[-1].endswith("13 findings new, 0 confirmed, 0 changed, 0 withdrawn; 10 of 10 incidents written")
    assert len(azure.stack.sentinel.incidents) == 10


def test_is_recorded(azure: AzureTerminal) -> None:
    """The run is kept with who asked for it and why."""
    assert azure.called(*LAST, "--reason", "looks odd").exit_code == 0
    (run,) = _runs(azure)
    assert (run.asked_by, run.reason, run.state, run.queued) == ("terminal", "looks odd", "done", "")
    assert (run.first_day, run.last_day) == (LAST_HUNTED, LAST_HUNTED)
    assert azure.stack.messages("rare-audit-runs") == []


def test_again_changes_nothing(azure: AzureTerminal) -> None:
    """Done again, findings are confirmed, nothing is written, and the same table is shown."""
    first = azure.called(*LAST)
    before, written = azure.stack.sentinel.contents(), _kept(azure)
    azure.stack.arm.forget()
    again = azure.called(*LAST)
    assert (again.exit_code, again.stdout) == (0, first.stdout)
    assert (
        "0 findings new, 8 confirmed, 0 changed, 0 withdrawn; 0 of 6 incidents written, the others are as they were"
        in (again.stderr.splitlines()[-1])
    )
    assert azure.stack.sentinel.contents() == before
    assert azure.stack.arm.writes == []
    assert len(_kept(azure)) == len(written)


def test_dry_run(azure: AzureTerminal) -> None:
    """What a run would find is shown, as findings; none is kept among those that count, none is raised."""
    dry = azure.called(*LAST, "--dry-run")
    assert dry.exit_code == 0
    assert "Semaphore Dialler" in dry.stdout
    assert dry.stderr.splitlines()[-1].endswith("8 findings; a dry run, so none is kept and no incident raised")
    assert azure.stack.arm.requests == []
    assert all(row["PartitionKey"].startswith("dry") for row in _kept(azure))
    assert "8 findings new, 0 confirmed" in azure.called(*LAST).stderr


def test_dry_run_without_storage(azure: AzureTerminal) -> None:
    """With the workspace's settings and a sign-in it shows what a hunt in the export shows, and stores nothing."""
    ended = azure.alone(*LAST, "--dry-run")
    hunt = hunted(NORTHWIND, "--start", LAST_HUNTED, "--end", "2026-03-17", "--exclusions")
    assert ended.returncode == 0, ended.stderr
    table = hunt.stdout.split("\n\n", 1)[1]  # a hunt says first what it read
    assert sorted(ended.stdout.splitlines()) == sorted(table.splitlines())
    told = ended.stderr.splitlines()
    assert (
        told.count("no storage account is set: this dry run is not stored, and what it finds is shown here only") == 1
    )
    assert told[-1].endswith("8 findings; a dry run, so none is kept and no incident raised")
    assert {passing.service for passing in azure.stack.gate.passed} == {"identity", "logs"}
    assert azure.stack.rows() == []


def test_dry_run_with_storage_is_stored(azure: AzureTerminal) -> None:
    """Where an account is set the run and its findings are stored, and nobody says that they are not.

    What only incidents and the queue need is not asked for.
    """
    unset = dict.fromkeys(("SENTINEL_WORKSPACE_RESOURCE_ID", "AzureWebJobsStorage__queueServiceUri"))
    dry = azure.called(*LAST, "--dry-run", **unset)
    assert dry.exit_code == 0
    assert "not stored" not in dry.stderr
    (run,) = _runs(azure)
    assert (run.dry_run, run.state, len(DryFindings(_table(azure)).of_run(run.id))) == (True, "done", 8)


def test_dry_run_waits_for_nobody_without_storage(azure: AzureTerminal) -> None:
    """Another run's lease stops a dry run that uses the same storage, and no other."""
    Leases(_table(azure), SystemClock(), timedelta(minutes=5)).acquire(RULE.id, "r1")
    assert azure.called(*LAST, "--dry-run").exit_code == 1
    assert azure.alone(*LAST, "--dry-run").returncode == 0


def test_failed_dry_run_without_storage(azure: AzureTerminal) -> None:
    """A workspace that refuses is exit code 1, with the reason in the last line."""
    azure.stack.logs.readable = False
    ended = azure.alone(*LAST, "--dry-run")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.splitlines()[-1].startswith("rare-audit: the identity may not read the workspace")


def test_dry_run_without_a_workspace() -> None:
    """In an empty environment the workspace's GUID is all that is missing."""
    assert_refused(
        process(*LAST, "--dry-run"), "LOG_ANALYTICS_WORKSPACE_ID is not set: expected the workspace's GUID\n"
    )


def test_dry_run_of_some_hours(azure: AzureTerminal) -> None:
    """A dry run alone may have bounds of its own."""
    bounds = ("--start", f"{LAST_HUNTED}T14:00:00Z", "--end", f"{LAST_HUNTED}T15:00:00Z")
    dry = azure.called("run", *bounds, "--dry-run")
    assert dry.exit_code == 0
    assert [line.split(" │")[0] for line in dry.stdout.splitlines()[2:]] == [f"{LAST_HUNTED} 14:02:39"]
    assert azure.called("run", *bounds).exit_code == 2


def test_nothing_rare(azure: AzureTerminal) -> None:
    """A dry run over an hour in which nothing happened."""
    dry = azure.called("run", "--start", f"{LAST_HUNTED}T00:00:01Z", "--end", f"{LAST_HUNTED}T00:00:02Z", "--dry-run")
    assert (dry.exit_code, dry.stdout) == (0, "nothing rare\n")


def test_names_are_not_obeyed(azure: AzureTerminal) -> None:
    """An app's name can't drive the terminal."""
    for words in (LAST, (*LAST, "--dry-run")):
        result = azure.called(*words)
        assert "URGENT" in result.stdout
        assert_nothing_obeyed(result.stdout)
        assert_nothing_obeyed(result.stderr)


def test_day_without_data(azure: AzureTerminal) -> None:
    """A day without any event is told and no failure; where it is yesterday, an incident says so as well."""
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    for day, more in (("2026-02-01", ""), (yesterday, "; 1 more written that were due")):
        result = azure.called("run", "--date", day)
        assert (result.exit_code, result.stdout) == (0, "no data\n")
        assert (
            f"no data: AuditLogs has no event of {day}; nothing of that day is found or withdrawn, and it stays due"
            in (result.stderr.splitlines())
        )
        assert result.stderr.splitlines()[-1].endswith(f"0 of 0 incidents written{more}")
    assert [run.state for run in _runs(azure)] == ["no-data"] * 2
    (incident,) = azure.stack.sentinel.incidents.values()
    assert "went silent" in incident["properties"]["title"]


def test_degraded_baseline(azure: AzureTerminal) -> None:
    """Days held against too little are told with what is missing."""
    result = azure.called("run", "--from", "2026-03-03", "--to", "2026-03-04")
    assert result.exit_code == 0
    told = result.stderr.splitlines()
    assert any(
        line.startswith("coverage before 2026-03-03: 2 of 14 days had data, none on 2026-02-17 to 2026-02-28")
        for line in told
    )
    incomplete = "warning: baseline incomplete, fewer than RARE_AUDIT_MIN_DAYS days with data before "
    assert any(line.startswith(f"{incomplete}2026-03-03 to 2026-03-04: ") for line in told)


def test_observing(azure: AzureTerminal) -> None:
    """Without incidents to raise, those that would be are shown, and it is said that they are not."""
    result = azure.called(*LAST, RARE_AUDIT_INCIDENTS="observe", SENTINEL_WORKSPACE_RESOURCE_ID=None)
    assert result.exit_code == 0
    assert "Semaphore Dialler" in result.stdout
    assert result.stderr.splitlines()[-1] == "RARE_AUDIT_INCIDENTS is observe: these incidents are not raised"


def test_table(azure: AzureTerminal) -> None:
    """With the table alone no incident is raised, and it is said where the findings are."""
    result = azure.called(*LAST, RARE_AUDIT_SINKS="table", SENTINEL_WORKSPACE_RESOURCE_ID=None)
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1] == (
        "these incidents are not raised; the findings are rows of RareAuditFindings_CL"
    )
    assert len(azure.stack.ingestion.rows) > 5
    assert azure.stack.gate.count("arm") == 0
    assert azure.stack.arm.requests == []


def test_notes(azure: AzureTerminal) -> None:
    """What was left out of deliveries is told once, as a note."""
    azure.stack.arm.denied.add("bookmarks")
    try:
        result = azure.called(*LAST)
    finally:
        azure.stack.arm.denied.clear()
    assert result.exit_code == 0
    assert sum("bookmarks were left out" in line for line in result.stderr.splitlines()) == 1
    assert "note: bookmarks were left out: the identity may not write them" in result.stderr


USAGE: Final = [
    ((), "expected --date, or --from and --to, or for a dry run --start and --end"),
    (("--from", LAST_HUNTED), "expected --date"),
    (("--date", LAST_HUNTED, "--to", LAST_HUNTED), "expected --date"),
    (("--start", FIRST_HUNTED, "--dry-run"), "expected --date"),
    (("--start", FIRST_HUNTED, "--end", LAST_HUNTED), "only a --dry-run may have a --start and --end of its own"),
    (("--date", "yesterday"), "--date: days are written YYYY-MM-DD"),
    (("--date", "\x1b[31m"), "--date: days are written YYYY-MM-DD"),
    (("--from", LAST_HUNTED, "--to", FIRST_HUNTED), "--to: 2026-03-15 is before 2026-03-16"),
    (("--from", "2026-01-01", "--to", LAST_HUNTED), "more than 31 days"),
    (("--date", "2999-01-01"), "--date: 2999-01-01 is not over yet"),
    (("--start", LAST_HUNTED, "--end", "2999-01-01", "--dry-run"), "--end: "),
    (("--date", LAST_HUNTED, "--reason", "x" * 501), "--reason: longer than 500 characters"),
    (("--date", LAST_HUNTED, "now"), "unexpected extra argument"),
]


@pytest.mark.parametrize(("words", "told"), USAGE)
def test_usage(azure: AzureTerminal, words: tuple[str, ...], told: str) -> None:
    """What can't be run is refused as click does it, and nothing is asked of anybody."""
    result = azure.called("run", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in " ".join(result.stderr.split())
    assert_nothing_obeyed(result.stderr)
    assert azure.stack.gate.passed == ()


def test_today_is_not_over(azure: AzureTerminal) -> None:
    """The day that is under way can't be run."""
    assert azure.called("run", "--date", f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%d}").exit_code == 2


def test_wrong_settings(azure: AzureTerminal) -> None:
    """Settings that are wrong are all named in one line, and exit code 2."""
    result = azure.called(*LAST, LOG_ANALYTICS_WORKSPACE_ID="", RARE_AUDIT_MIN_DAYS="x")
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    assert "LOG_ANALYTICS_WORKSPACE_ID is not set" in result.stderr
    assert "RARE_AUDIT_MIN_DAYS: expected" in result.stderr


def test_workspace_that_refuses(azure: AzureTerminal) -> None:
    """Something outside fails: exit code 1, the reason in the last line, and the run recorded as failed."""
    azure.stack.logs.readable = False
    result = azure.called(*LAST)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].startswith("rare-audit: the identity may not read the workspace")
    assert [run.state for run in _runs(azure)] == ["failed"]


def test_incidents_that_are_refused(azure: AzureTerminal) -> None:
    """Findings are kept, what was seen is told, and the incidents stay queued: the next run delivers them."""
    azure.stack.arm.denied.add("incidents")
    try:
        result = azure.called(*LAST)
    finally:
        azure.stack.arm.denied.clear()
    assert result.exit_code == 1
    told = result.stderr.splitlines()
    assert "findings: 8, from 10 events" in told
    assert told[-1].startswith("rare-audit: 6 incidents could not be delivered and stay queued")
    again = azure.called(*LAST)
    assert again.exit_code == 0
    assert "6 of 6 incidents written" in again.stderr


def test_table_that_refuses(azure: AzureTerminal) -> None:
    """Where nothing can be kept, nothing is raised."""
    azure.stack.gate.upon(answering(403, "AuthorizationFailure"), service="table")
    result = azure.called(*LAST)
    assert (result.exit_code, result.stdout, azure.stack.arm.requests) == (1, "", [])
    assert "Storage Table Data Contributor" in result.stderr.splitlines()[-1]


def test_another_run_at_work(azure: AzureTerminal) -> None:
    """While another run holds the lease this one ends, and says who and until when."""
    Leases(_table(azure), SystemClock(), timedelta(minutes=5)).acquire(RULE.id, "r1")
    result = azure.called(*LAST)
    assert (result.exit_code, result.stdout) == (1, "")
    held = rf"rare-audit: the lease {RULE.id} is held by r1 until \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC"
    assert re.fullmatch(held, result.stderr.splitlines()[-1])


def test_start_up_costs_no_more() -> None:
    """Importing the command line imports nothing of Azure, of the job or of what draws tables."""
    script = (
        "import sys, rare_audit.cli\n"
        "slow = ('azure', 'requests', 'rich', 'sqlite3', 'rare_audit.app', 'rare_audit.job', 'rare_audit.doctor')\n"
        "print([name for name in sys.modules if name in slow or name.partition('.')[0] in slow])\n"
    )
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"
