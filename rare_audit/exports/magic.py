"""Files that are not text, by their first bytes: they are refused by name, and never read as lines."""

from typing import Final

from rare_audit.errors import InputError
from rare_audit.exports.encodings import is_wide

_LOOKED_AT: Final = 512
_KINDS: Final = (
    (b"Obj\x01", "an Avro file: convert it to JSON lines, as `avro cat` or `avro-tools tojson` do"),
    (b"PAR1", "a Parquet file: convert it to JSON lines or CSV"),
    (b"ORC", "an ORC file: convert it to JSON lines or CSV"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: unpack it first"),
    (b"\x04\x22\x4d\x18", "compressed with lz4: unpack it first"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it first"),
    (b"Rar!\x1a\x07", "a RAR archive: unpack it first"),
    (b"PK\x03\x04", "a zip archive inside another archive: unpack it first"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office file: save the sheet as CSV (UTF-8)"),
    (b"SQLite format 3\x00", "an SQLite database: export its rows as JSON lines or CSV"),
    (b"ElfFile\x00", "a Windows event log, which holds no Entra audit events"),
    (b"%PDF-", "a PDF file: export JSON or CSV"),
    (b"\x7fELF", "a program"),
    (b"MZ\x90\x00", "a program"),
)


def refuse_binary(head: bytes, name: str) -> None:
    """Raise InputError for a file that is known by its first bytes not to be text, or has zero bytes as no text has."""
    for mark, kind in _KINDS:
        if head.startswith(mark):
            raise InputError(f"{name} is {kind}")
    if b"\0" in head[:_LOOKED_AT] and not is_wide(head):
        raise InputError(f"{name} is not text: it begins with {head[:8].hex(' ')}")
