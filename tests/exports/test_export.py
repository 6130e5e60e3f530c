import gzip
import io
import json
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from rare_audit.detection.event import AuditEvent
from rare_audit.detection.funnel import Reading
from rare_audit.detection.ticks import parse_ticks
from rare_audit.errors import InputError
from rare_audit.exports import csv_export, json_export, json_stream
from rare_audit.exports.columns import REQUIRED
from rare_audit.exports.export_files import ExportFiles, Reads
from tests.exports.export_shapes import (
    EVENTS,
    SHAPES,
    Json,
    answer,
    directory_audit,
    expected,
    lines,
    plain,
    record,
    row,
    sign_in,
)

SHARED = Path(__file__).parents[3] / "shared" / "data"
DEEP = b"[" * 200_000 + b"]" * 200_000
ROW = b'{"TimeGenerated":"2026-03-02","OperationName":"Add user","InitiatedBy":null,"TargetResources":[]}'
"""The least that a row has."""
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file of the given bytes; its name tells nothing of its content."""

    def write(content: bytes, name: str = "export") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def read(source: ExportFiles) -> list[AuditEvent]:
    """Return a source's events."""
    return list(source.events(0, 0))


def refusal(*paths: Path | str, **options: Any) -> str:
    """Return the error, one line, that reading these files ends with."""
    with pytest.raises(InputError) as caught:
        read(ExportFiles(paths, Reads(**options)))
    message = str(caught.value)
    assert message.isprintable()
    return message


def without(member: str, values: Json) -> Json:
    """Return a copy that lacks a member."""
    return {name: value for name, value in values.items() if name != member}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_gives_the_same_events(write: Write, shape: str) -> None:
    """The same logical events come out of every shape, and are counted."""
    source = ExportFiles([write(SHAPES[shape])])
    assert [plain(event) for event in read(source)] == expected()
    assert source.reading() == Reading(events=len(EVENTS))
    assert source.first_places() == {}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "wrap",
    [
        lambda content: b"\xef\xbb\xbf" + content,
        gzip.compress,
        lambda content: gzip.compress(b"\xef\xbb\xbf" + content[:100]) + gzip.compress(content[100:]),
        lambda content: content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
        lambda content: content.rstrip(),
        lambda content: b"\n \n" + content + b"\n\n",
    ],
    ids=["BOM", "gzip", "gzip of two members and BOM", "CRLF", "no last newline", "blank lines"],
)
def test_the_wrapping_makes_no_difference(write: Write, shape: str, wrap: Callable[[bytes], bytes]) -> None:
    """Byte-order mark, gzip, line ends and blank lines change nothing."""
    source = ExportFiles([write(wrap(SHAPES[shape]))])
    assert [plain(event) for event in read(source)] == expected()
    assert source.reading() == Reading(events=len(EVENTS))


def test_many_files_are_read_in_order_and_counted_together(write: Write) -> None:
    """Files of different shapes add up to one reading."""
    paths = [write(content, f"{number}") for number, content in enumerate(SHAPES.values())]
    source = ExportFiles(paths)
    assert [plain(event) for event in read(source)] == expected() * len(SHAPES)
    assert source.reading().events == len(EVENTS) * len(SHAPES)
    assert source.size == sum(map(len, SHAPES.values()))


@pytest.mark.parametrize("wrap", [bytes, gzip.compress])
@pytest.mark.parametrize("shape", SHAPES)
def test_standard_input(shape: str, wrap: Callable[[bytes], bytes]) -> None:
    """A dash is standard input, plain or gzip; it has no size, and is left open."""
    stdin = io.BytesIO(wrap(SHAPES[shape]))
    source = ExportFiles(["-"], stdin=stdin)
    assert source.size is None
    assert [plain(event) for event in read(source)] == expected()
    assert not stdin.closed


def test_standard_input_is_kept_only_where_it_is_read_twice() -> None:
    """After `survey`, events can still be read, any number of times; streamed, they can be read once."""
    kept = ExportFiles(["-"], stdin=io.BytesIO(SHAPES["Graph"]))
    assert sum(kept.survey().events.values()) == len(EVENTS)
    assert len(read(kept)) == len(read(kept)) == len(EVENTS)
    streamed = ExportFiles(["-"], stdin=io.BytesIO(SHAPES["Graph"]))
    read(streamed)
    with pytest.raises(InputError, match="standard input can be read only once"):
        read(streamed)


def test_standard_input_is_the_process_one_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a stream of its own, the source reads the process's."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(SHAPES["csv"])))
    assert len(read(ExportFiles(["-"]))) == len(EVENTS)


def test_standard_input_twice_is_refused() -> None:
    """Standard input has one content only."""
    with pytest.raises(InputError, match="standard input is named twice"):
        ExportFiles(["-", "x", "-"])


def test_a_named_pipe_is_kept_as_standard_input_is(tmp_path: Path) -> None:
    """What a shell's process substitution gives can be read twice as well."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_bytes, args=(SHAPES["rows, one a line"],))
    writer.start()
    source = ExportFiles([pipe])
    assert source.size is None
    assert sum(source.survey().events.values()) == len(EVENTS)
    writer.join()
    assert len(read(source)) == len(EVENTS)


def test_survey_counts_days_of_all_files(write: Write) -> None:
    """Order does not matter, people's events count too, and the survey leaves the counts of reading alone."""
    paths = [write(lines([row(EVENTS[3]), row(EVENTS[2])]), "a"), write(lines([record(EVENTS[0]), sign_in(1)]), "b")]
    source = ExportFiles(paths)
    survey = source.survey()
    assert survey.events == {"2026-03-02": 2, "2026-03-13": 1}
    assert survey.by_apps == {"2026-03-02": 1, "2026-03-13": 1}
    assert source.reading() == Reading()


def test_survey_of_no_events(write: Write) -> None:
    """Where there is no event there is no day."""
    assert ExportFiles([write(b"[]")]).survey().events == {}


def test_progress_counts_bytes_on_disk(write: Write) -> None:
    """The pieces add up to the size, compressed bytes for gzip; a survey counts none."""
    content = lines([row(event) for event in EVENTS]) * 1000
    paths = [write(content, "a"), write(gzip.compress(content), "b")]
    pieces: list[int] = []
    source = ExportFiles(paths, progress=pieces.append)
    source.survey()
    assert pieces == []
    read(source)
    assert sum(pieces) == source.size
    assert len(pieces) < 100


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"not json", "not JSON"),
        (b'{"TimeGenerated":"2026-03-02', "not JSON"),
        (b"[1]", "not an object"),
        (b"{}", "no TimeGenerated"),
        (ROW.replace(b'"2026-03-02"', b"null"), "no readable time"),
        (ROW.replace(b'"2026-03-02"', b"{}"), "no readable time"),
        (ROW.replace(b"2026-03-02", b"yesterday"), "no readable time"),
        (ROW.replace(b"2026-03-02", b"2026-02-30T00:00:00Z"), "no readable time"),
        (ROW.replace(b"Add user", b"\xff"), "not UTF-8"),
        (ROW.replace(b"}", b',"Category":7}'), "wrong type in a column"),
        (b'{"TimeGenerated":"2026-03-02","Tags":' + DEEP + b"}", "nested too deep"),
    ],
)
def test_rows_that_cannot_be_read_are_counted(write: Write, line: bytes, reason: str) -> None:
    """A bad line is counted with the line of the first, and the rest goes on."""
    good = lines([row(event) for event in EVENTS])
    path = write(good + b"\n" + line + b"\n" + good + line)
    source = ExportFiles([path])
    assert [plain(event) for event in read(source)] == expected() * 2
    assert source.reading() == Reading(events=8, unreadable={reason: 2})
    assert source.first_places() == {reason: f"{path}:6"}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"7", "not an object"),
        (b"{}", "no category"),
        (b'{"category":5}', "wrong type in a column"),
        (b'{"category":"AuditLogs","properties":{}}', "no time"),
        (b'{"category":"AuditLogs","time":"2026-03-02","properties":{}}', "no initiatedBy"),
        (b'{"category":"AuditLogs","time":"2026-03-02","properties":{"initiatedBy":{}}}', "no operationName"),
        (b'{"category":"AuditLogs","properties":{"id":7}}', "wrong type in a column"),
        (b'{"category":"auditlogs","time":"2026-03-02"}', "not an object"),
        (
            b'{"time":"soon","category":"x","properties":{"activityDisplayName":"Add user","initiatedBy":{}}}',
            "no readable time",
        ),
        (b'{"category":"AuditLogs","time":"2026-03-02","properties":{"id":"\xff"}}', "not UTF-8"),
        (b'{"category":"AuditLogs","time":"2026-03-02","x":NaN}', "not JSON"),
        (b'{"category":"AuditLogs","x":' + DEEP + b"}", "nested too deep"),
    ],
)
@pytest.mark.parametrize("container", ["lines", "array", "envelope", "envelopes"])
def test_records_that_cannot_be_read_are_counted(write: Write, bad: bytes, reason: str, container: str) -> None:
    """In lines the place is a line; in documents, which may have none, the number of the record."""
    good = json.dumps(record(EVENTS[1]), ensure_ascii=False).encode()
    content, place = {
        "lines": (good + b"\n\n" + bad + b"\n" + good, "3"),
        "array": (b"[" + good + b",\n" + bad + b",\n" + good + b"]", "record 2"),
        "envelope": (b'{"records": [\n' + b",".join([good, bad, good]) + b"]}", "record 2"),
        "envelopes": (b'{"records":[%s]}\n{"records":[%s]}\n{"records":[%s]}' % (good, bad, good), "2"),
    }[container]
    path = write(content)
    source = ExportFiles([path])
    assert len(read(source)) == 2
    assert source.reading() == Reading(events=2, unreadable={reason: 1})
    assert source.first_places() == {reason: f"{path}:{place}"}


def test_directory_audits_that_cannot_be_read_are_counted(write: Write) -> None:
    """Graph's audits are held to the same."""
    good = directory_audit(EVENTS[0])
    path = write(lines([good, without("activityDateTime", good), good | {"id": 5}, [good]]))
    source = ExportFiles([path])
    read(source)
    assert source.reading().unreadable == {"no activityDateTime": 1, "wrong type in a column": 1, "not an object": 1}
    assert source.first_places()["no activityDateTime"] == f"{path}:2"


def test_csv_rows_that_cannot_be_read_are_counted_by_their_first_line(write: Write) -> None:
    """A row's place is the line it begins at, though quoted cells span lines."""
    header = b"Id,TimeGenerated,InitiatedBy,OperationName,TargetResources\n"
    good = 'é,2026-03-02T00:00:00Z,"{""app"":\n{}}",,\n'.encode()
    bad = b'x,soon,,,\n\nx\nx,2026-03-02,"a"b,,\n\xff,2026-03-02,,,\nx,2026-03-02,"\xff",,\n'
    bad += b'x,"13/13/2026, 1:00:00.000 AM",,,\n'
    path = write(header + good + bad + b'x,"1/2/2026, 13:00:00.000 PM",,,\n' + good + b'x,2026-03-02,"no end\n')
    source = ExportFiles([path])
    assert len(read(source)) == 2
    assert source.reading() == Reading(
        events=2, unreadable={"no readable time": 3, "wrong number of columns": 1, "not CSV": 2, "not UTF-8": 2}
    )
    assert source.first_places() == {
        "no readable time": f"{path}:4",
        "wrong number of columns": f"{path}:6",
        "not CSV": f"{path}:7",
        "not UTF-8": f"{path}:8",
    }


@pytest.mark.parametrize(
    ("cell", "instant"),
    [
        ("8/22/2021, 1:29:25.983 PM", "2021-08-22T13:29:25.983Z"),
        ("12/31/2021, 12:00:00.000 AM", "2021-12-31T00:00:00Z"),
        ("1/1/2021, 12:59:59 PM", "2021-01-01T12:59:59Z"),
        ("1/1/2021, 11:59:59.1\u202fAM", "2021-01-01T11:59:59.1Z"),
        ("2021-01-01T11:59:59.1234567Z", "2021-01-01T11:59:59.1234567Z"),
    ],
)
@pytest.mark.parametrize("column", ["TimeGenerated", "TimeGenerated [UTC]"])
def test_csv_times(write: Write, column: str, cell: str, instant: str) -> None:
    """Either header goes with either way of writing an instant."""
    source = ExportFiles([write(f'"{column}",OperationName,InitiatedBy,TargetResources\r\n"{cell}",,,\r\n'.encode())])
    assert [event.ticks for event in read(source)] == [parse_ticks(instant)]


def test_csv_cells_mean_what_they_mean_in_json(write: Write) -> None:
    """An empty cell is null; a dynamic cell is text for the engine to parse, JSON or not where that is asked for."""
    content = b'TimeGenerated,OperationName,InitiatedBy,TargetResources\n2026-03-02,,"{""app",\n'
    (event,) = read(ExportFiles([write(content)], Reads(lenient=True)))
    assert event.operation_name is None
    assert event.category is None
    assert event.initiated_by == '{"app'
    assert event.target_resources is None
    assert "InitiatedBy is not a JSON object" in refusal(write(content))


def test_answer_rows_that_cannot_be_read_are_counted(write: Write) -> None:
    """A row that does not fit the columns, or the table, is one record that can't be read."""
    content = answer([row(event) for event in EVENTS])
    content["tables"][0]["rows"] += [["too short"], 5, [None] * 10]
    content["tables"] += [{"name": "x", "columns": []}, {"columns": [], "rows": None}, {}]
    path = write(lines([content, {"tables": None}]))
    source = ExportFiles([path])
    assert len(read(source)) == len(EVENTS)
    assert source.reading().unreadable == {
        "wrong number of columns": 1,
        "not an array": 1,
        "no readable time": 1,
        "no rows": 3,
        "no tables": 1,
    }
    assert source.first_places()["no readable time"] == f"{path}:record 7"


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        (b'["2026-03-02","\xff",null,[]]', "not UTF-8"),
        (b"[NaN,null,null,[]]", "not JSON"),
        (b'[{},"x",null,[]]', "no readable time"),
        (DEEP, "nested too deep"),
    ],
)
def test_answer_cells_that_cannot_be_read_are_counted(write: Write, cells: bytes, reason: str) -> None:
    """What one row holds is no trouble for the others."""
    columns = b",".join(b'{"name":"%s"}' % name.encode() for name in REQUIRED)
    good = '["2026-03-03","é",null,[]]'.encode()
    content = b'{"tables":[{"columns":[%s],"rows":[%s,%s,%s]}]}' % (columns, good, cells, good)
    source = ExportFiles([write(content)])
    assert len(read(source)) == 2
    assert source.reading().unreadable == {reason: 1}


def test_answer_that_is_not_the_whole_result_is_refused(write: Write) -> None:
    """A partial answer names its error; a null one is none."""
    error = {"code": "PartialError", "message": "too\u202emany"}
    content = answer([row(EVENTS[0])], error=error)
    message = refusal(write(json.dumps(content).encode()))
    assert "not the whole result" in message
    assert "PartialError" in message
    assert refusal(write(json.dumps({"error": error}).encode())) == message
    assert len(read(ExportFiles([write(json.dumps(content | {"error": None}).encode())]))) == 1


@pytest.mark.parametrize(
    "table",
    [
        b'{"columns":[{"name":"Id"}],"rows":[["x"]]}',
        b'{"rows":[["2026-03-02"]],"columns":[{"name":"TimeGenerated"}]}',
        b'{"columns":"TimeGenerated","rows":[]}',
        b'{"columns":%s,"rows":[]}' % DEEP,
    ],
)
def test_answer_without_time_column_is_refused(write: Write, table: bytes) -> None:
    """Rows without a time, or before one can know which cell is the time, are none."""
    assert "has a table" in refusal(write(b'{"tables":[%s]}' % table))


def test_records_of_other_categories_are_skipped_and_counted(write: Write) -> None:
    """A record is an audit record by its category in any case, or by its activity; all others are counted."""
    policy = record(EVENTS[1]) | {"category": "Policy"}
    shouted = record(EVENTS[2]) | {"category": "AUDITLOGS"}
    others = [sign_in(1), sign_in(2), sign_in(3, "ProvisioningLogs"), sign_in(4) | {"properties": None}]
    source = ExportFiles([write(lines([sign_in(0), record(EVENTS[0]), policy, *others, shouted]))])
    assert [plain(event) for event in read(source)] == expected(EVENTS[:3])
    assert source.reading() == Reading(events=3, skipped={"category SignInLogs": 4, "category ProvisioningLogs": 1})


def test_a_file_of_other_categories_alone_is_fine(write: Write) -> None:
    """No audit event is not no readable record."""
    source = ExportFiles([write(lines([{"records": [sign_in(1), sign_in(2)]}]))])
    assert read(source) == []
    assert source.reading() == Reading(skipped={"category SignInLogs": 2})


def test_categories_are_bounded_and_harmless(write: Write) -> None:
    """The log's own words can neither grow the reading without bound nor drive a terminal."""
    source = ExportFiles([write(lines([sign_in(0, "\x1b" + "x" * 999), *(sign_in(n, f"c{n}") for n in range(30))]))])
    read(source)
    skipped = source.reading().skipped
    assert len(skipped) == 21
    assert skipped["other categories"] == 11
    assert sum(skipped.values()) == 31
    assert all(name.isprintable() and len(name) <= 69 for name in skipped)


def test_columns_of_a_record_come_from_where_log_analytics_takes_them(write: Write) -> None:
    """The record's own operation and correlation come first, then those in properties."""
    whole = record(EVENTS[0])
    inner = whole["properties"] | {"operationName": "inner", "activityDisplayName": "activity", "correlationId": "i"}
    least: Json = {"initiatedBy": {}, "targetResources": []}
    outer = whole | {"operationName": "outer", "correlationId": "o", "properties": inner}
    texts = [
        outer,
        without("correlationId", without("operationName", outer)),
        {"time": "2026-03-02", "category": "Policy", "properties": {"activityDisplayName": "activity"} | least},
        {"time": "2026-03-02", "category": "AuditLogs", "operationName": "outer", "properties": least},
    ]
    events = read(ExportFiles([write(lines(texts))]))
    assert [(event.operation_name, event.correlation_id, event.category) for event in events] == [
        ("outer", "o", "ApplicationManagement"),
        ("inner", "i", "ApplicationManagement"),
        ("activity", None, "Policy"),
        ("outer", None, None),
    ]


def test_strict_makes_the_first_reject_an_error(write: Write) -> None:
    """The error says where and why, wherever the reject is made."""
    good = lines([row(EVENTS[0])])
    path = write(good + b"{}\n" + good)
    assert refusal(path, strict=True).startswith(f"{path}:2: no TimeGenerated: ")
    path = write(json.dumps([record(EVENTS[0]), 5]).encode())
    assert refusal(path, strict=True).startswith(f"{path}:record 2: not an object")
    path = write(b"TimeGenerated,OperationName,InitiatedBy,TargetResources\n2026-03-02,x,,\nx,x,,\n")
    assert refusal(path, strict=True).startswith(f"{path}:3: no readable time: ")
    assert len(read(ExportFiles([write(lines([record(EVENTS[0]), sign_in(1)]))], Reads(strict=True)))) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (gzip.compress(b"", mtime=0), "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\n \n", "is not an export of audit events"),
        (b"hello\nworld\n", "is not an export of audit events"),
        (b'{"hello":"world"}\n', "is not an export of audit events"),
        (b'[{"hello":"world"}]', "is not an export of audit events"),
        (b"a,b\n1,2\n", "is not an export of audit events"),
        (b"\x00\x01\x02" * 99, "is not text: it begins with 00 01 02 00"),
        (b"[" * 30_000 + b"]" * 30_000, "is not an export of audit events"),
        (b"OperationName,InitiatedBy,TargetResources\nx,y,z\n", "has no TimeGenerated column"),
        (
            b"TimeGenerated [Local Time],OperationName,InitiatedBy,TargetResources\nx,y,,\n",
            "has no TimeGenerated column",
        ),
        (
            ROW.replace(b'"2026-03-02"', b"5") + b'\n{"TimeGenerated":\n',
            "can be read: no readable time (1), not JSON (1)",
        ),
        (b"[1, 2]", "is not an export of audit events"),
        (b'{"records":5}', "its first record has the fields records"),
        (b"TimeGenerated,OperationName,InitiatedBy,TargetResources\nx,y,,\n", "can be read: no readable time (1)"),
        (
            b"TimeGenerated,OperationName,InitiatedBy,TargetResources\n2026-03-02," + b"x" * (5 << 20),
            "longer than 4 MiB",
        ),
        (b"\x1f\x8bhello, hello", "broken gzip data"),
        (gzip.compress(SHAPES["csv"], mtime=0)[:50] + b"\xff" * 500, "broken gzip data"),
        (gzip.compress(SHAPES["csv"], mtime=0) + b"x", "broken gzip data"),
        (gzip.compress(SHAPES["csv"], mtime=0)[:99], "its gzip, bzip2 or xz data are not finished"),
    ],
)
def test_files_that_cannot_be_used_are_refused(write: Write, content: bytes, said: str) -> None:
    """What is empty, unknown, unreadable as a whole or broken is an error in one line that names the file."""
    path = write(content)
    message = refusal(path)
    assert message.startswith(str(path))
    assert said in message


@pytest.mark.parametrize(
    "empty",
    [b"[]", b'{"records":[]}', b'{"value": [\n]}', b"TimeGenerated,OperationName,InitiatedBy,TargetResources\n"],
)
def test_an_export_of_no_events_is_no_error(write: Write, empty: bytes) -> None:
    """A quiet day has an export too."""
    source = ExportFiles([write(empty)])
    assert read(source) == []
    assert source.reading() == Reading()


def test_files_that_are_not_there(write: Write, tmp_path: Path) -> None:
    """A missing file, an empty folder and an impossible name are told apart by the system's own words."""
    assert refusal(tmp_path / "none").endswith("none can't be read: No such file or directory")
    assert refusal(tmp_path).endswith("has no file in it")
    assert "can't be read" in refusal("a\0b\n")
    with pytest.raises(InputError, match="No such file"):
        _ = ExportFiles([tmp_path / "none"]).size


def test_a_later_file_that_breaks_off_is_an_error(write: Write) -> None:
    """Events of a file cut in the middle are never passed off as all of them."""
    content = gzip.compress(lines([row(event) for event in EVENTS]) * 10_000)
    source = ExportFiles([write(SHAPES["csv"], "a"), write(content[:-100], "b")])
    events = source.events(0, 0)
    for _ in range(len(EVENTS) + 1):
        next(events)
    with pytest.raises(InputError, match="gzip, bzip2 or xz data are not finished"):
        list(events)


DOCUMENTS = [shape for shape in SHAPES if "line" not in shape and "csv" not in shape and not shape.startswith("rows")]


@pytest.mark.parametrize("shape", [*DOCUMENTS, "rows in an array", "rows in a pretty array"])
def test_documents_that_end_early_are_refused(write: Write, shape: str) -> None:
    """A document cut anywhere after its beginning gives an error, whatever was read of it before."""
    content = SHAPES[shape]
    for cut in range(200, len(content.rstrip()) - 1, 37):
        if content[:cut].rstrip()[-2:] != b"}{":
            assert "ends early" in refusal(write(content[:cut])), cut


def test_documents_that_are_not_json_are_refused(write: Write) -> None:
    """What follows a mistake in a document can't be trusted; the error says where it is."""
    content = SHAPES["records in an envelope"].replace(b'"records": [', b'"x": 1,\n "records": [')
    path = write(content.replace(b'"AuditLogs"', b'"AuditLogs" "x"', 2).ljust(len(content) + 100))
    assert "is not valid JSON at character" in refusal(path)
    for rest in (b"\n, more to come" * 9, b"{5: 6, 7: 8, 9: 10, 11: 12}", b'{"value" 5, "value" 6, "value": 7}'):
        assert "is not valid JSON at character" in refusal(write(SHAPES["Graph, value first"] + rest))


def test_first_lines_that_tell_nothing_are_counted(write: Write) -> None:
    """A cut first line, or a note, does not hide the shape of what follows."""
    for first in (
        b"# exported by hand",
        b'{"TimeGenerated":"2026-03-0',
        b'"Id":"x"}',
        b'{"exported":"today"}',
        b"[oh]",
    ):
        source = ExportFiles([write(first + b"\n" + lines([row(event) for event in EVENTS]))])
        assert [plain(event) for event in read(source)] == expected()
        assert sum(source.reading().unreadable.values()) == 1


@pytest.mark.parametrize("make", [row, record])
def test_a_first_line_longer_than_the_head_is_a_line(write: Write, make: Callable[[Json], Json]) -> None:
    """Recognition need not see the end of a line: the rest of the file is read line by line, with its rejects."""
    first = make(EVENTS[0]) | {"AdditionalDetails": "x" * 300_000}
    source = ExportFiles([write(lines([first, make(EVENTS[1]), 5]))])
    assert len(read(source)) == 2
    assert source.reading().unreadable == {"not an object": 1}


def test_long_lines_are_passed_over(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line past the limit is one reject, in either kind of lines, and the next line is read and numbered as ever."""
    monkeypatch.setattr(json_export, "CHUNK", 500)
    long_line = "line longer than 4 MiB"
    for make in (row, record):
        good = lines([make(event) for event in EVENTS])
        for long in (b"x" * (9 << 20), json.dumps(make(EVENTS[0]) | {"more": "x" * (5 << 20)}).encode()):
            path = write(good + long + b"\n" + good + b"5\n" + good + long)
            source = ExportFiles([path])
            assert [plain(event) for event in read(source)] == expected() * 3
            assert source.reading().unreadable == {long_line: 2, "not an object": 1}
            assert source.first_places() == {long_line: f"{path}:5", "not an object": f"{path}:10"}


def test_a_long_line_of_many_records_is_read(write: Write) -> None:
    """An envelope may take a line of up to 64 MiB: its records are taken one by one, and bad ones counted."""
    many = [record(EVENTS[0])] * 9_000
    path = write(lines([{"records": [record(EVENTS[1])]}, {"records": [*many, 5]}, {"records": [record(EVENTS[3])]}]))
    source = ExportFiles([path])
    assert len(read(source)) == 9_002
    assert source.reading().unreadable == {"not an object": 1}
    assert source.first_places() == {"not an object": f"{path}:2"}


def test_documents_are_read_in_pieces(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the pieces end, in a number, an escape or a letter of several bytes, the events are the same."""
    deep = json.dumps(record(EVENTS[0]) | {"n": [1.5e300, -7, True, None, '\u20ac\\u00e9 "']}, ensure_ascii=False)
    content = f'[{deep},{"[" * 30_000}"]"{"]" * 30_000},\n-1.25e+3,{deep}]'.encode()
    path = write(content)
    for chunk in (1, 2, 3, 7, 64, 1000):
        monkeypatch.setattr(json_stream, "CHUNK", chunk)
        source = ExportFiles([path])
        assert [plain(event) for event in read(source)] == expected(EVENTS[:1]) * 2
        assert source.reading().unreadable == {"nested too deep": 1, "not an object": 1}


def test_values_of_documents_are_bounded(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value without an end is refused before it fills the memory, also where only its brackets are looked at."""
    monkeypatch.setattr(json_stream, "LONGEST_VALUE", 2 << 20)
    for value in (b'"' + b"x" * (5 << 20), b"[" * 50_000 + b'"' + b"x" * (5 << 20)):
        content = b'[{"time":"2026-03-02","category":"AuditLogs","properties":{}}, ' + value
        assert "has a value longer than 4 MiB at character" in refusal(write(content))


def test_memory_stays_flat(write: Write) -> None:
    """A large document on one line takes no more memory than a piece of it."""
    records = ",".join(json.dumps(record(event)) for event in EVENTS * 3000)
    path = write(f'{{"records":[{records}]}}'.encode())
    del records
    assert path.stat().st_size > 7 << 20
    tracemalloc.start()
    try:
        count = sum(1 for _ in ExportFiles([path]).events(0, 0))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert count == len(EVENTS) * 3000
    assert peak < 7 << 20


def test_csv_line_limit_is_what_its_error_says() -> None:
    """The error's words and the number agree."""
    assert csv_export.LONGEST_LINE == 4 << 20


def test_an_abandoned_pass_closes_its_file(write: Write) -> None:
    """A consumer may stop early; nothing stays open, which a warning would tell."""
    for content in (SHAPES["csv"], SHAPES["Graph"], gzip.compress(SHAPES["rows, one a line"])):
        events = ExportFiles([write(content)]).events(0, 0)
        next(events)
        del events


def native(name: str) -> Path:
    """Return a public sample, or skip where the folder is not there."""
    path = SHARED / "native" / name
    if not path.exists():
        pytest.skip("the public samples are not beside this repository")
    return path


@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("diagnostic-settings-records.json", "datadog-integrations-core.jsonl"),
        ("diagnostic-settings-records.ndjson", "panther-analysis.jsonl"),
        ("log-analytics-export.ndjson", "otrf-security-datasets.jsonl"),
    ],
)
def test_public_samples(name: str, twin: str) -> None:
    """Real files are read without a reject, and give the time, operation and id of the same events as rows."""
    source = ExportFiles([native(name)])
    events = {_identity(event) for event in read(source)}
    assert source.reading().unreadable == {}
    twins = read(ExportFiles([SHARED / "normalised" / twin]))
    assert {_identity(event) for event in twins} == events


def _identity(event: AuditEvent) -> tuple[int, str | None, str | None]:
    """Ids that the makers of the rows had to invent are none."""
    invented = event.id is not None and event.id.startswith("Synthetic_")
    return event.ticks, event.operation_name, None if invented else event.id


def test_public_sample_without_time_is_refused() -> None:
    """The CSV among the public samples has no TimeGenerated column: it can't be hunted, and the error says so."""
    assert "has no TimeGenerated column" in refusal(native("log-analytics-export.csv"))
