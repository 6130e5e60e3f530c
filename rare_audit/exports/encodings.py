"""Text that is not UTF-8, recoded as it is read."""

import codecs
import io
from typing import Any, Final

from rare_audit.errors import InputError

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT: Final = 512
_PIECE: Final = 1 << 16


def recoded(file: io.BufferedReader, head: bytes, encoding: str = "") -> io.BufferedReader:
    """Return a file as UTF-8 without its byte-order mark, by the encoding given, or by what its head shows.

    A mark wins; without one, text with a zero in every other byte is UTF-16, as PowerShell and `reg` write it. What
    can't be decoded raises InputError as it is read.
    """
    shown = next((name for mark, name in _MARKS if head.startswith(mark)), "") or encoding or _unmarked(head)
    if shown == "utf-8-sig":
        file.read(len(codecs.BOM_UTF8))
        return file
    if not shown or codecs.lookup(shown).name == "utf-8":
        return file
    return io.BufferedReader(_Recoded(file, shown), _PIECE)


def is_wide(head: bytes) -> bool:
    """Tell whether text that begins so is UTF-16 or UTF-32, in which zero bytes are nothing odd."""
    return any(head.startswith(mark) for mark, name in _MARKS if name != "utf-8-sig") or bool(_unmarked(head))


def _unmarked(head: bytes) -> str:
    """Return which UTF-16 text without a mark is; the characters of JSON and of a CSV header are ASCII."""
    start = head[:_LOOKED_AT]
    even, odd = start[::2], start[1::2]
    if len(start) < 4:
        return ""
    if not odd.strip(b"\0") and b"\0" not in even:
        return "utf-16-le"
    if not even.strip(b"\0") and b"\0" not in odd:
        return "utf-16-be"
    return ""


class _Recoded(io.RawIOBase):
    """Decodes a file piece by piece and gives it as UTF-8."""

    def __init__(self, source: io.BufferedReader, encoding: str) -> None:
        self._source = source
        self._encoding = encoding
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._rest = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        while not self._rest and not self._ended:
            piece = self._source.read(_PIECE)
            self._ended = not piece
            try:
                text = self._decoder.decode(piece, final=self._ended)
            except UnicodeDecodeError as error:
                raise InputError(f"the text is not {self._encoding}: {error.reason}") from error
            self._rest = text.encode("utf-8", "surrogatepass")
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)
