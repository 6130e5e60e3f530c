"""The outbox: an incident is there whole or not at all, once, and untouched while nothing in it changes."""

import errno
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PosixPath
from typing import Final

import msgspec
import pytest

from rare_audit.errors import ServiceError
from rare_audit.reporting.incident import Incident, group
from rare_audit.rules import load_rule
from rare_audit.sinks.outbox import Outbox
from tests.builders import DAY, finding
from tests.job_world import files, stamps
from tests.terminal import assert_nothing_obeyed

RULE: Final = load_rule()


def _incident(**overrides: object) -> Incident:
    return group(RULE, [finding(**overrides)], {})[0]


INCIDENT: Final = _incident()
CHANGED: Final = _incident(events=2)


def _deliver(folder: Path, incident: Incident) -> None:
    Outbox(folder).deliver(incident, "")


def _read(path: Path) -> Incident:
    return msgspec.json.decode(path.read_bytes(), type=Incident)


def test_delivered(tmp_path: Path) -> None:
    """An incident is a JSON document under its day and id, and reads back as it was."""
    _deliver(tmp_path / "a" / "b", INCIDENT)
    path = tmp_path / "a" / "b" / DAY / f"{INCIDENT.id}.json"
    assert files(tmp_path) == [path]
    assert Outbox(tmp_path / "a" / "b").path_of(INCIDENT.id, DAY) == path
    assert _read(path) == INCIDENT
    assert path.read_text(encoding="utf-8").endswith("}\n")


def test_equal_content_is_left_untouched(tmp_path: Path) -> None:
    """Delivered again, nothing is written: not the file, nor its time, nor its folder's."""
    _deliver(tmp_path, INCIDENT)
    for path in (*files(tmp_path), tmp_path / DAY):
        os.utime(path, ns=(1, 1))
    before = stamps(tmp_path)
    _deliver(tmp_path, INCIDENT)
    assert stamps(tmp_path) == before
    assert (tmp_path / DAY).stat().st_mtime_ns == 1


def test_changed_content_replaces(tmp_path: Path) -> None:
    """An incident under the same id that changed takes the place of the old one; others stay."""
    other = _incident(service_principal_ids=("another",))
    for one in (INCIDENT, other, CHANGED):
        _deliver(tmp_path, one)
    assert CHANGED.id == INCIDENT.id != other.id
    assert {path.name: _read(path) for path in files(tmp_path)} == {
        f"{INCIDENT.id}.json": CHANGED,
        f"{other.id}.json": other,
    }


def test_what_a_killed_writer_left(tmp_path: Path) -> None:
    """A half-written file of a process that was killed does no harm, and goes."""
    _deliver(tmp_path, INCIDENT)
    (path,) = files(tmp_path)
    path.with_suffix(".tmp").write_bytes(path.read_bytes()[:100])
    _deliver(tmp_path, CHANGED)
    assert files(tmp_path) == [path]
    assert _read(path) == CHANGED


class _FullDisk(PosixPath):
    """A path on a disk that is full after a hundred bytes."""

    def write_bytes(self, data: object) -> int:
        """Write what there is room for."""
        assert isinstance(data, bytes)
        super().write_bytes(data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk(tmp_path: Path) -> None:
    """Where there is no room, what was there is there still, whole; nothing is taken for an incident."""
    with pytest.raises(ServiceError, match="No space left on device"):
        _deliver(_FullDisk(tmp_path), INCIDENT)
    assert list(tmp_path.rglob("*.json")) == []
    _deliver(tmp_path, INCIDENT)
    with pytest.raises(ServiceError, match="No space left on device"):
        _deliver(_FullDisk(tmp_path), CHANGED)
    assert [_read(path) for path in tmp_path.rglob("*.json")] == [INCIDENT]
    _deliver(tmp_path, CHANGED)
    assert [_read(path) for path in files(tmp_path)] == [CHANGED]


def test_readers_never_see_half_of_one(tmp_path: Path) -> None:
    """While an incident is written again and again, whoever reads it gets one version or the other."""
    big = _incident(operation_name="x" * 100_000)
    _deliver(tmp_path, INCIDENT)
    (path,) = files(tmp_path)
    seen, done = set[str](), threading.Event()

    def read() -> int:
        reads = 0
        while not done.is_set():
            seen.add(_read(path).digest)
            reads += 1
        return reads

    with ThreadPoolExecutor() as pool:
        reader = pool.submit(read)
        for _ in range(100):
            _deliver(tmp_path, big)
            _deliver(tmp_path, INCIDENT)
        done.set()
    assert reader.result() > 0
    assert seen <= {INCIDENT.digest, big.digest}


def _file_for_folder(folder: Path) -> None:
    folder.write_bytes(b"")


def _file_for_day(folder: Path) -> None:
    folder.mkdir()
    (folder / DAY).write_bytes(b"")


def _folder_for_file(folder: Path) -> None:
    (folder / DAY / f"{INCIDENT.id}.json").mkdir(parents=True)


@pytest.mark.parametrize("obstacle", [_file_for_folder, _file_for_day, _folder_for_file])
def test_unwritable(obstacle: Callable[[Path], None], tmp_path: Path) -> None:
    """Where the file can't be, the error is one line that names it."""
    folder = tmp_path / "outbox"
    obstacle(folder)
    with pytest.raises(ServiceError) as raised:
        _deliver(folder, INCIDENT)
    assert str(raised.value).startswith(f"can't write {folder / DAY / INCIDENT.id}.json: ")
    assert len(str(raised.value).splitlines()) == 1
    assert "None" not in str(raised.value)


def test_hostile_text_is_escaped(tmp_path: Path) -> None:
    """Shown on a terminal the file drives nothing; read by a program it holds the very text."""
    name = "\x1b[31mURGENT\x1b[0m \u202egpj.eciovni\u2028\x9b2J\U000e0041 \ufeff\r\n"
    incident = _incident(initiated_by_app=name, operation_name=name, property_names=(name,))
    _deliver(tmp_path, incident)
    (path,) = files(tmp_path)
    assert_nothing_obeyed(path.read_text(encoding="utf-8"))
    assert _read(path).findings[0].initiated_by_app == name
