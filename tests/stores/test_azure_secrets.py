"""A storage account that refuses its caller, or is not there: said in one line, and no secret in it."""

import traceback
from functools import partial
from typing import Any, Final

import pytest
from azure.core.exceptions import ClientAuthenticationError

from rare_audit.errors import ServiceError
from rare_audit.ports import Entity
from rare_audit.stores.tables import PATIENCE, by_connection_string, by_identity
from tests.azure.azurite import KEY, Azurite, TokenInHand, token

_AT_ONCE: Final = {**PATIENCE, "retry_total": 1, "retry_backoff_factor": 0.001, "read_timeout": 0.5}
_NOBODY: Final = "127.0.0.1:9"
_SECRET: Final = "c2VjcmV0LW9mLXRoZS1hY2NvdW50"  # noqa: S105 - stands for a key, token or signature
# azure-data-tables 12.7 tests an XML element for truth where Azurite refuses a credential in XML.
_XML: Final = pytest.mark.filterwarnings("ignore:Testing an element's truth value:DeprecationWarning")


@_XML
def test_wrong_key(azurite: Azurite, name: str) -> None:
    """Azurite's own refusal of a wrong key: AuthorizationFailure, where Azure says AuthenticationFailed."""
    wrong = azurite.connection_string.replace(KEY, _SECRET)
    with (
        by_connection_string(wrong, name, _AT_ONCE) as table,
        pytest.raises(ServiceError, match=r"answered 403 AuthorizationFailure: ") as caught,
    ):
        table.get("p", "r")
    _assert_discreet(caught.value)


@_XML
def test_wrong_tokens(secure_azurite: Azurite, name: str) -> None:
    """Azurite's own refusal of a token that expired, or that is for another service."""
    for wrong in (token(lasts=-600), token(audience="https://management.azure.com")):
        with (
            by_identity(secure_azurite.table, partial(TokenInHand, wrong), name, _AT_ONCE) as table,
            pytest.raises(ServiceError, match=r"answered 40[13] .*identity") as caught,
        ):
            table.put(Entity("p", "r", {}))
        assert wrong not in "".join(traceback.format_exception(caught.value))


def test_no_token_to_be_had(secure_azurite: Azurite, name: str) -> None:
    """A credential that fails is told in its own first line."""

    class Failing(TokenInHand):
        def get_token(self, *scopes: str, **options: Any) -> Any:
            raise ClientAuthenticationError("no managed identity endpoint found\nAttempted credentials:\n…")

    with (
        by_identity(secure_azurite.table, lambda: Failing(""), name, _AT_ONCE) as table,
        pytest.raises(
            ServiceError, match=r"^no credentials for the table .*: no managed identity endpoint found; check"
        ),
    ):
        table.get("p", "r")


@pytest.mark.parametrize("told", ["?sv=1&sig={}&se=2", "AccountKey={};", "Bearer {}", "SharedKey account:{}"])
def test_error_that_repeats_a_secret(told: str, name: str) -> None:
    """A secret in somebody else's error is taken out of the message, and out of the cause that a log shows."""

    class Talkative(TokenInHand):
        def get_token(self, *scopes: str, **options: Any) -> Any:
            raise ClientAuthenticationError(f"refused: {told.format(_SECRET)}")

    with (
        by_identity(f"https://{_NOBODY}", lambda: Talkative(""), name, _AT_ONCE) as table,
        pytest.raises(ServiceError, match=r"refused: .*\[removed\]") as caught,
    ):
        table.get("p", "r")
    _assert_discreet(caught.value)


@pytest.mark.parametrize("host", [_NOBODY, "account.table.core.invalid"])
def test_nobody_there(host: str, name: str) -> None:
    """An account that can't be reached is told with its name and why; not for ever."""
    with (
        by_identity(f"https://{host}", lambda: TokenInHand(_SECRET), name, _AT_ONCE) as table,
        pytest.raises(
            ServiceError, match=rf"^the table {name} at https://{host} can't be reached: .*network$"
        ) as caught,
    ):
        table.get("p", "r")
    _assert_discreet(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        _SECRET,
        f"AccountKey={_SECRET}",
        f"AccountName=a;AccountKey=x{_SECRET}!",
        f"TableEndpoint=http://{_NOBODY}/a;AccountName=a;AccountKey={_SECRET}x",
        f"TableEndpoint=http://{_NOBODY}/a;SharedAccessSignature=sv=2026-01-01&sig={_SECRET}&se=2027-01-01",
        f"TableEndpoint=http://{_NOBODY}/a?sig={_SECRET};AccountName=a;AccountKey={KEY}",
    ],
)
def test_no_secret_is_told(text: str, name: str) -> None:
    """Whatever is wrong with a connection string, neither the message nor the log's traceback shows its secret."""
    with by_connection_string(text, name, _AT_ONCE) as table, pytest.raises(ServiceError) as caught:
        table.get("p", "r")
    _assert_discreet(caught.value)


def test_url_that_is_none(name: str) -> None:
    """A URL that can't be the service's is said to be so."""
    for url in ("http://plain.example", "https://", "https://x.example?sig=" + _SECRET):
        with (
            by_identity(url, lambda: TokenInHand(_SECRET), name, _AT_ONCE) as table,
            pytest.raises(ServiceError) as caught,
        ):
            table.get("p", "r")
        _assert_discreet(caught.value)


def _assert_discreet(error: ServiceError) -> None:
    told = "".join(traceback.format_exception(error))
    assert _SECRET not in told
    assert KEY not in told
    assert "\n" not in str(error)
    assert error.__cause__ is not None
