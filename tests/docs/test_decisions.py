"""docs/decisions: each record has the four parts, is short, and is in the list."""

import re
from typing import Final

import pytest

from tests.docs.pages import DOCS, Page, page

RECORDS: Final = sorted((DOCS / "decisions").glob("0*.md"))
PARTS: Final = ("Context", "Decision", "Consequences", "What would change it")


@pytest.mark.parametrize("record", [path.stem for path in RECORDS])
def test_shape(record: str) -> None:
    """Its number and title, the four parts in their order, some of the consequences bad; a page at most."""
    text = page(f"docs/decisions/{record}.md").text
    assert text.startswith(f"# {record[:4]}: ")
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == PARTS
    assert "- *Bad:* " in page(f"docs/decisions/{record}.md").section("Consequences")
    assert 20 <= len(text.splitlines()) <= 50


def test_list() -> None:
    """It has every record, in order, by number."""
    listed = [link for link in Page(DOCS / "decisions/README.md").links if link.startswith("0")]
    assert listed == [path.name for path in RECORDS]
    assert [path.name[:4] for path in RECORDS] == [f"{number:04}" for number in range(1, len(RECORDS) + 1)]
