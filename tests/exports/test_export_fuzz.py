import gzip
import io

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rare_audit.errors import InputError
from rare_audit.exports import json_export
from rare_audit.exports.export_files import ExportFiles, Reads
from tests.exports.export_shapes import EVENTS, SHAPES, lines, record, row, sign_in

VALID = [
    *SHAPES.values(),
    *map(gzip.compress, SHAPES.values()),
    lines([sign_in(1), record(EVENTS[0]), {"records": [sign_in(2), 5]}]),
]
MIXED = [lines([value]) for event in EVENTS for value in (row(event), record(event), sign_in(1), {"records": [1]})]
PIECES = st.sampled_from(
    [
        *[b"\n", b"\r", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\xff", b"\xf0\x9f", b"\x00", b"1e", b"null"],
        *[b"\xef\xbb\xbf", b"\x1f\x8b", b"NaN", b"\\ud800", b"\\u", b'"records":', b'"value":', b'"error":1,'],
        *[b'"tables":', b"[" * 2000, b"9" * 5000, b" " * 70_000, b'{"TimeGenerated":"2026-03-02"}\n'],
    ]
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A valid file, cut, changed or stuffed in a few places."""
    content = bytearray(draw(st.sampled_from(VALID)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        match draw(st.sampled_from(["cut", "flip", "insert", "remove"])):
            case "cut":
                del content[at:]
            case "flip" if at < len(content):
                content[at] ^= 1 << draw(st.integers(0, 7))
            case "insert":
                content[at:at] = draw(PIECES | st.binary(max_size=20))
            case _:
                del content[at : at + draw(st.integers(1, 200))]
    return bytes(content)


def read(content: bytes) -> tuple[int, ExportFiles] | None:
    """Read bytes from standard input; None where they are refused, in one line and by no other error."""
    source = ExportFiles(["-"], stdin=io.BytesIO(content))
    try:
        count = sum(1 for _ in source.events(0, 0))
    except InputError as error:
        message = str(error)
    else:
        return count, source
    assert message.startswith("standard input")
    assert message.isprintable()
    return None


def check(content: bytes) -> None:
    """Any bytes give events and counted rejects, or a refusal; strictness only turns rejects into a refusal."""
    outcome = read(content)
    if outcome is None:
        return
    count, source = outcome
    reading = source.reading()
    assert reading.events == count
    assert min([*reading.unreadable.values(), *reading.skipped.values()], default=1) > 0
    assert source.first_places().keys() == reading.unreadable.keys()
    assert count or reading.skipped or not reading.unreadable
    strict = ExportFiles(["-"], Reads(strict=True), stdin=io.BytesIO(content))
    try:
        assert sum(1 for _ in strict.events(0, 0)) == count
        assert not reading.unreadable
    except InputError:
        assert reading.unreadable


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300) | st.lists(PIECES, max_size=12).map(b"".join))
def test_arbitrary_bytes(content: bytes) -> None:
    """Bytes that nobody meant to be an export end in no other error."""
    check(content)


@settings(max_examples=300, deadline=None)
@given(damaged())
@example(gzip.compress(SHAPES["csv"], mtime=0)[:-4])
def test_damaged_files(content: bytes) -> None:
    """Nor do exports of every shape with damage."""
    check(content)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(MIXED) | st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"") + b"\n")))
def test_every_line_is_accounted_for(content: list[bytes]) -> None:
    """In lines of records, events, skipped and unreadable ones add up to the lines that are not blank."""
    first = lines([record(EVENTS[3])])
    outcome = read(first + b"".join(content))
    assert outcome is not None
    _, source = outcome
    reading = source.reading()
    total = reading.events + sum(reading.unreadable.values()) + sum(reading.skipped.values())
    assert total == 1 + sum(not line.removeprefix(b"\xef\xbb\xbf").isspace() for line in content)


ODD_ROWS = [
    *[
        b"{}",
        b"5",
        b"",
        b" ",
        b"[]",
        b'{"TimeGenerated":{}}',
        b'{"TimeGenerated":"x"}',
        b'{"TimeGenerated":"2026-03-02',
    ],
    *[b'{"TimeGenerated":"2026-03-02","Id":"\xff"}', b'{"TimeGenerated":"2026-03-02","Id":5}\r'],
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 40), max_size=40), st.sampled_from([1, 50, 1000, 1 << 18]))
def test_every_row_is_accounted_for(picks: list[int], chunk: int) -> None:
    """However rows are read together, each gives its event or its reject, and the first place is right."""
    good = lines([row(EVENTS[3])]).rstrip()  # text beyond ASCII shows that the file is UTF-8
    content = [good] + [ODD_ROWS[pick] if pick < len(ODD_ROWS) else good for pick in picks]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_export, "CHUNK", chunk)
        outcome = read(b"\n".join(content))
    assert outcome is not None
    count, source = outcome
    bad = [number for number, line in enumerate(content, 1) if line != good and line.strip()]
    assert count == content.count(good)
    assert sum(source.reading().unreadable.values()) == len(bad)
    places = sorted(int(place.rpartition(":")[2]) for place in source.first_places().values())
    assert places[:1] == bad[:1]
