"""Which properties matter most to an analyst: what makes an identity stronger, or lets somebody else be it."""

from typing import Final

PREFIXES: Final = (
    "accountenabled",
    "appaddress",
    "approle",
    "availabletoothertenants",
    "conditionalaccesspolicy",
    "consentaction.",
    "consentcontext.",
    "delegatedpermissiongrant.",
    "federatedidentitycredential",
    "issueruri",
    "keycredential",
    "keydescription",
    "livetype",
    "membershiprule",
    "passwordcredential",
    "requiredresourceaccess",
    "role.",
    "strongauthentication",
)
"""How the names of such properties begin, in lower case.

Credentials of applications, permissions and consent, roles, federation of domains, second factors, and rules by which
somebody becomes a member. Names: modifiedProperties of Entra's audit events, as
https://learn.microsoft.com/entra/identity/monitoring-health/reference-audit-activities lists the activities and
https://github.com/Azure/Azure-Sentinel has them in its rules on AuditLogs.
"""
_LONGEST: Final = max(map(len, PREFIXES))


def is_sensitive(property_name: str) -> bool:
    """Return whether a property is one that is kept and shown before others; the case of letters does not matter."""
    return property_name[:_LONGEST].lower().startswith(PREFIXES)
