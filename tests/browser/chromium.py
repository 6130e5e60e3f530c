"""Debian's Chromium, driven by Playwright: pages opened, and all that they said and asked for."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Dialog, Page, sync_playwright

AXE: Final = Path(__file__).parent / "node_modules/axe-core/axe.min.js"
FLAGS: Final = (
    "--no-sandbox",  # tests may run as root, in a container
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
RULES: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")

_RUN: Final = """rules => axe.run({runOnly: rules, resultTypes: ['violations', 'incomplete']})
    .then(({violations, incomplete}) => ({violations, incomplete}))"""
"""What passes is left out: to hand it over takes longer than all checks."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser; scripts/test installs it."""
    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@dataclass
class Opened:
    """A page, the messages of its console, the addresses it asked for, the dialogs it opened."""

    page: Page
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def refuse(self, dialog: Dialog) -> None:
        """Note a dialog and close it."""
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def barriers(self) -> list[tuple[str, str, str]]:
        """Return what axe-core finds wrong: the rule, what it wants, and where."""
        # The page lets no script in; Playwright evaluates beside it, as the tools of a browser do.
        self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: dict[str, Any] = self.page.evaluate(_RUN, list(RULES))
        return [
            (each["id"], each["help"], node["html"][:200])
            for each in (*found["violations"], *_unsure(found))
            for node in each["nodes"]
        ]


def _unsure(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what axe-core could not decide, contrast over a hatching left out: no text stands on one."""
    return [each for each in found["incomplete"] if each["id"] != "color-contrast"]


@contextmanager
def opened(
    browser: Browser, where: str, *, width: int = 1100, dark: bool = False, script: bool = True
) -> Iterator[Opened]:
    """Open an address in a context of its own."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if dark else "light",
        java_script_enabled=script,
    )
    with context, context.new_page() as page:
        one = Opened(page)
        page.on("console", lambda message: one.messages.append(message.text))
        page.on("pageerror", lambda error: one.messages.append(str(error)))
        page.on("request", lambda request: one.requests.append(request.url))
        page.on("dialog", one.refuse)
        page.goto(where)
        yield one
