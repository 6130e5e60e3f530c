"""A storage account that loses answers, is busy or refuses: nothing is lost or doubled.

Azurite stands for the account, and a proxy for the network before it. What the real service answers in these cases is
taken from the REST reference; Azurite itself never answers 429 or 503, nor refuses a role.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from azure.core.exceptions import AzureError

from rare_audit.errors import ServiceError
from rare_audit.ports import ConflictError, Entity
from rare_audit.stores.tables import PATIENCE, AzureTable, by_connection_string
from tests.azure.azurite import Azurite, connection_string
from tests.azure.proxy import CUT, FINE, LOST, Mishap, Proxy, proxied, refused

_SOON: Final = {**PATIENCE, "retry_total": 3, "retry_backoff_factor": 0.001, "read_timeout": 0.5}
_AT_ONCE: Final = {**_SOON, "retry_total": 1}


@pytest.fixture
def proxy(azurite: Azurite) -> Iterator[Proxy]:
    """Give a proxy before Azurite."""
    with proxied(azurite.table) as between:
        yield between


@pytest.fixture
def near(azurite: Azurite, name: str) -> Iterator[AzureTable]:
    """Give the table as others see it, with a row in it."""
    with by_connection_string(azurite.connection_string, name) as table:
        table.put(Entity("p", "there", {"n": 0}))
        yield table


@pytest.fixture
def far(proxy: Proxy, near: AzureTable, name: str) -> Iterator[AzureTable]:
    """Give the same table behind the proxy."""
    with by_connection_string(connection_string(table=proxy.url), name, _SOON) as table:
        yield table


def _insert(table: AzureTable) -> Any:
    return table.put(Entity("p", "new", {"n": 1}), unless_changed=True)


def _replace(table: AzureTable) -> Any:
    found = table.get("p", "there")
    assert found
    return table.put(Entity("p", "there", {"n": 1}, found.etag), unless_changed=True)


def _upsert(table: AzureTable) -> Any:
    return table.put(Entity("p", "there", {"n": 1}))


def _delete(table: AzureTable) -> Any:
    return table.delete("p", "there")


def _get(table: AzureTable) -> Any:
    return table.get("p", "there")


def _query(table: AzureTable) -> Any:
    return list(table.query("p"))


_CALLS: Final = [_insert, _replace, _upsert, _delete, _get, _query]
_BUSY: Final = [
    refused(503, "ServerBusy"),
    refused(503, "ServerBusy", Retry_After="0"),
    refused(429, "TooManyRequests"),
    refused(429, "TooManyRequests", Retry_After="0"),
    refused(500, "InternalError"),
    refused(502),
    refused(504, "OperationTimedOut"),
    refused(408, "RequestTimeout"),
]


def _rows(table: AzureTable) -> list[tuple[str, Any]]:
    return [(found.row, dict(found.values)) for found in table.query("p")]


@pytest.mark.parametrize("before", [0, 1], ids=["first request", "second request"])
@pytest.mark.parametrize("mishap", [LOST, CUT, *_BUSY], ids=["lost", "cut", *(f"{one.status}" for one in _BUSY)])
@pytest.mark.parametrize("call", _CALLS)
def test_tried_again(
    proxy: Proxy, far: AzureTable, near: AzureTable, call: Callable[[AzureTable], Any], mishap: Mishap, before: int
) -> None:
    """Whatever befalls a request once or twice, the call ends as if undisturbed, and its etag is the row's."""
    proxy.mishaps.extend([FINE] * before + [mishap] * 2)
    answer = call(far)
    proxy.mishaps.clear()
    expected: dict[Any, Any] = {
        _insert: [("new", {"n": 1}), ("there", {"n": 0})],
        _delete: [],
        _get: [("there", {"n": 0})],
    }
    expected[_query] = expected[_get]
    assert _rows(near) == expected.get(call, [("there", {"n": 1})])
    if isinstance(answer, Entity):
        assert near.get("p", answer.row) == answer
        near.put(answer, unless_changed=True)


@pytest.mark.parametrize("call", [_insert, _replace])
def test_lost_answer_of_a_conflict(
    proxy: Proxy, far: AzureTable, near: AzureTable, call: Callable[[AzureTable], Any]
) -> None:
    """Where the write whose answer was lost had been refused, it is a conflict, and changes nothing."""
    row = "new" if call is _insert else "there"
    late = Mishap(meanwhile=lambda: near.put(Entity("p", row, {"by": "other"})))
    if call is _insert:
        near.put(Entity("p", row, {"by": "other"}))
    proxy.mishaps.extend([LOST] if call is _insert else [late, LOST])
    with pytest.raises(ConflictError, match=f"^the row p {row} was changed by somebody else$"):
        call(far)
    found = near.get("p", row)
    assert found
    assert found.values == {"by": "other"}


@pytest.mark.parametrize("call", [_insert, _replace])
def test_third_writer(proxy: Proxy, far: AzureTable, near: AzureTable, call: Callable[[AzureTable], Any]) -> None:
    """A row that somebody wrote over before the lost answer was noticed is theirs: a conflict, and it stays so."""
    row = "new" if call is _insert else "there"
    lost = Mishap(answered=False, meanwhile=lambda: near.put(Entity("p", row, {"by": "other"})))
    proxy.mishaps.extend([lost] if call is _insert else [FINE, lost])
    with pytest.raises(ConflictError):
        call(far)
    found = near.get("p", row)
    assert found
    assert found.values == {"by": "other"}


def test_table_whose_making_lost_its_answer(azurite: Azurite, proxy: Proxy, name: str) -> None:
    """The first row of all is written though every answer on the way to it is lost once."""
    with by_connection_string(connection_string(table=proxy.url), name, _SOON) as table:
        proxy.mishaps.extend([LOST, FINE, LOST, FINE, LOST])
        written = table.put(Entity("p", "r", {"n": 1}), unless_changed=True)
    assert not proxy.mishaps
    with by_connection_string(azurite.connection_string, name) as table:
        assert list(table.query("p")) == [written]


def test_query_that_breaks_off(proxy: Proxy, far: AzureTable, near: AzureTable) -> None:
    """A query whose later page fails is an error, never a shorter answer."""
    for number in range(250):
        near.put(Entity("p", f"{number:03d}", {}))
    proxy.mishaps.extend([FINE, LOST])
    assert len(_rows(far)) == 251
    proxy.mishaps.append(FINE)
    proxy.always = refused(503, "ServerBusy")
    rows = far.query("p")
    with pytest.raises(ServiceError, match="503 ServerBusy"):
        list(rows)


@pytest.mark.parametrize("mishap", [refused(503, "ServerBusy"), refused(429, "TooManyRequests"), CUT, LOST])
@pytest.mark.parametrize("call", [_insert, _upsert, _delete, _get, _query])
def test_patience_ends(proxy: Proxy, far: AzureTable, call: Callable[[AzureTable], Any], mishap: Mishap) -> None:
    """What goes on is an error after four tries, and says that it was tried."""
    proxy.always = mishap
    with pytest.raises(ServiceError, match=r"tried repeatedly(: .*)?; try again later$"):
        call(far)
    assert len(proxy.seen) == 4


def test_no_answer_in_time(proxy: Proxy, azurite: Azurite, name: str) -> None:
    """An answer that takes too long is not waited for."""
    proxy.always = Mishap(forwarded=False, status=200, pause=0.3)
    with by_connection_string(connection_string(table=proxy.url), name, {**_AT_ONCE, "read_timeout": 0.1}) as table:
        match = r"did not answer, tried repeatedly: .*[Tt]imed? ?out"
        with pytest.raises(ServiceError, match=match):
            table.get("p", "r")
    assert len(proxy.seen) == 2


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            refused(403, "AuthorizationPermissionMismatch"),
            "give the identity the role Storage Table Data Contributor on the storage account",
        ),
        (
            refused(403, "AuthorizationFailure"),
            "its firewall keeps the app out, or the identity lacks the role Storage Table Data Contributor",
        ),
        (
            refused(403, "AuthenticationFailed"),
            "check the account key, the SAS's expiry, or that the identity is of the account's tenant",
        ),
        (
            refused(403, "KeyBasedAuthenticationNotPermitted"),
            "it takes no keys; connect by identity, AzureWebJobsStorage__tableServiceUri",
        ),
        (refused(401), "give the identity the role Storage Table Data Contributor on the storage account"),
        (refused(409, "TableBeingDeleted"), "somebody is deleting it; try again in a minute"),
        (refused(404, "InvalidUri"), "InvalidUri."),
        (refused(400, "InvalidInput"), "InvalidInput."),
    ],
)
@pytest.mark.parametrize("call", [_insert, _upsert, _delete, _get, _query])
def test_refusals(
    proxy: Proxy, far: AzureTable, call: Callable[[AzureTable], Any], answer: Mishap, told: str, name: str
) -> None:
    """A refusal is one line that names the table, the answer and what to do; it is not asked again."""
    if call is _delete and answer.status == 404:
        return  # the client takes any 404 for a row that is not there
    proxy.always = answer
    with pytest.raises(ServiceError) as caught:
        call(far)
    answered = f"answered {answer.status} {answer.code}".rstrip()
    assert str(caught.value) == f"the table {name} at {proxy.url} {answered}: {told}"
    assert isinstance(caught.value.__cause__, AzureError)
    assert not isinstance(caught.value, ConflictError)
    assert len(proxy.seen) <= 2


@pytest.mark.parametrize("kind", ["text/html", "application/json"])
@pytest.mark.parametrize("status", [200, 404, 409])
@pytest.mark.parametrize("call", [_insert, _upsert, _get, _query])
def test_answer_of_something_else(
    proxy: Proxy, far: AzureTable, call: Callable[[AzureTable], Any], status: int, kind: str
) -> None:
    """What answers in the service's place, as a sign-in page does, is an error, neither no row nor a conflict."""
    page = b"<html><body>Sign in</body></html>"
    proxy.always = Mishap(forwarded=False, status=status, content=page, headers={"Content-Type": kind})
    with pytest.raises(ServiceError, match=rf"^the table \w+ at {proxy.url} ") as caught:
        call(far)
    assert not isinstance(caught.value, ConflictError)


@pytest.mark.parametrize("call", [_insert, _upsert])
def test_table_that_can_not_be_made(proxy: Proxy, far: AzureTable, call: Callable[[AzureTable], Any]) -> None:
    """Where there still is no table once it was made, that is no conflict about a row, and not tried for ever."""
    proxy.mishaps.extend([refused(404, "TableNotFound"), FINE])
    proxy.always = refused(404, "TableNotFound")
    with pytest.raises(ServiceError, match="answered 404 TableNotFound") as caught:
        call(far)
    assert not isinstance(caught.value, ConflictError)
    assert len(proxy.seen) == 3


@pytest.mark.parametrize("call", [_insert, _upsert])
def test_table_that_is_being_deleted(proxy: Proxy, far: AzureTable, call: Callable[[AzureTable], Any]) -> None:
    """A table that can't be made again yet is no conflict about a row."""
    proxy.mishaps.extend([refused(404, "TableNotFound"), refused(409, "TableBeingDeleted")])
    with pytest.raises(ServiceError, match=r"answered 409 TableBeingDeleted: somebody is deleting it") as caught:
        call(far)
    assert not isinstance(caught.value, ConflictError)
