"""How the stand-in for the Functions host treats messages: as the real listener does, see functions_queues."""

from collections.abc import Callable
from typing import Any, Final

import pytest

from tests.azure.azurite import Azurite
from tests.azure.conftest import Hosted, soon
from tests.azure.functions_queues import Pace

_SHORT: Final = Pace(visibility=1)


def _queues(**settings: Any) -> dict[str, Any]:
    return {"extensions": {"queues": settings}}


def test_done(hosted: Callable[..., Hosted]) -> None:
    """A message is worked on once and removed."""
    world = hosted()
    world.send("fine ü")
    world.host.settle()
    assert world.noted("work") == ["fine ü | 1"]
    assert [ended.ok for ended in world.host.ended] == [True]


def test_failed_until_it_is_poison(hosted: Callable[..., Hosted]) -> None:
    """A message that fails comes back at once, and after five times goes where another function takes it."""
    world = hosted()
    world.send("fail")
    world.host.settle()
    assert world.noted("work") == [f"fail | {count}" for count in range(1, 6)]
    assert world.noted("poison") == ["fail"]


def test_failed_as_host_json_has_it(hosted: Callable[..., Hosted]) -> None:
    """How often and how soon is what host.json says; a message that recovers is no poison."""
    world = hosted(**_queues(maxDequeueCount=2, visibilityTimeout="00:00:01"))
    world.send("fail")
    world.send("fail fine")
    assert soon(lambda: len(world.host.ended) == 2)
    assert soon(lambda: len(world.host.ended) > 2, seconds=0.5) is False
    world.host.settle()
    assert sorted(world.noted("work")) == ["fail fine | 1", "fail fine | 2", "fail | 1", "fail | 2"]
    assert (world.noted("done"), world.noted("poison")) == (["fail fine"], ["fail"])


def test_failed_poison(hosted: Callable[..., Hosted]) -> None:
    """What fails as poison stays in the queue, unseen; there is no poison queue of a poison queue."""
    world = hosted(**_queues(maxDequeueCount=1))
    world.send("fail worse")
    assert soon(lambda: world.noted("poison") == ["fail worse"])
    with pytest.raises(TimeoutError):
        world.host.settle(0.5)
    assert world.noted("poison") == ["fail worse"]
    assert world.poison.get_queue_properties().approximate_message_count == 1
    assert len(world.poison.peek_messages()) == 0


def test_worker_killed(hosted: Callable[..., Hosted]) -> None:
    """A message whose worker was killed has failed; the next worker gets it again."""
    world = hosted()
    world.send("hang fine")
    assert soon(lambda: bool(world.noted("work")))
    world.host.kill_worker()
    world.host.settle()
    assert world.noted("work") == ["hang fine | 1", "hang fine | 2"]
    assert [ended.ok for ended in world.host.ended] == [False, True]


def test_machine_lost(hosted: Callable[..., Hosted]) -> None:
    """A message whose machine was lost comes back when its time is up, not before."""
    world = hosted(_SHORT)
    world.send("hang fine")
    assert soon(lambda: bool(world.noted("work")))
    world.host.kill_instance()
    assert soon(lambda: len(world.noted("work")) > 1, seconds=0.3) is False
    world.host.settle()
    assert world.noted("work") == ["hang fine | 1", "hang fine | 2"]


def test_machine_lost_too_often(hosted: Callable[..., Hosted]) -> None:
    """A message that was taken more often than it may be is poison without another try."""
    world = hosted(_SHORT, **_queues(maxDequeueCount=1))
    world.send("hang fine")
    assert soon(lambda: bool(world.noted("work")))
    world.host.kill_instance()
    world.host.settle()
    assert (world.noted("work"), world.noted("poison")) == (["hang fine | 1"], ["hang fine"])


def test_longer_than_its_message_is_unseen(hosted: Callable[..., Hosted]) -> None:
    """While its function works, a message stays unseen, for however long that is."""
    world = hosted(_SHORT)
    world.send("slow")
    world.host.settle()
    assert (world.noted("work"), world.noted("done")) == (["slow | 1"], ["slow"])


@pytest.mark.parametrize(("batch", "threshold"), [(1, 0), (2, 1), (2, 2)])
def test_batches(batch: int, threshold: int, hosted: Callable[..., Hosted]) -> None:
    """A batch is taken while no more than the threshold are worked on: never more at once than both together."""
    world = hosted(**_queues(batchSize=batch, newBatchThreshold=threshold))
    for _ in range(6):
        world.send("hang fine")
    assert soon(lambda: len(world.noted("work")) > threshold)
    assert soon(lambda: len(world.noted("work")) > batch + threshold, seconds=0.4) is False


def test_what_is_no_base64(hosted: Callable[..., Hosted]) -> None:
    """A message that can't be decoded is moved to the poison queue at once, where nobody can decode it either."""
    world = hosted()
    world.queue.send_message("not base64!")
    assert soon(lambda: world.queue.get_queue_properties().approximate_message_count == 0)
    assert soon(lambda: world.poison.get_queue_properties().approximate_message_count == 1)
    assert (world.noted("work"), world.noted("poison")) == ([], [])


def test_texts(hosted: Callable[..., Hosted]) -> None:
    """With messageEncoding none, texts are taken as they are."""
    world = hosted(**_queues(messageEncoding="none"))
    world.queue.send_message("as it is")
    world.host.settle()
    assert world.noted("done") == ["as it is"]


def test_a_queue_that_is_not_there_yet(hosted: Callable[..., Hosted], emulator: Azurite) -> None:
    """The host makes no queue; one that is made later is listened to then."""
    world = hosted()
    world.queue.delete_queue()
    assert soon(lambda: bool(world.host.ended), seconds=0.3) is False
    world.host.settle()
    world.queue.create_queue()
    world.send("late")
    world.host.settle()
    assert world.noted("done") == ["late"]
