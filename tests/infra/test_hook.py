"""The hook that deploys into the workspace's group, run with stand-ins for `az` and `azd` that note what is asked.

What the stand-ins don't show: whether Azure takes these commands.
"""

import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.infra.bicep import INFRA, file

_ID: Final = (
    "/subscriptions/5f0d7b1e-3d5c-4b8e-9a53-2f6a1c0e7d42/resourceGroups/soc"
    "/providers/Microsoft.OperationalInsights/workspaces/soc-logs"
)
_AZ: Final = """#!/bin/sh
echo "az $*" >> "$ASKED"
case "$*" in
*"workspace show"*customerId*) echo 11111111-2222-4333-8444-555555555555 ;;
*"workspace show"*location*) echo westeurope ;;
*"table list"*) [ "$TABLE" != fails ] || exit 1; echo "$TABLE" ;;
*"group list"*) [ -z "$FAILS" ] || exit 1; echo "$FOUND" ;;
esac
"""


class _World:
    def __init__(self, folder: Path) -> None:
        self._asked = folder / "asked"
        for name, script in (("az", _AZ), ("azd", '#!/bin/sh\necho "azd $*" >> "$ASKED"\n')):
            (folder / name).write_text(script, encoding="utf-8")
            (folder / name).chmod(0o755)
        self._environment = {
            "PATH": f"{folder}:{os.environ['PATH']}", "ASKED": str(self._asked), "FAILS": "", "FOUND": "it",
            "TABLE": "", "AZURE_ENV_NAME": "prod", "SENTINEL_WORKSPACE_RESOURCE_ID": _ID,
        }  # fmt: skip

    def run(self, word: str, **environment: str) -> tuple[int, list[str]]:
        """Return how the hook ended, and what it asked for."""
        self._asked.write_text("", encoding="utf-8")
        command = ["sh", str(INFRA / "hooks/sentinel.sh"), word]
        done = subprocess.run(command, env=self._environment | environment, capture_output=True, check=False)
        return done.returncode, self._asked.read_text(encoding="utf-8").splitlines()


@pytest.fixture
def world(tmp_path: Path) -> _World:
    """Return a folder of stand-ins."""
    return _World(tmp_path)


def _given(line: str) -> dict[str, str]:
    """Return the template's parameters of a deployment."""
    words = line.partition("--parameters ")[2].partition(" --")[0].split()
    return dict(word.split("=", 1) for word in words)


def test_before_it_finds_the_workspace(world: _World) -> None:
    """The workspace's GUID and region go into azd's environment; without a table nothing is deployed yet."""
    code, asked = world.run("before")
    assert code == 0
    assert "azd env set LOG_ANALYTICS_WORKSPACE_ID 11111111-2222-4333-8444-555555555555" in asked
    assert "azd env set SENTINEL_WORKSPACE_LOCATION westeurope" in asked
    assert not [line for line in asked if "stack group create" in line]


def test_the_table_is_there_before_the_job(world: _World) -> None:
    """With the route by the table it is deployed first."""
    _, asked = world.run("before", RARE_AUDIT_SINKS="incidents,table")
    assert _given(asked[-1])["sinks"] == "incidents,table"


def test_after_the_identity_has_its_role(world: _World) -> None:
    """The stack lies in the workspace's group and subscription, whichever they are, and knows the identity."""
    code, asked = world.run("after", RARE_AUDIT_PRINCIPAL_ID="me", RARE_AUDIT_BOOKMARKS="false")
    assert code == 0
    line = asked[-1]
    assert "--resource-group soc" in line
    assert "--subscription 5f0d7b1e-3d5c-4b8e-9a53-2f6a1c0e7d42" in line
    assert _given(line) == {
        "environmentName": "prod", "workspaceName": "soc-logs", "principalId": "me", "incidents": "raise",
        "bookmarks": "false", "sinks": "incidents", "keepTable": "false",
    }  # fmt: skip


def test_every_parameter_it_gives_is_one_of_the_template(world: _World) -> None:
    """No command names a parameter that sentinel.bicep lacks."""
    taken = file(INFRA / "sentinel.bicep").of("parameter").keys()
    for word in ("before", "after", "down"):
        for line in world.run(word, RARE_AUDIT_SINKS="incidents,table")[1]:
            assert _given(line).keys() <= taken if "--parameters" in line else True


def test_a_table_that_is_switched_off_stays(world: _World) -> None:
    """What was found is kept unless its loss was asked for, whichever machine asks: Azure says if it is there."""
    made = {"TABLE": "RareAuditFindings_CL"}
    assert _given(world.run("after", **made)[1][-1])["keepTable"] == "true"
    assert _given(world.run("after", RARE_AUDIT_KEEP_TABLE="false", **made)[1][-1])["keepTable"] == "false"


def test_a_table_that_can_not_be_looked_for_is_not_lost(world: _World) -> None:
    """Where Azure does not say whether there is one, nothing is deployed, and nothing taken away."""
    for word in ("after", "down"):
        code, asked = world.run(word, TABLE="fails")
        assert code != 0
        assert not [line for line in asked if "stack group create" in line or "delete" in line]


@pytest.mark.parametrize(("keep", "left"), [("true", "detachAll"), ("false", "deleteResources")])
def test_down_leaves_what_was_to_be_kept(world: _World, keep: str, left: str) -> None:
    """Assignment, role and rule go, in this order; the table stays if it is to be kept. No group is ever deleted."""
    code, asked = world.run(
        "down", TABLE="RareAuditFindings_CL", RARE_AUDIT_KEEP_TABLE=keep, RARE_AUDIT_PRINCIPAL_ID="me"
    )
    assert code == 0
    first, second = (_given(line) for line in asked if "stack group create" in line)
    assert (first["principalId"], second["access"]) == ("", "false")
    assert not {"sinks"} & (first.keys() | second.keys()), "by default there is no rule"
    assert {first["keepTable"], second["keepTable"]} == {keep}
    assert "stack group delete" in asked[-1]
    assert f"--action-on-unmanage {left}" in asked[-1]
    assert not [line for line in asked if "deleteAll" in line or line.startswith("az group")]


def test_down_without_a_stack_is_done(world: _World) -> None:
    """There is nothing to take away; that Azure can't be asked is another thing, and an error."""
    assert world.run("down", FOUND="")[0] == 0
    assert world.run("down", FAILS="yes")[0] != 0


@pytest.mark.parametrize("id_", ["", "soc-logs"])
def test_a_wrong_workspace_is_an_error(world: _World, id_: str) -> None:
    """Nothing is asked of Azure."""
    code, asked = world.run("after", SENTINEL_WORKSPACE_RESOURCE_ID=id_)
    assert code != 0
    assert asked == []


def test_another_word_is_an_error(world: _World) -> None:
    """It says how it is used."""
    assert world.run("up")[0] == 2
