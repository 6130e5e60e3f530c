"""Where links in the documents lead."""

from pathlib import Path
from typing import Final

import pytest

from tests.docs.pages import ROOT, Page, every_page

PAGES: Final = {page.name: page for page in every_page()}
INSIDE: Final = [
    (page.name, link) for page in PAGES.values() for link in dict.fromkeys(page.links) if not link.startswith("http")
]


@pytest.mark.parametrize(("name", "link"), INSIDE, ids=[f"{name}:{link}" for name, link in INSIDE])
def test_link_leads_somewhere(name: str, link: str) -> None:
    """A file of the project is there; so is the heading that a link to a page names."""
    path, _, anchor = link.partition("#")
    target = (ROOT / name).parent / path if path else ROOT / name
    assert target.exists(), f"{link} leads to no file"
    assert target.resolve().is_relative_to(ROOT), f"{link} leads out of the project"
    if anchor:
        assert anchor in Page(target).anchors, f"{link} leads to no heading"


@pytest.mark.parametrize("name", PAGES)
def test_links_to_the_web_are_https(name: str) -> None:
    """No link is left to plain HTTP, nor to a page in one language where Microsoft has it in all."""
    outside = [link for link in PAGES[name].links if link.startswith("http")]
    assert [link for link in outside if not link.startswith("https://")] == []
    assert [link for link in outside if "learn.microsoft.com/en-us" in link] == []


def test_every_page_is_found() -> None:
    """A reader who starts at the README gets to every page by links alone."""
    seen, ahead = set[Path](), [ROOT / "README.md"]
    while ahead:
        here = ahead.pop()
        if here in seen or not here.exists():
            continue
        seen.add(here)
        links = (link.partition("#")[0] for link in Page(here).links if not link.startswith("http"))
        ahead += [(here.parent / link).resolve() for link in links if link.endswith(".md")]
    assert {page.path for page in PAGES.values()} - seen == set()
