"""The Log Analytics source when the service misbehaves: a part never counts, and every error says what to do."""

import json
import logging
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

from rare_audit.detection.ticks import TICKS_PER_DAY, TICKS_PER_SECOND, day_ticks
from rare_audit.errors import ServiceError
from rare_audit.sources.log_analytics import REPEATED, LogAnalytics, Slice, _Slices
from rare_audit.sources.log_analytics_client import IncompleteAnswerError, Patience
from tests.azure.log_analytics_faults import (
    dripping,
    drop,
    echo,
    empty,
    html,
    partial,
    redirect,
    short_body,
    short_chunks,
    short_json,
    slow,
    stalled,
    status,
)
from tests.azure.log_analytics_server import WORKSPACE, Exchange, LogAnalyticsServer
from tests.azure.log_analytics_world import (
    TOKEN,
    Pauses,
    StaticCredential,
    ids,
    row,
    source,
    threads,
    wait_for,
    workspace,
)
from tests.azure.tls import Authority

FIRST = day_ticks("2026-03-01")
HOUR = TICKS_PER_DAY // 24
DAYS = 6
EVERYTHING = sorted(f"Directory_{number}" for number in range(24 * DAYS))
END = FIRST + DAYS * TICKS_PER_DAY

PASSING = {
    "408": status(408),
    "429": status(429),
    "429 Retry-After": status(429, retry_after="3"),
    "500": status(500),
    "502": status(502),
    "502 HTML": html(502),
    "503": status(503),
    "503 Retry-After that is no time": status(503, retry_after="soon"),
    "dropped connection": drop,
    "read timeout": slow(1.8),
    "read timeout within the answer": stalled(1.8),
}
TOO_MUCH = {
    "504": status(504),
    "504 HTML": html(504),
    "504 Retry-After": status(504, retry_after="1"),
    "200 without a body": empty(200),
    "fewer bytes than Content-Length says": short_body,
    "chunks without an end": short_chunks,
    "JSON without an end": short_json,
    "an error beside the tables": partial,
}
FINAL = {
    400: "refused the query",
    401: "token",
    403: "Log Analytics Reader or Microsoft Sentinel Reader",
    404: "LOG_ANALYTICS_WORKSPACE_ID",
    418: "418",
}


@pytest.fixture(scope="module")
def _server() -> Iterator[LogAnalyticsServer]:
    with workspace(row(FIRST + number * HOUR, number) for number in range(24 * DAYS)) as server:
        yield server


@pytest.fixture
def server(_server: LogAnalyticsServer) -> LogAnalyticsServer:
    """Return the stand-in, an event an hour in it, with nothing wrong."""
    assert wait_for(lambda: threads() == 0)
    _server.reset()
    return _server


def _fetch(server: LogAnalyticsServer, pauses: Pauses, patience: dict[str, Any] | None = None) -> list[str]:
    return ids(source(server, patience=pauses.patience(**(patience or {}))).events(FIRST, END))


@pytest.mark.parametrize("name", PASSING)
def test_what_passes_is_waited_for(server: LogAnalyticsServer, name: str) -> None:
    """The same slice is asked for again after a pause, and everything is there once."""
    pauses = Pauses()
    server.faults.append(PASSING[name])
    timeouts = {"server": 0, "silence": 1.0} if "timeout" in name else {}
    assert _fetch(server, pauses, timeouts) == EVERYTHING
    assert pauses.seconds
    assert len({asked.query for asked in server.asked}) == DAYS


def test_one_refused_token_is_no_end(server: LogAnalyticsServer) -> None:
    """A 401 in the middle of a run is asked again, once for each query; the next one is an error."""
    pauses = Pauses()
    server.faults.extend([slow(0), status(401)])
    assert _fetch(server, pauses) == EVERYTHING
    assert len(pauses.seconds) == 1
    server.faults.extend([status(401)] * 2)
    with pytest.raises(ServiceError, match="did not accept the identity's token"):
        source(server).coverage(FIRST, END)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(server: LogAnalyticsServer, code: int) -> None:
    """A service that sends its caller elsewhere is refused at once: nobody else is asked, over https or without."""
    for to in (f"{server.endpoint}/v1/elsewhere", "http://127.0.0.1:9/"):
        server.faults.append(redirect(code, to))
        server.asked.clear()
        with pytest.raises(ServiceError, match=f"Log Analytics refused .{code}"):
            source(server).coverage(FIRST, END)
        assert len(server.asked) == 1


def test_an_answer_that_drips_is_given_up(server: LogAnalyticsServer) -> None:
    """A byte every now and then is no silence: the budget of a query covers its answer to the last byte."""
    server.faults.extend([dripping(0.05, 100)] * 20)
    began = time.monotonic()
    with pytest.raises(ServiceError, match="gave no answer after"):
        source(server, patience=Patience(budget=1, first_pause=0.1, silence=1)).coverage(FIRST, END)
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_is_not_whole_is_asked_for_in_halves(server: LogAnalyticsServer, name: str) -> None:
    """Nothing of it counts: the halves bring everything, once."""
    pauses = Pauses()
    server.faults.append(TOO_MUCH[name])
    assert _fetch(server, pauses) == EVERYTHING
    assert pauses.seconds == []
    assert len({asked.query for asked in server.asked}) >= DAYS + 2


@pytest.mark.parametrize("name", TOO_MUCH)
def test_halving_ends_at_a_second(server: LogAnalyticsServer, name: str) -> None:
    """What is never whole fails in the end, and no event of it was given out."""
    server.faults.extend([TOO_MUCH[name]] * 1000)
    events = source(server).events(FIRST, FIRST + 60 * TICKS_PER_SECOND)
    with pytest.raises(ServiceError, match="a second or less"):
        next(events)
    assert len(server.asked) < 40


def test_a_second_too_full_fails_without_passing_for_data(server: LogAnalyticsServer) -> None:
    """Where one second holds more than an answer can, nothing of that second is given out."""
    server.most_rows = 0
    events = source(server).events(FIRST, FIRST + HOUR)
    with pytest.raises(ServiceError, match=r"2026-03-01T00:00:00.0000000Z to 2026-03-01T00:00:01.*record count limit"):
        next(events)


def test_time_runs_out_while_halving(server: LogAnalyticsServer) -> None:
    """Queries that each take all the time there is are not halved for ever."""
    pauses = Pauses()

    def lasting(exchange: Exchange) -> None:
        pauses.seconds.append(600)
        exchange.send(504, b"")

    server.faults.extend([lasting] * 1000)
    with pytest.raises(ServiceError, match="in time"):
        list(source(server, patience=pauses.patience(budget=1800)).events(FIRST, FIRST + TICKS_PER_DAY))
    assert len(server.asked) < 12


def test_the_first_half_has_no_more_time_than_the_whole_had() -> None:
    """The second starts afresh: by then there was an answer."""
    slices = _Slices(FIRST, FIRST + HOUR, HOUR)
    whole = slices.next(10)
    assert whole is not None
    slices.halve(whole, IncompleteAnswerError("cut"), 5)
    halves = [slices.next(99), slices.next(99)]
    middle = FIRST + HOUR // 2
    assert halves == [Slice(FIRST, middle, 10), Slice(middle, FIRST + HOUR, 99)]
    with pytest.raises(ServiceError, match="in time"):
        slices.halve(halves[0] or whole, IncompleteAnswerError("cut"), 11)


@pytest.mark.parametrize("code", FINAL)
def test_what_time_does_not_heal_fails_at_once(server: LogAnalyticsServer, code: int) -> None:
    """One attempt, two where a token was not accepted, and the error says what to do."""
    pauses = Pauses()
    server.faults.extend([status(code, message="the service's own words")] * (2 if code == 401 else 1))
    with pytest.raises(ServiceError, match=FINAL[code]) as caught:
        list(source(server, patience=pauses.patience()).events(FIRST, FIRST + TICKS_PER_DAY))
    assert "the service's own words" in str(caught.value)
    assert (len(server.asked), len(pauses.seconds)) == ((2, 1) if code == 401 else (1, 0))


def test_what_the_stand_in_refuses_by_itself(server: LogAnalyticsServer) -> None:
    """A token for something else, a workspace that may not be read, one that is not there, a query that is no KQL."""
    with pytest.raises(ServiceError, match="token"):
        list(_other(server, credential=lambda: StaticCredential("another")).events(FIRST, END))
    with pytest.raises(ServiceError, match="LOG_ANALYTICS_WORKSPACE_ID"):
        list(_other(server, workspace_id="00000000-0000-0000-0000-000000000000").events(FIRST, END))
    server.readable = False
    with pytest.raises(ServiceError, match="Sentinel Reader"):
        source(server).coverage(FIRST, END)
    server.readable = True
    assert server.answer(WORKSPACE, TOKEN, b'{"query":"AuditLogs | | take"}')[0] == 400
    assert b"SyntaxError" in server.answer(WORKSPACE, TOKEN, b'{"query":"AuditLogs | | take"}')[1]
    assert server.answer(WORKSPACE, TOKEN, b'{"timespan":"P1D"}')[0] == 400


def _other(
    server: LogAnalyticsServer, *, workspace_id: str = WORKSPACE, credential: Callable[[], Any] = StaticCredential
) -> LogAnalytics:
    return LogAnalytics(workspace_id, credential, endpoint=server.endpoint)


def test_the_stand_in_turns_a_sixth_query_away(server: LogAnalyticsServer) -> None:
    """Five queries of one identity run at a time."""
    server.faults.extend([slow(1)] * 6)
    context = ssl._create_unverified_context()  # noqa: S323 - the loopback address, and no token of worth
    request = urllib.request.Request(  # noqa: S310 - the stand-in's own address
        f"{server.endpoint}/v1/workspaces/{WORKSPACE}/query",
        data=json.dumps({"query": "AuditLogs | take 1"}).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )

    def ask(_: int) -> int:
        try:
            with urllib.request.urlopen(request, context=context) as response:  # noqa: S310 - as above
                return int(response.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    with ThreadPoolExecutor(7) as pool:
        codes = list(pool.map(ask, range(7)))
    assert sorted(codes) == [200] * 5 + [429] * 2


def test_pauses_grow_have_jitter_and_end_with_the_budget(server: LogAnalyticsServer) -> None:
    """A service that stays away is given up after the budget, not before and not after."""
    pauses = Pauses()
    server.faults.extend([status(503)] * 1000)
    with pytest.raises(ServiceError, match="no answer after"):
        list(source(server, patience=pauses.patience(budget=900)).events(FIRST, FIRST + HOUR))
    assert 800 < sum(pauses.seconds) <= 900
    steps = [1, 2, 4, 8, 16, 32, 60, 60]
    assert all(step / 2 <= pause <= step for step, pause in zip(steps, pauses.seconds, strict=False))
    assert len(set(pauses.seconds)) == len(pauses.seconds)


def test_retry_after_is_obeyed(server: LogAnalyticsServer) -> None:
    """No sooner than the service asked, whatever our own pause would be."""
    pauses = Pauses()
    server.faults.append(status(429, retry_after="77"))
    assert _fetch(server, pauses) == EVERYTHING
    assert 77 <= pauses.seconds[0] <= 78


def test_a_retry_after_past_the_budget_fails_at_once(server: LogAnalyticsServer) -> None:
    """There is no point in waiting for what will not be used."""
    pauses = Pauses()
    server.faults.append(status(429, retry_after="7200"))
    with pytest.raises(ServiceError, match="429"):
        list(source(server, patience=pauses.patience()).events(FIRST, FIRST + HOUR))
    assert pauses.seconds == []


def test_a_service_that_cant_be_reached_is_tried_until_the_budget_ends(server: LogAnalyticsServer) -> None:
    """Nobody listens there."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"https://127.0.0.1:{taken.getsockname()[1]}"
        pauses = Pauses()
        with pytest.raises(ServiceError, match="the connection failed"):
            list(source(server, endpoint=endpoint, patience=pauses.patience(budget=30)).events(FIRST, FIRST + HOUR))
    assert len(pauses.seconds) > 3


def test_an_untrusted_certificate_is_no_matter_of_time(
    server: LogAnalyticsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It fails at once and says which settings it may be."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(Authority(tmp_path).bundle))
    with pytest.raises(ServiceError, match=r"RARE_AUDIT_LOGS_ENDPOINT.*REQUESTS_CA_BUNDLE"):
        list(source(server).events(FIRST, END))
    assert server.asked == []


def test_an_identity_without_a_token_is_no_matter_of_time(server: LogAnalyticsServer) -> None:
    """What the identity library says is passed on."""

    class Refused(StaticCredential):
        def get_token(self, *scopes: str, **_: Any) -> AccessToken:
            raise ClientAuthenticationError(message="no managed identity\nhere")

    with pytest.raises(ServiceError, match="no token for Log Analytics: no managed identity"):
        list(_other(server, credential=Refused).events(FIRST, END))


def test_a_failure_ends_the_whole_fetch(server: LogAnalyticsServer) -> None:
    """The slices before may have been given out; the failure is never swallowed, and no thread stays."""
    server.faults.extend([slow(0)] * 3 + [status(403)])
    taken: list[str] = []
    with pytest.raises(ServiceError, match="403"):
        taken.extend(event.id or "" for event in source(server).events(FIRST, END))
    assert len(set(taken)) == len(taken) < len(EVERYTHING)
    assert wait_for(lambda: threads() == 0)


def test_many_faults_at_once(server: LogAnalyticsServer) -> None:
    """Every kind that heals, one after the other in one fetch: nothing lost, nothing doubled."""
    kinds = [*PASSING.items(), *TOO_MUCH.items()]
    server.faults.extend(fault for name, fault in kinds if "timeout" not in name)
    assert _fetch(server, Pauses()) == EVERYTHING
    assert not server.faults


def test_a_workspace_without_data(server: LogAnalyticsServer) -> None:
    """204 says that there is none: an answer of no rows, and nothing that is asked for in halves."""
    server.faults.extend([empty(204)] * (DAYS + 1))
    fetched = source(server)
    assert list(fetched.events(FIRST, END)) == []
    assert fetched.reading().events == 0
    assert fetched.coverage(FIRST, END) == {}
    assert len(server.asked) == DAYS + 1


def test_closing_does_not_wait_for_a_pause(server: LogAnalyticsServer) -> None:
    """A thread that is waiting to ask again ends when nobody wants its answer."""
    server.faults.extend([slow(0), *[status(429, retry_after="600")] * 5])
    events = source(server, patience=None).events(FIRST, END)
    next(events)
    assert wait_for(lambda: len(server.asked) >= 4)
    events.close()
    assert wait_for(lambda: threads() == 0)


@pytest.mark.parametrize("name", ["504", "504 HTML", "JSON without an end", "an error beside the tables"])
def test_coverage_is_asked_for_again_where_it_is_not_whole(server: LogAnalyticsServer, name: str) -> None:
    """It can't be halved; a few attempts, and then it fails."""
    server.faults.append(TOO_MUCH[name])
    assert len(source(server).coverage(FIRST, END)) == DAYS
    server.faults.extend([TOO_MUCH[name]] * (REPEATED + 1))
    with pytest.raises(IncompleteAnswerError):
        source(server).coverage(FIRST, END)
    assert not server.faults


@pytest.mark.parametrize("code", [400, 403, 429, 504])
def test_no_token_in_errors_or_logs(server: LogAnalyticsServer, code: int, caplog: pytest.LogCaptureFixture) -> None:
    """Not even where the service repeats it, at the most talkative log level, in the error or any of its causes."""
    caplog.set_level(logging.DEBUG)
    server.faults.extend([echo(code)] * 200)
    with pytest.raises(ServiceError) as caught:
        list(source(server, patience=Pauses().patience(budget=5)).events(FIRST, FIRST + 4 * TICKS_PER_SECOND))
    error: BaseException | None = caught.value
    texts = [caplog.text]
    while error is not None:
        texts += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    assert "[removed]" in "".join(texts)
    assert not [text for text in texts if any(part in text for part in TOKEN.split("."))]
