"""What the rule extends an event by, and groups by."""

from rare_audit.detection import kql
from rare_audit.detection.event import NO_TARGET, Initiator, Target

Combination = tuple[str, str, str, str, str]
"""OperationName, InitiatedByApp, InitiatedByIpAddress, TargetUserPrincipalName, TargetResourceName of an event."""


def first_target(targets: list[Target]) -> Target:
    """`TargetResources.[0]`: an empty one where there is none."""
    return targets[0] if targets else NO_TARGET


def combination_of(operation: str, initiator: Initiator, target: Target) -> Combination:
    """Return the columns that the rule extends an event by, and groups by."""
    return (
        operation,
        initiator.app,
        initiator.ip_address,
        kql.lower(kql.to_string(target.user_principal_name)),
        kql.lower(kql.to_string(target.display_name)),
    )
