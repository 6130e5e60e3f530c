"""A whole run into the table over the real wire, killed after its requests and met by faults of the service.

Processes are real and die by SIGKILL; Azurite is real; ingestion is a stand-in that refuses what the real one refuses.
"""

from collections.abc import Iterator
from typing import Final

import pytest

from rare_audit.reporting.finding_rows import COLUMNS
from tests.azure.fault_matrix import LATE, QUICKLY, killed, misbehaved, requests
from tests.azure.gate import Action, answering, dropping, waiting
from tests.azure.small_tenant import SmallTenant, State

SERVICE: Final = "ingestion"
AROUND: Final = 9
"""How many requests before the upload are looked at in the short version: findings kept, the day queued."""
FAULTS: Final[dict[str, tuple[Action, dict[str, object]]]] = {
    "no answer": (dropping, {"at": 1}),
    "done, but no answer": (dropping, {"at": 1, "applied": True}),
    "late": (waiting(LATE), {"at": 1}),
    "429 with Retry-After": (answering(429, **QUICKLY), {"times": 1}),
    "500 once": (answering(500), {"times": 1}),
    "503 once": (answering(503), {"times": 1}),
    "400 always": (answering(400), {}),
    "403 always": (answering(403), {}),
    "404 always": (answering(404), {}),
    "413 always": (answering(413), {}),
}


@pytest.fixture(scope="session")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallTenant]:
    """Start a whole Azure with two apps that did something new, which goes into the table alone."""
    with SmallTenant(tmp_path_factory.mktemp("tenant"), sinks="table") as running:
        yield running


@pytest.fixture(scope="session")
def undisturbed(tenant: SmallTenant) -> tuple[State, int, int]:
    """Run once with nothing going wrong: what that leaves, how many requests it takes, and which is the upload."""
    state, count = requests(tenant)
    assert {key[0] for key in state} == {"row", "table"}
    assert sum(key[0] == "table" for key in state) == len(tenant.stack.ingestion.rows) == 2
    assert set(tenant.stack.ingestion.rows[0]) == set(COLUMNS)
    assert tenant.stack.ingestion.cut == []
    (upload,) = (each.number for each in tenant.stack.gate.passed if each.service == SERVICE)
    return state, count, upload


def _killed(tenant: SmallTenant, state: State, numbers: range) -> None:
    for number in numbers:
        outcome = killed(tenant, state, number)
        assert (outcome.lost, outcome.doubled) == ((), ()), outcome.fault
        assert len(tenant.stack.ingestion.rows) in {2, 4}, f"{outcome.fault}: one part may be there twice, no more"


def test_killed_around_the_upload(tenant: SmallTenant, undisturbed: tuple[State, int, int]) -> None:
    """Killed after each request from the findings' keeping to the end: each row is there, none under two names."""
    state, count, upload = undisturbed
    _killed(tenant, state, range(upload - AROUND, count + 1))


@pytest.mark.long
def test_killed_after_each_request(tenant: SmallTenant, undisturbed: tuple[State, int, int]) -> None:
    """The same for every request of the run."""
    state, count, _ = undisturbed
    _killed(tenant, state, range(1, count + 1))


@pytest.mark.parametrize("name", FAULTS)
def test_fault(name: str, tenant: SmallTenant, undisturbed: tuple[State, int, int]) -> None:
    """The run ends right, or fails and says why; the next one heals it."""
    action, when = FAULTS[name]
    outcome = misbehaved(tenant, undisturbed[0], SERVICE, name, action, dict(when))
    assert (outcome.lost, outcome.doubled) == ((), ()), outcome.fault


def test_run_again(tenant: SmallTenant, undisturbed: tuple[State, int, int]) -> None:
    """The same days once more upload nothing."""
    tenant.stack.reset()
    assert tenant.run() == "done: "
    assert tenant.run() == "done: "
    assert len(tenant.stack.ingestion.rows) == 2
    assert [run["uploaded"] for run in tenant.runs()] == [0, 2]
    assert tenant.state() == undisturbed[0]
