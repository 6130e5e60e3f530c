"""Text from logs is written by whoever acts in the tenant: here it is made harmless for each place it is shown in."""

import re
from typing import Final

UNSAFE: Final = (
    "\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ud800-\udfff\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Characters and ranges of them, as between the brackets of a pattern, that a terminal may obey or nobody sees.

C0 and C1 controls, soft hyphen, Arabic letter mark, zero-width and direction characters, line and paragraph separators,
invisible operators, variation and tag characters, byte-order mark, interlinear marks, surrogates.
"""
_UNSAFE: Final = re.compile(f"[{UNSAFE}]")
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&:@/$^=\"'])")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def visible(text: str) -> str:
    r"""Return `text` with control, direction and invisible characters shown as `\x1b` or `\u202e`, not obeyed."""
    return _UNSAFE.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def one_line(text: str, most: int) -> str:
    """Return `text` made visible, and cut with an ellipsis past `most` characters."""
    shown = visible(text[: most + 1])  # to show a character never takes less than one: the rest is cut anyway
    return shown if len(shown) <= most else shown[: most - 1] + "…"


def markdown(text: str) -> str:
    """Return `text` so that Markdown shows it letter for letter: no link, image, HTML or emphasis comes of it."""
    return _MARKDOWN.sub(r"\\\1", visible(text))


def json_safe(encoded: str) -> str:
    r"""Return JSON text with unsafe characters as `\u` escapes: the same value, and no terminal obeys it.

    They can stand only inside strings, since JSON's own white space is taken out first by the encoder.
    """
    return _UNSAFE.sub(lambda found: found[0] if found[0] == "\n" else _json_escape(found[0]), encoded)


def _json_escape(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def csv_cell(text: str) -> str:
    """Return `text` for a spreadsheet: what would be read as a formula is marked as text by a leading apostrophe.

    Source: https://owasp.org/www-community/attacks/CSV_Injection.
    """
    shown = visible(text)
    return f"'{shown}" if text.startswith(_FORMULA) else shown
