"""The job's role: exactly what it does, and a word on each action in the docs."""

import json
import re
from typing import Final

from rare_audit.doctor import actions
from tests.infra.bicep import FILES, INFRA
from tests.project import code

PERMISSIONS: Final[dict[str, list[str]]] = json.loads((INFRA / "permissions.json").read_text(encoding="utf-8"))
DOCS: Final = (INFRA.parent / "docs/permissions.md").read_text(encoding="utf-8")
SOURCES: Final = code()


def test_incidents_and_bookmarks_are_those_the_doctor_looks_for() -> None:
    """The role has what the doctor misses where it lacks, no more and no less."""
    assert sorted(PERMISSIONS["incidents"]) == sorted(actions.INCIDENTS)
    assert sorted(PERMISSIONS["bookmarks"]) == sorted(actions.BOOKMARKS)


def test_every_kind_of_resource_that_the_sink_writes_has_its_actions() -> None:
    """The paths of the sink are incidents with comments and relations, and bookmarks."""
    sink = (INFRA.parent / "rare_audit/sinks/sentinel.py").read_text(encoding="utf-8")
    paths = re.findall(r'f"(incidents/\{[\w.]+\}(?:/\w+)?|bookmarks/)', sink)
    kinds = {re.sub(r"/?\{.*?\}", "", path).rstrip("/") for path in paths}
    granted = {
        re.sub(r"^Microsoft\.SecurityInsights/|/(read|write)$", "", each) for each in _actions("SecurityInsights")
    }
    assert kinds == granted


def test_the_query_reads_one_table() -> None:
    """The rule's query names AuditLogs alone, and so does the role."""
    tables = [each for each in PERMISSIONS["query"] if each.count("/") == 4]
    assert tables == ["Microsoft.OperationalInsights/workspaces/query/AuditLogs/read"]
    assert not re.findall(r"SigninLogs|SecurityIncident|AzureActivity", SOURCES)


def test_the_doctor_may_ask_what_it_may() -> None:
    """The doctor asks for its permissions, which is an action as well."""
    assert "/providers/Microsoft.Authorization/permissions" in SOURCES
    assert PERMISSIONS["doctor"] == ["Microsoft.Authorization/permissions/read"]


def test_no_wildcard_is_granted() -> None:
    """Every action is spelt out, and stands once."""
    every = [action for those in PERMISSIONS.values() for action in those]
    assert not [action for action in every if "*" in action]
    assert len(every) == len(set(every))


def test_the_docs_say_what_each_action_is_for() -> None:
    """docs/permissions.md has a row for each action and each built-in role that Bicep gives, and for no other."""
    rows = set(re.findall(r"^\| `(Microsoft\.[\w./]+)` \| .+ \| .+ \|$", DOCS, re.MULTILINE))
    assert rows == {action for those in PERMISSIONS.values() for action in those}
    given = {role for path in FILES for role in re.findall(r"'([0-9a-f-]{36})' // ([\w ]+)", path.read_text())}
    assert {name.strip() for _, name in given} == set(re.findall(r"^\| \*\*(.+?)\*\* \|", DOCS, re.MULTILINE))


def _actions(provider: str) -> list[str]:
    every = [action for those in PERMISSIONS.values() for action in those]
    return [action for action in every if action.startswith(f"Microsoft.{provider}/")]
