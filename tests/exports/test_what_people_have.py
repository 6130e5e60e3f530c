"""The files that people have, by the trouble they make: read whole, refused, or counted; never lost in silence."""

import bz2
import gzip
import io
import json
import lzma
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from click.testing import Result

from rare_audit.exports import opening
from tests.exports.trio import (
    AUDITS,
    END,
    NATIVE,
    RARE,
    RECORDS,
    ROWS,
    START,
    TIMES,
    capitalised,
    changed,
    document,
    ndjson,
    renamed,
    table,
    timed,
    without,
)
from tests.terminal import ROOT, called

WINDOW: Final = ("--start", START, "--end", END)
Make = Callable[[], bytes]


def hunted(folder: Path, content: bytes, *words: str, name: str = "export") -> Result:
    """Hunt in a file of this content, on the day of the trio's last two events."""
    path = folder / name
    path.write_bytes(content)
    return called("hunt", str(path), *WINDOW, "--format", "ndjson", *words)


def operations(result: Result) -> list[str]:
    """Return the operations of the rows on standard output."""
    return [msgspec.json.decode(line)["OperationName"] for line in result.stdout.splitlines()]


def assert_found(result: Result) -> None:
    """The trio was read whole: its one finding, and nothing lost."""
    assert (result.exit_code, operations(result)) == (0, [RARE]), result.output


def assert_refused(result: Result, text: str) -> None:
    """The file is refused as a whole, in one last line."""
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert text in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr


def assert_lost(result: Result, count: int, text: str, rows: list[str] | None = None) -> None:
    """Some records were lost: the last line says how many, a line says why, and the exit code is 3."""
    assert result.exit_code == 3, result.output
    assert result.stderr.splitlines()[-1].startswith(f"incomplete: {count} record"), result.stderr
    assert text in result.stderr
    assert operations(result) == (rows or [])


# Containers that are no text


def _tar(contents: dict[str, bytes], **how: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=how.pop("mode", "w"), **how) as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def _zip(contents: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file.getvalue()


def _without_magic(archive: bytes) -> bytes:
    """Return a tar of one file as tar wrote it before POSIX: without its magic bytes, its checksum made anew."""
    block = bytearray(archive[:512])
    block[257:265] = bytes(8)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + archive[512:]


HOURS: Final = {f"y=2026/m=03/d={at}/PT1H.json": document(each) + b"\n" for at, each in enumerate(RECORDS)}
ARCHIVES: Final[dict[str, Make]] = {
    "tar": lambda: _tar(HOURS),
    "tar, GNU": lambda: _tar(HOURS, format=tarfile.GNU_FORMAT),
    "tar, PAX": lambda: _tar(HOURS, format=tarfile.PAX_FORMAT),
    "tar without magic": lambda: _without_magic(_tar({"rows.ndjson": ndjson(ROWS)}, format=tarfile.USTAR_FORMAT)),
    "tar.gz": lambda: gzip.compress(_tar(HOURS)),
    "tar.bz2": lambda: bz2.compress(_tar(HOURS)),
    "tar.xz": lambda: lzma.compress(_tar(HOURS)),
    "tar of gzip": lambda: _tar({name: gzip.compress(content) for name, content in HOURS.items()}),
    "zip": lambda: _zip(HOURS),
    "zip, stored": lambda: _zip(HOURS, zipfile.ZIP_STORED),
    "zip of CSV and more": lambda: _zip({"a/b.csv": table(ROWS), "__MACOSX/a/._b.csv": b"\0", ".DS_Store": b"\0"}),
    "zip of gzip": lambda: _zip({"rows.ndjson.gz": gzip.compress(ndjson(ROWS))}),
    "bzip2": lambda: bz2.compress(ndjson(ROWS)),
    "xz": lambda: lzma.compress(ndjson(ROWS)),
    "gzip in gzip": lambda: gzip.compress(gzip.compress(ndjson(ROWS))),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_are_opened(kind: str, tmp_path: Path) -> None:
    """Whatever the export is packed in, from a file and from standard input."""
    content = ARCHIVES[kind]()
    assert_found(hunted(tmp_path, content))
    assert_found(called("hunt", "-", *WINDOW, "--format", "ndjson", input_=content))


BINARY: Final[dict[str, tuple[Make, str]]] = {
    "Avro": (lambda: b"Obj\x01\x04\x14avro.codec\x08null" + ndjson(ROWS), "is an Avro file"),
    "Parquet": (lambda: b"PAR1" + ndjson(ROWS), "is a Parquet file"),
    "ORC": (lambda: b"ORC" + ndjson(ROWS), "is an ORC file"),
    "workbook": (lambda: _zip({"[Content_Types].xml": b"<x/>", "xl/sheet1.xml": b"<x/>"}), "is an Excel workbook"),
    "old workbook": (lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "is an old Office file"),
    "7z": (lambda: b"7z\xbc\xaf\x27\x1c" + ndjson(ROWS), "is a 7z archive"),
    "rar": (lambda: b"Rar!\x1a\x07\x00" + ndjson(ROWS), "is a RAR archive"),
    "zstd": (lambda: b"\x28\xb5\x2f\xfd" + ndjson(ROWS), "is compressed with zstd"),
    "lz4": (lambda: b"\x04\x22\x4d\x18" + ndjson(ROWS), "is compressed with lz4"),
    "SQLite": (lambda: b"SQLite format 3\x00" + ndjson(ROWS), "is an SQLite database"),
    "event log": (lambda: b"ElfFile\x00" + ndjson(ROWS), "is a Windows event log"),
    "PDF": (lambda: b"%PDF-1.7\n" + ndjson(ROWS), "is a PDF file"),
    "zip in gzip": (lambda: gzip.compress(_zip(HOURS)), "is a zip archive inside another archive"),
    "gzip four deep": (
        lambda: gzip.compress(gzip.compress(gzip.compress(gzip.compress(ndjson(ROWS))))),
        "is compressed 3 times over",
    ),
    "tar cut in a file": (lambda: _tar(HOURS)[:700], "is a broken tar archive"),
    "tar cut between files": (
        lambda: _tar({"a": ndjson(ROWS)}, format=tarfile.USTAR_FORMAT)[: 512 + 2048],
        "tar archive",
    ),
    "tar.gz cut": (lambda: gzip.compress(_tar(HOURS))[:-20], "ends early"),
    "tar.gz with a wrong checksum": (lambda: gzip.compress(_tar(HOURS))[:-8] + bytes(8), "broken gzip data"),
    "zip cut": (lambda: _zip(HOURS)[:-30], "is a broken zip archive"),
    "zip without files": (lambda: _zip({}), "is an archive without a file in it"),
    "zip of pictures": (
        lambda: _zip({"a.png": b"\x89PNG\r\n\x1a\n" + bytes(99)}),
        "is not text: it begins with 89 50 4e 47",
    ),
    "zip with a password": (lambda: _locked(_zip(HOURS)), "can't be unpacked"),
    "xz cut": (lambda: lzma.compress(ndjson(ROWS))[:-20], "ends early"),
    "bzip2 cut": (lambda: bz2.compress(ndjson(ROWS))[:-20], "ends early"),
}


def _locked(archive: bytes) -> bytes:
    """Return a zip whose files say that they are encrypted."""
    changed_archive = bytearray(archive)
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := archive.find(mark, at + 1)) >= 0:
            changed_archive[at + flags] |= 1
    return bytes(changed_archive)


@pytest.mark.parametrize("kind", BINARY)
def test_what_is_no_text_is_refused(kind: str, tmp_path: Path) -> None:
    """By its first bytes, or where it breaks off; its bytes are never read as lines."""
    make, text = BINARY[kind]
    assert_refused(hunted(tmp_path, make()), text)


def test_tar_cut_at_every_block(tmp_path: Path) -> None:
    """A tar is whole only with its end: cut anywhere before, it is an error, though each file in it may be whole."""
    archive = _tar(HOURS, format=tarfile.USTAR_FORMAT)
    end = archive.rstrip(b"\0")
    for cut in range(512, len(end), 512):
        result = hunted(tmp_path, archive[:cut])
        assert result.exit_code == 2, cut


def test_archive_with_more_than_exports(tmp_path: Path) -> None:
    """What is no export in an archive or a folder is named and counted, and the exit code says so."""
    content = _zip({"rows.ndjson": ndjson(ROWS), "README.md": b"# Export of March\n", "empty.json": b""})
    result = hunted(tmp_path, content)
    assert (result.exit_code, operations(result)) == (3, [RARE])
    assert "not read: 1 file, not an export of audit events, first at " in result.stderr
    assert "README.md" in result.stderr
    assert "skipped: 1 record, empty file" in result.stderr
    assert result.stderr.splitlines()[-1] == "incomplete: 1 file could not be read; findings may be missing"


# Folders and patterns


def test_folders_are_read_with_all_below(tmp_path: Path) -> None:
    """A storage account's export is a tree; hidden files are left out, and a file that breaks off is counted."""
    for name, content in HOURS.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    (tmp_path / "tree" / ".hidden").write_bytes(b"\0\1")
    words = (*WINDOW, "--format", "ndjson")
    assert_found(called("hunt", str(tmp_path / "tree"), *words))
    assert_found(called("hunt", str(tmp_path / "tree/**/*.json"), *words))
    assert_found(called("hunt", str(tmp_path / "tree/y=*"), *words))
    (tmp_path / "tree" / "late.json.gz").write_bytes(gzip.compress(ndjson(RECORDS))[:-9])
    result = called("hunt", str(tmp_path / "tree"), *words)
    assert result.exit_code == 3
    assert "could not be read to its end" in result.stderr


def test_folders_and_patterns_without_files(tmp_path: Path) -> None:
    """Neither is an export of no events."""
    assert_refused(called("hunt", str(tmp_path)), "has no file in it")
    assert_refused(called("hunt", str(tmp_path / "*.json")), "matches no file")


def test_folder_of_other_things(tmp_path: Path) -> None:
    """A folder in which nothing is an export is refused."""
    (tmp_path / "notes.txt").write_bytes(b"hello\n")
    assert_refused(called("hunt", str(tmp_path)), "is not an export of audit events")


# Rows that the rule can't see


def _cut(rows: list[dict[str, Any]], column: str) -> list[dict[str, Any]]:
    return changed(rows, 2, **{column: rows[2][column][:-20]})


PYTHON: Final = [each | {"InitiatedBy": repr(native["InitiatedBy"])} for each, native in zip(ROWS, NATIVE, strict=True)]
UNSEEN: Final[dict[str, tuple[Make, str]]] = {
    "column not exported, CSV": (lambda: table(without(ROWS, "TargetResources")), "has no TargetResources column"),
    "columns not exported, CSV": (
        lambda: table(without(without(ROWS, "TargetResources"), "InitiatedBy")),
        "has no InitiatedBy and no TargetResources column",
    ),
    "no operation, CSV": (lambda: table(without(ROWS, "OperationName")), "has no OperationName column"),
    "column twice, CSV": (
        lambda: table(ROWS).replace(b"CorrelationId", b"Id", 1),
        "has the column Id more than once",
    ),
    "column not projected": (lambda: ndjson(without(ROWS, "InitiatedBy")), "no InitiatedBy (3)"),
    "column not projected, array": (lambda: document(without(NATIVE, "TargetResources")), "no TargetResources (3)"),
    "member not selected, Graph": (lambda: document({"value": without(AUDITS, "initiatedBy")}), "no initiatedBy (3)"),
    "targets not selected, Graph": (
        lambda: document({"value": without(AUDITS, "targetResources")}),
        "no targetResources (3)",
    ),
    "PowerShell, initiator": (
        lambda: document([each | {"initiatedBy": "@{user=; app=}"} for each in AUDITS]),
        "InitiatedBy is not a JSON object (3)",
    ),
    "PowerShell, app": (
        lambda: document([each | {"initiatedBy": {"user": None, "app": "@{appId=a-1}"}} for each in AUDITS]),
        "InitiatedBy.app is not a JSON object (3)",
    ),
    "PowerShell, targets": (
        lambda: document([each | {"targetResources": ["@{id=t-1; displayName=Payroll}"]} for each in AUDITS]),
        "TargetResources is not a JSON array of objects (3)",
    ),
    "PowerShell, targets as one text": (
        lambda: document([each | {"targetResources": "System.Object[]"} for each in AUDITS]),
        "TargetResources is not a JSON array of objects (3)",
    ),
    "PowerShell, properties": (
        lambda: document([_properties(each, "System.Object[]") for each in AUDITS]),
        "modifiedProperties is not a JSON array of objects (3)",
    ),
    "PowerShell, each property": (
        lambda: document([_properties(each, ["@{displayName=x}"]) for each in AUDITS]),
        "modifiedProperties is not a JSON array of objects (3)",
    ),
    "one-element array unwrapped": (
        lambda: document([each | {"targetResources": each["targetResources"][0]} for each in AUDITS]),
        "TargetResources is not a JSON array of objects (3)",
    ),
    "one-element array unwrapped, text": (
        lambda: ndjson([each | {"TargetResources": each["TargetResources"][1:-1]} for each in ROWS]),
        "TargetResources is not a JSON array of objects (3)",
    ),
    "Python reprs": (lambda: table(PYTHON), "InitiatedBy is not a JSON object (3)"),
    "Python reprs, lines": (lambda: ndjson(PYTHON), "InitiatedBy is not a JSON object (3)"),
    "a name in place of the initiator": (
        lambda: ndjson([each | {"InitiatedBy": "Backup Agent"} for each in ROWS]),
        "InitiatedBy is not a JSON object (3)",
    ),
    "a number in place of the initiator": (
        lambda: ndjson([each | {"InitiatedBy": 5} for each in ROWS]),
        "InitiatedBy is not a JSON object (3)",
    ),
    "answer without a column": (
        lambda: document(_answer(without(ROWS, "InitiatedBy"))),
        "without the column InitiatedBy",
    ),
    "flattened": (
        lambda: ndjson([each | {"InitiatedBy_app_displayName": "x"} for each in without(ROWS, "InitiatedBy")]),
        "no InitiatedBy (3)",
    ),
}


def _properties(audit: dict[str, Any], value: Any) -> dict[str, Any]:
    return audit | {"targetResources": [audit["targetResources"][0] | {"modifiedProperties": value}]}


def _answer(rows: list[dict[str, Any]]) -> dict[str, Any]:
    columns = [{"name": name, "type": "string"} for name in rows[0]]
    return {"tables": [{"name": "PrimaryResult", "columns": columns, "rows": [list(each.values()) for each in rows]}]}


@pytest.mark.parametrize("kind", UNSEEN)
def test_rows_that_the_rule_cannot_see(kind: str, tmp_path: Path) -> None:
    """A file of which the rule would see no app and no change is refused, with the field that is wrong."""
    make, text = UNSEEN[kind]
    assert_refused(hunted(tmp_path, make()), text)


ONE_UNSEEN: Final[dict[str, tuple[Make, str]]] = {
    "targets cut, CSV": (lambda: table(_cut(ROWS, "TargetResources")), "TargetResources is not a JSON array"),
    "targets cut, lines": (lambda: ndjson(_cut(ROWS, "TargetResources")), "TargetResources is not a JSON array"),
    "initiator cut, lines": (lambda: ndjson(_cut(ROWS, "InitiatedBy")), "InitiatedBy is not a JSON object"),
    "initiator cut, array": (lambda: document(_cut(ROWS, "InitiatedBy")), "InitiatedBy is not a JSON object"),
    "initiator cut, answer": (lambda: document(_answer(_cut(ROWS, "InitiatedBy"))), "InitiatedBy is not a JSON object"),
    "a member missing in one record": (
        lambda: ndjson([*ROWS[:2], *without(ROWS[2:], "TargetResources")]),
        "no TargetResources",
    ),
    "properties of a record cut": (
        lambda: ndjson(changed(RECORDS, 2, properties=json.dumps(RECORDS[2]["properties"])[:-9])),
        "not JSON",
    ),
    "properties of a record as PowerShell has it": (
        lambda: ndjson(changed(RECORDS, 2, properties="@{id=Directory_3}")),
        "properties is not a JSON object",
    ),
}


@pytest.mark.parametrize("kind", ONE_UNSEEN)
def test_one_row_that_the_rule_cannot_see(kind: str, tmp_path: Path) -> None:
    """One such record among others is counted, with its place and what was found; it is never "nothing rare"."""
    make, text = ONE_UNSEEN[kind]
    assert_lost(hunted(tmp_path, make()), 1, text)


EMPTY: Final[dict[str, Any]] = {"null": None, "empty text": "", "empty array as text": "[]", "empty array": []}


@pytest.mark.parametrize("value", EMPTY.values(), ids=EMPTY)
@pytest.mark.parametrize("column", ["InitiatedBy", "TargetResources"])
def test_what_real_rows_have_is_read(column: str, value: Any, tmp_path: Path) -> None:
    """Null, empty text and an empty array are nothing that was lost; an initiator is never an array."""
    result = hunted(tmp_path, ndjson([*ROWS, ROWS[0] | {"TimeGenerated": TIMES[2], column: value}]))
    if column == "InitiatedBy" and value in ("[]", []):
        assert_lost(result, 1, "InitiatedBy is not a JSON object", [RARE])
    else:
        assert_found(result)


@pytest.mark.parametrize("kind", ["targets cut, lines", "initiator cut, lines", "a member missing in one record"])
def test_lenient_hands_rows_to_the_rule_as_they_are(kind: str, tmp_path: Path) -> None:
    """As the rule's own text would treat them: no app, or no change; and the exit code is 0."""
    result = hunted(tmp_path, ONE_UNSEEN[kind][0](), "--lenient")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "read 3 events" in result.stderr


def test_lenient_takes_what_is_left(tmp_path: Path) -> None:
    """Other records that can't be read are still counted and named; only the exit code forgives them."""
    result = hunted(tmp_path, ndjson(ROWS) + b"{broken\n", "--lenient")
    assert (result.exit_code, operations(result)) == (0, [RARE])
    assert "not read: 1 record, not JSON" in result.stderr


# Dates of either order


DAYS: Final = ((10, 8), (16, 9), (16, 10))
"""The trio's days of March, and hours."""


def _day_first(clock: str = "{h:02d}:00:00.123") -> list[str]:
    return [f"{d:02d}/03/2026, {clock.format(h=h)}" for d, h in DAYS]


PORTAL: Final = renamed(ROWS, "TimeGenerated", "TimeGenerated [UTC]")
TIME: Final = "TimeGenerated [UTC]"
US: Final = ["3/10/2026, 8:00:00.123 AM", "3/16/2026, 9:00:00.123 AM", "3/16/2026, 10:00:00.123 AM"]
SHORT_US: Final = [f"3/{d}/2026 {h}:00:00 AM" for d, h in DAYS]
DATED: Final[dict[str, Make]] = {
    "United States": lambda: table(timed(PORTAL, TIME, US)),
    "United Kingdom": lambda: table(timed(PORTAL, TIME, _day_first())),
    "Australia": lambda: table(timed(PORTAL, TIME, _day_first(clock="{h}:00:00 am"))),
    "Germany": lambda: table(timed(PORTAL, TIME, [f"{d}.3.2026, {h:02d}:00:00" for d, h in DAYS])),
    "Excel": lambda: table(timed(PORTAL, TIME, ["3/10/2026 8:00", "3/16/2026 9:00", "3/16/2026 10:00"])),
    "Sweden": lambda: table(timed(PORTAL, TIME, ["2026-03-10 08:00", "2026-03-16 09:00", "2026-03-16 10:00"])),
    "Japan": lambda: table(timed(PORTAL, TIME, ["2026/3/10 8:00:00", "2026/3/16 9:00:00", "2026/3/16 10:00:00"])),
    "the deciding date last": lambda: table(timed(PORTAL, TIME, US)[:1] * 3 + timed(PORTAL, TIME, US)[1:]),
    "diagnostic settings, some": lambda: ndjson([RECORDS[0], *timed(RECORDS[1:], "time", SHORT_US[1:])]),
    "diagnostic settings, all": lambda: ndjson(timed(RECORDS, "time", SHORT_US)),
    "Graph": lambda: document(timed(AUDITS, "activityDateTime", SHORT_US)),
    "rows": lambda: ndjson(timed(ROWS, "TimeGenerated", _day_first("{h:02d}:00:00"))),
}


@pytest.mark.parametrize("kind", DATED)
def test_dates_are_read_as_the_file_shows(kind: str, tmp_path: Path) -> None:
    """The first date is open, 10 March or 3 October; the file's other dates decide for all."""
    assert_found(hunted(tmp_path, DATED[kind]()))


OPEN: Final = ["3/4/2026, 8:00:00 AM", "3/5/2026, 9:00:00 AM", "3/5/2026, 10:00:00 AM"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: table(timed(PORTAL, TIME, OPEN)),
        lambda: ndjson(timed(ROWS, "TimeGenerated", OPEN)),
        lambda: ndjson(timed(RECORDS, "time", OPEN)),
        lambda: document({"value": timed(AUDITS, "activityDateTime", OPEN)}),
    ],
    ids=["CSV", "rows", "records", "Graph"],
)
def test_dates_that_show_no_order_are_refused(make: Make, tmp_path: Path) -> None:
    """Nothing is guessed: the file is refused with a date of it and how to say the order; said, it is read."""
    content = make()
    assert_refused(
        hunted(tmp_path, content), "'3/4/2026, 8:00:00 AM', and no date in it shows whether the day comes first"
    )
    path = tmp_path / "export"
    for order, day in (("mdy", "2026-03-05"), ("dmy", "2026-05-03")):
        result = called("hunt", str(path), "--date", day, "--date-order", order, "--format", "ndjson")
        assert result.exit_code == 0, result.output
        assert RARE in operations(result)


def test_dates_of_both_orders_are_refused(tmp_path: Path) -> None:
    """A file joined from two regions can't be read by one rule."""
    content = table(timed(PORTAL, TIME, ["3/4/2026 8:00", "16/3/2026 9:00", "3/16/2026 10:00"]))
    assert_refused(hunted(tmp_path, content), "has dates of both orders")


@pytest.mark.parametrize("words", [WINDOW, ("--date", START)], ids=["window", "day"])
def test_open_dates_on_standard_input(words: tuple[str, ...]) -> None:
    """What can be read only once is decided by its beginning."""
    for content in (table(timed(PORTAL, TIME, US)), document({"value": timed(AUDITS, "activityDateTime", US)})):
        assert_found(called("hunt", "-", *words, "--format", "ndjson", input_=content))
    undecided = table(timed(PORTAL, TIME, OPEN))
    assert_refused(
        called("hunt", "-", *words, "--format", "ndjson", input_=undecided), "shows whether the day comes first"
    )


def test_open_dates_in_an_archive(tmp_path: Path) -> None:
    """Each file of an archive decides for itself."""
    content = _zip(
        {"us.csv": table(timed(PORTAL, TIME, US)[:2]), "gb.csv": table(timed(PORTAL, TIME, _day_first())[2:])}
    )
    assert_found(hunted(tmp_path, content))


# Times


WRITTEN: Final[dict[str, list[Any]]] = {
    "epoch seconds": [1773129600, 1773651600, 1773655200],
    "epoch milliseconds": [1773129600123, 1773651600123, 1773655200123],
    "epoch as text": ["1773129600", "1773651600.5", "1773655200123"],
    "/Date(ms)/": ["/Date(1773129600123)/", "/Date(1773651600123)/", "/Date(1773655200123)/"],
    "month names": ["10 Mar 2026 08:00:00", "Mar 16, 2026 9:00:00 AM", "Mon, 16 Mar 2026 10:00:00 GMT"],
    "UTC": ["2026-03-10 08:00:00 UTC", "2026-03-16 09:00:00.5 UTC", "2026-03-16 10:00:00 UTC"],
    "offsets": ["2026-03-10T10:00:00+02:00", "2026-03-16T11:00:00+0200", "2026-03-16 05:00:00 -05:00"],
    "basic": ["20260310T080000Z", "20260316T090000Z", "20260316T100000Z"],
    "slashes": ["2026/03/10 08:00:00", "2026/03/16 09:00:00", "2026/03/16 10:00:00"],
    "no seconds": ["2026-03-10T08:00", "2026-03-16T09:00Z", "2026-03-16 10:00"],
}


@pytest.mark.parametrize("kind", WRITTEN)
@pytest.mark.parametrize("shape", ["rows", "native rows", "array", "CSV", "records", "Graph", "answer"])
def test_every_reader_knows_every_time(shape: str, kind: str, tmp_path: Path) -> None:
    """One way of reading times serves all shapes."""
    times = WRITTEN[kind]
    content = {
        "rows": lambda: ndjson(timed(ROWS, "TimeGenerated", times)),
        "native rows": lambda: ndjson(timed(NATIVE, "TimeGenerated", times)),
        "array": lambda: document(timed(ROWS, "TimeGenerated", times)),
        "CSV": lambda: table(timed(ROWS, "TimeGenerated", times)),
        "records": lambda: document({"records": timed(RECORDS, "time", times)}),
        "Graph": lambda: document({"value": timed(AUDITS, "activityDateTime", times)}),
        "answer": lambda: document(_answer(timed(ROWS, "TimeGenerated", times))),
    }[shape]()
    assert_found(hunted(tmp_path, content))


@pytest.mark.parametrize("time", ["16.03.26 10:00", "soon", "", None, {}, 5, "2026-02-30T00:00:00Z", "13:00 PM"])
def test_times_that_are_none(time: Any, tmp_path: Path) -> None:
    """One record without a time is counted; the message shows the value and what would be read."""
    result = hunted(tmp_path, ndjson(timed(ROWS, "TimeGenerated", [*TIMES[:2], time])))
    assert_lost(result, 1, "no readable time, first at ")
    if isinstance(time, str) and time:
        assert repr(time) in result.stderr


# Limits of libraries


def test_long_cells(tmp_path: Path) -> None:
    """A cell of 140 KB is what a large TargetResources may be."""
    target = json.loads(ROWS[2]["TargetResources"])
    target[0]["modifiedProperties"].append(
        {"displayName": "AppRoles", "oldValue": "[]", "newValue": json.dumps(["r" * 140_000])}
    )
    rows = changed(ROWS, 2, TargetResources=json.dumps(target))
    for content in (table(rows), ndjson(rows), document(rows)):
        result = hunted(tmp_path, content)
        assert_found(result)
        assert msgspec.json.decode(result.stdout)["set_PropertyName"] == ["AppRoles", "KeyDescription"]


BOM: Final = b"\xef\xbb\xbf"
JOINED: Final[dict[str, Make]] = {
    "lines": lambda: b"".join(BOM + ndjson([each]) for each in ROWS),
    "records": lambda: b"".join(BOM + ndjson([each]) for each in RECORDS),
    "arrays": lambda: b"\n".join(BOM + document([each]) for each in AUDITS),
    "CSV": lambda: b"".join(BOM + table([each]) for each in ROWS),
    "CSV, other columns": lambda: table(ROWS[:2]) + BOM + table([dict(reversed(ROWS[2].items()))]),
}


@pytest.mark.parametrize("kind", JOINED)
def test_joined_files(kind: str, tmp_path: Path) -> None:
    """`cat a b` leaves byte-order marks and headers in the middle."""
    assert_found(hunted(tmp_path, JOINED[kind]()))


FIRST_LINES: Final[dict[str, Make]] = {
    "#TYPE": lambda: b"#TYPE System.Management.Automation.PSCustomObject\r\n" + table(ROWS, quoted=True),
    "sep=": lambda: b"sep=,\r\n" + table(ROWS),
    "sep=;": lambda: b"sep=;\r\n" + table(ROWS, ";"),
    "semicolons": lambda: table(ROWS, ";"),
    "tabs": lambda: table(ROWS, "\t"),
    "blank lines": lambda: b"\r\n\r\n" + table(ROWS),
}


@pytest.mark.parametrize("kind", FIRST_LINES)
def test_csv_before_and_between_columns(kind: str, tmp_path: Path) -> None:
    """Lines that programs write for each other before a header, and what Excel separates columns by elsewhere."""
    assert_found(hunted(tmp_path, FIRST_LINES[kind]()))


def test_a_quotation_mark_that_swallows_rows(tmp_path: Path) -> None:
    """Each line that an unbalanced quotation mark took is counted, not one for all of them."""
    lines = table(ROWS).splitlines(keepends=True)
    broken = lines[1].replace(b'"', b'""', 1)
    result = hunted(tmp_path, lines[0] + broken + lines[2] + lines[3])
    assert result.exit_code in {2, 3}
    assert "could not be read" in result.stderr or "holds nothing that can be read" in result.stderr


# What a reader may cost


def _peak(path: Path) -> int:
    """Return the most memory that a hunt in a file takes, in MiB, in a process of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", _MEASURED, path], capture_output=True, text=True, check=False, cwd=ROOT
    )
    return int(ended.stdout.splitlines()[-1]) >> 10


_MEASURED: Final = """
import re, sys
from pathlib import Path
from rare_audit.cli import main
sys.argv[1:] = ["hunt", sys.argv[1], "--start", "2026-03-16", "--format", "ndjson"]
try:
    main()
finally:
    print(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
"""
NESTED: Final = b"{}," * 8_000_000
AMPLIFIED: Final[dict[str, Make]] = {
    "in a row": lambda: ndjson(ROWS) + b'{"TimeGenerated":"2026-03-16","InitiatedBy":{"a":[' + NESTED + b"{}]}}\n",
    "in a record": lambda: ndjson(RECORDS) + b'{"time":"2026-03-16","properties":{"a":[' + NESTED + b"{}]}}\n",
    "beside records": lambda: b'{"meta":[' + NESTED + b'{}],"records":' + document(RECORDS) + b"}",
}


@pytest.mark.parametrize("kind", AMPLIFIED)
def test_nested_braces_take_bounded_memory(kind: str, tmp_path: Path) -> None:
    """A line of 24 MiB that would be 1.5 GB of objects is passed over in a tenth of that."""
    path = tmp_path / "export"
    path.write_bytes(AMPLIFIED[kind]())
    assert _peak(path) < 150


def test_a_stream_without_an_end_is_refused_at_once() -> None:
    """What is no text is not copied first, though nobody said where the window starts."""
    with Path("/dev/zero").open("rb") as endless:
        ended = subprocess.run(
            [sys.executable, "-m", "rare_audit", "hunt", "-"],
            stdin=endless,
            capture_output=True,
            check=False,
            cwd=ROOT,
            timeout=20,
        )
    assert ended.returncode == 2
    assert b"standard input is not text: it begins with 00 00" in ended.stderr


def test_a_stream_that_is_too_long_to_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream is copied only up to a bound, which the message says; with a start it is read as it comes."""
    monkeypatch.setattr(opening, "MOST_COPIED", 1 << 20)
    content = ndjson(ROWS) * 1_000
    assert_refused(called("hunt", "-", input_=content), "standard input is longer than 0 GiB, more than is copied")
    assert_found(called("hunt", "-", *WINDOW, "--format", "ndjson", input_=content))


# Encodings


NAMED: Final = [
    each | {"InitiatedBy": each["InitiatedBy"].replace("Backup Agent", "Sauberungsläufer")} for each in ROWS
]


def _text(rows: list[dict[str, Any]], encoding: str) -> bytes:
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in rows).encode(encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "cp850"])
def test_single_byte_encodings_are_refused(encoding: str, tmp_path: Path) -> None:
    """As a whole, and not as some bad records; the message says how to read it, and that works."""
    contents = [
        _text(NAMED, encoding),
        table(NAMED).decode().encode(encoding),
        document(NAMED).decode().encode(encoding),
    ]
    contents.append(_text([*ROWS, *NAMED[2:]], encoding))
    for content in contents:
        assert_refused(hunted(tmp_path, content), "--encoding cp1252")
        result = hunted(tmp_path, content, "--encoding", encoding)
        assert result.exit_code == 0
        assert RARE in operations(result)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
def test_wide_encodings_are_read(encoding: str, tmp_path: Path) -> None:
    """PowerShell's redirection writes UTF-16, with a mark or without."""
    assert_found(hunted(tmp_path, _text(NAMED, encoding)))
    assert_found(hunted(tmp_path, table(NAMED).decode().encode(encoding)))
    assert_found(hunted(tmp_path, gzip.compress(_text(NAMED, encoding))))


def test_damage_in_utf8_is_counted(tmp_path: Path) -> None:
    """Where other text shows that a file is UTF-8, a record that is not is one bad record."""
    damaged = _text([NAMED[0]], "utf-8").replace("ä".encode(), b"\xe4")
    assert_lost(hunted(tmp_path, _text(NAMED, "utf-8") + damaged), 1, "not UTF-8", [RARE])


def test_unknown_encoding(tmp_path: Path) -> None:
    """A name that no encoding has is refused."""
    assert_refused(hunted(tmp_path, ndjson(ROWS), "--encoding", "klingon"), "unknown encoding 'klingon'")
    assert_refused(hunted(tmp_path, _text(NAMED, "cp1252"), "--encoding", "ascii"), "the text is not ascii")


# Envelopes


def _unified(number: int, audit: dict[str, Any]) -> dict[str, Any]:
    changes = audit["targetResources"][0]["modifiedProperties"][0]
    return {
        "CreationTime": TIMES[number][:19],
        "Id": f"u-{number}",
        "Operation": audit["activityDisplayName"] + ".",
        "RecordType": 8,
        "ResultStatus": "Success",
        "Workload": "AzureActiveDirectory",
        "UserId": "ServicePrincipal_s",
        "Actor": [
            {"ID": "Backup Agent", "Type": 1},
            {"ID": "ServicePrincipal_s", "Type": 2},
            {"ID": "ServicePrincipal", "Type": 2},
        ],
        "Target": [{"ID": "Application_t", "Type": 2}, {"ID": "Application", "Type": 2}, {"ID": "Payroll", "Type": 1}],
        "ModifiedProperties": [{"Name": changes["displayName"], "NewValue": changes["newValue"], "OldValue": "[]"}],
        "ExtendedProperties": [],
    }


UNIFIED: Final = [_unified(number, audit) for number, audit in enumerate(AUDITS)]


WRAPPED: Final[dict[str, Make]] = {
    "records of rows": lambda: document({"records": NATIVE}),
    "records of rows, a line each": lambda: ndjson([{"records": [each]} for each in NATIVE]),
    "records of audits": lambda: document({"records": AUDITS}),
    "value of rows": lambda: document({"value": ROWS}),
    "value of records": lambda: document({"value": RECORDS}),
    "Results of rows": lambda: document({"Results": ROWS, "Error": None}),
    "results of audits": lambda: document({"results": AUDITS}),
    "an unknown name": lambda: document({"meta": {"count": 3}, "auditEntries": AUDITS}),
    "an object in between": lambda: document({"data": {"value": AUDITS}}),
    "an array in between": lambda: document({"responses": [{"id": "1", "body": {"value": AUDITS}}]}),
    "a record in each line's object": lambda: ndjson([{"_index": "x", "_source": each} for each in ROWS]),
    "properties as text": lambda: ndjson([each | {"properties": json.dumps(each["properties"])} for each in RECORDS]),
    "properties as text, records": lambda: document(
        {"records": [each | {"properties": json.dumps(each["properties"])} for each in RECORDS]}
    ),
    "records without their own time": lambda: document({"records": without(RECORDS, "time")}),
    "capital initials": lambda: document(capitalised(AUDITS)),
    "capital initials, a line each": lambda: ndjson(capitalised(AUDITS)),
    "capital initials, pretty": lambda: json.dumps(capitalised(AUDITS), indent=2).encode(),
    "capital initials and /Date()/": lambda: document(
        timed(capitalised(AUDITS), "ActivityDateTime", WRITTEN["/Date(ms)/"])
    ),
    "shapes mixed in lines": lambda: ndjson([RECORDS[0], ROWS[1], AUDITS[2]]),
    "shapes mixed in an array": lambda: document([AUDITS[0], RECORDS[1], NATIVE[2]]),
    "answer with capital initials": lambda: document(
        {
            "Tables": [
                {
                    "TableName": "Table_0",
                    "Columns": [{"ColumnName": name} for name in ROWS[0]],
                    "Rows": [list(each.values()) for each in ROWS],
                }
            ]
        }
    ),
    "unified audit log in Graph's search": lambda: document(
        {"value": [{"id": "x", "auditData": each} for each in UNIFIED]}
    ),
    "unified audit log as PowerShell's JSON": lambda: document([{"AuditData": json.dumps(each)} for each in UNIFIED]),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_records_are_known_by_themselves(kind: str, tmp_path: Path) -> None:
    """What a record is wrapped in does not decide what it is."""
    assert_found(hunted(tmp_path, WRAPPED[kind]()))


@pytest.mark.parametrize("make", [ndjson, document], ids=["lines", "array"])
def test_unified_audit_log(make: Callable[[Any], bytes], tmp_path: Path) -> None:
    """What there is without Sentinel: read, and said what it lacks."""
    result = hunted(tmp_path, make(UNIFIED))
    assert_found(result)
    assert "unified audit log has whole seconds only" in result.stderr
    purview = [
        {"RecordId": "r", "CreationDate": "x", "Operation": "y", "AuditData": json.dumps(each)} for each in UNIFIED
    ]
    assert_found(hunted(tmp_path, table(purview)))


def _portal(number: int, audit: dict[str, Any]) -> dict[str, str]:
    (target,) = audit["targetResources"]
    (change,) = target["modifiedProperties"]
    return {
        "Date (UTC)": TIMES[number],
        "CorrelationId": audit["correlationId"],
        "Service": "Core Directory",
        "Category": audit["category"],
        "Activity": audit["activityDisplayName"],
        "Result": "success",
        "ActorType": "Application",
        "ActorDisplayName": "Backup Agent",
        "ActorObjectId": "",
        "ActorUserPrincipalName": "",
        "IPAddress": "",
        "ActorServicePrincipalId": "s",
        "Target1Type": target["type"],
        "Target1DisplayName": target["displayName"],
        "Target1ObjectId": target["id"],
        "Target1UserPrincipalName": "",
        "Target1ModifiedProperty1Name": change["displayName"],
        "Target1ModifiedProperty1OldValue": change["oldValue"],
        "Target1ModifiedProperty1NewValue": change["newValue"],
    }


def test_downloads_of_the_portal(tmp_path: Path) -> None:
    """The Entra admin center's CSV and JSON: read, and said what the CSV lacks."""
    result = hunted(tmp_path, BOM + table([_portal(*each) for each in enumerate(AUDITS)], quoted=True))
    assert_found(result)
    assert "The admin center's CSV has no event ids" in result.stderr
    times = [time.replace("Z", "+00:00") for time in TIMES]
    apps = [each | {"initiatedBy": {"app": each["initiatedBy"]["app"]}} for each in AUDITS]
    assert_found(hunted(tmp_path, document(timed(apps, "activityDateTime", times))))


UNKNOWN: Final[dict[str, tuple[Make, str]]] = {
    "fields of something else": (lambda: ndjson([{"hello": 1, "world": 2}]), "has the fields hello, world; looked for"),
    "a table of something else": (lambda: b"a,b\n1,2\n", "it begins with 'a,b'; looked for TimeGenerated"),
    "text": (lambda: b"hello\nworld\n", "is not an export of audit events: it begins with 'hello'"),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_what_is_left_names_what_was_looked_for(kind: str, tmp_path: Path) -> None:
    """A refusal shows what the file has, and which fields an export has."""
    make, text = UNKNOWN[kind]
    assert_refused(hunted(tmp_path, make()), text)


BROKEN: Final[dict[str, tuple[Make, str]]] = {
    "comma in an array": (lambda: document(ROWS)[:-1] + b",]", "trailing comma before ']'"),
    "comma in records": (lambda: document({"records": RECORDS})[:-2] + b",]}", "trailing comma before ']'"),
    "comma in an object": (lambda: document({"records": RECORDS})[:-1] + b",}", "trailing comma before '}'"),
    "commas behind lines": (lambda: ndjson(ROWS).replace(b"}\n", b"},\n"), "trailing comma"),
    "commas behind records": (lambda: ndjson(RECORDS).replace(b"}\n", b"},\n"), "trailing comma"),
    "commas between objects": (lambda: b",".join(map(document, AUDITS)), "trailing comma"),
    "a bracket too many": (lambda: document({"value": AUDITS}) + b"]", "a ']' too many"),
    "a brace too many": (lambda: document({"value": AUDITS}) + b"}", "a '}' too many"),
    "cut": (lambda: document({"value": AUDITS})[:-30], "ends early: its JSON is not finished"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_not_json_is_said(kind: str, tmp_path: Path) -> None:
    """The message says what is wrong and where; only what is cut is called so."""
    make, text = BROKEN[kind]
    result = hunted(tmp_path, make())
    assert_refused(result, text)
    assert ("ends early" in result.stderr) == (kind == "cut")
