"""The SQLite file, queried as people do: with plain SQL, against what the stores themselves answer."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from rare_audit.app import DATABASE, embedded_job
from rare_audit.detection.finding import content_id
from rare_audit.exports.export_files import ExportFiles
from rare_audit.records import Changes, KeptFinding, Run
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.text import visible
from rare_audit.stores.deliveries import Deliveries
from rare_audit.stores.dry_findings import DryFindings
from rare_audit.stores.findings import Findings
from rare_audit.stores.progress import ProgressRows
from rare_audit.stores.runs import Runs
from rare_audit.stores.sqlite import SqliteTable
from rare_audit.stores.sqlite_views import LONGEST_SHOWN, VIEWS
from tests.builders import DAY, RULE_ID, delivery, finding, kept, run
from tests.job_world import RULE
from tests.terminal import FIRST_HUNTED, LAST_HUNTED, NORTHWIND

Row = dict[str, Any]
HOSTILE: Final = (
    "\x1b[31mURGENT\x1b[0m \x9b2J \u202egpj \u200b\ufeff\u2028 \U000e0041 \ufff9"
    "é😀 '; DROP VIEW findings; -- \" \\ \\u001b"
)


def queried(path: Path, statement: str) -> list[Row]:
    """Return the rows of a statement, by a connection that can't write."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(statement)]


def finding_row(one: KeptFinding) -> Row:
    """Return the row of a finding, from its fields."""
    found = one.finding
    texts = {
        "App": found.initiated_by_app,
        "Operation": found.operation_name,
        "Target": found.target_user_principal_name or found.target_resource_name,
        "Properties": ", ".join(found.property_names),
        "TargetUserPrincipalName": found.target_user_principal_name,
        "TargetResourceName": found.target_resource_name,
        "IPAddress": found.initiated_by_ip_address,
    }
    return {name: visible(text) for name, text in texts.items()} | {
        "FindingId": found.id,
        "Day": found.day,
        "Events": found.events,
        "StartTime": found.start_time,
        "EndTime": found.end_time,
        "Current": int(one.held),
        "AppSeenDays": found.history.app.days,
        "AppAndOperationSeenDays": found.history.app_and_operation.days,
        "BaselineDays": one.coverage.of,
        "BaselineDaysWithData": one.coverage.days,
        "AppId": found.app_ids[0] if found.app_ids else None,
        "ServicePrincipalId": found.service_principal_ids[0] if found.service_principal_ids else None,
        "IncidentId": one.incident_id,
        "FirstRun": one.first_run,
        "LastRun": one.last_run,
        "Variant": found.variant,
        "RuleId": found.rule_id,
    }


def run_row(one: Run) -> Row:
    """Return the row of a run, from its fields."""
    return {
        "RunId": one.id,
        "FirstDay": one.first_day,
        "LastDay": one.last_day,
        "State": one.state,
        "Started": one.started,
        "Ended": one.ended,
        "DryRun": int(one.dry_run),
        "AskedBy": visible(one.asked_by),
        "Reason": visible(one.reason),
        "Attempts": one.attempts,
        "Error": visible(one.error),
        "Events": one.funnel.reading.events if one.funnel else None,
        "Findings": one.funnel.findings if one.funnel else None,
        "New": len(one.changes.new),
        "Confirmed": len(one.changes.confirmed),
        "Changed": len(one.changes.changed),
        "Withdrawn": len(one.changes.withdrawn),
        "Incidents": len(one.incidents),
        "Delivered": len(one.delivered),
        "Refused": one.refused,
        "Unreadable": one.unreadable,
        "LookbackDays": one.lookback_days,
        "RuleId": one.rule_id,
    }


def test_the_job_on_the_sample(tmp_path: Path) -> None:
    """Two runs, and findings of a dry one: each view has what the stores have, and in their order."""
    with embedded_job(ExportFiles([NORTHWIND]), tmp_path) as job:
        job.run(FIRST_HUNTED, LAST_HUNTED, asked_by="test")
        job.run(LAST_HUNTED, LAST_HUNTED, asked_by="test")
    path = tmp_path / DATABASE
    with SqliteTable(path) as table:
        findings = [one for day in (FIRST_HUNTED, LAST_HUNTED) for one in Findings(table).of_day(RULE.id, day)]
        runs = Runs(table).latest(9)
        DryFindings(table).keep(run(), findings[:3])
        dry_findings = DryFindings(table).of_run(run().id)
        incidents = sorted({one.incident_id for one in findings})
        deliveries = [one for one in map(Deliveries(table).get, incidents) if one]
    assert queried(path, "SELECT * FROM findings") == list(map(finding_row, findings))
    assert queried(path, "SELECT * FROM dry_findings") == list(map(finding_row, dry_findings))
    assert queried(path, "SELECT * FROM runs") == list(map(run_row, runs))
    assert queried(path, "SELECT IncidentId, Day, Pending, RuleId FROM deliveries") == [
        {"IncidentId": one.incident_id, "Day": one.day, "Pending": 0, "RuleId": RULE.id} for one in deliveries
    ]
    assert (len(findings), len(dry_findings), len(runs), len(deliveries)) == (13, 3, 2, 10)
    (lease,) = queried(path, "SELECT * FROM leases")
    assert (lease["Name"], lease["Holder"]) == (RULE.id, "")


def test_progress_and_what_is_pending(tmp_path: Path) -> None:
    """Days that are due, and deliveries that failed, stand in columns of their own."""
    path = tmp_path / "table.db"
    with SqliteTable(path) as table:
        ProgressRows(table).begin(RULE_ID, DAY)
        Deliveries(table).put(delivery(failures=2))
    assert queried(path, "SELECT RuleId, FirstDay, DueDay, LastSuccess, SilentSince FROM progress") == [
        {"RuleId": RULE_ID, "FirstDay": DAY, "DueDay": DAY, "LastSuccess": "", "SilentSince": ""}
    ]
    assert queried(path, "SELECT Pending, Failures, Sink FROM deliveries") == [
        {"Pending": 1, "Failures": 2, "Sink": ""}
    ]


def test_hostile_text_is_made_visible(tmp_path: Path) -> None:
    """What a terminal may obey is spelled out as everywhere else, and quotes are letters."""
    found = finding(
        initiated_by_app=HOSTILE, operation_name=HOSTILE, target_user_principal_name=HOSTILE,
        initiated_by_ip_address=HOSTILE, target_resource_name=HOSTILE, property_names=(HOSTILE, "é"),
    )  # fmt: skip
    one = kept(found, held=False, coverage=Coverage(3, 14))
    path = tmp_path / "table.db"
    with SqliteTable(path) as table:
        Findings(table).keep([one])
        Runs(table).save(run(reason=HOSTILE, error=HOSTILE))
    assert queried(path, "SELECT * FROM findings") == [finding_row(one)]
    assert queried(path, "SELECT * FROM runs") == [run_row(run(reason=HOSTILE, error=HOSTILE))]


def test_hostile_ids_and_undecodable_bytes(tmp_path: Path) -> None:
    """Half a surrogate pair, as a file's name in an error may hold, is no reason for the query to fail."""
    path = tmp_path / "table.db"
    with SqliteTable(path) as table:
        Findings(table).keep([kept(finding(app_ids=(HOSTILE,), service_principal_ids=(HOSTILE,)))])
        Runs(table).save(run(error="no such file: a\udcff.json"))
    (found,) = queried(path, "SELECT AppId, ServicePrincipalId FROM findings")
    assert set(found.values()) == {visible(HOSTILE)}
    (told,) = queried(path, "SELECT Error FROM runs")
    assert told["Error"].startswith("no such file: a\\ufffd")
    assert told["Error"].endswith(".json")


@pytest.mark.parametrize("text", ["x" * 60_000, "é" * 60_000, "\x1b" * 60_000])
def test_long_text(tmp_path: Path, text: str) -> None:
    """A long text is there whole; of one that has to be made visible, its beginning."""
    path = tmp_path / "table.db"
    with SqliteTable(path) as table:
        Findings(table).keep([kept(finding(initiated_by_app=text))])
    (row,) = queried(path, "SELECT App FROM findings")
    assert row["App"] == (visible(text[:LONGEST_SHOWN]) if "\x1b" in text else text)


def test_text_with_nul(tmp_path: Path) -> None:
    """Where SQLite ends a text at NUL, nothing behind it is obeyed either."""
    path = tmp_path / "table.db"
    with SqliteTable(path) as table:
        Findings(table).keep([kept(finding(initiated_by_app="a\0b\x1b[31m"))])
    (row,) = queried(path, "SELECT App FROM findings")
    assert row["App"].startswith("a")
    assert "\x1b" not in row["App"]


def test_a_body_in_pieces(tmp_path: Path) -> None:
    """A run of a flood, whose body takes several rows, is a row like others; while it is removed it says nothing."""
    path = tmp_path / "table.db"
    long = run(state="done", changes=Changes(new=tuple(content_id(f"{at}") for at in range(20_000))), reason="é" * 9)
    with SqliteTable(path) as table:
        Runs(table).save(run(id="earlier", started="2026-03-02T00:00:00Z"))
        Runs(table).save(long)
        assert [row["New"] for row in queried(path, "SELECT New FROM runs")] == [20_000, 0]
        assert queried(path, "SELECT * FROM runs")[0] == run_row(long)
        with closing(sqlite3.connect(path)) as other, other:
            assert other.execute("DELETE FROM entities WHERE row LIKE '%.000001'").rowcount == 1
        assert [row["RunId"] for row in queried(path, "SELECT RunId FROM runs")] == [None, "earlier"]


def test_a_database_without_views_gets_them(tmp_path: Path) -> None:
    """One of a former version, or with views of another, has them once it is opened; its rows stay."""
    path = tmp_path / "table.db"
    with SqliteTable(path) as table:
        Findings(table).keep([kept()])
    with closing(sqlite3.connect(path)) as plain, plain:
        for name in VIEWS:
            plain.execute(f"DROP VIEW {name}")
        plain.execute("CREATE VIEW findings AS SELECT 1 AS Other")
    for _ in range(2):
        with SqliteTable(path) as table:
            assert Findings(table).of_day(RULE_ID, DAY) == (kept(),)
        assert queried(path, "SELECT * FROM findings") == [finding_row(kept())]
    names = queried(path, "SELECT name FROM sqlite_master WHERE type = 'view' ORDER BY name")
    assert [row["name"] for row in names] == sorted(VIEWS)


def test_opening_again_writes_nothing(tmp_path: Path) -> None:
    """The views are compared, not made anew, so that opening does not wait for whoever is writing."""
    path = tmp_path / "table.db"
    SqliteTable(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        SqliteTable(path, patience=0.05).close()
        other.execute("ROLLBACK")


def test_views_can_not_be_written(tmp_path: Path) -> None:
    """They are for reading alone."""
    path = tmp_path / "table.db"
    SqliteTable(path).close()
    with (
        closing(sqlite3.connect(path)) as plain,
        pytest.raises(sqlite3.OperationalError, match="cannot modify findings because it is a view"),
    ):
        plain.execute("DELETE FROM findings")
