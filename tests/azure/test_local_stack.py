"""The whole Azure on one machine: an app asks all of its services by the identity, and a test sees what came of it."""

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from tests.azure.azurite import KEY
from tests.azure.gate import killing
from tests.azure.local_stack import SAMPLE, Stack
from tests.azure.scratch_app import write
from tests.azure.shifted_export import last_day, shifted, yesterday

_SOURCE: Final = '''
import os
from contextlib import suppress

import azure.functions as func
import requests
from azure.core.exceptions import ResourceExistsError
from azure.data.tables import TableClient
from azure.identity import ManagedIdentityCredential
from azure.monitor.query import LogsQueryClient
from azure.storage.queue import QueueClient

app = func.FunctionApp()


@app.timer_trigger(arg_name="timer", schedule="0 0 1 * * *")
def everything(timer: func.TimerRequest) -> None:
    """Write a row, send a message, read the logs and create an incident."""
    env, identity = os.environ, ManagedIdentityCredential(client_id=os.environ["AZURE_CLIENT_ID"])
    with TableClient(env["AzureWebJobsStorage__tableServiceUri"], "RareAudit", credential=identity) as table:
        with suppress(ResourceExistsError):
            table.create_table()
        table.upsert_entity({"PartitionKey": "p", "RowKey": "r", "text": "kept"})
    with QueueClient(env["AzureWebJobsStorage__queueServiceUri"], "of-the-app", credential=identity) as queue:
        with suppress(ResourceExistsError):
            queue.create_queue()
        queue.send_message("sent")
    with LogsQueryClient(identity, endpoint=env["RARE_AUDIT_LOGS_ENDPOINT"]) as logs:
        found = logs.query_workspace(env["LOG_ANALYTICS_WORKSPACE_ID"], "AuditLogs | count", timespan=None)
        assert found.tables[0].rows[0][0] == 2
    arm = env["RARE_AUDIT_ARM_ENDPOINT"]
    url = arm + env["SENTINEL_WORKSPACE_RESOURCE_ID"] + "/providers/Microsoft.SecurityInsights/incidents/one"
    properties = {"title": "t", "severity": "Low", "status": "New"}
    requests.put(
        url + "?api-version=2025-09-01",
        json={"properties": properties},
        headers={"Authorization": "Bearer " + identity.get_token(arm + "/.default").token},
        timeout=10,
    ).raise_for_status()
'''


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Start everything with an app that asks everything."""
    pytest.importorskip("azure_functions_runtime", reason="Microsoft's worker is for Python 3.13 and later")
    folder = tmp_path_factory.mktemp("stack")
    export = folder / "export.ndjson"
    export.write_text("".join(f'{{"TimeGenerated": "2026-03-1{day}T12:00:00.1234567Z"}}\n' for day in (5, 6)))
    with Stack(export, shifted=True, app=write(folder / "app", _SOURCE), settings={"EXTRA": "yes"}) as running:
        yield running


def test_no_key_anywhere(stack: Stack) -> None:
    """What the app gets has the identity and addresses, no key and no connection string."""
    assert stack.environment["EXTRA"] == "yes"
    assert stack.environment["AzureWebJobsStorage__credential"] == "managedidentity"
    for name, value in stack.environment.items():
        assert KEY not in value, name
        assert "AccountKey" not in value, name
        assert name.endswith(("ENDPOINT", "Uri")) == value.startswith("http"), name


def test_everything_is_asked(stack: Stack) -> None:
    """Every service answers the app's real clients on the identity's tokens, and every request passes the gate."""
    stack.reset()
    stack.host.restart_worker()
    ended = stack.host.fire("everything")
    assert ended.ok, ended.traceback
    assert {passing.service for passing in stack.gate.passed} == {"identity", "table", "queue", "logs", "arm"}
    assert [(row["PartitionKey"], row["RowKey"], row["text"]) for row in stack.rows()] == [("p", "r", "kept")]
    assert stack.messages("of-the-app") == ["sent"]
    assert list(stack.sentinel.incidents) == ["one"]
    assert [asked.status for asked in stack.logs.asked] == [200]
    assert "'Functions.everything' (Succeeded" in stack.log_text()
    stack.reset()
    assert (stack.rows(), stack.messages("of-the-app"), stack.sentinel.incidents) == ([], [], {})
    assert (stack.gate.passed, stack.logs.asked, stack.host.ended) == ((), [], [])


@pytest.mark.parametrize("applied", [False, True])
def test_killed_at_a_request(stack: Stack, applied: bool) -> None:
    """The app may be killed at any request, before it is done and after."""
    stack.reset()
    stack.gate.at(1, killing(stack.host.kill_worker), service="arm", applied=applied)
    ended = stack.host.fire("everything")
    assert "SIGKILL" in ended.error
    assert list(stack.sentinel.incidents) == (["one"] if applied else [])
    assert stack.host.fire("everything").ok
    assert list(stack.sentinel.incidents) == ["one"]


def test_revoked(stack: Stack) -> None:
    """What a stand-in refuses fails the app as it would in Azure."""
    stack.reset()
    stack.logs.readable = False
    assert "InsufficientAccessError" in stack.host.fire("everything").error


def test_without_a_host(tmp_path: Path) -> None:
    """Any process that gets the environment is let in, as the app is, on any Python."""
    export = tmp_path / "export.ndjson"
    export.write_text('{"TimeGenerated": "2026-03-16T12:00:00Z"}\n')
    script = (
        "import os; from azure.identity import ManagedIdentityCredential; from azure.data.tables import TableClient\n"
        "identity = ManagedIdentityCredential(client_id=os.environ['AZURE_CLIENT_ID'])\n"
        "url = os.environ['AzureWebJobsStorage__tableServiceUri']\n"
        "with TableClient(url, 'RareAudit', credential=identity) as table: table.create_table()"
    )
    with Stack(export, host=False) as stack:
        subprocess.run([sys.executable, "-c", script], env=stack.environment, check=True, timeout=60)
        assert {passing.service for passing in stack.gate.passed} == {"identity", "table"}
        assert (stack.rows(), stack.messages("none"), stack.day) == ([], [], date(2026, 3, 16))
        with pytest.raises(AssertionError, match="without a host"):
            _ = stack.host


def test_shifted(tmp_path: Path) -> None:
    """The sample's events keep their order and their time of day, and its last day is yesterday."""
    last = yesterday()
    moved = shifted(SAMPLE, last, tmp_path)
    assert (last_day(SAMPLE), last_day(moved)) == (date(2026, 3, 16), last)
    with gzip.open(SAMPLE) as old, moved.open("rb") as new:
        for before, after in zip(old, new, strict=True):
            was, now = json.loads(before), json.loads(after)
            days = date.fromisoformat(now["TimeGenerated"][:10]) - date.fromisoformat(was["TimeGenerated"][:10])
            assert days == last - date(2026, 3, 16)
            assert now["TimeGenerated"][10:] == was["TimeGenerated"][10:]
            assert _without_times(now) == _without_times(was)


def _without_times(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("TimeGenerated", "ActivityDateTime")}


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json", '{"TimeGenerated": "yesterday"}', '{"TimeGenerated": 1}'])
def test_no_export(text: str, tmp_path: Path) -> None:
    """What has no events by the line is told as such."""
    export = tmp_path / "export.ndjson"
    export.write_text(text)
    with pytest.raises(ValueError, match=r"^/.*export\.ndjson"):
        last_day(export)
    with pytest.raises(ValueError, match="nowhere"):
        shifted(tmp_path / "nowhere", yesterday() - timedelta(days=1), tmp_path)
