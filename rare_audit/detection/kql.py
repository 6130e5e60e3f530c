"""KQL's dynamic and string semantics, as far as the rule leans on them.

Source of each fact: the KQL reference (scalar-data-types/dynamic, parse-json, mv-expand, isnotempty, has-any,
in-cs-operator); where that is silent, an independent KQL engine run on the rule's text, which the tests hold this to.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

_WHITESPACE: Final = " \t\n\r"
_ASCII_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_decode_any: Final = msgspec.json.Decoder().decode
_decode_array: Final = msgspec.json.Decoder(list[Any]).decode

NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, UnicodeEncodeError, RecursionError)
"""What msgspec raises for text that is not JSON, or nested too deep to be read."""


def parse_json(text: str) -> Any:
    """`parse_json`: the value that JSON text holds, or the text itself where it is not JSON."""
    try:
        return _decode_any(text)
    except msgspec.ValidationError:
        return _parse_large_numbers(text)
    except NOT_JSON:
        return text


def _parse_large_numbers(text: str) -> Any:
    """Read JSON with a number past a double's range, which msgspec refuses; such a number is kept as its text."""
    try:
        value = json.loads(text, parse_float=_number)
        msgspec.json.encode(value)  # refuses half a surrogate pair, as reading it with msgspec would have
    except (ValueError, RecursionError):
        return text
    return value


def _number(text: str) -> float | str:
    number = float(text)
    return number if math.isfinite(number) else text


def to_string(value: Any) -> str:
    """`tostring`: null is `""`, a string is itself, all else is compact JSON with its keys in order."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def member(value: Any, name: str) -> Any:
    """`value.name`: null where `value` is no object or has no such member."""
    return value.get(name) if isinstance(value, dict) else None


def expand(value: Any) -> Iterator[Any]:
    """`mv-expand`: an array gives its elements, an object one object a member, anything else (null too) itself."""
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict):
        yield from ({name: inner} for name, inner in value.items())
    else:
        yield value


def first_element(value: Any) -> str:
    """`tostring(parse_json(tostring(value))[0])`: `""` unless `value` is an array, or JSON text of one."""
    if isinstance(value, list):
        return to_string(value[0]) if value else ""
    if not isinstance(value, str) or not value.lstrip(_WHITESPACE).startswith("["):
        return ""
    try:
        elements = _decode_array(value)
    except NOT_JSON:
        return first_element(parsed) if isinstance(parsed := parse_json(value), list) else ""
    return to_string(elements[0]) if elements else ""


def lower(text: str) -> str:
    """`tolower`: one code point to one, a sigma is never a final one, a letter that is two when lowered stays."""
    if text.isascii():
        return text.lower()
    # Python's lower differs in two letters alone: the sigma, and the dotted I, the one that is two when lowered.
    return "İ".join(part.lower() for part in text.replace("Σ", "σ").split("İ"))


def fold(text: str) -> str:
    """Return `text` as `=~`, `!~` and `in~` compare it: they ignore the case of ASCII letters only."""
    return text.lower() if text.isascii() else text.translate(_ASCII_LOWER)


def has_any(text: str, terms: frozenset[str]) -> bool:
    """`has_any`: does `text` hold one of these folded terms, a term being a maximal run of letters and digits."""
    return not terms.isdisjoint(_TERM.findall(fold(text)))


_TERM: Final = re.compile(r"[^\W_]+")


def string_literal(text: str, quote: str = '"') -> str:
    """Return `text` as a KQL string literal between `quote`s; no text can end the literal early.

    Control, format and separator characters are written as escapes, so that the query shows all it holds.
    """
    return quote + "".join(_escaped(letter, quote) for letter in text) + quote


def _escaped(letter: str, quote: str) -> str:
    if letter in (quote, "\\"):
        return f"\\{letter}"
    if letter.isprintable():
        return letter
    return "".join(f"\\u{unit:04x}" for unit in _utf16_units(letter))


def _utf16_units(letter: str) -> Iterator[int]:
    encoded = letter.encode("utf-16-be", "surrogatepass")
    return (int.from_bytes(encoded[at : at + 2]) for at in range(0, len(encoded), 2))
