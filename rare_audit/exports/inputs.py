"""What a command line names: files, folders, patterns and standard input, as the files to read."""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from rare_audit.errors import InputError
from rare_audit.exports.archives import is_left_out
from rare_audit.exports.opening import STDIN
from rare_audit.reporting.text import visible

_PATTERN: Final = frozenset("*?[")


class Named:
    """A file to read; `is_found` where a folder or a pattern gave it, and not its own name."""

    def __init__(self, path: str, *, is_found: bool = False) -> None:
        self.path = path
        self.is_found = is_found


def named_files(names: Sequence[str]) -> list[Named]:
    """Return the files that names stand for: a folder for all files in it and below, a pattern for its matches.

    Files of folders come in the order of their names; hidden ones are left out. Raises InputError where a folder has no
    file, a pattern matches nothing, or standard input is named twice.
    """
    if list(names).count(STDIN) > 1:
        raise InputError("standard input is named twice")
    return [file for name in names for file in _named(name)]


def _named(name: str) -> Iterator[Named]:
    try:
        is_folder = os.path.isdir(name)  # noqa: PTH112 - Path.is_dir raises for a name that no file can have
        is_there = is_folder or os.path.lexists(name)
    except ValueError:
        is_folder = is_there = False
    if name == STDIN or (is_there and not is_folder):
        yield Named(name)
    elif is_folder:
        yield from _in_folder(name)
    elif _PATTERN.isdisjoint(name):
        yield Named(name)  # what is wrong with it is said when it is opened
    else:
        found = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
        if not found:
            raise InputError(f"{visible(name)} matches no file")
        for match in found:
            yield from (_in_folder(match) if Path(match).is_dir() else [Named(match)])


def _in_folder(folder: str) -> Iterator[Named]:
    found = False
    for at, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not is_left_out(name))
        for name in sorted(files):
            if not is_left_out(name):
                found = True
                yield Named(str(Path(at) / name), is_found=True)
    if not found:
        raise InputError(f"{visible(folder)} has no file in it")


def _refuse(error: OSError) -> None:
    raise InputError(f"{visible(str(error.filename))} can't be read: {error.strerror}") from error
