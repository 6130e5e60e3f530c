"""What the command line refuses: exit code 2, one line that says why, no traceback, nothing on standard output."""

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from rare_audit.exports.columns import REQUIRED
from rare_audit.rules import DEFAULT_RULE
from tests.terminal import (
    BOTH_DAYS,
    NORTHWIND,
    ROOT,
    assert_nothing_obeyed,
    assert_refused,
    called,
    hunted,
    northwind,
    process,
    running,
)

START: Final = ("--start", "2026-03-16")
PARTIAL: Final = {
    "tables": [
        {
            "name": "PrimaryResult",
            "columns": [{"name": name, "type": "string"} for name in REQUIRED],
            "rows": [],
        }
    ],
    "error": {"code": "PartialError", "message": "There were some errors when processing your query."},
}
RULE_TEXT: Final = DEFAULT_RULE.read_text(encoding="utf-8")


def _export(folder: Path, content: bytes) -> str:
    file = folder / "export"
    file.write_bytes(content)
    return str(file)


@pytest.mark.parametrize("words", [(), START], ids=["default window", "start"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b"\n \n", "is not an export of audit events"),
        (bytes(range(256)) * 40, "is not text: it begins with 00 01 02 03"),
        (b"\x7fELF\x02\x01\x01" + b"\0" * 999, "is a program"),
        (json.dumps(PARTIAL).encode(), "is not the whole result"),
        (
            gzip.compress(b"".join(northwind()[:99]), mtime=0)[:-99],
            "ends early: its gzip, bzip2 or xz data",
        ),
        (b"\x1f\x8b\x08\x00broken", "gzip"),
        (b'{"TimeGenerated":"yesterday"}\n' * 3, "holds nothing that can be read: no OperationName (3)"),
        (b'{"value":[', "export"),
        (b"[" * 100_000, "export"),
    ],
    ids=["empty", "blank", "binary", "ELF", "partial", "cut gzip", "broken gzip", "no times", "cut JSON", "deep"],
)
def test_export_that_is_none(content: bytes, told: str, words: tuple[str, ...], tmp_path: Path) -> None:
    """Nothing can be read of it, or not the whole of it."""
    assert_refused(called("hunt", _export(tmp_path, content), *words), told)


def test_file_that_is_not_there() -> None:
    """A missing file, in this process and in one of its own."""
    for run in (called, process):
        assert_refused(run("hunt", "no-such-file"), "rare-audit: no-such-file can't be read: No such file or directory")


def test_folder(tmp_path: Path) -> None:
    """A folder without a file is no export of no events."""
    assert_refused(called("hunt", str(tmp_path)), "has no file in it")


def test_nothing_on_standard_input() -> None:
    """Standard input without a byte, and standard input twice."""
    assert_refused(process("hunt", "-"), "standard input is empty")
    assert_refused(called("hunt", "-", "-", input_=b"{}"), "standard input is named twice")


def test_one_bad_file_among_good_ones(tmp_path: Path) -> None:
    """Of several files each has to be readable, wherever it stands."""
    for names in ((NORTHWIND, _export(tmp_path, b"")), (_export(tmp_path, b""), NORTHWIND)):
        assert_refused(called("hunt", *names, *START), "is empty")


def test_hostile_file_name(tmp_path: Path) -> None:
    """A name can't drive the terminal, nor make two lines of one, nor be undecodable."""
    for name in ("\x1b[31mred\u202e.json", "two\nlines", "\udcff.json"):
        result = process("hunt", str(tmp_path / name))
        assert_refused(result, "matches no file" if "[" in name else "can't be read: No such file or directory")
        assert_nothing_obeyed(result.stderr.decode())


def test_strict(tmp_path: Path) -> None:
    """A record that can't be read is counted, with the place of the first; if strict it is an error."""
    lines = northwind()
    export = _export(tmp_path, b"".join([*lines[:2], b"{broken\n", *lines[2:], b'{"OperationName":"x"}\n']))
    result = called("hunt", export, *START, "--format", "kql")
    assert result.exit_code == 3
    assert f"  not read: 1 record, not JSON, first at {export}:3" in result.stderr.splitlines()
    assert f"  not read: 1 record, no TimeGenerated, first at {export}:4002: " in result.stderr
    assert result.stderr.splitlines()[-1] == "incomplete: 2 records could not be read; findings may be missing"
    assert result.stdout == hunted(NORTHWIND, *START, "--format", "kql").stdout
    assert_refused(called("hunt", export, *START, "--strict"), f"{export}:3: not JSON")
    assert hunted(NORTHWIND, *START, "--strict").stdout == hunted(NORTHWIND, *START).stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--start", "2026-03-16", "--end", "2026-03-15"), "the window starts at 2026-03-16T00:00:00.0000000Z"),
        (
            ("--start", "2026-03-16", "--end", "2026-03-16"),
            "the end is not in the window, so one day is --end 2026-03-17",
        ),
        (("--daily", "--start", "2026-03-16", "--end", "2026-03-16"), "so one day is --end 2026-03-17"),
        (("--daily", "--start", "2026-03-15T01:00:00Z"), "must be midnights"),
        (("--daily", "--start", "2026-03-15", "--end", "2026-03-15T12:00:00Z"), "must be midnights"),
        (("--daily", "--start", "2026-03-15T00:00:00+02:00"), "must be midnights"),
    ],
)
def test_windows_that_are_none(words: tuple[str, ...], told: str) -> None:
    """Bounds that make no window."""
    assert_refused(called("hunt", NORTHWIND, *words), told)


def test_no_day_to_hunt_in(tmp_path: Path) -> None:
    """Where nothing is an audit event, there is no day to look at."""
    record = {"time": "2026-03-16T00:00:00Z", "category": "SignInLogs", "operationName": "Sign-in", "properties": {}}
    export = _export(tmp_path, json.dumps({"records": [record]}).encode())
    assert_refused(called("hunt", export), "there is no event in the data, so no day to look at")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("hunt",), "give FILE… or --workspace, and one of them"),
        (("hunt", NORTHWIND, "--workspace", "x"), "give FILE… or --workspace, and one of them"),
        (("hunt", NORTHWIND, "--date", "2026-03-16", *START), "give --date, or --from and --to, or --start and --end"),
        (("hunt", NORTHWIND, "--from", "2026-03-16", "--to", "2026-03-15"), "--to is before --from"),
        (("hunt", NORTHWIND, "--daily", "--date", "2026-03-16"), "--daily goes with --start"),
        (("hunt", NORTHWIND, "--strict", "--lenient"), "contradict each other"),
        (("hunt", NORTHWIND, "--date", "2026-03-16T08:00:00Z"), "write 2026-03-15, today, yesterday or -1d"),
        (("hunt", NORTHWIND, "-o", "page.html", "--format", "csv"), "a file named .html holds html, and --format says"),
        (("hunt", NORTHWIND, "-o", "page.docx"), "--format is needed: .docx is not one of .txt"),
        (("hunt", NORTHWIND, "--nonsense"), "No such option '--nonsense'"),
        (("hunt", NORTHWIND, "--format", "xml"), "'xml' is not one of"),
        (("hunt", NORTHWIND, "--start", "tomorrow"), "write 2026-03-15, 2026-03-15T08:00:00Z, today, yesterday"),
        (("hunt", NORTHWIND, "--start", ""), "not an ISO 8601 instant"),
        (("hunt", NORTHWIND, "--start", "2026-02-30"), "write 2026-03-15, 2026-03-15T08:00:00Z"),
        (("hunt", NORTHWIND, *START, "--end", "2026-03-17T25:00:00Z"), "no such time of day"),
        (("kql",), "Missing option '--start'"),
        (("kql", *START, "--end", "soon"), "write 2026-03-15"),
        (("sample", "--events", "0"), "is not in the range"),
        (("sample", "--seed", "x"), "is not a valid integer"),
        (("hant",), "No such command 'hant'"),
        (("hunt", NORTHWIND, "--start", "\x1b[31m2026"), "not an ISO 8601 instant"),
    ],
)
def test_usage(words: tuple[str, ...], told: str) -> None:
    """What click refuses it explains as it does: the usage, where to find help, and the mistake in one line."""
    result = called(*words)
    assert_refused(result, told, lines=4)
    assert_nothing_obeyed(result.stderr)


def test_kql_window_that_is_none() -> None:
    """The same for the query."""
    assert_refused(called("kql", "--start", "2026-03-16", "--end", "2026-03-15"), "no such window")


def _rule(folder: Path, text: str) -> str:
    file = folder / "rule.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("tactics:", "tactic:", "unknown field `tactic`"),
        ("lookback: 14d", "lookback: 14h", "$.parameters.lookback"),
        ("lookback: 14d", "lookback: 14", "$.parameters.lookback"),
        ("key: [OperationName,", "key: [OperationNme,", "'OperationNme' is none of them"),
        ("appIgnoreList: [", "appIgnoreList: [[x], ", "$.parameters.appIgnoreList"),
        ("{{lookback}}", "{{lockback}}", "query: the query holds {{lockback}}, which stands for nothing"),
        ("id: 5c", "id: not-", "`$.id`"),
        ("name: Rare", "name: [Rare", "is not YAML"),
        ("  hostProperties:", "  hostProperty:", "hostProperty"),
    ],
)
@pytest.mark.parametrize("command", [("hunt", *BOTH_DAYS), ("kql", *START)], ids=["hunt", "kql"])
def test_rule_with_a_mistake(command: tuple[str, ...], old: str, new: str, told: str, tmp_path: Path) -> None:
    """One line that names the file and what is wrong in it."""
    assert old in RULE_TEXT
    rule = _rule(tmp_path, RULE_TEXT.replace(old, new, 1))
    result = called(*command, "--rule", rule)
    assert_refused(result, told)
    assert result.stderr.startswith(f"rare-audit: {rule}: ")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "Expected `object`"),
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"a: \x1b[31m", "is not YAML"),
        (b"- 1", "object"),
    ],
)
def test_rule_that_is_none(content: bytes, told: str, tmp_path: Path) -> None:
    """Any bytes give one harmless line."""
    result = called("hunt", NORTHWIND, "--rule", _export(tmp_path, content))
    assert_refused(result, told)
    assert_nothing_obeyed(result.stderr)


def test_rule_that_is_not_there(tmp_path: Path) -> None:
    """A missing rule, and a folder for one."""
    assert_refused(called("hunt", NORTHWIND, "--rule", "none.yaml"), "none.yaml: can't be read: No such file")
    assert_refused(called("hunt", NORTHWIND, "--rule", str(tmp_path)), "can't be read: Is a directory")


@pytest.mark.parametrize("name", ["", "no/such/folder/file"])
@pytest.mark.parametrize("command", [("hunt", *BOTH_DAYS), ("sample", "--events", "100")], ids=["hunt", "sample"])
def test_output_that_cannot_be_written(command: tuple[str, ...], name: str, tmp_path: Path) -> None:
    """A folder, or a file in none: the last line says so."""
    result = called(*command, "-o", str(tmp_path / name))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "can't be written: " in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def test_output_is_tried_first(tmp_path: Path) -> None:
    """That the output can't be written shows before the work is done: the one line stands alone."""
    assert_refused(called("hunt", *BOTH_DAYS, "-o", str(tmp_path)), "can't be written: Is a directory")


def test_demo_into_what_is_no_folder(tmp_path: Path) -> None:
    """What this machine refuses is exit code 1, in one line at the end."""
    into = _export(tmp_path, b"")
    result = called("demo", "--into", into)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].startswith("rare-audit: can't make the folder of ")
    assert "Traceback" not in result.stderr


def test_demo_of_what_is_no_export(tmp_path: Path) -> None:
    """An export that can't be read is exit code 2; the failed run is kept and keeps nobody waiting."""
    for _ in range(2):
        result = called("demo", "--into", str(tmp_path / "results"), "--sample", _export(tmp_path, b"\0\1"))
        assert (result.exit_code, result.stdout) == (2, "")
        assert "is not text: it begins with 00 01" in result.stderr.splitlines()[-1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no device that is always full")
@pytest.mark.parametrize("words", [("hunt", *BOTH_DAYS), ("kql", *START)], ids=["hunt", "kql"])
def test_standard_output_full(words: tuple[str, ...]) -> None:
    """A full disk behind standard output is explained in a line."""
    with Path("/dev/full").open("wb") as full:
        ended = process(*words, stdout=full)
    assert ended.returncode in {1, 2}
    assert "Traceback" not in ended.stderr.decode()
    assert "No space left on device" in ended.stderr.decode().splitlines()[-1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this machine has no device that is always full")
def test_sample_to_standard_output_full() -> None:
    """The same for the sample, whose explanation names standard output."""
    with Path("/dev/full").open("wb") as full:
        ended = process("sample", stdout=full)
    assert ended.stderr.decode() == "rare-audit: standard output can't be written: No space left on device\n"


def test_sample_into_a_closed_pipe() -> None:
    """A reader that has seen enough (`| head`) is no error to talk about, as for `hunt`."""
    assert _read_a_little("sample", "--events", "20000") == b""


def test_hunt_into_a_closed_pipe() -> None:
    """`hunt … | head` says nothing of the pipe."""
    assert b"Broken" not in _read_a_little("hunt", *BOTH_DAYS, "--format", "json")


@pytest.mark.parametrize("form", ["csv", "kql", "json"])
def test_standard_output_in_another_encoding(form: str) -> None:
    """On a terminal or behind a redirection that is not UTF-8 (as on Windows) results still come out."""
    ended = process("hunt", *BOTH_DAYS, "--format", form, PYTHONIOENCODING="ascii")
    assert (ended.returncode, b"Traceback" in ended.stderr) == (0, False)


def _read_a_little(*words: str) -> bytes:
    """Read the first bytes of a command's output and close the pipe; return its standard error."""
    with running(*words) as started:
        assert started.stdout
        assert started.stderr
        started.stdout.read(5)
        started.stdout.close()
        return started.stderr.read()


@pytest.mark.parametrize(("closed", "code"), [(1, 2), (2, 0)], ids=["output", "error"])
def test_a_stream_that_is_closed(closed: int, code: int) -> None:
    """Without standard output nothing is looked for, since results would be lost; without standard error it works."""
    command = [sys.executable, "-m", "rare_audit", "hunt", "samples/tidewater.ndjson.gz", "--format", "json"]
    ran = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ran.returncode == code
    assert "Traceback" not in ran.stderr
    assert ("standard output is closed" in ran.stderr) == (closed == 1)
    assert (len(ran.stdout) > 1_000) == (closed == 2)
