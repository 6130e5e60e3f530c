"""Which properties are kept before others."""

import pytest

from rare_audit.detection.sensitive import PREFIXES, is_sensitive


@pytest.mark.parametrize(
    "name",
    [
        "KeyDescription",
        "AppRole.Value",
        "Role.DisplayName",
        "Role.TemplateId",
        "DelegatedPermissionGrant.Scope",
        "ConsentAction.Permissions",
        "FederatedIdentityCredentials",
        "IssuerUri",
        "LiveType",
        "StrongAuthenticationMethod",
        "AccountEnabled",
        "AppAddress",
        "RequiredResourceAccess",
        "MembershipRule",
        "ConditionalAccessPolicy",
        "keydescription",
    ],
)
def test_sensitive(name: str) -> None:
    """What makes an identity stronger is, however it is spelled."""
    assert is_sensitive(name)


@pytest.mark.parametrize("name", ["", "DisplayName", "Department", "extension_1_KeyDescription", "Role", "Notes"])
def test_ordinary(name: str) -> None:
    """Everything else is not, and a name that only holds one within is not either."""
    assert not is_sensitive(name)


def test_prefixes_are_lower_case() -> None:
    """A name is compared in lower case, so each of them must be."""
    assert [each for each in PREFIXES if each != each.lower()] == []
