"""KQL's dynamic and string semantics, by example and by property."""

import json
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rare_audit.detection import kql

ANY_TEXT = st.text(st.characters(exclude_categories=()))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON_VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8
)
checked = settings(deadline=None, database=None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("", ""),
        ("text", "text"),
        (" ", " "),
        ('"quoted"', '"quoted"'),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-7, "-7"),
        (1.5, "1.5"),
        (2**53 + 1, "9007199254740993"),
        (2**64, "18446744073709551616"),
        (-(2**70), "-1180591620717411303424"),
        ([], "[]"),
        ({}, "{}"),
        ([None, "x", 1], '[null,"x",1]'),
        ({"b": 1, "a": [1, 2]}, '{"b":1,"a":[1,2]}'),
        ({"é": "ü\u2028"}, '{"é":"ü\u2028"}'),
        (['q"\\'], r'["q\"\\"]'),
    ],
)
def test_to_string(value: Any, text: str) -> None:
    """Null is empty, a string is itself, all else is compact JSON with its keys in order."""
    assert kql.to_string(value) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"x"', "x"),
        ("5", 5),
        ("null", None),
        ("[1, 2]", [1, 2]),
        (' {"a" : {}} ', {"a": {}}),
        ("", ""),
        ("bare", "bare"),
        ("[1,", "[1,"),
        ("{'a': 1}", "{'a': 1}"),
        ("NaN", "NaN"),
        ("\ufeff[1]", "\ufeff[1]"),
        ("\ud800", "\ud800"),
        ("[1e999]", ["1e999"]),
        ('{"a":{"b":-1E999},"c":[1.5]}', {"a": {"b": "-1E999"}, "c": [1.5]}),
        ("[1e999", "[1e999"),
        (r'["\ud800"]', r'["\ud800"]'),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_parse_json(text: str, value: Any) -> None:
    """Text that is not JSON stays text; a number past a double keeps its own."""
    assert kql.parse_json(text) == value


@pytest.mark.parametrize("text", [r'[1e999,"\ud800"]', r'{"a":1e999,"\udc00":1}'])
def test_parse_json_lets_no_half_of_a_pair_through(text: str) -> None:
    """A text that can't be written as UTF-8 would fail only where a finding is written."""
    kql.to_string([kql.parse_json(text)]).encode()


@pytest.mark.parametrize(
    ("value", "found"),
    [({"a": 1}, 1), ({"a": None}, None), ({"b": 1}, None), ({"A": 1}, None), ([1], None), ("a", None), (None, None)],
)
def test_member(value: Any, found: Any) -> None:
    """What has no such member gives null; names are compared exactly."""
    assert kql.member(value, "a") == found


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        ([1, None, [2]], [1, None, [2]]),
        ([], []),
        ({"a": 1, "b": [2]}, [{"a": 1}, {"b": [2]}]),
        ({}, []),
        (None, [None]),
        ("text", ["text"]),
        (0, [0]),
        (False, [False]),
    ],
)
def test_expand(value: Any, rows: list[Any]) -> None:
    """An array gives its elements, an object one object a member, anything else itself."""
    assert list(kql.expand(value)) == rows


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('["x","y"]', "x"),
        (' \t\r\n[ "x" ] ', "x"),
        ("[true]", "true"),
        ("[false]", "false"),
        ("[5]", "5"),
        ("[-1.5]", "-1.5"),
        ('[{"a": 1, "b": [1, 2]}]', '{"a":1,"b":[1,2]}'),
        ("[[]]", "[]"),
        ("[{}]", "{}"),
        (r'["\u0041\n"]', "A\n"),
        ("[123456789012345678901234567890]", "123456789012345678901234567890"),
        ("[1e999]", "1e999"),
        ("[-1e999, 2]", "-1e999"),
        ('["x", 1e999]', "x"),
        (["x", "y"], "x"),
        ([5], "5"),
        ([{"a": 1}], '{"a":1}'),
        ([["x"]], '["x"]'),
    ],
)
def test_first_element(value: Any, text: str) -> None:
    """Element 0 of an array, or of JSON text of one, as a string; a number past a double keeps its text."""
    assert kql.first_element(value) == text


@pytest.mark.parametrize(
    "value",
    [
        *["[]", "[null]", '[""]', '[null,"x"]', "", "null", "[", "[1,", "[1]]", '["x"] y', "['x']", "[01]", "[NaN]"],
        *['"x"', '"[1]"', "bare", "{}", '{"0":"x"}', "5", "true", "\ufeff[1]", "\x0b[1]", "\xa0[1]", "[\ud800]"],
        *[None, 5, True, 1.5, {}, {"0": "x"}, [], [None], [""], [None, "x"], "[" * 100_000],
    ],
)
def test_first_element_of_anything_else_is_empty(value: Any) -> None:
    """What is no array, is an empty one, or begins with nothing; and text that is not JSON."""
    assert kql.first_element(value) == ""


@checked
@given(st.lists(JSON_VALUES, min_size=1, max_size=3))
def test_first_element_is_the_same_of_an_array_and_of_its_text(array: list[Any]) -> None:
    """Which of both a source carries does not matter."""
    assert kql.first_element(json.dumps(array)) == kql.first_element(array) == kql.to_string(array[0])


@pytest.mark.parametrize(
    ("text", "lowered"),
    [
        ("ABC xyz 1", "abc xyz 1"),
        ("ÅÉÄ", "åéä"),
        ("ΝΣ", "\u03bd\u03c3"),
        ("Σ@ΝΣ", "\u03c3@\u03bd\u03c3"),
        ("ς", "ς"),
        ("İ", "İ"),
        ("İX", "İx"),
        ("ß", "ß"),
        ("ẞ", "ß"),
        ("\u212a", "k"),
        ("\U00010400", "\U00010428"),
        ("ǅ", "ǆ"),
        ("", ""),
    ],
)
def test_lower(text: str, lowered: str) -> None:
    """One code point to one: no final sigma, and a letter that would be two stays."""
    assert kql.lower(text) == lowered


@checked
@given(ANY_TEXT, ANY_TEXT)
def test_lower_looks_at_each_letter_alone(one: str, other: str) -> None:
    """So the length stays, and what stands beside a letter does not matter."""
    assert kql.lower(one + other) == kql.lower(one) + kql.lower(other)
    assert len(kql.lower(one)) == len(one)


def test_lower_of_every_letter() -> None:
    """Between two others, and alone; the dotted I is the only one that is two when lowered."""
    letters = list(map(chr, range(sys.maxunicode + 1)))
    assert [letter for letter in letters if len(letter.lower()) > 1] == ["İ"]
    for letter in letters:
        low = "İ" if letter == "İ" else letter.lower()
        assert kql.lower(letter) == low
        assert kql.lower(f"A{letter}Σ") == f"a{low}σ"


@pytest.mark.parametrize(("text", "folded"), [("AbZ", "abz"), ("Ä", "Ä"), ("ÄB", "Äb"), ("\u212a", "\u212a"), ("", "")])
def test_fold(text: str, folded: str) -> None:
    """Case is ignored for ASCII letters only."""
    assert kql.fold(text) == folded


@checked
@given(ANY_TEXT)
def test_fold_changes_ascii_capitals_and_nothing_else(text: str) -> None:
    """Whatever else the text holds."""
    assert kql.fold(text) == "".join(chr(ord(letter) + 32) if "A" <= letter <= "Z" else letter for letter in text)


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("DeviceOSType", True),
        ("deviceostype", True),
        ("CloudDeviceOSType.x", True),
        ("a DeviceOSType", True),
        ("a/DeviceOSType/b", True),
        ("DeviceOSType_x", True),
        ("xDeviceOSType", False),
        ("DeviceOSType1", False),
        ("DeviceOSTypeé", False),
        ("ßDeviceOSType", False),
        ("Device OSType", False),
        ("", False),
    ],
)
def test_has_any(text: str, has: bool) -> None:
    """A term is a maximal run of letters and digits, in any ASCII case."""
    assert kql.has_any(text, frozenset({"deviceostype", "clouddeviceostype"})) is has


def _read_literal(source: str) -> tuple[bytes, str]:
    """Read one KQL string literal, independently of its writer: its text as UTF-16, and what follows it."""
    quote, text, at = source[0], b"", 1
    while source[at] != quote:
        letter = source[at]
        assert letter not in "\r\n", "a literal ends on its line"
        if letter == "\\":
            at += 1
            letter = source[at]
            if letter == "u":
                letter = chr(int(source[at + 1 : at + 5], 16))
                at += 4
            else:
                assert letter in "\"'\\", "an escape that this reader knows"
        text += letter.encode("utf-16-be", "surrogatepass")
        at += 1
    return text, source[at + 1 :]


@checked
@given(ANY_TEXT, st.sampled_from("\"'"), st.sampled_from(["", '"', "'", ") | take 1", "\\", '\\"']))
def test_no_text_ends_its_literal_early(text: str, quote: str, tail: str) -> None:
    """A literal read back is the text, to its last letter, and what comes after is not part of it."""
    assert _read_literal(kql.string_literal(text, quote) + tail) == (text.encode("utf-16-be", "surrogatepass"), tail)


@checked
@given(ANY_TEXT)
def test_a_literal_shows_all_it_holds(text: str) -> None:
    """Control, format and separator characters, and those without a meaning, are written as escapes."""
    shown = kql.string_literal(text)
    assert not {unicodedata.category(letter) for letter in shown.replace(" ", "")} & set(
        "Cc Cf Cs Co Cn Zl Zp Zs".split()
    )


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("plain text", '"plain text"'),
        ('"; drop', r'"\"; drop"'),
        ("it's", '"it\'s"'),
        ("back\\", r'"back\\"'),
        ("two\nlines\t", r'"two\u000alines\u0009"'),
        ("\u202eleft\u2028", r'"\u202eleft\u2028"'),
        ("\U000e0041", r'"\udb40\udc41"'),
        ("é \u2013 ü", '"é \u2013 ü"'),
    ],
)
def test_string_literal(text: str, literal: str) -> None:
    """As one would write it."""
    assert kql.string_literal(text) == literal


def test_string_literal_in_single_quotes() -> None:
    """Only its own quote is escaped."""
    assert kql.string_literal("""it's "here\"""", "'") == r"""'it\'s "here"'"""
