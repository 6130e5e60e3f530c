"""What the documents tell to type is what the program takes; nothing is run."""

import re
import subprocess
from datetime import UTC, datetime
from typing import Any, Final

import click
import msgspec
import pytest

from rare_audit.api.messages import RunRequest
from rare_audit.api.openapi import document
from rare_audit.job.planning import wanted_of
from tests.docs.commands import bodies, commands, everything, parsed, paths
from tests.kusto.kusto import AUDIT_LOGS, check

PAGES: Final = everything()
COMMANDS: Final = [(name, words) for name, page in PAGES.items() for words in commands(page)]
BODIES: Final = [(name, body) for name, page in PAGES.items() for body in bodies(page)]
NOW: Final = datetime(2026, 4, 1, tzinfo=UTC)
TRACES: Final = "(timestamp: datetime, message: string, severityLevel: int, customDimensions: dynamic)"
FINDINGS: Final = "(TimeGenerated: datetime, FindingId: string, Revision: string, Day: string, IncidentId: string)"


def _ids(found: list[tuple[str, Any]]) -> list[str]:
    return [f"{name}:{' '.join(told) if isinstance(told, list) else told}" for name, told in found]


@pytest.mark.parametrize(("name", "words"), COMMANDS, ids=_ids(COMMANDS))
def test_command_line_is_taken(name: str, words: list[str]) -> None:
    """The command is there, and has each of its options."""
    try:
        parsed(words)
    except click.ClickException as error:
        pytest.fail(f"{name}: {error.format_message()}")


def test_most_commands_are_told() -> None:
    """The check above has something to check: every command of the service stands in some block."""
    assert {"run", "doctor", "verify", "hunt"} <= {words[0] for _, words in COMMANDS}


@pytest.mark.parametrize(
    "words", [["run", "--dates", "2026-03-15"], ["walk"], ["hunt", "--format", "xml"]], ids=" ".join
)
def test_wrong_command_line_is_seen(words: list[str]) -> None:
    """An option, a command and an argument that there is not are errors here too."""
    with pytest.raises(click.ClickException):
        parsed(words)


@pytest.mark.parametrize(("name", "body"), BODIES, ids=_ids(BODIES))
def test_request_is_taken(name: str, body: str) -> None:
    """What curl is told to send is a request, whose days can be run."""
    del name
    request = msgspec.json.decode(body, type=RunRequest)
    forms = {"date": request.date, "from": request.from_, "to": request.to, "start": request.start, "end": request.end}
    wanted = wanted_of({name: text for name, text in forms.items() if text is not None}, NOW)
    assert wanted.first_day
    assert request.dry_run or not request.start


@pytest.mark.parametrize("name", [name for name in PAGES if name.startswith("docs/")])
def test_blocks_of_commands_are_bash(name: str) -> None:
    """Bash reads each block that has a command in it, without running it, and nothing in it is left to fill in."""
    for block in PAGES[name].blocks:
        if re.search(r"^(az|azd|curl|python|\w+=\$\(|while) ?", block, re.MULTILINE):
            read = subprocess.run(["bash", "-n"], input=block.encode(), capture_output=True, check=False)
            assert not read.stderr, read.stderr.decode()
            assert not re.search(r"<\w+>", block), block


@pytest.mark.parametrize("name", PAGES)
def test_every_path_of_the_api_is_there(name: str) -> None:
    """What stands for a run's id is one segment; the rest is what the description of the API has."""
    known = set(document()["paths"])
    told = {re.sub(r"(?<=/api/runs/)[^/]+", "{id}", path) for path in paths(PAGES[name])}
    assert told - known == set()


def test_the_whole_api_is_told() -> None:
    """The check above has something to check, and no path is left out of operations.md and README together."""
    told = {re.sub(r"(?<=/api/runs/)[^/]+", "{id}", path) for page in PAGES.values() for path in paths(page)}
    assert told == set(document()["paths"])


def test_queries_are_kql() -> None:
    """Microsoft's own parser has nothing against any query in a block that says it is one."""
    found = re.compile(r"^( *)```kql\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
    queries = [(name, query[2]) for name, page in PAGES.items() for query in found.finditer(page.text)]
    assert queries
    tables = {"AuditLogs": AUDIT_LOGS, "traces": TRACES, "RareAuditFindings_CL": FINDINGS}
    checked = check([query for _, query in queries], tables=tables)
    told = zip(queries, checked, strict=True)
    assert [(name, each.diagnostics) for (name, _), each in told if each.diagnostics] == []
