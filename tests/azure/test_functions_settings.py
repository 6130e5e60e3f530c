"""host.json, as the stand-in for the Functions host reads it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.azure.functions_settings import HostError, read_host_json, resolved, seconds


def _read(folder: Path, **content: Any) -> Any:
    (folder / "host.json").write_text(json.dumps(content))
    return read_host_json(folder)


def test_defaults(tmp_path: Path) -> None:
    """What is not said is as the documentation has it."""
    read = _read(tmp_path, version="2.0", extensionBundle={"id": "anything"})
    assert read.timeout == 1800
    queues = read.extensions.queues
    assert (queues.batch_size, queues.threshold, queues.max_dequeue_count) == (16, 8, 5)
    assert (queues.retry_after, queues.message_encoding, read.extensions.http.route_prefix) == (0, "base64", "api")


def test_what_is_said(tmp_path: Path) -> None:
    """What is said counts."""
    queues = {"batchSize": 1, "newBatchThreshold": 0, "visibilityTimeout": "00:05:00", "maxDequeueCount": 9}
    read = _read(tmp_path, version="2.0", functionTimeout="-1", extensions={"queues": queues})
    assert read.timeout is None
    assert read.extensions.queues.retry_after == 300
    assert (read.extensions.queues.threshold, read.extensions.queues.max_dequeue_count) == (0, 9)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"version": "1.0"},
        {"version": "2.0", "functionTimeout": "30"},
        {"version": "2.0", "extensions": {"queues": {"batchSize": 33}}},
        {"version": "2.0", "extensions": {"queues": {"batchSize": "1"}}},
        {"version": "2.0", "extensions": {"queues": {"maxDequeueCount": 0}}},
        {"version": "2.0", "extensions": {"queues": {"visibilityTimeout": "00:61:00"}}},
    ],
)
def test_refused(content: dict[str, Any], tmp_path: Path) -> None:
    """What the host would not start on is no host.json; nor is no file at all."""
    with pytest.raises(HostError, match=r"^host\.json: "):
        _read(tmp_path, **content)
    with pytest.raises(HostError):
        read_host_json(tmp_path / "nowhere")


def test_spans_and_settings() -> None:
    """Time spans are .NET's; %NAMES% are settings."""
    assert [seconds(each) for each in ("00:00:30", "1.02:03:04", "00:00:00.5")] == [30, 93784, 0.5]
    assert resolved("%A%-x-%B%", {"A": "a", "B": ""}) == "a-x-"
    with pytest.raises(HostError, match="'%C%' does not resolve"):
        resolved("%C%", {})
