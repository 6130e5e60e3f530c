"""Ingestion misbehaves, or the process is killed: an upload repeated leaves what an undisturbed one does.

A row may be there twice then, never with another id or revision, and never is one missing.
"""

import gzip
import json
import logging
from collections.abc import Iterator
from typing import Any, Final

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import CredentialUnavailableError

from rare_audit.errors import RefusedError, ServiceError
from rare_audit.reporting.finding_rows import STREAM, FindingRow
from tests.azure.gate import Action, Answer, Passing, answering, dropping, waiting
from tests.azure.ingestion_server import RULE_ID
from tests.fakes import Killed
from tests.sinks.findings_table_world import World, ids, rows, worlds
from tests.sinks.sentinel_world import SECRET, Credential

MANY: Final = rows(*map(str, range(1_500)))
"""Rows of two requests."""
SERVICE: Final = "ingestion"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One server for all tests here."""
    with worlds(tmp_path_factory.mktemp("tls")) as world:
        yield world


@pytest.fixture
def world(served: World) -> World:
    """Return the server with nothing in it."""
    served.renew()
    return served


def _assert_all_there(world: World, of: tuple[FindingRow, ...] = MANY) -> None:
    """Collapsed by id and revision, the rows are those that were to be uploaded."""
    assert list(dict.fromkeys(world.told())) == ids(of)
    by_key = {(each["FindingId"], each["Revision"]): each["Headline"] for each in world.server.rows}
    assert len(by_key) == len(of)


def _upload_until_it_fails(world: World, **options: Any) -> str:
    """Upload, and return the last memo that the job would have recorded when it failed or died."""
    memo = ""
    try:
        for part in world.sink(**options).upload(MANY, ""):
            memo = part.memo
    except (Killed, ServiceError):
        return memo
    raise AssertionError("it did not fail")


@pytest.mark.parametrize("after", [False, True], ids=["not sent", "done and answered"])
def test_killed_at_each_request(after: bool, world: World) -> None:
    """The process dies at each request; the next one has the last memo, and at most one part is there twice."""
    for at in (1, 2):
        memo = _upload_until_it_fails(world, at=at, after=after)
        world.upload(MANY, memo)
        _assert_all_there(world)
        assert len(world.server.parts) == (3 if after else 2)
        world.renew()


@pytest.mark.parametrize("applied", [False, True], ids=["not done", "done"])
@pytest.mark.parametrize("patience", [0.0, 60.0], ids=["next run", "same run"])
def test_dropped_at_each_request(applied: bool, patience: float, world: World) -> None:
    """A connection is lost at each request, done or not; the same run mends it, or the next one does."""
    for at in (1, 2):
        world.server.gate.at(at, dropping, service=SERVICE, applied=applied)
        if patience:
            world.upload(MANY)
        else:
            world.upload(MANY, _upload_until_it_fails(world, patience=0))
        _assert_all_there(world)
        assert len(world.server.parts) == (3 if applied else 2)
        world.renew()


PASSING: Final = [
    *(answering(status) for status in (408, 429, 500, 502, 503, 504)),
    lambda _: Answer(500, b"<html>proxy</html>"),
    lambda _: Answer(503, b"\xff"),
]


@pytest.mark.parametrize("number", range(len(PASSING)))
def test_passing_answers_at_each_request(number: int, world: World) -> None:
    """Each request in turn is answered so once; nothing is lost or there twice."""
    for at in (1, 2):
        world.server.gate.at(at, PASSING[number], service=SERVICE)
        world.upload(MANY)
        assert world.told() == ids(MANY)
        assert len(world.time.waits) == 1
        world.renew()


@pytest.mark.parametrize("number", range(len(PASSING)))
def test_passing_answers_without_end(number: int, world: World) -> None:
    """Where every request is answered so, the upload fails within its patience, in one line, and heals later."""
    world.server.gate.upon(PASSING[number], service=SERVICE)
    with pytest.raises(ServiceError) as raised:
        world.upload(MANY)
    assert 5 <= len(world.time.waits) <= 12
    assert sum(world.time.waits) <= 60
    _assert_one_safe_line(raised.value)
    world.server.gate.forget()
    world.upload(MANY)
    assert world.told() == ids(MANY)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(status: int, world: World) -> None:
    """The service says how long to wait, and it is waited for, unless it is past all patience."""
    world.server.gate.at(1, answering(status, Retry_After="7"), service=SERVICE)
    world.upload(MANY)
    assert world.time.waits == [7]
    world.renew()
    world.server.gate.upon(answering(status, Retry_After="3600"), service=SERVICE)
    with pytest.raises(ServiceError, match=str(status)):
        world.upload(MANY)
    assert (world.time.waits, world.server.gate.count(SERVICE)) == ([], 1)


def test_slow_answer(world: World) -> None:
    """An answer that takes too long is given up; what it wrote is there twice, and told apart by nothing."""
    world.server.gate.at(1, waiting(0.5), service=SERVICE, applied=True)
    world.upload(MANY, read_timeout=0.2)
    _assert_all_there(world)


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (answering(401), f"needs the role Monitoring Metrics Publisher on the data collection rule {RULE_ID}"),
        (answering(403), f"needs the role Monitoring Metrics Publisher on the data collection rule {RULE_ID}"),
        (answering(404), "RARE_AUDIT_INGESTION_RULE_ID, RARE_AUDIT_INGESTION_ENDPOINT: at https://127.0.0.1"),
        (answering(302, Location="https://evil.example/"), "was answered 302"),
        (lambda _: Answer(200, b"{}"), "was answered 200"),
    ],
)  # fmt: skip
def test_refused_at_once(action: Action, said: str, world: World) -> None:
    """What repeating won't change is not repeated, and the error says what to do; what went before is recorded."""
    world.server.gate.at(2, action, service=SERVICE)
    parts = world.sink().upload(MANY, "")
    memo = next(parts).memo
    with pytest.raises(RefusedError) as raised:
        next(parts)
    assert said in str(raised.value)
    assert world.time.waits == []
    _assert_one_safe_line(raised.value)
    world.upload(MANY, memo)
    assert world.told() == ids(MANY)


@pytest.mark.parametrize("status", [400, 413])
def test_refused_for_its_size(status: int, world: World) -> None:
    """A part that is refused for what it holds goes in halves, and no row is left out."""
    world.server.gate.at(2, answering(status), service=SERVICE)
    parts = list(world.sink().upload(MANY, ""))
    assert (sum(part.rows for part in parts), [part.refused for part in parts if part.refused]) == (len(MANY), [])
    assert world.told() == ids(MANY)
    assert world.time.waits == []


def test_one_row_is_refused(world: World) -> None:
    """All others are there, also those of the same part; it is named with the reason, and never sent alone again."""
    bad, advice = MANY[700].finding_id, f"the data collection rule should have the stream {STREAM} with the columns"
    world.server.refused = {bad}
    parts = list(world.sink().upload(MANY, ""))
    assert [told for part in parts for told in part.refused] == [
        f"{bad}: {advice} of this version: {RULE_ID} was answered 400 InvalidPayload: this row is refused"
    ]
    assert sorted(world.told()) == sorted(key for key in ids(MANY) if key[0] != bad)


def test_every_row_is_refused(world: World) -> None:
    """A rule that takes none is no fault of the rows: the upload fails, after few requests; nothing is recorded."""
    world.server.gate.upon(answering(400, "InvalidStream"), service=SERVICE)
    for few in (rows("a"), rows("a", "b"), MANY):
        with pytest.raises(
            RefusedError, match="the stream Custom-RareAuditFindings_CL with the columns of this version"
        ):
            list(world.sink().upload(few, ""))
    assert world.server.gate.count(SERVICE) < 50


def test_what_the_service_refuses(world: World) -> None:
    """The stand-in's own refusals: no role, no such rule."""
    world.server.denied = True
    with pytest.raises(RefusedError, match="Monitoring Metrics Publisher"):
        world.upload(MANY)
    with pytest.raises(RefusedError, match="there is no such data collection rule"):
        world.upload(MANY, rule_id=f"dcr-{'0' * 32}")
    assert world.server.rows == []


@pytest.mark.parametrize("kind", [ClientAuthenticationError, CredentialUnavailableError])
def test_no_token(kind: type[ClientAuthenticationError], world: World) -> None:
    """An identity that gets no token is told so in one line, without whatever it holds."""
    world.credential = Credential(kind(message=f"tried everything\nlast with Bearer {SECRET}\n{SECRET}"))
    with pytest.raises(RefusedError, match=r"no token for https://monitor\.azure\.com/\.default") as raised:
        world.upload(MANY)
    _assert_one_safe_line(raised.value)
    assert world.server.gate.count() == 0


def test_identity_that_answers_an_error(world: World) -> None:
    """An error of the identity's endpoint is not taken for one of the service."""
    answer = world.post(b"[]", path="/elsewhere")
    answer.request.url = "http://127.0.0.1:1/msi/token"
    for kind, told in ((ClientAuthenticationError, "no token"), (HttpResponseError, "gave no answer")):
        world.credential = Credential(kind(message="no identity", response=answer))
        with pytest.raises(ServiceError, match=told):
            world.upload(MANY, patience=0)


def test_no_server(world: World) -> None:
    """A service that isn't there is tried while patience lasts."""
    with pytest.raises(ServiceError, match=r"https://127\.0\.0\.1:9 can't be reached") as raised:
        world.upload(MANY, patience=5, endpoint="https://127.0.0.1:9")
    _assert_one_safe_line(raised.value)
    assert 2 <= len(world.time.waits) <= 5


def test_no_token_goes_over_plain_http(world: World) -> None:
    """An endpoint without TLS is refused before anything is sent."""
    with pytest.raises(ServiceError, match="not permitted for non-TLS"):
        world.upload(MANY, patience=0, endpoint=world.server.endpoint.replace("https", "http"))
    assert world.server.gate.count() == 0


def test_no_secret_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """No log line of any library, at any level, holds the token or a text of a finding, nor is any an error."""
    caplog.set_level(logging.DEBUG)
    echo = json.dumps({"error": {"code": "OperationFailed", "message": f"not for Bearer {SECRET}"}}).encode()
    world.server.gate.at(1, answering(503), service=SERVICE)
    world.server.gate.at(2, lambda _: Answer(403, echo), service=SERVICE)
    with pytest.raises(ServiceError) as raised:
        world.upload(MANY)
    _assert_one_safe_line(raised.value)
    world.server.gate.forget()
    world.upload(MANY)
    assert SECRET[3:] not in caplog.text
    assert "Backup Agent" not in caplog.text
    assert all(record.levelno < logging.WARNING for record in caplog.records)
    assert world.server.gate.count(SERVICE) == 2


# The stand-in itself


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, 204),
        ({"method": "PUT"}, 404),
        ({"target": "/dataCollectionRules"}, 404),
        ({"version": "2021-11-01-preview"}, 400),
        ({"rule": f"dcr-{'0' * 32}"}, 404),
        ({"stream": "Custom-Other_CL"}, 400),
        ({"body": b"{}"}, 400),
        ({"body": b"[1]"}, 400),
        ({"body": b'[{"Headline": "\\ud800"}]'}, 400),
        ({"body": b"[" + b" " * 1_000_000 + b"]"}, 413),
        ({"headers": {"Content-Encoding": "gzip"}}, 400),
        ({"headers": {"Content-Type": "text/plain"}}, 415),
        ({"headers": {"Authorization": "Basic x"}}, 401),
    ],
)
def test_stand_in_refuses_what_the_service_does(change: dict[str, Any], status: int, world: World) -> None:
    """Methods, routes, versions, rules, streams, bodies, sizes, types and tokens."""
    path = change.get(
        "target", f"/dataCollectionRules/{change.get('rule', RULE_ID)}/streams/"
        f"{change.get('stream', 'Custom-RareAuditFindings_CL')}",
    )  # fmt: skip
    answer = world.post(
        change.get("body", b"[{}]"),
        path=f"{path}?api-version={change.get('version', '2023-01-01')}",
        method=change.get("method", "POST"),
        **change.get("headers", {}),
    )
    assert answer.status_code == status
    if status != 204:
        assert json.loads(answer.content)["error"]["code"] == answer.headers["x-ms-error-code"]


def test_stand_in_unpacks_no_bomb(world: World) -> None:
    """A body that is small only while compressed is refused as well."""
    small, bomb = (gzip.compress(b"[" + b" " * size + b"{}]") for size in (900_000, 1_000_000))
    assert world.post(small, **{"Content-Encoding": "gzip"}).status_code == 204
    assert world.post(bomb, **{"Content-Encoding": "gzip"}).status_code == 413
    assert len(bomb) < 2_000


def _noting(seen: list[Passing]) -> Action:
    def action(passing: Passing) -> None:
        seen.append(passing)

    return action


def test_passing_is_seen(world: World) -> None:
    """The gate sees each upload by the service's name."""
    seen: list[Passing] = []
    world.server.gate.upon(_noting(seen), service=SERVICE)
    world.upload(MANY)
    assert [(each.method, each.path.rpartition("/")[2]) for each in seen] == [
        ("POST", "Custom-RareAuditFindings_CL")
    ] * 2  # fmt: skip


def _assert_one_safe_line(error: BaseException) -> None:
    text = str(error)
    assert SECRET[3:] not in text
    assert text.isprintable()
    assert len(text) < 800
