"""The keys of rows: what every backend takes, and how free text becomes one."""

import hashlib
import json
import re
from typing import Final

LONGEST: Final = 256
_KEY: Final = re.compile(rf"[ -~]{{1,{LONGEST}}}")
_FORBIDDEN: Final = frozenset("/\\#?%'")


def check_key(key: str) -> str:
    r"""Return `key` if every backend takes it; else raise ValueError.

    Printable ASCII without `/ \ # ? % '`, 1 to 256 characters. Source: Azure Tables' data model (`/ \ # ?` and control
    characters are forbidden, `%` and `'` cause trouble in URLs and filters) and Azurite, which takes 512 characters.
    """
    if not _KEY.fullmatch(key) or not _FORBIDDEN.isdisjoint(key):
        raise ValueError(f"not a key: {key[:40]!r}; free text goes through key_of")
    return key


def key_of(*parts: str) -> str:
    """Return a key made of any texts: 64 hexadecimal digits, the same for the same texts in the same order."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()
