"""`report`, and `hunt --format html`, from a terminal."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rare_audit.app import DATABASE
from tests.azure_terminal import AzureTerminal, terminal
from tests.exports.trio import ROWS, ndjson
from tests.job_world import stamps
from tests.reporting.report_world import Reader
from tests.terminal import BOTH_DAYS, LAST_HUNTED, assert_refused, called, hunted


def _read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the folder of a demo that has run."""
    folder = tmp_path_factory.mktemp("demo")
    assert called("demo", "--into", str(folder)).exit_code == 0
    return folder


def test_hunt_in_html() -> None:
    """All that the other formats have; the attack with a hostile name is text."""
    result = hunted(*BOTH_DAYS, "--exclusions", "--format", "html")
    reader = _read(result.stdout)
    assert reader.count["h4"] == 13
    assert "findings 13 applications 10 never seen before 5 events excluded 2" in reader.text
    assert (
        "Windlass Automation , known on 11 of 14 days, added an owner to an application for the first time"
        in reader.text
    )
    assert r"=cmd|' /C calc'!A0 \x1b[31mURGENT\x1b[0m \u202egpj.eciovni" in reader.text


def test_hunt_in_html_finds_nothing(tmp_path: Path) -> None:
    """A page all the same, into a file whose name says that it is one."""
    file = tmp_path / "page.html"
    hunted(BOTH_DAYS[0], "--start", "2026-03-15T20:00:00Z", "--end", "2026-03-15T21:00:00Z", "-o", str(file))
    assert "Nothing rare." in _read(file.read_text(encoding="utf-8")).text


def test_hunt_in_html_without_events(tmp_path: Path) -> None:
    """Where no app did anything the page says so in a banner, and not that nothing is rare."""
    file = tmp_path / "page.html"
    result = called("hunt", BOTH_DAYS[0], "--date", "2026-02-01", "-o", str(file))
    assert result.exit_code == 4
    text = _read(file.read_text(encoding="utf-8")).text
    assert "No events by apps. No app did anything in 2026-02-01: nothing could be found." in text
    assert "Nothing rare." not in text


def test_hunt_in_html_with_an_incomplete_baseline(tmp_path: Path) -> None:
    """What could not be read and what there was to compare with stand in banners, and each day in a table."""
    export = tmp_path / "export.ndjson"
    export.write_bytes(ndjson(ROWS) + b"{broken\n")
    file = tmp_path / "page.html"
    assert called("hunt", str(export), "-o", str(file)).exit_code == 3
    text = _read(file.read_text(encoding="utf-8")).text
    assert "Not everything was read. One record or file could not be read" in text
    assert "Baseline incomplete. Too few days had data before 2026-03-10, 2026-03-16" in text
    assert "one record not read: not JSON, first at" in text
    assert "1 of 14 days had data" in text


def test_report_of_the_demo(home: Path, tmp_path: Path) -> None:
    """By day or by run, to a file or standard output; nothing in the folder changes."""
    before = {path: stamp for path, stamp in stamps(home).items() if "sqlite" not in path.name}
    file = tmp_path / "page.html"
    by_day = called("report", "--home", str(home), "--date", LAST_HUNTED, "-o", str(file))
    assert (by_day.exit_code, by_day.stdout) == (0, "")
    run_id = by_day.stderr.split()[1].rstrip(":")
    reader = _read(file.read_text(encoding="utf-8"))
    assert reader.count["h4"] == 8
    assert f"Run {run_id}" in reader.text
    by_run = called("report", "--home", str(home), "--run", run_id)
    assert by_run.exit_code == 0
    assert _read(by_run.stdout).count["h4"] == 13
    assert {path: stamp for path, stamp in stamps(home).items() if "sqlite" not in path.name} == before


def test_what_cannot_be_reported(home: Path, tmp_path: Path) -> None:
    """One line each, exit code 2."""
    assert_refused(
        called("report", "--home", str(home), "--date", "2026-01-01"), "have it done with: run --date 2026-01-01"
    )
    assert_refused(called("report", "--home", str(home), "--run", "\x1b[31m"), r"no run '\\x1b[31m' is kept")
    assert_refused(called("report", "--home", str(tmp_path), "--date", LAST_HUNTED), f"there is no {DATABASE} in it")
    for words in ((), ("--run", "a", "--date", LAST_HUNTED)):
        assert "expected --run or --date" in called("report", *words).stderr
    assert "days are written YYYY-MM-DD" in called("report", "--date", "yesterday").stderr
    assert not (tmp_path / DATABASE).exists()


@pytest.fixture(scope="module")
def azure() -> Iterator[AzureTerminal]:
    """The bundled sample in Azure."""
    with terminal() as started:
        yield started


def test_report_of_the_deployed_app(azure: AzureTerminal) -> None:
    """With its settings, from its storage, over the wire."""
    azure.reset()
    assert azure.called("run", "--date", LAST_HUNTED).exit_code == 0
    result = azure.called("report", "--date", LAST_HUNTED)
    assert result.exit_code == 0, result.stderr
    reader = _read(result.stdout)
    assert reader.count["h4"] == 8
    assert reader.text.count("new in this run incident written") == 8
