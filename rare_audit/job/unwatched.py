"""A job that nobody watches: on a laptop, and in most tests."""

from contextlib import AbstractContextManager, nullcontext

from rare_audit.records import Run


class Unwatched:
    """ports.Watch."""

    def span(self, name: str, run: Run) -> AbstractContextManager[object]:  # noqa: ARG002 - nobody wants to know
        """Let a run go on."""
        return nullcontext()

    def ended(self, run: Run, undelivered: int | None = None) -> None:
        """Take no note."""
