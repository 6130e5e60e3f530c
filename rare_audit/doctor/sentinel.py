"""Whether incidents can be raised."""

from collections.abc import Iterator

from rare_audit.doctor.actions import BOOKMARKS, BOOKMARKS_ROLE, INCIDENTS, INCIDENTS_ROLE, missing
from rare_audit.doctor.check import Check, fail, ok, warn
from rare_audit.sinks.arm import Arm


def look(arm: Arm) -> Iterator[Check]:
    """Yield that Sentinel answers for the workspace. Raises ServiceError where it does not."""
    arm.again(arm.check)
    yield ok("Sentinel", f"answers for the workspace {arm.workspace.name}")


def look_at_permissions(arm: Arm, *, bookmarks: bool) -> Iterator[Check]:
    """Yield what the identity may do with incidents, and with `bookmarks` where wanted; ServiceError as above.

    Who may not write bookmarks can still raise incidents.
    """
    given = arm.again(arm.permissions)
    group = f"the resource group {arm.workspace.group}"
    lacking = missing(INCIDENTS, given)
    if lacking:
        yield fail(
            "incidents",
            f"the identity may not do {', '.join(lacking)}; give it the role {INCIDENTS_ROLE} on {group} (a new role "
            "takes up to an hour to count)",
        )
    else:
        yield ok("incidents", "the identity may read and write them, their comments and their relations")
    if not bookmarks:
        yield ok("bookmarks", "not needed: RARE_AUDIT_BOOKMARKS is false")
    elif lacking := missing(BOOKMARKS, given):
        yield warn(
            "bookmarks",
            f"they are left out, as the identity may not do {', '.join(lacking)}; give it the role {BOOKMARKS_ROLE} on "
            f"{group}, or set RARE_AUDIT_BOOKMARKS=false",
        )
    else:
        yield ok("bookmarks", "the identity may read and write them")
