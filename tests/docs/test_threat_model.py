"""docs/threat-model.md: what it says that stops an attacker is there, and a test holds it."""

import re
from typing import Final

import pytest

from rare_audit.dispatch import MOST_WAITING
from rare_audit.job import MOST_DAYS, Options
from tests.docs.pages import ROOT, page

PAGE: Final = page("docs/threat-model.md")
NAMED: Final = sorted(set(re.findall(r"\[`(test_\w+)`\]\(\.\./(tests/[\w./-]+)\)", PAGE.text)))
DEFENCES: Final = PAGE.table("What escapes and ids stop").rows


@pytest.mark.parametrize(("name", "path"), NAMED, ids=[f"{path}:{name}" for name, path in NAMED])
def test_test_is_there(name: str, path: str) -> None:
    """A test that is named stands in the file that the link leads to."""
    assert re.search(rf"^ *def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_defence_is_held() -> None:
    """Each line names code of the package, and a test or a golden case."""
    for row in DEFENCES:
        assert re.findall(r"\]\(\.\./rare_audit/[\w./]+\.py\)", row["where"]), row["what"]
        assert re.findall(r"\]\(\.\./tests/", row["held by"]), row["what"]
    assert len(DEFENCES) > 15


def test_every_actor_has_what_remains() -> None:
    """Each row says what an actor can write, what that lets it do, and what stops it."""
    rows = PAGE.table("Who can write what").rows
    assert [row["actor"] for row in rows if not (row["can write"] and row["so it can"] and row["what stops it"])] == []


def test_numbers_are_the_code_s() -> None:
    """Limits that the page states are those of the code."""
    assert f"[{MOST_WAITING} runs](../rare_audit/dispatch.py) may wait, {MOST_DAYS} days each" in PAGE.text
    assert f"`RARE_AUDIT_MAX_INCIDENTS` ({Options().max_incidents})" in PAGE.text
