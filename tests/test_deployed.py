"""What a process keeps for all its invocations: rule, exclusions and connections; notes are each invocation's own."""

import json
from pathlib import Path
from typing import Final

import pytest

from rare_audit.app import Deployed
from rare_audit.errors import RuleError
from rare_audit.rules import DEFAULT_RULE
from rare_audit.settings import read_settings
from tests.azure.azurite import connection_string
from tests.azure.gate import Answer
from tests.azure.loopback import Loopback, Request

MISSING: Final = json.dumps({"odata.error": {"code": "ResourceNotFound", "message": {"value": "no"}}}).encode()


def _missing(request: Request) -> Answer:
    return Answer(404, MISSING, {"Content-Type": "application/json"})


def _environment(url: str, **more: str) -> dict[str, str]:
    return {
        "LOG_ANALYTICS_WORKSPACE_ID": "5f0d7b1e-3d5c-4b8e-9a53-2f6a1c0e7d42",
        "RARE_AUDIT_INCIDENTS": "observe",
        "AzureWebJobsStorage": connection_string(table=f"{url}/a", queue=f"{url}/a"),
        **more,
    }


def test_connections_are_kept() -> None:
    """Any number of invocations go over one connection; what was closed opens again when it is needed."""
    with Loopback(_missing) as server, Deployed(read_settings(_environment(server.url))) as deployed:
        for _ in range(5):
            assert deployed.dispatch().health() == "never-run"
        assert len(server._open) == 1
        deployed.close()
        assert deployed.dispatch().health() == "never-run"


def test_each_invocation_has_its_own_notes() -> None:
    """What one run met is not noted in the next."""
    with Loopback(_missing) as server, Deployed(read_settings(_environment(server.url))) as deployed:
        one, other = deployed.dispatch(), deployed.dispatch()
        assert one.stores.set_aside is not other.stores.set_aside
        assert one.job.rule is other.job.rule


def test_rule_files_are_read_once(tmp_path: Path) -> None:
    """A rule that changes while the process runs counts with the next one; a wrong one is an error at once."""
    path = tmp_path / "rule.yaml"
    path.write_bytes(DEFAULT_RULE.read_bytes())
    settings = read_settings(_environment("http://127.0.0.1:9", RARE_AUDIT_RULE=str(path)))
    with Deployed(settings) as deployed:
        path.write_text("name: none", encoding="utf-8")
        assert deployed.dispatch().job.rule.lookback_days == 14
    with pytest.raises(RuleError):
        Deployed(settings)
