"""The bytes of an export, from a file or standard input, plain or gzip."""

import codecs
import gzip
import io
import shutil
import stat
import sys
import tempfile
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, Protocol, cast

from rare_audit.errors import InputError
from rare_audit.reporting.text import visible

STDIN: Final = "-"
BUFFER: Final = 1 << 16
_GZIP: Final = b"\x1f\x8b"


class _Bytes(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...

    def readinto(self, buffer: memoryview, /) -> int | None: ...


class Input:
    """A file, or standard input, read as often as needed once `keep` was called and else as often as it can be."""

    def __init__(self, path: str, stdin: BinaryIO | None) -> None:
        """Take a path, "-" meaning `stdin`, by default the process's, which is never closed."""
        self.name = "standard input" if path == STDIN else visible(path)
        self._path = path
        self._stdin = stdin
        self._kept: IO[bytes] | None = None
        self._consumed = False

    def size(self) -> int | None:
        """Return the bytes on disk, None for a stream; InputError where there is no such file."""
        try:
            status = None if self._path == STDIN else Path(self._path).stat()
        except (OSError, ValueError) as error:
            raise _unusable(self.name, error) from error
        return None if status is None or not stat.S_ISREG(status.st_mode) else status.st_size

    def keep(self) -> None:
        """Copy a stream to a temporary file, so that it can be read again."""
        if self.size() is not None or self._kept is not None:
            return
        try:
            with ExitStack() as stack:
                source = self._bytes(stack)
                self._kept = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
                weakref.finalize(self, self._kept.close)
                shutil.copyfileobj(source, self._kept)
        except OSError as error:
            raise _unusable(self.name, error) from error

    @contextmanager
    def opened(self, progress: Callable[[int], None] | None = None) -> Iterator[io.BufferedReader]:
        """Give the content, unzipped and without byte-order mark; what fails while it is read is an InputError.

        `progress` is told of each further piece as it is read, in bytes before unzipping.
        """
        try:
            with ExitStack() as stack:
                file: io.BufferedReader = io.BufferedReader(
                    _Filled(self._bytes(stack), progress or _tell_nobody), BUFFER
                )
                if file.peek()[:2] == _GZIP:
                    file = io.BufferedReader(gzip.GzipFile(fileobj=file), BUFFER)
                if file.peek()[:3] == codecs.BOM_UTF8:
                    file.read(3)
                yield file
        except (OSError, EOFError, zlib.error) as error:
            raise _unusable(self.name, error) from error

    def _bytes(self, stack: ExitStack) -> _Bytes:
        if self._kept is not None:
            self._kept.seek(0)
            return cast("_Bytes", self._kept)
        if self._path != STDIN:
            try:
                return stack.enter_context(Path(self._path).open("rb", buffering=0))
            except ValueError as error:  # a name that no file can have
                raise _unusable(self.name, error) from error
        if self._consumed:
            raise InputError("standard input can be read only once")
        self._consumed = True
        return cast("_Bytes", self._stdin or sys.stdin.buffer)


class _Filled(io.RawIOBase):
    """Fills each buffer whole, even from a pipe, so that a file is recognised by as much of it as there is."""

    closed = False  # a BufferedReader asks twice a line, and io's own answer is slow enough to show

    def __init__(self, source: _Bytes, progress: Callable[[int], None]) -> None:
        self._source = source
        self._progress = progress

    def close(self) -> None:
        super().close()
        self.closed = True

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        filled = 0
        while filled < len(buffer) and (count := self._source.readinto(buffer[filled:])):
            filled += count
        self._progress(filled)
        return filled


def _tell_nobody(_: int) -> None:
    pass


def _unusable(name: str, error: Exception) -> InputError:
    match error:
        case EOFError():
            return InputError(f"{name} ends early: its gzip data are not finished")
        case gzip.BadGzipFile() | zlib.error():
            return InputError(f"{name} has broken gzip data: {error}")
        case OSError(strerror=str(reason)):
            return InputError(f"{name} can't be read: {reason}")
        case _:
            return InputError(f"{name} can't be read: {error}")
