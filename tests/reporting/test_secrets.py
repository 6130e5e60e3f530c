"""One scrubber for all that services and libraries say: no token, key or signature is left in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rare_audit.reporting.secrets import REMOVED, cause_of, error_line, unforeseen, without_secrets
from rare_audit.reporting.text import visible

SECRET = "c2VjcmV0+LW9m/LXRoZS1hY2NvdW50=="  # noqa: S105 - stands for a key
TOKEN = "eyJ0eXAiOiJKV1QifQ.eyJhdWQiOiJsb2dzIn0.c2lnbmF0dXJl"  # noqa: S105 - opens nothing


@pytest.mark.parametrize(
    "text",
    [
        "https://a.example/t?sv=1&sig={}&se=2",
        "AccountName=a;AccountKey={};EndpointSuffix=x",
        "SharedAccessSignature={}",
        "Authorization: Bearer {}",
        "authorization: bearer  {}",
        "SharedKey account:{}",
        "SharedKeyLite account:{}",
        '{{"access_token": "{}", "token_type": "x"}}',
        "client_secret={}&grant_type=x",
        "x-functions-key: {}",
        "X-IDENTITY-HEADER: {}",
        "https://a.example/api/runs?code={}",
        "password: {}",
    ],
)
def test_named_secrets(text: str) -> None:
    """What follows a name that secrets have is taken out; the name and the rest stay."""
    shown = without_secrets(text.format(SECRET))
    assert SECRET not in shown
    assert SECRET[:8] not in shown
    assert REMOVED in shown
    assert shown.startswith(text.partition("{")[0][:5])


@pytest.mark.parametrize("text", ["{}", "got {}, which", "({})", '"{}"', "token={}"])
def test_tokens_without_a_name(text: str) -> None:
    """A JSON Web Token is known by its form."""
    shown = without_secrets(text.format(TOKEN))
    assert not [part for part in TOKEN.split(".") if part in shown]


@pytest.mark.parametrize(
    "text",
    [
        "AuthorizationFailed: the client does not have authorization",
        "code: 403, the key is wrong",
        "The access token expiry is in the past",
        "no managed identity endpoint found",
    ],
)
def test_the_rest_stays(text: str) -> None:
    """What an error says without a secret in it is left as it is."""
    assert without_secrets(text) == text


@given(st.text(max_size=400), st.sampled_from(["sig=", "Bearer ", "AccountKey="]))
def test_one_line(text: str, name: str) -> None:
    """Any text is one visible line, and no secret in it outlives that."""
    shown = error_line(f"{text} {name}{SECRET} {text}", 200)
    assert visible(shown) == shown
    assert len(shown) <= 200
    assert SECRET not in shown


def test_causes() -> None:
    """A cause without secrets is the error itself; another has its kind and its text without them."""
    plain, secret = ValueError("no number"), ValueError(f"sig={SECRET}")
    assert cause_of(plain) is plain
    assert str(cause_of(secret)) == f"ValueError: sig={REMOVED}"


def test_unforeseen() -> None:
    """An error that nobody foresaw is told by its kind, its place and its text."""
    try:
        int("soon")
    except ValueError as error:
        told = unforeseen(error)
    assert told.startswith("ValueError at test_secrets.py:")
    assert told.endswith(": invalid literal for int() with base 10: 'soon'")
    assert unforeseen(KeyError()) == "KeyError"
