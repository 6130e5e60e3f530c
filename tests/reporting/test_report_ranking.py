"""What is read first."""

from itertools import permutations
from random import Random

import pytest

from rare_audit.detection.finding import History
from rare_audit.reporting.report.ranking import Novelty, novelty, ranked
from tests.reporting.report_world import history, numbered, told


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (history(0, 0, 0), Novelty.APP),
        (history(1, 0, 0), Novelty.OPERATION),
        (history(14, 3, 0), Novelty.COMBINATION),
        (history(14, 3, 2), Novelty.PROPERTY),
    ],
)
def test_novelty(of: History, expected: Novelty) -> None:
    """The least familiar part decides."""
    assert novelty(of) is expected


def test_novelty_then_familiarity_then_time() -> None:
    """In this order, and the earlier first; whatever order they come in."""
    ordered = [
        told(numbered(1, history=history(0))),
        told(numbered(2, history=history(2))),
        told(numbered(3, history=history(9), start_time="2026-03-02T01:00:00.0000000Z")),
        told(numbered(4, history=history(9), start_time="2026-03-02T02:00:00.0000000Z")),
        told(numbered(5, history=history(9, 1))),
        told(numbered(6, history=history(2, 2))),
        told(numbered(7, history=history(9, 2, 1))),
    ]
    for seed in range(50):
        assert list(ranked(Random(seed).sample(ordered, len(ordered)))) == ordered


def test_ties_go_by_id() -> None:
    """So the same findings have one order."""
    alike = [told(numbered(number)) for number in range(4)]
    assert len({ranked(order) for order in permutations(alike)}) == 1
