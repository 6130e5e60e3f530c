"""What the documents tell to type: commands, requests and queries, out of their blocks."""

import re
import shlex
from collections.abc import Iterator
from typing import Final

import click

from rare_audit.cli import main
from tests.docs.pages import Page, every_page

_CONTINUED: Final = re.compile(r"\\\n\s*")
_ASSIGNED: Final = re.compile(r"[A-Za-z_]\w*=\S*")
_PATH: Final = re.compile(r"""(?:^|(?<=[\s`"'])|(?<=URL)|(?<=APP)|(?<=\.net))/api/[\w{}$<>./-]*[\w}>]""", re.MULTILINE)
_GIVEN: Final = re.compile(r"""-d '(\{.*?\})'""")
_WHOLE: Final = re.compile(r"EXPORT…")


def commands(page: Page) -> Iterator[list[str]]:
    """Yield the words after `python -m rare_audit` of each command in a block."""
    for block in page.blocks:
        for line in _CONTINUED.sub(" ", block).splitlines():
            words = shlex.split(_WHOLE.sub("EXPORT", line), comments=True) if "-m rare_audit" in line else []
            while words and _ASSIGNED.fullmatch(words[0]):
                del words[0]
            if words[1:3] == ["-m", "rare_audit"]:
                yield words[3:]


def parsed(words: list[str]) -> click.Context:
    """Return a command's context with its options read; nothing is run. Raises click.ClickException."""
    group = main.make_context("rare-audit", list(words))
    name, command, rest = main.resolve_command(group, list(words))
    assert command is not None
    return command.make_context(name, rest, parent=group)


def paths(page: Page) -> set[str]:
    """Return the paths of the API that a page names, wherever it does."""
    return set(_PATH.findall(page.text))


def bodies(page: Page) -> list[str]:
    """Return what curl is told to send to the API."""
    lines = (line for block in page.blocks for line in _CONTINUED.sub(" ", block).splitlines() if "/api/" in line)
    return [body for line in lines for body in _GIVEN.findall(line)]


def everything() -> dict[str, Page]:
    """Return every page by its name."""
    return {page.name: page for page in every_page()}
