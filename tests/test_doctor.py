"""`doctor` on a whole Azure of stand-ins: that all is well, and each thing that can be missing, with its remedy."""

import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import Result

from rare_audit.detection.ticks import TICKS_PER_DAY, parse_ticks
from rare_audit.doctor import storage, workspace
from rare_audit.doctor.actions import BOOKMARKS, INCIDENTS
from rare_audit.doctor.check import Verdict
from rare_audit.ports import Entity
from rare_audit.rules import DEFAULT_RULE
from rare_audit.stores.progress import ProgressRows
from tests.azure.azurite import KEY, connection_string
from tests.azure.gate import Action, Answer, Passing, answering, dropping
from tests.azure.identity_server import CLIENT_ID
from tests.azure.ingestion_server import RULE_ID
from tests.azure.kql_table import KqlTable
from tests.azure.log_analytics_faults import echo
from tests.azure.log_analytics_world import row
from tests.azure.sentinel_permissions import (
    CONTRIBUTOR_AND_READER,
    LOG_ANALYTICS_READER,
    SENTINEL_CONTRIBUTOR,
    permission,
)
from tests.azure.sentinel_server import WORKSPACE_ID
from tests.azure_terminal import AzureTerminal, terminal
from tests.fakes import MemoryTable
from tests.terminal import assert_nothing_obeyed

NOBODY: Final = "https://127.0.0.1:9"
NOW: Final = datetime(2026, 3, 17, 10, 30, tzinfo=UTC)
RESPONDER: Final = permission("Microsoft.SecurityInsights/*/read", "Microsoft.SecurityInsights/incidents/*", "*/read")
PERMISSIONS: Final = "/providers/Microsoft.Authorization/permissions"


@pytest.fixture(scope="module")
def running() -> Iterator[AzureTerminal]:
    """The bundled sample in Azure, its last day being yesterday."""
    with terminal(shifted=True) as started:
        yield started


@pytest.fixture
def azure(running: AzureTerminal) -> AzureTerminal:
    """The same, with nothing kept and all permissions."""
    running.reset()
    running.stack.arm.permissions = CONTRIBUTOR_AND_READER
    return running


def _checks(result: Result) -> dict[str, list[str]]:
    """Return what each check found, its verdict first, by what it looked at."""
    found: dict[str, list[str]] = {}
    for line in result.stdout.splitlines():
        verdict, what = line[:4].strip(), line[6:].partition(": ")
        assert verdict in ("ok", "warn", "FAIL"), line
        found.setdefault(what[0], []).append(f"{verdict} {what[2]}")
    assert result.stderr == ""
    assert_nothing_obeyed(result.stdout)
    return found


def _looked(azure: AzureTerminal, **settings: str | None) -> dict[str, list[str]]:
    result = azure.called("doctor", **settings)
    found = _checks(result)
    failing = any(each.startswith("FAIL") for those in found.values() for each in those)
    assert result.exit_code == (1 if failing else 0)
    return found


def _failing(found: dict[str, list[str]]) -> set[str]:
    return {what for what, those in found.items() if any(each.startswith("FAIL") for each in those)}


# All is well


def test_all_is_well(azure: AzureTerminal) -> None:
    """Everything is looked at and as it should be, but for exclusions that can't match and the run that never was."""
    found = _looked(azure)
    assert list(found) == [
        *("settings", "token for Log Analytics", "token for Azure Resource Manager", "token for storage", "AuditLogs"),
        *("baseline", "table", "queue", "Sentinel", "incidents", "bookmarks", "last run"),
    ]
    assert _failing(found) == set()
    assert [each[:5] for each in found["settings"]] == ["ok wo", *["warn "] * 4]
    assert found["token for storage"] == [
        f"ok https://storage.azure.com, by ManagedIdentityCredential, user-assigned, client id {CLIENT_ID}"
    ]
    assert found["AuditLogs"][0].startswith(f"ok the last event is of {azure.stack.day}T23:44:51Z, ")
    assert found["baseline"] == ["ok 14 of 14 days had data"]
    assert found["last run"][0].startswith("warn none has ended well yet")


def test_nothing_is_left_behind(azure: AzureTerminal) -> None:
    """Neither a row nor a queue nor a message nor anything in Sentinel."""
    azure.called("doctor")
    assert azure.stack.rows() == []
    assert azure.stack.messages("rare-audit-runs") == []
    assert azure.stack.arm.writes == []
    written = [each for each in azure.stack.gate.passed if each.service == "queue" and each.method != "GET"]
    assert written == []


def test_after_a_run(azure: AzureTerminal) -> None:
    """A run that ended well is told, and messages that wait are counted."""
    azure.stack.make_queue("rare-audit-runs")
    assert azure.called("run", "--date", str(azure.stack.day)).exit_code == 0
    found = _looked(azure)
    assert found["last run"][0].startswith("ok ended well ")
    assert found["queue"] == ["ok reached; about 0 messages wait"]


def test_the_sink_does_what_is_looked_at(azure: AzureTerminal) -> None:
    """A delivery needs exactly the actions that are asked about."""
    assert azure.called("run", "--date", str(azure.stack.day)).exit_code == 0
    verbs = {"GET": "read", "PUT": "write"}
    done = set()
    for method, path in azure.stack.arm.requests:
        kinds = "/".join(path.split("/")[::2])
        done.add(f"Microsoft.SecurityInsights/{kinds}/{verbs[method]}")
    assert done == {*INCIDENTS, *BOOKMARKS}


# Settings


def test_settings_that_are_wrong(azure: AzureTerminal) -> None:
    """Every problem on a line of its own, exit code 2, and nobody is asked anything."""
    wrong = {"LOG_ANALYTICS_WORKSPACE_ID": "5", "SENTINEL_WORKSPACE_RESOURCE_ID": "", "RARE_AUDIT_MIN_DAYS": "\x1b[1m"}
    result = azure.called("doctor", **wrong)
    assert result.exit_code == 2
    assert [line.split()[:3] for line in result.stdout.splitlines()] == [
        ["FAIL", "settings:", "LOG_ANALYTICS_WORKSPACE_ID:"],
        ["FAIL", "settings:", "RARE_AUDIT_MIN_DAYS:"],
        ["FAIL", "settings:", "SENTINEL_WORKSPACE_RESOURCE_ID"],
    ]
    assert_nothing_obeyed(result.stdout)
    assert azure.stack.gate.passed == ()


def test_rule_that_is_wrong(azure: AzureTerminal, tmp_path: Path) -> None:
    """A rule file that can't be read is a wrong setting."""
    rule = tmp_path / "rule.yaml"
    rule.write_text(DEFAULT_RULE.read_text(encoding="utf-8").replace("tactics:", "tactic:"), encoding="utf-8")
    result = azure.called("doctor", RARE_AUDIT_RULE=str(rule))
    assert result.exit_code == 2
    assert result.stdout == f"FAIL  settings: {rule}: Object contains unknown field `tactic`\n"


def test_endpoint_that_no_client_takes(azure: AzureTerminal) -> None:
    """What only a client finds wrong with a setting is exit code 2 as well."""
    result = azure.called("doctor", RARE_AUDIT_LOGS_ENDPOINT="https://api.example/path")
    assert result.exit_code == 2
    assert result.stdout.splitlines()[-1].startswith("FAIL  settings: RARE_AUDIT_LOGS_ENDPOINT: expected https://host")


# The identity


def test_no_token(azure: AzureTerminal) -> None:
    """Without a token all that needs one fails, each said by itself; the first says which identity and what to do."""
    found = _looked(azure, AZURE_CLIENT_ID="7c3a8f0e-52d4-4f0b-9d0e-6b1f2f5c9a42")
    assert _failing(found) == {
        *("token for Log Analytics", "token for Azure Resource Manager", "token for storage", "AuditLogs", "table"),
        *("queue", "Sentinel", "incidents", "last run"),
    }
    (told,) = found["token for Log Analytics"]
    assert "client id 7c3a8f0e-52d4-4f0b-9d0e-6b1f2f5c9a42: " in told
    assert "no such identity is assigned to this app" in told
    assert told.endswith(
        "assign the identity to the app, and name it in AZURE_CLIENT_ID where it is a user-assigned one"
    )


def test_nobody_signed_in(azure: AzureTerminal, tmp_path: Path) -> None:
    """Away from Azure it is who is signed in, and where nobody is, that is the remedy."""
    nowhere = {name: None for name in azure.stack.environment if name.startswith("IDENTITY")}
    away = {"PATH": str(tmp_path), "HOME": str(tmp_path), "AZURE_TOKEN_CREDENTIALS": "dev", **nowhere}
    (told,) = _looked(azure, **away, RARE_AUDIT_INCIDENTS="observe")["token for Log Analytics"]
    assert told.startswith("FAIL none for ")
    assert "by DefaultAzureCredential, so whoever is signed in here" in told
    assert told.endswith("; sign in, for instance with az login")


# The workspace


def _with_rows(azure: AzureTerminal, ages: Iterable[float]) -> None:
    """Let AuditLogs have one event for each number of days ago."""
    now = parse_ticks(datetime.now(UTC).isoformat())
    azure.stack.logs.table = KqlTable()
    azure.stack.logs.table.fill(row(now - int(age * TICKS_PER_DAY), number) for number, age in enumerate(ages))


def test_wrong_workspace(azure: AzureTerminal) -> None:
    """A workspace that is not there fails by itself, and says which setting names it."""
    found = _looked(azure, LOG_ANALYTICS_WORKSPACE_ID="5f0d7b1e-3d5c-4b8e-9a53-2f6a1c0e7d43")
    assert _failing(found) == {"AuditLogs"}
    assert "set LOG_ANALYTICS_WORKSPACE_ID to the Workspace ID" in found["AuditLogs"][0]


def test_workspace_that_refuses(azure: AzureTerminal) -> None:
    """Without the role to read it, the role is named."""
    azure.stack.logs.readable = False
    found = _looked(azure)
    assert _failing(found) == {"AuditLogs"}
    assert "give it the role Log Analytics Reader" in found["AuditLogs"][0]


def test_token_that_a_service_repeats(azure: AzureTerminal) -> None:
    """An answer that repeats the request's token does not bring it to the terminal; see AzureTerminal.called."""
    azure.stack.logs.faults.append(echo(403))
    assert "AuditLogs" in _failing(_looked(azure))


def test_no_events(azure: AzureTerminal) -> None:
    """An empty AuditLogs fails, and the diagnostic setting that fills it is named."""
    _with_rows(azure, [])
    found = _looked(azure)
    assert _failing(found) == {"AuditLogs"}
    assert found["AuditLogs"][0].startswith("FAIL the workspace answers, and has no event of the last 14 days; in the ")
    assert "Diagnostic settings, send AuditLogs to this workspace" in found["AuditLogs"][0]
    assert "baseline" not in found


def test_few_days(azure: AzureTerminal) -> None:
    """Too few days with data warn, days without any are named."""
    _with_rows(azure, [0.01, *(days + 0.5 for days in range(1, 4))])
    (told,) = _looked(azure)["baseline"]
    assert told.startswith("warn ")
    assert "fewer than RARE_AUDIT_MIN_DAYS (7)" in told
    (told,) = _looked(azure, RARE_AUDIT_MIN_DAYS="2")["baseline"]
    assert told.startswith("ok ")
    assert "none on " in told


def test_silence(azure: AzureTerminal) -> None:
    """An AuditLogs that fell silent warns."""
    _with_rows(azure, range(3, 14))
    (told,) = _looked(azure)["AuditLogs"]
    assert told.startswith("warn the last event is of ")
    assert ", 3 days ago; if that is unusual: in the Microsoft Entra admin center" in told


class _Told:
    """A workspace that says what it is told to."""

    def __init__(self, last: int | None, days: Iterable[str] = ()) -> None:
        self._last = last
        self._days = days

    def last_event(self, start: int, end: int) -> int | None:
        """Return it if it lies in the range."""
        return self._last if self._last is not None and start <= self._last < end else None

    def coverage(self, start: int, end: int) -> dict[str, int]:
        """Return one event for each of the days."""
        return dict.fromkeys(self._days, 1)


@pytest.mark.parametrize(
    ("age", "verdict", "told"),
    [
        (timedelta(seconds=5), Verdict.OK, "5 seconds ago"),
        (timedelta(minutes=119), Verdict.OK, "119 minutes ago"),
        (timedelta(hours=26), Verdict.OK, "26 hours ago"),
        (timedelta(hours=26, seconds=1), Verdict.WARN, "26 hours ago"),
        (timedelta(days=13), Verdict.WARN, "13 days ago"),
    ],
)
def test_age_of_the_last_event(age: timedelta, verdict: Verdict, told: str) -> None:
    """How old the last event is, is told in a fitting unit, and warns past a day and a bit."""
    checks = list(workspace.look(_Told(parse_ticks((NOW - age).isoformat())), 14, 0, NOW))
    assert (checks[0].verdict, told in checks[0].found) == (verdict, True)


# Storage


@pytest.mark.parametrize(
    ("service", "check", "role"),
    [("table", "table", "Storage Table Data Contributor"), ("queue", "queue", "Storage Queue Data Contributor")],
)
def test_storage_that_refuses(azure: AzureTerminal, service: str, check: str, role: str) -> None:
    """A refusal names the role, for the one service that refuses."""
    azure.stack.gate.upon(answering(403, "AuthorizationPermissionMismatch"), service=service)
    found = _looked(azure)
    assert _failing(found) == {check} | ({"last run"} if service == "table" else set())
    assert role in found[check][0]


def test_storage_that_is_not_there(azure: AzureTerminal) -> None:
    """An account that can't be reached is told with its address, soon, and the rest is looked at."""
    settings = {f"AzureWebJobsStorage__{service}ServiceUri": NOBODY for service in ("table", "queue")}
    found = _looked(azure, **settings)
    assert _failing(found) == {"table", "queue", "last run"}
    assert f"{NOBODY} can't be reached" in found["table"][0]


def test_row_that_can_be_written_and_not_removed(azure: AzureTerminal) -> None:
    """Each of the three things done with the row has to work."""
    refused = answering(403, "AuthorizationPermissionMismatch")
    azure.stack.gate.upon(lambda passing: refused(passing) if passing.method == "DELETE" else None, service="table")
    assert _failing(_looked(azure)) == {"table"}


def test_row_that_does_not_stay() -> None:
    """A row that is gone as soon as it was written is a failure."""

    class Forgetful(MemoryTable):
        def get(self, partition: str, row: str) -> Entity | None:
            return None

    (check,) = storage.look_at_table(Forgetful())
    assert check.verdict is Verdict.FAIL


def _by_key(azure: AzureTerminal, key: str) -> dict[str, str | None]:
    urls = {
        service: azure.stack.environment[f"AzureWebJobsStorage__{service}ServiceUri"] for service in ("table", "queue")
    }
    others = {name: None for name in azure.stack.environment if name.startswith("AzureWebJobsStorage__")}
    return {**others, "AzureWebJobsStorage": connection_string(**urls).replace(KEY, key), "AZURE_CLIENT_ID": CLIENT_ID}


def test_storage_by_key(azure: AzureTerminal) -> None:
    """By an account's key no token for storage is looked for, and the key is told to nobody."""
    found = _looked(azure, **_by_key(azure, KEY))
    assert _failing(found) == set()
    assert "token for storage" not in found


@pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")  # azure-data-tables 12.7
@pytest.mark.parametrize("key", ["c2VjcmV0LW9mLXRoZS1hY2NvdW50", "c2VjcmV0LW9mLXRoZS1hY2NvdW50x!"])
def test_storage_by_a_wrong_key(azure: AzureTerminal, key: str) -> None:
    """A wrong key, or what is none, fails without being told."""
    result = azure.called("doctor", **_by_key(azure, key))
    assert _failing(_checks(result)) >= {"table", "queue"}
    assert "c2VjcmV0" not in result.output


# Sentinel


def _of(action: str) -> str:
    return "bookmarks" if "/bookmarks/" in action else "incidents"


@pytest.mark.parametrize("action", [*INCIDENTS, *BOOKMARKS])
def test_each_action_that_is_missing(azure: AzureTerminal, action: str) -> None:
    """An action that a role takes back is named with the role that has it; bookmarks alone may be left out."""
    azure.stack.arm.permissions = (permission("*", no=(action.upper(),)),)
    found = _looked(azure)
    (told,) = found[_of(action)]
    assert told.startswith("warn " if action in BOOKMARKS else "FAIL ")
    role = "Microsoft Sentinel Contributor" if action in BOOKMARKS else "Microsoft Sentinel Responder"
    assert f"may not do {action}; give it the role {role} on the resource group security" in told
    assert _failing(found) == ({"incidents"} if action in INCIDENTS else set())


@pytest.mark.parametrize(
    ("given", "lacking"),
    [
        ((), [*INCIDENTS, *BOOKMARKS]),
        ((LOG_ANALYTICS_READER,), [each for each in (*INCIDENTS, *BOOKMARKS) if each.endswith("write")]),
        ((RESPONDER,), [BOOKMARKS[1]]),
        ((RESPONDER, permission(*BOOKMARKS)), []),
        ((SENTINEL_CONTRIBUTOR,), []),
        ((permission("MICROSOFT.securityinsights/*"),), []),
        ((permission("*", no=("Microsoft.SecurityInsights/*",)),), [*INCIDENTS, *BOOKMARKS]),
        ((permission("*", no=("*/write",)), SENTINEL_CONTRIBUTOR), []),
        ((permission("Microsoft.SecurityInsights/incidents"), permission("Microsoft.SecurityInsights/*.read")), None),
    ],
    ids=["none", "reader", "responder", "both", "contributor", "case", "taken", "given twice", "no wildcard"],
)
def test_roles(azure: AzureTerminal, given: tuple[Any, ...], lacking: list[str] | None) -> None:
    """What is missing is what no role gives that does not take it back."""
    azure.stack.arm.permissions = given
    found = _looked(azure)
    told = " ".join([*found["incidents"], *found["bookmarks"]])
    assert [each for each in (*INCIDENTS, *BOOKMARKS) if f"{each}," in told or f"{each};" in told] == (
        [*INCIDENTS, *BOOKMARKS] if lacking is None else lacking
    )


def _paged(endpoint: str) -> Action:
    """Answer the permissions in two pages, the second at an endpoint."""
    pages = [[permission("Microsoft.SecurityInsights/incidents/*")], [permission("*/bookmarks/*")]]

    def action(passing: Passing) -> Answer | None:
        if PERMISSIONS not in passing.path:
            return None
        body: dict[str, Any] = {"value": pages.pop(0)}
        if pages:
            body["nextLink"] = f"{endpoint}{passing.path}?api-version=2022-04-01&$skiptoken=2"
        return Answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    return action


def test_permissions_in_pages(azure: AzureTerminal) -> None:
    """All pages of the permissions count."""
    azure.stack.gate.upon(_paged(azure.stack.arm.endpoint), service="arm")
    found = _looked(azure)
    assert (found["incidents"][0][:3], found["bookmarks"][0][:3]) == ("ok ", "ok ")


def test_permissions_that_lead_elsewhere(azure: AzureTerminal) -> None:
    """A next page at another host is not asked for: the token would go there."""
    azure.stack.gate.upon(_paged("https://elsewhere.example"), service="arm")
    assert "names another host" in _looked(azure)["incidents"][0]


def test_wrong_sentinel(azure: AzureTerminal) -> None:
    """A workspace without Sentinel fails, and says which setting names it."""
    found = _looked(azure, SENTINEL_WORKSPACE_RESOURCE_ID=f"{WORKSPACE_ID}x")
    assert _failing(found) == {"Sentinel", "incidents"}
    assert "SENTINEL_WORKSPACE_RESOURCE_ID: in the resource group security" in found["Sentinel"][0]


def test_sentinel_that_refuses(azure: AzureTerminal) -> None:
    """Without any role even the permissions may be refused: the role is named."""
    azure.stack.gate.upon(answering(403, "AuthorizationFailed"), service="arm")
    found = _looked(azure)
    assert _failing(found) == {"Sentinel", "incidents"}
    assert "the identity needs the role Microsoft Sentinel Responder" in found["incidents"][0]


def test_sentinel_that_is_away(azure: AzureTerminal) -> None:
    """What can't be reached for a moment is asked again; for good, it is told."""
    azure.stack.gate.upon(dropping, service="arm", times=1)
    assert _failing(_looked(azure)) == set()


def test_observing(azure: AzureTerminal) -> None:
    """Where nothing is raised, nothing is asked about raising it."""
    found = _looked(azure, RARE_AUDIT_INCIDENTS="observe", SENTINEL_WORKSPACE_RESOURCE_ID=None)
    assert found["incidents"] == ["ok not needed: RARE_AUDIT_INCIDENTS is observe, so none is raised"]
    assert {"Sentinel", "bookmarks", "token for Azure Resource Manager"}.isdisjoint(found)
    assert azure.stack.gate.count("arm") == 0


def test_table(azure: AzureTerminal) -> None:
    """The table's rule is named, and a token for it asked for; without incidents nothing of Sentinel is looked at."""
    found = _looked(azure, RARE_AUDIT_SINKS="table", SENTINEL_WORKSPACE_RESOURCE_ID=None)
    assert f"incidents are observed only, findings uploaded by {RULE_ID}" in found["settings"][0]
    assert found["token for Logs Ingestion"][0].startswith("ok ")
    assert found["incidents"] == ["ok not needed: only the table is asked for, so none is raised"]
    assert azure.stack.gate.count("arm") == azure.stack.gate.count("ingestion") == 0


def test_without_bookmarks(azure: AzureTerminal) -> None:
    """Bookmarks that are not wanted need no permission."""
    azure.stack.arm.permissions = (RESPONDER,)
    assert _looked(azure, RARE_AUDIT_BOOKMARKS="false")["bookmarks"] == ["ok not needed: RARE_AUDIT_BOOKMARKS is false"]


# The last run


@pytest.mark.parametrize(
    ("last", "verdict", "told"),
    [
        ("", Verdict.WARN, "none has ended well yet"),
        (
            (NOW - timedelta(hours=26)).isoformat(),
            Verdict.OK,
            "ended well 26 hours ago, 2026-03-16T08:30:00Z; due next: ",
        ),
        ((NOW - timedelta(hours=27)).isoformat(), Verdict.FAIL, "a day was missed"),
    ],
)
def test_last_run(last: str, verdict: Verdict, told: str) -> None:
    """Never is a warning, as for a new deployment; more than a day ago is what health calls stale."""
    progress = ProgressRows(MemoryTable())
    progress.change("rule", first="2026-03-01", due="2026-03-16", last_success=last)
    (check,) = storage.look_at_progress(progress, "rule", NOW)
    assert (check.verdict, told in check.found) == (verdict, True), check.found
