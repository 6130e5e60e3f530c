"""JSON documents of any size, read a value at a time in bounded memory."""

import codecs
import json
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from rare_audit.errors import InputError

CHUNK: Final = 1 << 20
LONGEST_VALUE: Final = 4 << 20
"""Characters of the longest value that is taken whole. Scanning one takes up to fifty times as much memory."""
_MARGIN: Final = 16
"""A number, literal or escape cut at the end of a chunk is shorter than this."""

_BLANKS: Final = " \t\n\r\ufeff"
_BLANK: Final = re.compile(f"[{_BLANKS}]*")
"""White space between values, and the byte-order marks of files that were joined."""
_MARK: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{}"]', re.DOTALL)
# Numbers stay text: nothing here needs them, and int() refuses very long ones.
_scan: Final = json.JSONDecoder(parse_int=str, parse_float=str).raw_decode


class EndsEarlyError(InputError):
    """A document stops before it is finished."""


class JsonStream:
    """A cursor in a file of JSON documents, one after the other.

    Bytes that are not UTF-8 pass through as they are, for whoever decodes the values to judge. Every method raises
    EndsEarlyError where the file stops too soon, and InputError where it is not JSON or a value that is taken is longer
    than 4 MiB.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        """Stand at the beginning of `file`, called `name` in errors."""
        self._file = file
        self._name = name
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = ""
        self._at = 0
        self._passed = 0
        self._lines = 0
        self._ended = False

    def peek(self) -> str:
        """Go to the next character that is not white space and return it, "" at the end of the file."""
        if self._at < len(self._text):  # mostly one stands on the next character already
            letter = self._text[self._at]
            if letter not in _BLANKS:
                return letter
        while True:
            blank = _BLANK.match(self._text, self._at)
            self._at = blank.end() if blank else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def value(self) -> bytes:
        """Take the next value, whole, and return its text; RecursionError, once past it, if it is nested too deep."""
        self.peek()
        while True:
            try:
                _, end = _scan(self._text, self._at)
            except json.JSONDecodeError as error:
                if not self._cut(error):
                    raise self._malformed(error.pos, _what_is_wrong(error)) from error
            except RecursionError:
                self._skip()
                raise
            else:
                if self._ended or end + _MARGIN <= len(self._text):
                    return self._take(end)
            self._grow()

    def drop(self) -> None:
        """Pass over the next value; an array or object may be as long as it likes."""
        if self.peek() in "[{":
            self._skip()
        else:
            self.value()

    def elements(self) -> Iterator[None]:
        """Enter an array and stop at each element, which the caller has to take before the next."""
        self._expect("[")
        if self.peek() == "]":
            self._at += 1
            return
        while True:
            yield
            if self.peek() == "]":
                self._at += 1
                return
            self._expect(",")
            if self.peek() == "]":
                raise self._malformed(self._at, "trailing comma before ']'")

    def members(self) -> Iterator[str]:
        """Enter an object and stop at each member's value, which the caller has to take; yields the member's name."""
        self._expect("{")
        if self.peek() == "}":
            self._at += 1
            return
        while True:
            if self.peek() != '"':
                raise self._unexpected()
            name = self.value()
            self._expect(":")
            yield str(json.loads(name.decode(errors="replace")))
            if self.peek() == "}":
                self._at += 1
                return
            self._expect(",")
            if self.peek() == "}":
                raise self._malformed(self._at, "trailing comma before '}'")

    def end(self) -> None:
        """Check that what follows a document is another, or nothing."""
        letter = self.peek()
        if letter == ",":
            raise self._malformed(self._at, "trailing comma: values that are not in an array have none between them")
        if letter and letter in "]}:":
            raise self._malformed(self._at, f"a '{letter}' too many")

    def _expect(self, letter: str) -> None:
        if self.peek() != letter:
            raise self._unexpected()
        self._at += 1

    def _take(self, end: int) -> bytes:
        taken = self._text[self._at : end].encode("utf-8", "surrogateescape")
        self._at = end
        return taken

    def _more(self) -> bool:
        """Read on, twice as far if need be so that a long value is not scanned too often; False at the end."""
        if self._ended:
            return False
        piece = self._file.read(max(CHUNK, len(self._text) - self._at))
        self._passed += self._at
        self._lines += self._text.count("\n", 0, self._at)
        self._text = self._text[self._at :] + self._decoder.decode(piece, final=not piece)
        self._at = 0
        self._ended = not piece
        return True

    def _grow(self) -> None:
        """Read on because the value at the cursor is not all there yet."""
        if len(self._text) - self._at > LONGEST_VALUE:
            raise InputError(f"{self._name} has a value longer than 4 MiB at character {self._passed + self._at}")
        if not self._more():
            raise self._ends_early()

    def _cut(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated string") or error.pos + _MARGIN > len(self._text)

    def _skip(self) -> None:
        """Pass over an array or object by its brackets."""
        depth = 0
        while True:
            mark = _MARK.search(self._text, self._at)
            if mark is None or mark[0] == '"':
                self._at = mark.start() if mark else len(self._text)
                self._grow()
                continue
            self._at = mark.end()
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark[0], 0)
            if depth == 0:
                return

    def _unexpected(self) -> InputError:
        letter = self.peek()
        return self._malformed(self._at, f"unexpected {letter!a}") if letter else self._ends_early()

    def _ends_early(self) -> EndsEarlyError:
        return EndsEarlyError(f"{self._name} ends early: its JSON is not finished")

    def _malformed(self, at: int, why: str) -> InputError:
        line = self._lines + self._text.count("\n", 0, at) + 1
        return InputError(f"{self._name} is not valid JSON at character {self._passed + at} (line {line}): {why}")


def _what_is_wrong(error: json.JSONDecodeError) -> str:
    """Return what Python's reader found, in words that are the same in all its versions."""
    before = error.doc[: error.pos + 1].rstrip()[-2:]
    if error.msg.startswith("Illegal trailing comma") or (before[:1] == "," and before[1:] in ("}", "]")):
        return "trailing comma"
    return error.msg[:1].lower() + error.msg[1:]
