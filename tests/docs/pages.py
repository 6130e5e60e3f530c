"""Reads the project's Markdown as far as tests ask about it: headings, links, tables and blocks of code."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
_FENCE: Final = re.compile(r"^(```+|~~~+)")
_HEADING: Final = re.compile(r"^(#{1,6}) +(.+?) *#*$")
_LINK: Final = re.compile(r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")
_CODE: Final = re.compile(r"`[^`]*`")
_ROW: Final = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Table:
    """A table: the heading it stands under, its columns, and its rows as cells by column."""

    under: str
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Page:
    """A Markdown file."""

    path: Path

    @property
    def name(self) -> str:
        """The path as links from the project's root have it."""
        return self.path.relative_to(ROOT).as_posix()

    @cached_property
    def text(self) -> str:
        """All of it."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def blocks(self) -> tuple[str, ...]:
        """What stands in fences, without these."""
        return tuple("\n".join(lines) for fenced, lines in _parts(self.text) if fenced)

    @cached_property
    def prose(self) -> tuple[str, ...]:
        """The lines outside all fences."""
        return tuple(line for fenced, lines in _parts(self.text) if not fenced for line in lines)

    @cached_property
    def anchors(self) -> frozenset[str]:
        """What links may name after a `#`, as GitHub makes it of headings."""
        seen: Counter[str] = Counter()
        found = set()
        for line in self.prose:
            if heading := _HEADING.match(line):
                slug = _slug(heading[2])
                found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
                seen[slug] += 1
        return frozenset(found)

    @cached_property
    def links(self) -> tuple[str, ...]:
        """Where its links lead."""
        return tuple(target for line in self.prose for target in _LINK.findall(_CODE.sub("``", line)))

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """Its tables, in order."""
        found, under, lines = list[Table](), "", list[str]()
        for line in (*self.prose, ""):
            if line.startswith("|"):
                lines.append(line)
                continue
            if lines:
                found.append(_table(under, lines))
                lines = []
            if heading := _HEADING.match(line):
                under = heading[2]
        return tuple(found)

    def table(self, under: str) -> Table:
        """Return the only table under a heading."""
        (found,) = (table for table in self.tables if table.under == under)
        return found

    def section(self, heading: str) -> str:
        """Return what stands under a heading, its subsections included."""
        lines = iter(self.text.splitlines())
        level = next(len(found[1]) for line in lines if (found := _HEADING.match(line)) and found[2] == heading)
        rest = []
        for line in lines:
            if (found := _HEADING.match(line)) and len(found[1]) <= level:
                break
            rest.append(line)
        return "\n".join(rest)


def page(name: str) -> Page:
    """Return a file of the project by its path from the root."""
    return Page(ROOT / name)


def every_page() -> tuple[Page, ...]:
    """Return all that a reader is sent to: README, CONTRIBUTING and everything in docs."""
    return tuple(Page(path) for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))))


def code(cell: str) -> str:
    """Return what a cell holds that is nothing but code, else ""."""
    found = re.fullmatch(r"`([^`]+)`", cell)
    return found[1] if found else ""


def _parts(text: str) -> Iterator[tuple[bool, list[str]]]:
    """Yield the lines in fences, with True, and outside them."""
    fence, lines = "", list[str]()
    for line in text.splitlines():
        found = _FENCE.match(line)
        if found and (not fence or line.strip() == fence):
            yield bool(fence), lines
            fence, lines = "" if fence else found[1], []
        else:
            lines.append(line)
    assert not fence, "a fence is not closed"
    yield False, lines


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _table(under: str, lines: list[str]) -> Table:
    columns, _, *rows = (tuple(cell.strip() for cell in _ROW.split(line.strip())[1:-1]) for line in lines)
    return Table(under, columns, tuple(dict(zip(columns, row, strict=True)) for row in rows))
