"""A run over the real wire, killed after each of its requests and met by every fault: what is left is what should be.

Processes are real and die by SIGKILL; Azurite is real; the other services are stand-ins that refuse what they refuse.
"""

from collections.abc import Iterator

import pytest

from tests.azure.fault_matrix import Case, Outcome, cases, killed, requests
from tests.azure.small_tenant import SmallTenant, State

PARTS = 8
"""Into how many tests the kills are split, so that they share the machine's cores."""


@pytest.fixture(scope="session")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallTenant]:
    """Start a whole Azure with two apps that did something new."""
    with SmallTenant(tmp_path_factory.mktemp("tenant")) as running:
        yield running


@pytest.fixture(scope="session")
def undisturbed(tenant: SmallTenant) -> tuple[State, int]:
    """Run once with nothing going wrong: what that leaves, and how many requests it takes."""
    state, count = requests(tenant)
    kinds = {key[0] for key in state}
    assert kinds == {"row", "incidents", "comments", "bookmarks", "relations"}
    assert sum(key[0] == "incidents" for key in state) == 2
    assert count > 80
    return state, count


def _assert_survived(outcome: Outcome) -> None:
    assert outcome.lost == (), outcome.fault
    assert outcome.doubled == (), outcome.fault


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_after_each_request(tenant: SmallTenant, undisturbed: tuple[State, int], part: int) -> None:
    """Tables, incidents, comments and bookmarks are in the end those of an undisturbed run, whenever it died."""
    state, count = undisturbed
    for number in range(1 + part, count + 1, PARTS):
        _assert_survived(killed(tenant, state, number))


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in cases().items()])
def test_fault(tenant: SmallTenant, undisturbed: tuple[State, int], case: Case) -> None:
    """The run ends right, or fails and says why; the next one heals it."""
    _assert_survived(case(tenant, undisturbed[0]))


@pytest.mark.long
def test_whole_sample_killed_after_each_request(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same kills on the whole sample tenant and both of its days."""
    with SmallTenant(tmp_path_factory.mktemp("sample"), sample=True) as tenant:
        state, count = requests(tenant)
        assert sum(key[0] == "incidents" for key in state) == 10
        for number in range(1, count + 1):
            _assert_survived(killed(tenant, state, number))
