"""What raising incidents needs to be allowed, and whether it is: no I/O.

Roles: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/security. Wildcards and notActions:
https://learn.microsoft.com/azure/role-based-access-control/role-definitions.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from rare_audit.sinks.arm import Permission

INCIDENTS: Final = tuple(
    f"Microsoft.SecurityInsights/{kind}/{verb}"
    for kind in ("incidents", "incidents/comments", "incidents/relations")
    for verb in ("read", "write")
)
BOOKMARKS: Final = ("Microsoft.SecurityInsights/bookmarks/read", "Microsoft.SecurityInsights/bookmarks/write")
INCIDENTS_ROLE: Final = "Microsoft Sentinel Responder"
BOOKMARKS_ROLE: Final = "Microsoft Sentinel Contributor"


def missing(wanted: Iterable[str], permissions: Iterable[Permission]) -> tuple[str, ...]:
    """Return which actions none of the permissions gives: one gives an action that it names and does not take back."""
    given = tuple(permissions)
    return tuple(action for action in wanted if not any(_gives(each, action) for each in given))


def _gives(permission: Permission, action: str) -> bool:
    return _matches(permission.actions, action) and not _matches(permission.not_actions, action)


def _matches(patterns: Iterable[str], action: str) -> bool:
    return any(_pattern(each).fullmatch(action) for each in patterns)


@lru_cache
def _pattern(text: str) -> re.Pattern[str]:
    """Return a pattern of actions: `*` stands for any text, slashes included; case does not count."""
    return re.compile(".*".join(map(re.escape, re.split(r"\*+", text))), re.IGNORECASE | re.DOTALL)
