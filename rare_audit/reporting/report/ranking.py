"""Which finding deserves to be read first."""

from collections.abc import Iterable
from enum import IntEnum

from rare_audit.detection.finding import Finding, History
from rare_audit.reporting.report import Told


class Novelty(IntEnum):
    """How new a finding is; the newest first."""

    APP = 0
    """The app was never seen in the lookback."""
    OPERATION = 1
    """The app was, never in this operation."""
    COMBINATION = 2
    """The app was in this operation, never from this address for this user."""
    PROPERTY = 3
    """All of it was, never with this property; only the by-property variant finds these."""


def novelty(history: History) -> Novelty:
    """Return what is new about something of this history."""
    for level, seen in zip(Novelty, (history.app, history.app_and_operation, history.combination), strict=False):
        if not seen.days:
            return level
    return Novelty.PROPERTY


def rank(finding: Finding) -> tuple[Novelty, int, int, str, str]:
    """Return what findings of a rule are sorted by, the worst first: how new, then how little is known of the rest.

    Of two that are alike the earlier goes first, then it goes by id: the same findings have the same order always.
    """
    history = finding.history
    known = history.app_and_operation.days, history.app.days
    return (novelty(history), *known, finding.start_time, finding.id)


def ranked(findings: Iterable[Told]) -> tuple[Told, ...]:
    """Return findings, the worst first."""
    return tuple(sorted(findings, key=lambda told: rank(told.finding)))
