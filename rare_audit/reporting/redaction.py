"""Findings without the values of what was changed, for tenants that must not keep those a second time."""

import hashlib
import hmac
from typing import Final

import msgspec

from rare_audit.detection.finding import Finding

_DIGITS: Final = 16


def without_values(finding: Finding, salt: str) -> Finding:
    """Return `finding` with a hash in place of every old and new value; ids, names, times and all else stay.

    Equal values have equal hashes under one `salt` (the workspace's id), so that a day run again compares equal, and
    an analyst sees that a value came back. Under another they differ: tenants can't be compared, nor hashes looked up
    in a list made beforehand. A value few could be (`true`, a role's name) can still be guessed by who knows the salt:
    this keeps values from being read, not from being tried. An empty value stays empty.
    """
    return msgspec.structs.replace(
        finding,
        activities=tuple(
            msgspec.structs.replace(one, new_value=_hashed(one.new_value, salt)) for one in finding.activities
        ),
        evidence=tuple(
            msgspec.structs.replace(one, old_value=_hashed(one.old_value, salt), new_value=_hashed(one.new_value, salt))
            for one in finding.evidence
        ),
    )


def _hashed(value: str, salt: str) -> str:
    """Return "sha256:" and 64 bits of the value's HMAC: enough that no two values of a tenant share them."""
    if not value:
        return ""
    key, text = (part.encode("utf-8", "surrogatepass") for part in (salt, value))
    return f"sha256:{hmac.digest(key, text, hashlib.sha256).hex()[:_DIGITS]}"
