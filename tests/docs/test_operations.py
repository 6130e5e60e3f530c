"""docs/operations.md: every alert, answer, error and exit that a user can meet is in it."""

import importlib
import pkgutil
import re
from functools import cache
from typing import Final, get_args

import pytest

import rare_audit
from rare_audit.api.messages import HealthStatus
from rare_audit.api.openapi import document
from rare_audit.errors import RareAuditError
from rare_audit.records import State
from tests.docs.pages import ROOT, code, page
from tests.terminal import called

PAGE: Final = page("docs/operations.md")
ALERTS: Final = ("No successful run", "Failed run", "Degraded baseline", "Undelivered incidents", "Incomplete run")
_PUT_IN: Final = re.compile(r"\b(?:ID|DAY|N|PATH|NAME|RareAudit)\b|(?<=: )done")
EXITS: Final = re.compile(r"\b[Ee]xit codes?\s*:?\s*(\d)|(?<=[.] )(\d):")


def _children(of: type[RareAuditError]) -> set[type[RareAuditError]]:
    found = {of}
    for child in of.__subclasses__():
        found |= _children(child)
    return {each for each in found if each.__module__.startswith("rare_audit")}


def _errors() -> dict[str, type[RareAuditError]]:
    """Return every kind of error by its name, once the whole package is loaded."""
    for module in pkgutil.walk_packages(rare_audit.__path__, "rare_audit."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return {each.__name__: each for each in _children(RareAuditError)}


@pytest.mark.parametrize("heading", ALERTS)
def test_each_alert_has_its_section(heading: str) -> None:
    """It says what the alert means, where to look, the causes, what to do and when it is over."""
    section = PAGE.section(heading)
    for part in ("**What it means.**", "**Look at**", "**Likely causes,**", "**What to do.**", "**It is over**"):
        assert section.count(part) == 1, part
    assert heading.lower().replace(" ", "-") in PAGE.anchors


def test_every_alert_has_a_section() -> None:
    """Where the alerts are, each is named as its section is."""
    queries = {path.stem for path in (ROOT / "infra/alerts").glob("*.kql")}
    assert queries <= {heading.lower().replace(" ", "-") for heading in ALERTS}


def test_every_kind_of_error() -> None:
    """Each has a row, with its parent, and no row is of another."""
    rows = {code(row["error"]): row for row in PAGE.table("Kinds of errors").rows}
    errors = _errors()
    assert set(rows) == set(errors)
    for name, kind in errors.items():
        parent = kind.__mro__[1].__name__
        assert code(rows[name]["is a"]) == ("" if kind is RareAuditError else parent)


def test_every_status_of_the_api() -> None:
    """Each that its description lists has a row, and each row's status is one of them."""
    answers = [answer for path in document()["paths"].values() for answer in path.values()]
    listed = {status for answer in answers for status in answer["responses"]}
    told = [row["status"] for row in PAGE.table("Answers of the API").rows]
    assert sorted(told) == sorted(listed)


def test_every_state_of_a_run() -> None:
    """Each has a row, and no row is of another."""
    rows = [row for table in PAGE.tables for row in table.rows if "state" in row]
    assert sorted(code(row["state"]) for row in rows) == sorted(map(str, State))


def test_every_status_of_health() -> None:
    """Each has a row with the HTTP status it comes with."""
    rows = {code(row["status"]): row["HTTP"] for table in PAGE.tables for row in table.rows if "HTTP" in row}
    assert set(rows) == set(get_args(HealthStatus))
    assert {status for status, http in rows.items() if http == "200"} == {"ok", "never-run"}


def test_every_exit_code() -> None:
    """Those that the commands' own help names, and what ends them all, have a row each."""
    sources = (ROOT / "rare_audit/cli").glob("*.py")
    told = {found for path in sources for pair in EXITS.findall(path.read_text(encoding="utf-8")) for found in pair}
    told |= set(re.findall(r"^  (\d)  ", called("hunt", "--help").stdout.replace("\n  ", "\n"), re.MULTILINE))
    codes = sorted(row["code"] for row in PAGE.table("Exit codes").rows)
    assert codes == sorted(told - {""}) == ["0", "1", "2", "3", "4", "5"]
    readme = dict(re.findall(r"^\| (\d) \| (.+) \|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert sorted(readme) == codes


def _said(text: str) -> bool:
    """Tell whether the code says a text: capitals and a state stand for what it puts in, an ellipsis for the rest."""
    pieces = _PUT_IN.split(text.removesuffix("…").rstrip(" :;"))
    return re.search(".{1,40}?".join(map(re.escape, pieces)), _code()) is not None


@cache
def _code() -> str:
    """Return all of the code, texts that go on on the next line joined."""
    files = [ROOT / "function_app.py", *(ROOT / "rare_audit").rglob("*.py")]
    return "\n".join(re.sub(r'"\s*\n\s*f?"', "", path.read_text(encoding="utf-8")) for path in files)


def test_log_lines_are_the_code_s() -> None:
    """Each line of the log that the page explains is one that the code writes."""
    lines = [code(row["line"]) for table in PAGE.tables for row in table.rows if "line" in row]
    assert len(lines) > 10
    assert [line for line in lines if not _said(line.removeprefix("run ID"))] == []


def test_errors_and_notes_are_the_code_s() -> None:
    """So are the beginnings of errors by which a cause is found, and the notes."""
    rows = [row for table in PAGE.tables for row in table.rows]
    cells = [row[name] for row in rows for name in ("error", "note") if name in row]
    told = [text for cell in cells for text in re.findall(r"`([^`]+)`", cell) if " " in text]
    assert len(told) > 8
    assert [text for text in told if not _said(text)] == []


def test_another_text_is_seen() -> None:
    """The two checks above find what the code does not say."""
    assert not _said("run ID was taken up: …")
    assert not _said("N incidents could not be handed over: …")
