"""The command line on a whole Azure of stand-ins, each command as if in a process of its own."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from click.testing import CliRunner, Result

from rare_audit import app
from rare_audit.cli import main
from tests.azure.azurite import KEY
from tests.azure.kql_table import KqlTable
from tests.azure.kql_table import Result as Rows
from tests.azure.local_stack import ROOT, Stack

_TOKEN: Final = re.compile(r"eyJ[\w-]{10,}")


class RememberedTable:
    """A table of the Log Analytics stand-in that remembers its answers, so its rows must not change.

    Reading KQL takes longer than running it, and tests ask the same again and again.
    """

    def __init__(self, table: KqlTable) -> None:
        self._table = table
        self._answers: dict[tuple[str, tuple[int, int] | None], tuple[list[dict[str, str]], list[list[Any]]]] = {}

    def run(self, query: str, timespan: tuple[int, int] | None = None) -> Rows:
        """Run a query."""
        if (query, timespan) not in self._answers:
            result = self._table.run(query, timespan)
            self._answers[query, timespan] = result.columns, list(result.rows)
        columns, rows = self._answers[query, timespan]
        return Rows(columns, iter(rows))


class AzureTerminal:
    """Commands with the environment of a stack; nothing that opens anything is ever told."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.table: Any = stack.logs.table

    def reset(self) -> None:
        """Empty what is kept, and put back what a test took away."""
        self.stack.reset()
        self.stack.logs.table = self.table

    def called(self, *words: str, **settings: str | None) -> Result:
        """Run a command; `settings` are added to the stack's, or with None left out of them."""
        app.credential.cache_clear()  # a process has its own
        result = CliRunner().invoke(main, words, env={**self.stack.environment, **settings}, prog_name="rare-audit")
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert not _TOKEN.search(result.output), "a token was told"
        assert KEY not in result.output
        return result

    def alone(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in a process of its own that has what it takes to read the workspace, and no other setting."""
        return subprocess.run(
            [sys.executable, "-m", "rare_audit", *words],
            cwd=ROOT,
            env={"LC_ALL": "C.UTF-8", **self.stack.reading},
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=60,
        )


@contextmanager
def terminal(*, shifted: bool = False) -> Iterator[AzureTerminal]:
    """Yield a command line on the bundled sample, moved so that its last day is yesterday or not."""
    with Stack(host=False, shifted=shifted) as stack:
        stack.logs.table = RememberedTable(stack.logs.table)  # type: ignore[assignment]  # it is asked nothing else
        yield AzureTerminal(stack)
