"""The header of a CSV export: where it is, what separates its columns, and which kind of export it shows."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from rare_audit.errors import InputError
from rare_audit.exports.columns import REQUIRED
from rare_audit.exports.portal_csv import is_portal_header
from rare_audit.exports.unified import is_unified_header
from rare_audit.reporting.text import one_line

TIME_COLUMNS: Final = ("TimeGenerated", "TimeGenerated [UTC]")
_SEPARATORS: Final = (",", ";", "\t", "|")
_MOST_BEFORE: Final = 10
"""Lines that may stand before a header: a title, `sep=;` for Excel, `#TYPE` of Windows PowerShell."""
_SHOWN: Final = 200


class Kind(Enum):
    """Which export a header belongs to."""

    ROWS = auto()
    PORTAL = auto()
    UNIFIED = auto()


@dataclass(frozen=True)
class Header:
    """A header's columns, what separates them, its kind, and how many lines stand before it."""

    columns: tuple[str, ...]
    separator: str
    kind: Kind
    before: int = 0


def header_of(head: bytes) -> Header | None:
    """Return the header that a file begins with, from its first bytes; None where none of its first lines is one."""
    lines = head.decode("utf-8", "replace").removeprefix("\ufeff").splitlines()
    for before, line in enumerate(lines[: _MOST_BEFORE + 1]):
        for separator in _SEPARATORS:
            columns = columns_of(line, separator)
            kind = kind_of(columns)
            if kind is not None:
                return Header(columns, separator, kind, before)
    return None


def says_nothing(line: str) -> bool:
    """Tell whether a line before the header is one that a program writes for another program."""
    return not line.strip() or line.startswith("#TYPE") or line.lower().startswith("sep=")


def columns_of(line: str, separator: str) -> tuple[str, ...]:
    """Return a header's columns."""
    try:
        return tuple(column.strip() for column in next(csv.reader([line], delimiter=separator), []))
    except csv.Error:
        return ()


def kind_of(columns: Sequence[str]) -> Kind | None:
    """Return the kind of export that has these columns, None for none."""
    if is_portal_header(columns):
        return Kind.PORTAL
    if is_unified_header(columns):
        return Kind.UNIFIED
    names = {column.partition(" [")[0] for column in columns}
    return Kind.ROWS if names.intersection(REQUIRED) else None


def check_columns(header: Header, name: str, *, lenient: bool) -> None:
    """Raise InputError where a column that is needed is not there, or any stands twice."""
    twice = sorted({column for column in header.columns if header.columns.count(column) > 1 and column})
    if twice:
        raise InputError(f"{name} has the column {one_line(', '.join(twice), _SHOWN)} more than once")
    if header.kind is not Kind.ROWS:
        return
    lacking = [] if lenient else [column for column in REQUIRED[1:] if column not in header.columns]
    if not set(TIME_COLUMNS).intersection(header.columns):
        lacking.insert(0, "TimeGenerated")
    if lacking:
        there = one_line(", ".join(header.columns), _SHOWN)
        raise InputError(
            f"{name} has no {' and no '.join(lacking)} column: export all columns, with times in UTC; it has {there}"
        )
