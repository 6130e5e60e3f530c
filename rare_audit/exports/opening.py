"""The bytes of an export: from a file, standard input or a pipe, uncompressed, as UTF-8 without a byte-order mark."""

import bz2
import gzip
import io
import lzma
import stat
import sys
import tarfile
import tempfile
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, Protocol, cast

from rare_audit.errors import InputError
from rare_audit.exports.archives import is_tar, is_zip, tar_members, zip_members
from rare_audit.exports.encodings import recoded
from rare_audit.exports.magic import refuse_binary
from rare_audit.reporting.text import visible

STDIN: Final = "-"
BUFFER: Final = 1 << 16
HEAD: Final = 256 << 10
"""Bytes of a file that it is recognised by."""
MOST_COPIED: Final = 4 << 30
"""Bytes of a stream that are copied to a temporary file where it has to be read twice."""
_MOST_LAYERS: Final = 3
_COMPRESSED: Final[dict[bytes, Callable[[Any], Any]]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}

Content = tuple[str, io.BufferedReader]
"""A file's name, as it is shown, and its bytes."""
UNUSABLE: Final = (OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile)
"""What reading a file that is broken may raise."""

_BROKEN: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    ((gzip.BadGzipFile, zlib.error), "has broken gzip data"),
    ((lzma.LZMAError,), "has broken xz data"),
    ((tarfile.TarError,), "is a broken tar archive"),
    ((zipfile.BadZipFile,), "is a broken zip archive"),
)


class _Bytes(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...

    def readinto(self, buffer: memoryview, /) -> int | None: ...


class Input:
    """A file, or standard input, read as often as needed once `keep` was called and else as often as it can be."""

    def __init__(self, path: str, stdin: BinaryIO | None, encoding: str = "") -> None:
        """Take a path, "-" meaning `stdin`, by default the process's, which is never closed.

        `encoding` is how its text is encoded, "" for UTF-8, or UTF-16 where it looks like that.
        """
        self.name = "standard input" if path == STDIN else visible(path)
        self._path = path
        self._stdin = stdin
        self._encoding = encoding
        self._kept: IO[bytes] | None = None
        self._consumed = False

    def size(self) -> int | None:
        """Return the bytes on disk, None for a stream; InputError where there is no such file."""
        try:
            status = None if self._path == STDIN else Path(self._path).stat()
        except (OSError, ValueError) as error:
            raise unusable(self.name, error) from error
        return None if status is None or not stat.S_ISREG(status.st_mode) else status.st_size

    @property
    def can_be_read_again(self) -> bool:
        """Whether its content can be had more than once."""
        return self._kept is not None or self.size() is not None

    def keep(self) -> None:
        """Copy a stream to a temporary file, so that it can be read again. Raises InputError where it is too long."""
        if self.can_be_read_again:
            return
        try:
            with ExitStack() as stack:
                file: io.BufferedReader = io.BufferedReader(_Filled(self._bytes(stack), _nothing), BUFFER)
                head = file.peek()
                if not (is_zip(head) or is_tar(head) or head.startswith(tuple(_COMPRESSED))):
                    refuse_binary(head, self.name)  # before all of it is copied for nothing: it may have no end
                self._copy(file)
        except OSError as error:
            raise unusable(self.name, error) from error

    def contents(self, progress: Callable[[int], None] | None = None) -> Iterator[Content]:
        """Yield what it holds: itself, uncompressed, or the files of an archive one after the other.

        `progress` is called with the bytes of each further piece as it is read, before uncompressing. Raises InputError
        for what can't be opened, and UNUSABLE.
        """
        with ExitStack() as stack:
            file: io.BufferedReader = io.BufferedReader(_Filled(self._bytes(stack), progress or _nothing), BUFFER)
            if is_zip(file.peek()):
                yield from self._zipped(file, progress or _nothing)
                return
            file = _uncompressed(file, self.name)
            if is_tar(file.peek()):
                for name, member in tar_members(file, self.name):
                    yield name, self._text(_uncompressed(buffered(member), name), name)
                return
            yield self.name, self._text(file, self.name)

    def _zipped(self, file: io.BufferedReader, progress: Callable[[int], None]) -> Iterator[Content]:
        if not self.can_be_read_again:  # the list of a zip's files stands at its end
            self._copy(file)
        with zipfile.ZipFile(cast("IO[bytes]", _View(self._kept) if self._kept else self._path)) as archive:
            for name, size, member in zip_members(archive, self.name):
                yield name, self._text(_uncompressed(buffered(member), name), name)
                progress(size)

    def _text(self, file: io.BufferedReader, name: str) -> io.BufferedReader:
        """Return a file as UTF-8 text without a byte-order mark; InputError where it is not text at all."""
        head = file.peek()
        refuse_binary(head, name)
        return recoded(file, head, self._encoding)

    def _copy(self, source: io.BufferedReader) -> None:
        kept = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
        weakref.finalize(self, kept.close)
        while piece := source.read(1 << 20):
            if kept.tell() + len(piece) > MOST_COPIED:
                raise InputError(
                    f"{self.name} is longer than {MOST_COPIED >> 30} GiB, more than is copied to be read twice: save "
                    "it to a file, or give --start"
                )
            kept.write(piece)
        self._kept = kept

    def _bytes(self, stack: ExitStack) -> _Bytes:
        if self._kept is not None:
            return cast("_Bytes", _View(self._kept))
        if self._path != STDIN:
            try:
                return stack.enter_context(Path(self._path).open("rb", buffering=0))
            except ValueError as error:  # a name that no file can have
                raise unusable(self.name, error) from error
        if self._consumed:
            raise InputError("standard input can be read only once")
        self._consumed = True
        stdin = self._stdin or (sys.stdin.buffer if sys.stdin else None)
        if stdin is None:
            raise InputError("standard input is closed")
        return cast("_Bytes", stdin)


def buffered(source: Any) -> io.BufferedReader:
    """Return a member of an archive as a file whose head can be looked at."""
    return io.BufferedReader(_Filled(source, _nothing), BUFFER)


def _uncompressed(file: io.BufferedReader, name: str) -> io.BufferedReader:
    """Return a file without its layers of compression; InputError where there are more than anybody means."""
    for _ in range(_MOST_LAYERS):
        opened = next((opened for mark, opened in _COMPRESSED.items() if file.peek()[:6].startswith(mark)), None)
        if opened is None:
            return file
        file = io.BufferedReader(_Filled(opened(file), _nothing), BUFFER)
    raise InputError(f"{name} is compressed {_MOST_LAYERS} times over: unpack it first")


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


class _View(io.RawIOBase):
    """Reads a file that others read at the same time, each from its own place."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.seek(0, io.SEEK_END)}[whence]
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        self._file.seek(self._at)
        piece = self._file.read(len(buffer))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)


def _nothing(_: int) -> None:
    pass


@contextmanager
def translated(name: str) -> Iterator[None]:
    """Raise what goes wrong while the block reads a file as InputError, in one line that names it."""
    try:
        yield
    except UNUSABLE as error:
        raise unusable(name, error) from error


def unusable(name: str, error: Exception) -> InputError:
    """Return the error that says why a file can't be used."""
    return InputError(f"{name} {_trouble(error)}")


def _trouble(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "ends early: its gzip, bzip2 or xz data are not finished"
    what = visible(str(error))
    for kinds, trouble in _BROKEN:
        if isinstance(error, kinds):
            return f"{trouble}: {what}"
    return f"can't be read: {error.strerror if isinstance(error, OSError) and error.strerror else what}"
