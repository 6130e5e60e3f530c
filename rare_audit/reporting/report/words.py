"""A finding in one plain sentence."""

from collections.abc import Iterator
from typing import Final

import msgspec

from rare_audit.detection import kql
from rare_audit.detection.finding import Finding
from rare_audit.reporting.floods import flood_line
from rare_audit.reporting.report.ranking import Novelty, novelty
from rare_audit.reporting.text import one_line

_LONGEST: Final = 120
_PHRASES: Final = {
    "Add app role assignment grant to user": "assigned an app role to a user",
    "Add app role assignment to group": "assigned an app role to a group",
    "Add app role assignment to service principal": "granted an application permission to a service principal",
    "Add application": "registered an application",
    "Add conditional access policy": "added a conditional access policy",
    "Add delegated permission grant": "granted a delegated permission",
    "Add device": "added a device",
    "Add eligible member to role": "made somebody eligible for a role",
    "Add group": "created a group",
    "Add member to group": "added a member to a group",
    "Add member to role": "added a member to a role",
    "Add owner to application": "added an owner to an application",
    "Add owner to group": "added an owner to a group",
    "Add owner to service principal": "added an owner to a service principal",
    "Add registered owner to device": "registered an owner of a device",
    "Add service principal": "added a service principal",
    "Add service principal credentials": "added credentials to a service principal",
    "Add unverified domain": "added a domain",
    "Add user": "created a user",
    "Add verified domain": "added a verified domain",
    "Change user license": "changed a user's license",
    "Change user password": "changed a user's password",
    "Consent to application": "consented to an application",
    "Delete application": "deleted an application",
    "Delete conditional access policy": "deleted a conditional access policy",
    "Delete device": "deleted a device",
    "Delete group": "deleted a group",
    "Delete user": "deleted a user",
    "Disable account": "disabled an account",
    "Enable account": "enabled an account",
    "Hard Delete application": "deleted an application for good",
    "Invite external user": "invited an external user",
    "Remove member from group": "removed a member from a group",
    "Remove member from role": "removed a member from a role",
    "Remove owner from application": "removed an owner from an application",
    "Remove owner from service principal": "removed an owner from a service principal",
    "Remove service principal": "removed a service principal",
    "Remove service principal credentials": "removed credentials from a service principal",
    "Reset user password": "reset a user's password",
    "Restore user": "restored a user",
    "Set domain authentication": "set how a domain authenticates",
    "Set federation settings on domain": "set the federation of a domain",
    "Update application": "updated an application",
    "Update application – Certificates and secrets management": "changed an application's certificates and secrets",
    "Update conditional access policy": "updated a conditional access policy",
    "Update device": "updated a device",
    "Update group": "updated a group",
    "Update policy": "updated a policy",
    "Update service principal": "updated a service principal",
    "Update user": "updated a user",
    "User registered security info": "registered security info of a user",
}
"""What an operation of Entra's is in the past tense: learn.microsoft.com/entra/identity/monitoring-health/
reference-audit-activities. Any other is quoted."""


class Piece(msgspec.Struct, frozen=True):
    """A part of a sentence; a `name` comes from the log, and is made visible already."""

    text: str
    name: bool = False
    strong: bool = False


def sentence(finding: Finding, lookback_days: int, *, dated: bool = False) -> tuple[Piece, ...]:
    """Return a finding in words: who, how familiar, did what, to what, from where, how often, when; UTC.

    `dated` says the day as well. The texts of the pieces, joined, are the sentence.
    """
    return tuple(_pieces(finding, lookback_days, dated=dated))


def _pieces(finding: Finding, lookback_days: int, *, dated: bool) -> Iterator[Piece]:
    new, history = novelty(finding.history), finding.history
    app = _shown(finding.initiated_by_app)
    yield Piece(app, name=True, strong=True) if app else Piece("An application without a name", strong=True)
    if new is Novelty.APP:
        yield Piece(f", never seen in the {lookback_days} days before, ")
    else:
        yield Piece(f", known on {history.app.days} of {lookback_days} days, ")
    yield from _deed(finding)
    if new is Novelty.OPERATION:
        yield Piece(" for the first time")
    elif new is Novelty.COMBINATION:
        yield Piece(f", as on {counted(history.app_and_operation.days, 'day')} before, though never {_so(finding)}")
    elif new is Novelty.PROPERTY:
        yield Piece(f", as on {counted(history.combination.days, 'day')} before, though never this of it: ")
        yield Piece(_shown(", ".join(finding.property_names)), name=True)
    yield from _circumstances(finding, dated=dated)


def _deed(finding: Finding) -> Iterator[Piece]:
    operation = finding.operation_name.strip()
    if operation in _PHRASES:
        yield Piece(_PHRASES[operation])
    elif operation:
        yield Piece("did “")
        yield Piece(_shown(operation), name=True)
        yield Piece("”")
    else:
        yield Piece("did something that has no name")


def _so(finding: Finding) -> str:
    """Return in what the combination is new: the key holds the address and the user, and nothing more."""
    if finding.flood:
        return "in these"
    address, user = finding.initiated_by_ip_address, finding.target_user_principal_name
    if address and user:
        return "from this address for this user"
    return "from this address" if address else "for this user" if user else "without an address and a user"


def _circumstances(finding: Finding, *, dated: bool) -> Iterator[Piece]:
    target = _shown(finding.target_user_principal_name) or _shown(resource_name(finding))
    if finding.flood:
        yield Piece(f": {flood_line(finding.flood)}")
        target = ""
    if target:
        yield Piece("; " if novelty(finding.history) is Novelty.PROPERTY else ": ")
        yield Piece(target, name=True, strong=True)
    if finding.initiated_by_ip_address:
        yield Piece(", from ")
        yield Piece(_shown(finding.initiated_by_ip_address), name=True)
    first, last = finding.start_time[11:16], finding.end_time[11:16]
    if finding.events == 1:
        yield Piece(f", once at {first}")
    elif first == last:
        yield Piece(f", {finding.events:,} times at {first}")
    else:
        yield Piece(f", {finding.events:,} times from {first} to {last}")
    yield Piece(f" on {finding.day}." if dated else ".")


def resource_name(finding: Finding) -> str:
    """Return a target's name as it was written, where the events tell; the rule's column is in lower case."""
    lowered = finding.target_resource_name
    written = (target.display_name for target in finding.targets if kql.lower(target.display_name) == lowered)
    return next(written, lowered)


def counted(count: int, what: str) -> str:
    """Return a number of things, "one" of them in words."""
    return f"one {what}" if count == 1 else f"{count:,} {plural(count, what)}"


def plural(count: int, what: str) -> str:
    """Return what so many things are called."""
    return what if count == 1 else f"{what}s"


def _shown(text: str) -> str:
    return one_line(text.strip(), _LONGEST)
