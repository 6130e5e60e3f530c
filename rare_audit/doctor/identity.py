"""Whether the app's identity gets the tokens it will be asked for."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from rare_audit.doctor.check import Check, fail, ok
from rare_audit.reporting.secrets import unforeseen

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

STORAGE_SCOPE: Final = "https://storage.azure.com/.default"
"""What the clients of Azure Storage ask for: https://learn.microsoft.com/azure/storage/blobs/authorize-access-azure-active-directory."""
_MANAGED: Final = "ManagedIdentityCredential"


def look(make: Callable[[], "TokenCredential"], client_id: str, scopes: Mapping[str, str]) -> Iterator[Check]:
    """Yield a check for each service by name, whose token is asked for by its scope."""
    for service, scope in scopes.items():
        yield _token(make, client_id, service, scope)


def _token(make: Callable[[], "TokenCredential"], client_id: str, service: str, scope: str) -> Check:
    from rare_audit.stores.table_calls import told  # noqa: PLC0415 - imports azure

    what, audience = f"token for {service}", scope.removesuffix("/.default")
    kind = "no credential"
    try:
        credential = make()
        kind = _kind(credential, client_id)
        credential.get_token(scope)
    except Exception as error:  # noqa: BLE001 - the libraries raise what an identity or a proxy makes them
        remedy = (
            "assign the identity to the app, and name it in AZURE_CLIENT_ID where it is a user-assigned one"
            if _MANAGED in kind
            else "sign in, for instance with az login"
        )
        return fail(what, f"none for {audience} by {kind}: {told(error) or unforeseen(error)}; {remedy}")
    return ok(what, f"{audience}, by {kind}")


def _kind(credential: "TokenCredential", client_id: str) -> str:
    name = type(credential).__name__
    if name == _MANAGED:
        return f"{name}, {f'user-assigned, client id {client_id}' if client_id else 'system-assigned'}"
    return f"{name}, so whoever is signed in here, not the app's own identity"
