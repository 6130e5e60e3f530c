"""No text from a log drives what shows it: a terminal, a spreadsheet, or whatever renders Markdown."""

import csv
import io
import json
import unicodedata
from html.parser import HTMLParser
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from rare_audit.reporting.text import csv_cell, json_safe, markdown, one_line, visible

ANY_TEXT: Final = st.text(st.characters(exclude_categories=()))
NASTY: Final = st.text(
    st.sampled_from("\\`*_{}[]()<>#+-.!|~&;:@/$^=\"' abx1\t\n\r\x1b\u202e\u200bhtps") | st.characters()
)
WELL_FORMED: Final = st.text() | NASTY
checked: Final = settings(max_examples=200, deadline=None, database=None)

UNSAFE_CATEGORIES: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
INVISIBLE: Final = frozenset(
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u2800\u3164\ufeff\uffa0\ufff9\ufffa\ufffb"
    + "".join(map(chr, (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070))))
    + "".join(map(chr, (*range(0xFFF0, 0xFFF9), *range(0x13430, 0x13440), *range(0x1BCA0, 0x1BCA4))))
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE1000))))
)


def is_unsafe(letter: str) -> bool:
    """Tell whether a terminal may obey a character, or a reader not see it."""
    return unicodedata.category(letter) in UNSAFE_CATEGORIES or letter in INVISIBLE


def assert_safe(text: str) -> None:
    """Fail where an unsafe character is left."""
    assert [letter for letter in text if is_unsafe(letter)] == []


# Terminals


def test_every_unsafe_character_is_shown() -> None:
    """Over all of Unicode, one by one."""
    for code in range(0x110000):
        if is_unsafe(letter := chr(code)):
            shown = visible(letter)
            assert shown.isascii()
            assert shown.startswith("\\")
            assert shown == f"\\{shown[1]}{code:0{len(shown) - 2}x}"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain \u2013 Ä 漢", "plain \u2013 Ä 漢"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\x9b31m", r"\x9b31m"),
        ("two\r\nlines", r"two\x0d\x0alines"),
        ("\u202etxt.exe", r"\u202etxt.exe"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("\U000e0041", r"\U000e0041"),
        ("\ud800", r"\ud800"),
        ("\x7f\x00", r"\x7f\x00"),
    ],
)
def test_visible(text: str, shown: str) -> None:
    """Characters that drive something are spelled; all others stay."""
    assert visible(text) == shown


@pytest.mark.parametrize("letter", ["\u034f", "\U0001bca0", "\u2800"], ids=ascii)
def test_more_invisible_characters(letter: str) -> None:
    """A combining grapheme joiner, a shorthand format control, a blank braille pattern: a reader sees none of them."""
    assert visible(letter) != letter


@checked
@given(ANY_TEXT)
def test_nothing_unsafe_survives(text: str) -> None:
    """In any place text is shown in; and what was harmless is left as it was."""
    for made in (visible(text), one_line(text, 40), csv_cell(text), markdown(text)):
        assert_safe(made)
        made.encode()
    if not any(map(is_unsafe, text)):
        assert visible(text) == text
    assert visible(visible(text)) == visible(text)


@checked
@given(ANY_TEXT, st.integers(1, 50))
def test_one_line_is_no_longer_than_asked(text: str, most: int) -> None:
    """What is cut ends in an ellipsis; what fits is whole."""
    line = one_line(text, most)
    assert len(line) <= most
    shown = visible(text)
    assert line == shown if len(shown) <= most else line == shown[: most - 1] + "…"


@checked
@given(st.recursive(WELL_FORMED, lambda inner: st.lists(inner) | st.dictionaries(WELL_FORMED, inner), max_leaves=8))
def test_json_safe_keeps_the_value(value: object) -> None:
    """The same value is read back, and nothing unsafe is left."""
    encoded = json.dumps(value, ensure_ascii=False)
    safe = json_safe(encoded)
    assert json.loads(safe) == value
    assert_safe(safe)


def test_json_safe_by_example() -> None:
    """Escapes are UTF-16, as JSON has them; line ends between values stay."""
    assert json_safe('"\x7f\u202e\U000e0041é"\n"x"\n') == '"\\u007f\\u202e\\udb40\\udc41é"\n"x"\n'


# Spreadsheets


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("plain", "plain"),
        ("", ""),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("\t=1", r"'\x09=1"),
        ("\r=1", r"'\x0d=1"),
        ("\n=1", r"\x0a=1"),
        ("\uff1d1", "'\uff1d1"),
        ("1=1", "1=1"),
        ("'=1", "'=1"),
    ],
)
def test_csv_cell(text: str, cell: str) -> None:
    """What a spreadsheet would read as a formula is marked as text."""
    assert csv_cell(text) == cell


@checked
@given(ANY_TEXT | NASTY)
def test_no_cell_is_a_formula(text: str) -> None:
    """Nor can one break out of its place in a file."""
    cell = csv_cell(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert cell.removeprefix("'") == visible(text).removeprefix("'")
    written = io.StringIO()
    csv.writer(written).writerow([cell, "next"])
    assert list(csv.reader(io.StringIO(written.getvalue()))) == [[cell, "next"]]


# Markdown


class _Rendered(HTMLParser):
    """The tags and the text of some HTML."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def _renderer(*, html: bool) -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": html}).enable(["table", "strikethrough"])


RENDERERS: Final = {"HTML allowed": _renderer(html=True), "HTML not allowed": _renderer(html=False)}


def assert_letter_for_letter(text: str) -> None:
    """Fail where a rendering of `text`, amid other text as in an incident, has markup or other letters."""
    source = f"app {markdown(text)} end"
    for renderer in RENDERERS.values():
        rendered = _Rendered(renderer.render(source))
        assert rendered.tags == ["p"]
        assert rendered.text == f"app {visible(text)} end\n"


@checked
@given(WELL_FORMED)
def test_markdown_shows_letter_for_letter(text: str) -> None:
    """No link, image, HTML, emphasis, code or table comes of any text, with HTML allowed or not."""
    assert_letter_for_letter(text)


@pytest.mark.parametrize(
    "text",
    [
        "[click](https://evil.example)",
        "![pixel](https://evil.example/p.png)",
        "<https://evil.example>",
        "https://evil.example www.evil.example mail@evil.example",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<!-- hidden -->",
        "**bold** __bold__ *it* _it_ ~~gone~~",
        "`code` ```fence```",
        "&lt;b&gt; &#60; &amp;",
        "| a | b |",
        "\\",
        "\\*",
        "ends in a backslash\\",
        "[ref]: https://evil.example",
        "[ref]",
        "$x^2$ {{template}}",
        "Update application \u2013 Certificates and secrets management ",
    ],
)
def test_markdown_by_example(text: str) -> None:
    """What an attacker may name an app, shown as it is."""
    assert_letter_for_letter(text)


@pytest.mark.parametrize(
    "text",
    [
        "# title",
        "- item",
        "+ item",
        "* item",
        "1. item",
        "1) item",
        "> quote",
        "---",
        "===",
        "***",
        "```",
        "~~~",
        "|-|",
        "<div",
        "<script",
        "<!--",
        "<?x",
        "[ref]: /x",
    ],
)
def test_markdown_at_the_start_of_a_line(text: str) -> None:
    """No block begins there either: heading, list, quote, rule, fence, table, HTML."""
    for renderer in RENDERERS.values():
        for source in (markdown(text), f"above\n{markdown(text)}\nbelow"):
            rendered = _Rendered(renderer.render(source))
            assert rendered.tags == ["p"]
            assert text in rendered.text
