"""The files in zip and tar archives, one after the other, in bounded memory."""

import tarfile
import zipfile
from collections.abc import Iterator
from typing import IO, Any, Final, cast

from rare_audit.errors import InputError
from rare_audit.reporting.text import visible

_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
_BLOCK: Final = 512
_SHEET: Final = "[Content_Types].xml"


def is_zip(head: bytes) -> bool:
    """Tell whether a file is a zip archive, an empty one included."""
    return head.startswith(_ZIP)


def is_tar(head: bytes) -> bool:
    """Tell whether a file is a tar archive: its first block's checksum is right. Older forms have no magic bytes."""
    try:
        tarfile.TarInfo.frombuf(head[:_BLOCK], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def is_left_out(name: str) -> bool:
    """Tell whether a file is one that systems put beside people's own: hidden ones, and what macOS adds to a zip."""
    parts = name.replace("\\", "/").split("/")
    return any((part.startswith(".") and part not in {".", ".."}) or part == "__MACOSX" for part in parts)


def zip_members(archive: zipfile.ZipFile, name: str) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Yield each file's name, its bytes in the archive, and its content. Raises InputError for an Excel workbook."""
    if _SHEET in archive.namelist():
        raise InputError(f"{name} is an Excel workbook or another Office file: save the sheet as CSV (UTF-8)")
    for member in archive.infolist():
        if not member.is_dir() and not is_left_out(member.filename):
            shown = f"{name}/{visible(member.filename)}"
            try:
                content = archive.open(member)
            except (RuntimeError, NotImplementedError) as error:  # encrypted, or packed in a way Python can't open
                raise InputError(f"{shown} can't be unpacked: {visible(str(error))}") from error
            with content:
                yield shown, member.compress_size, content


def tar_members(file: IO[bytes] | Any, name: str) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield each file's name and content. Raises InputError where the archive has no end."""
    watched = _Watched(file)
    with tarfile.open(fileobj=cast("IO[bytes]", watched), mode="r|") as archive:
        for member in archive:
            if member.isfile() and not is_left_out(member.name):
                content = archive.extractfile(member)
                if content is not None:
                    yield f"{name}/{visible(member.name)}", content
    # A tar that is cut between two files reads like a whole one, but for the block of zeros at its end.
    while watched.read(1 << 20):  # and a gzip's checksum is looked at only at its end
        pass
    if watched.last.strip(b"\0") or len(watched.last) < _BLOCK:
        raise InputError(f"{name} ends early: its tar archive is not finished")


class _Watched:
    """Reads a file and remembers its last block."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.last = b""

    def read(self, size: int) -> bytes:
        """Return the next bytes."""
        piece = self._file.read(size)
        self.last = (self.last + piece[-_BLOCK:])[-_BLOCK:]
        return piece
