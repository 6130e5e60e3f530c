"""Sentinel misbehaves, or the process is killed: a delivery repeated ends where an undisturbed one does."""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.core.rest import HttpRequest
from azure.identity import CredentialUnavailableError

from rare_audit.errors import RefusedError, ServiceError
from rare_audit.places import parse_workspace
from rare_audit.reporting.incident import Incident
from rare_audit.reporting.sentinel_bodies import mark as mark_of
from rare_audit.sinks.arm import Arm
from rare_audit.sinks.patience import Patience
from rare_audit.sinks.sentinel import Sentinel
from tests.azure.sentinel_rules import RefusalError
from tests.azure.sentinel_server import BASE, GROUP, SUBSCRIPTION, WORKSPACE, WORKSPACE_ID
from tests.azure.sentinel_state import Fault, Workspace
from tests.fakes import Killed
from tests.sinks.sentinel_world import ONE, SECRET, THREE, TWO, Credential, World, incident, worlds

FIRST: Final = incident(ONE)
BOTH: Final = incident(ONE, TWO)
ALL: Final = incident(ONE, TWO, THREE)
ID: Final = FIRST.id


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One server for all tests here."""
    with worlds(tmp_path_factory.mktemp("tls")) as world:
        yield world


@pytest.fixture
def world(served: World) -> World:
    """Return the server with nothing in it."""
    _empty(served)
    served.credential = Credential()
    return served


def _empty(world: World) -> None:
    world.server.workspace = Workspace()
    world.server.denied = set()
    world.server.forget()
    world.time.waits.clear()


# Killed anywhere


def _nothing(world: World) -> str:
    return ""


def _open(world: World) -> str:
    return world.sentinel().deliver(FIRST, "")


def _touched(world: World) -> str:
    memo = _open(world)
    world.server.workspace.edit(ID, severity="Low", title="Case 7")
    return memo


def _closed(world: World) -> str:
    memo = _open(world)
    world.server.workspace.close(ID)
    return memo


def _followed(world: World) -> str:
    memo = world.sentinel().deliver(BOTH, _closed(world))
    (follow_up,) = set(world.server.workspace.incidents) - {ID}
    world.server.workspace.close(follow_up)
    return memo


def _deleted(world: World) -> str:
    memo = _open(world)
    world.server.workspace.delete(ID)
    return memo


def _no_bookmarks(world: World) -> str:
    world.server.denied = {"bookmarks"}
    return ""


Before = Callable[[World], str]
BEFORE: Final = [
    (_nothing, BOTH),
    (_open, BOTH),
    (_touched, BOTH),
    (_closed, BOTH),
    (_followed, ALL),
    (_deleted, BOTH),
    (_no_bookmarks, BOTH),
]
"""How the workspace stands, and what is to be delivered to it."""
situations: Final = pytest.mark.parametrize(
    ("before", "wanted"), BEFORE, ids=[each.__name__.strip("_") for each, _ in BEFORE]
)


def _undisturbed(world: World, before: Before, wanted: Incident = BOTH) -> tuple[dict[str, Any], str, int]:
    """Return what is kept in the end, the memo, and how many requests it took."""
    memo = before(world)
    world.server.forget()
    memo = world.sentinel().deliver(wanted, memo)
    count = len(world.server.requests)
    contents = world.server.workspace.contents()
    _empty(world)
    return contents, memo, count


@situations
@pytest.mark.parametrize("after", [False, True], ids=["not sent", "done and answered"])
def test_killed_at_each_request(before: Before, wanted: Incident, after: bool, world: World) -> None:
    """The process dies at each request in turn; the next one has the old memo, and nothing is lost or doubled."""
    expected, expected_memo, count = _undisturbed(world, before, wanted)
    assert count > 0
    for at in range(1, count + 1):
        memo = before(world)
        with pytest.raises(Killed):
            world.sentinel(at=at, after=after).deliver(wanted, memo)
        memo = world.sentinel().deliver(wanted, memo)
        assert world.server.workspace.contents() == expected, at
        assert memo == expected_memo, at
        _empty(world)


@situations
@pytest.mark.parametrize("applied", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("patience", [0.0, 60.0], ids=["next run", "same run"])
def test_dropped_at_each_request(
    before: Before, wanted: Incident, applied: bool, patience: float, world: World
) -> None:
    """A connection is lost at each request, done or not; the same run mends it, or the next one does."""
    expected, expected_memo, count = _undisturbed(world, before, wanted)
    for at in range(1, count + 1):
        memo = before(world)
        world.server.forget()
        world.server.faults[at] = Fault(applied=applied)
        if patience:
            memo = world.sentinel(patience=patience).deliver(wanted, memo)
        else:
            with pytest.raises(ServiceError):
                world.sentinel(patience=patience).deliver(wanted, memo)
            memo = world.sentinel().deliver(wanted, memo)
        assert world.server.workspace.contents() == expected, at
        assert memo == expected_memo, at
        _empty(world)


@pytest.mark.parametrize("before", [_nothing, _open, _touched, _closed], ids=lambda each: each.__name__.strip("_"))
def test_killed_and_found_more_since(before: Before, world: World) -> None:
    """Killed at each request, then more is found before the next run: every finding is told exactly once."""
    _, _, count = _undisturbed(world, before)
    for at in range(1, count + 1):
        memo = before(world)
        with pytest.raises(Killed):
            world.sentinel(at=at, after=True).deliver(BOTH, memo)
        world.sentinel().deliver(ALL, memo)
        messages = [each for those in world.server.workspace.contents()["comments"].values() for each in those.values()]
        told = [mark for each in messages for mark in each["message"].rpartition("Finding ids: ")[2].split()]
        assert sorted(told) == sorted(map(mark_of, ALL.findings)), at
        assert sum(map(len, world.server.workspace.relations.values())) == 3, at
        assert len(world.server.workspace.incidents) == (2 if before is _closed else 1), at
        _empty(world)


# Answers that may be better next time

PASSING: Final = [
    *(Fault(status) for status in (408, 409, 412, 429, 500, 502, 503, 504)),
    Fault(429, {"Retry-After": "7"}),
    Fault(503, {"Retry-After": "7"}),
    Fault(502, applied=True),
    Fault(500, applied=True),
    Fault(cut=True),
    Fault(garbage=b"<html>proxy</html>"),
    Fault(garbage=b'{"properties": []}'),
    Fault(garbage=b"\xff"),
]


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_passing_faults_at_each_request(fault: Fault, world: World) -> None:
    """Each request in turn is answered so once; the delivery ends as an undisturbed one."""
    expected, expected_memo, count = _undisturbed(world, _open)
    for at in range(1, count + 1):
        memo = _open(world)
        world.server.forget()
        world.server.faults[at] = fault
        assert world.sentinel().deliver(BOTH, memo) == expected_memo, at
        assert world.server.workspace.contents() == expected, at
        assert len(world.time.waits) == 1
        if fault.headers:
            assert world.time.waits == [7]
        _empty(world)


def test_slow_answer(world: World) -> None:
    """An answer that takes too long is given up, and what it wrote is found."""
    expected, expected_memo, _ = _undisturbed(world, _nothing)
    world.server.faults[2] = Fault(seconds=0.4)
    memo = world.sentinel(read_timeout=0.2).deliver(BOTH, "")
    assert (world.server.workspace.contents(), memo) == (expected, expected_memo)
    assert len(world.time.waits) >= 1


@pytest.mark.parametrize("fault", [fault for fault in PASSING if not fault.headers], ids=str)
def test_faults_without_end(fault: Fault, world: World) -> None:
    """Where every request is answered so, the delivery fails within its patience, in one line, and heals later."""
    expected, _, _ = _undisturbed(world, _nothing)
    world.server.always = fault
    with pytest.raises(ServiceError) as raised:
        world.sentinel().deliver(BOTH, "")
    assert 5 <= len(world.time.waits) <= 12
    assert sum(world.time.waits) <= 60
    _assert_one_safe_line(raised.value)
    world.server.forget()
    world.sentinel().deliver(BOTH, "")
    assert world.server.workspace.contents() == expected


def test_waits_grow_and_differ(world: World) -> None:
    """Each wait is about twice the one before, and not the same for all."""
    world.server.always = Fault(503)
    runs = []
    for _ in range(3):
        world.time.waits.clear()
        with pytest.raises(ServiceError):
            world.sentinel().deliver(FIRST, "")
        runs.append(tuple(world.time.waits))
    assert len(set(runs)) == 3
    for waits in runs:
        for wait, most in zip(waits, (0.5, 1, 2, 4, 8, 16, 16, 16, 16), strict=False):
            assert most / 2 <= wait <= most


@pytest.mark.parametrize("status", [429, 503])
def test_asked_to_wait_too_long(status: int, world: World) -> None:
    """A wait past all patience is not begun."""
    world.server.always = Fault(status, {"Retry-After": "3600"})
    with pytest.raises(ServiceError, match=str(status)):
        world.sentinel().deliver(FIRST, "")
    assert world.time.waits == []
    assert len(world.server.requests) == 1


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        (" 7 ", 7, 7),
        ("0", 0.25, 0.5),
        ("-5", 0.25, 0.5),
        ("soon", 0.25, 0.5),
        ("", 0.25, 0.5),
        (format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True), 3600, 7200),
        (format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True), 0.25, 0.5),
    ],
    ids=[
        "seconds",
        "blanks",
        "none",
        "negative",
        "words",
        "empty",
        "date to come",
        "date gone by",
    ],  # dates differ by worker
)
def test_retry_after(header: str, least: float, most: float, world: World) -> None:
    """Seconds and dates are honoured; anything else is no reason to hurry, nor to fail."""
    world.server.faults[1] = Fault(429, {"Retry-After": header})
    world.sentinel(patience=10_000).deliver(FIRST, "")
    (wait,) = world.time.waits
    assert least <= wait <= most


# Answers that won't get better


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (
            401,
            f"needs the role Microsoft Sentinel Responder on the resource group {GROUP} (subscription {SUBSCRIPTION})",
        ),
        (
            403,
            f"needs the role Microsoft Sentinel Responder on the resource group {GROUP} (subscription {SUBSCRIPTION})",
        ),
        (404, f"SENTINEL_WORKSPACE_RESOURCE_ID: in the resource group {GROUP}"),
        (400, "was answered 400 Fault400: scripted"),
        (405, "was answered 405"),
        (302, "was answered 302"),
    ],
)
def test_refused_at_once(status: int, said: str, world: World) -> None:
    """What repeating won't change is not repeated, and the error says what to do."""
    world.server.always = Fault(status)
    with pytest.raises(RefusedError) as raised:
        world.sentinel().deliver(FIRST, "")
    assert said in str(raised.value)
    assert raised.value.status == status
    assert world.time.waits == []
    _assert_one_safe_line(raised.value)


def test_incidents_not_allowed(world: World) -> None:
    """An identity that may only read is told which role it lacks."""
    world.server.denied = {"incidents"}
    with pytest.raises(ServiceError, match="Microsoft Sentinel Responder on the resource group"):
        world.sentinel().deliver(FIRST, "")


def test_wrong_workspace(world: World) -> None:
    """One that isn't there is told apart from an incident that isn't, and named."""
    text = WORKSPACE_ID.replace(WORKSPACE, "elsewhere")
    arm = Arm(
        parse_workspace(text), lambda: world.credential, endpoint=world.server.endpoint, transport=world.transport()
    )
    with pytest.raises(ServiceError, match="there is no workspace elsewhere"):
        Sentinel(arm).deliver(FIRST, "")


@pytest.mark.parametrize("kind", [ClientAuthenticationError, CredentialUnavailableError])
def test_no_token(kind: type[ClientAuthenticationError], world: World) -> None:
    """An identity that gets no token is told so in one line, without whatever it holds."""
    world.credential = Credential(kind(message=f"tried everything\nlast with Bearer {SECRET}\n{SECRET}"))
    with pytest.raises(ServiceError, match="no token for https://127") as raised:
        world.sentinel().deliver(FIRST, "")
    _assert_one_safe_line(raised.value)
    assert world.server.requests == []


def test_no_server(world: World) -> None:
    """A service that isn't there is tried while patience lasts."""
    waits: list[float] = []
    patience = Patience(5.0, waits.append, lambda: sum(waits))
    arm = Arm(
        parse_workspace(WORKSPACE_ID),
        lambda: world.credential,
        endpoint="https://127.0.0.1:9",
        patience=patience,
        transport=world.transport(),
    )
    with pytest.raises(ServiceError, match=r"https://127\.0\.0\.1:9 can't be reached") as raised:
        Sentinel(arm).deliver(FIRST, "")
    _assert_one_safe_line(raised.value)
    assert 2 <= len(waits) <= 5


def test_no_token_goes_over_plain_http(world: World) -> None:
    """An endpoint without TLS is refused before anything is sent."""
    endpoint = world.server.endpoint.replace("https", "http")
    arm = Arm(
        parse_workspace(WORKSPACE_ID),
        lambda: world.credential,
        endpoint=endpoint,
        patience=world.time.patience(0),
        transport=world.transport(),
    )
    with pytest.raises(ServiceError, match="not permitted for non-TLS"):
        Sentinel(arm).deliver(FIRST, "")
    assert world.server.requests == []


def test_next_page_on_another_host(world: World) -> None:
    """A list that goes on elsewhere is not followed: the token is for this host."""
    memo = _open(world)
    page = b'{"value": [], "nextLink": "https://evil.example/?api-version=2025-09-01"}'
    world.server.forget()
    world.server.faults[2] = Fault(garbage=page)
    with pytest.raises(ServiceError, match="another host"):
        world.sentinel().deliver(BOTH, memo)


# The stand-in itself

_INCIDENT: Final = {"title": "t", "severity": "High", "status": "New"}
_BOOKMARK: Final = {"displayName": "d", "query": "q"}


@pytest.mark.parametrize(
    ("method", "path", "properties", "status"),
    [
        ("PUT", "incidents/i?api-version=2025-09-01", _INCIDENT, 200),
        ("PUT", "incidents/j?api-version=2025-09-01", _INCIDENT, 201),
        ("PUT", "incidents/i", _INCIDENT, 400),
        ("PUT", "incidents/i?api-version=2019-01-01", _INCIDENT, 400),
        ("PUT", "incidents?api-version=2025-09-01", _INCIDENT, 405),
        ("PATCH", "incidents/i?api-version=2025-09-01", _INCIDENT, 405),
        ("GET", "incidents/k?api-version=2025-09-01", None, 404),
        ("GET", "alerts/k?api-version=2025-09-01", None, 404),
        ("PUT", "incidents/i?api-version=2025-09-01", None, 400),
        ("PUT", "incidents/i?api-version=2025-09-01", {"severity": "High", "status": "New"}, 400),
        ("PUT", "incidents/i?api-version=2025-09-01", _INCIDENT | {"severity": "Critical"}, 400),
        ("PUT", "incidents/i?api-version=2025-09-01", _INCIDENT | {"status": "Open"}, 400),
        ("PUT", "incidents/i?api-version=2025-09-01", _INCIDENT | {"description": "x" * 5_001}, 400),
        ("PUT", "incidents/i?api-version=2025-09-01", _INCIDENT | {"description": "\U0001f600" * 2_501}, 400),
        ("PUT", "incidents/i?api-version=2025-09-01", _INCIDENT | {"firstActivityTimeUtc": "today"}, 400),
        ("PUT", "incidents/i?api-version=2025-09-01", _INCIDENT | {"labels": ["x"]}, 400),
        ("PUT", "incidents/i?api-version=2025-09-01", _INCIDENT | {"title": "\ud800"}, 400),
        ("PUT", "incidents/i/comments/c?api-version=2025-09-01", {"message": "x" * 30_000}, 201),
        ("PUT", "incidents/i/comments/c?api-version=2025-09-01", {"message": "x" * 30_001}, 400),
        ("PUT", "incidents/i/comments/c?api-version=2025-09-01", {}, 400),
        ("PUT", "incidents/k/comments/c?api-version=2025-09-01", {"message": "x"}, 404),
        ("PUT", "bookmarks/c?api-version=2025-09-01", _BOOKMARK, 201),
        ("PUT", "bookmarks/c?api-version=2025-09-01", _BOOKMARK | {"tactics": []}, 400),
        ("PUT", "bookmarks/c?api-version=2025-07-01-preview", _BOOKMARK | {"tactics": ["Impact"]}, 201),
        ("PUT", "bookmarks/c?api-version=2025-07-01-preview", _BOOKMARK | {"tactics": ["Mischief"]}, 400),
        ("PUT", "bookmarks/c?api-version=2025-09-01", {"displayName": "d"}, 400),
        ("PUT", "incidents/i/relations/rel?api-version=2025-09-01", {"relatedResourceId": f"{BASE}/bookmarks/b"}, 201),
        ("PUT", "incidents/i/relations/r_l?api-version=2025-09-01", {"relatedResourceId": f"{BASE}/bookmarks/b"}, 400),
        ("PUT", "incidents/i/relations/rel?api-version=2025-09-01", {"relatedResourceId": f"{BASE}/bookmarks/x"}, 404),
    ],
)
def test_stand_in_refuses_what_the_service_does(
    method: str, path: str, properties: dict[str, Any] | None, status: int, world: World
) -> None:
    """Required fields, enumerations, lengths, names, versions, methods and routes."""
    world.server.answer("PUT", f"{BASE}/incidents/i?api-version=2025-09-01", _body(_INCIDENT))
    world.server.answer("PUT", f"{BASE}/bookmarks/b?api-version=2025-09-01", _body(_BOOKMARK))
    try:
        answered, _ = world.server.answer(method, f"{BASE}/{path}", _body(properties))
    except RefusalError as refusal:
        answered = refusal.status
    assert answered == status


def test_stand_in_wants_etags_that_are_new(world: World) -> None:
    """An etag in a body has to be the last one, which a comment changes too; a body may go without."""
    path = f"{BASE}/incidents/i?api-version=2025-09-01"
    _, made = world.server.answer("PUT", path, _body(_INCIDENT))
    world.server.answer("PUT", f"{BASE}/incidents/i/comments/c?api-version=2025-09-01", _body({"message": "m"}))
    with pytest.raises(RefusalError, match="Newer version of resource 'i' exists") as raised:
        world.server.answer("PUT", path, json.dumps({"etag": made["etag"], "properties": _INCIDENT}).encode())
    assert raised.value.status == 409
    assert world.server.answer("PUT", path, _body(_INCIDENT))[0] == 200


def test_stand_in_wants_a_token(world: World) -> None:
    """Without a bearer token nothing is answered."""
    request = HttpRequest("GET", f"{world.server.endpoint}{BASE}/incidents?api-version=2025-09-01")
    assert world.transport().send(request).status_code == 401


def _body(properties: dict[str, Any] | None) -> bytes:
    return json.dumps({} if properties is None else {"properties": properties}).encode()


# Secrets


def test_no_secret_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The token is in no error, no log, no memo and nothing that is written, though the service may echo it."""
    with caplog.at_level(logging.DEBUG):
        memo = world.sentinel().deliver(BOTH, "")
        world.server.always = Fault(400, {"X-Echo": SECRET})
        with pytest.raises(ServiceError) as raised:
            world.sentinel().deliver(ALL, memo)
    assert SECRET not in caplog.text
    assert SECRET not in memo
    assert SECRET not in str(world.server.workspace.contents())
    _assert_one_safe_line(raised.value)


@pytest.mark.parametrize("echo", [f"the token {SECRET} is no good", f"Authorization: Bearer {SECRET[3:]}"])
def test_echoed_secret(echo: str, world: World) -> None:
    """What the service says is shown without tokens in it, in one harmless line."""
    message = f"{echo}\\n\\u001b[31m\\u202e{'x' * 5000}"
    world.server.always = Fault(garbage=f'{{"error": {{"code": "C", "message": "{message}"}}}}'.encode(), status=403)
    with pytest.raises(ServiceError) as raised:
        world.sentinel().deliver(FIRST, "")
    _assert_one_safe_line(raised.value)
    assert "[removed]" in str(raised.value)


def _assert_one_safe_line(error: BaseException) -> None:
    text = str(error)
    assert SECRET[3:] not in text
    assert text.isprintable()
    assert len(text) < 800
    assert BASE not in text
