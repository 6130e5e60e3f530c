"""The HTTP API, without HTTP: what is asked, and what is answered."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rare_audit import api
from rare_audit.api.messages import HealthStatus
from rare_audit.ports import Entity
from rare_audit.records import State
from rare_audit.stores.findings import Findings
from tests.fakes import FailingTable
from tests.job_world import World, event
from tests.terminal import assert_nothing_obeyed

SUNDAY, MONDAY = "2026-03-15", "2026-03-16"
HOSTILE: Final = "[x](javascript:1) <script>\u202e \x1b[31m \ud800 =cmd|' /C'!A0"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Give a world in which an app with a hostile name did something for the first time."""
    return World(tmp_path / "outbox", [event(f"{SUNDAY}T03:00:00Z", HOSTILE.replace("\ud800", "\\ud800"), "Consent")])


def _post(world: World, body: Any) -> tuple[int, dict[str, Any], api.Answer]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = api.post_run(world.dispatch(), raw)
    return answer.status, json.loads(answer.body), answer


def _told(answer: api.Answer) -> Any:
    return json.loads(answer.body)


def test_post_a_date(world: World) -> None:
    """202, the run's id and where it can be looked at; the run waits, its message is sent."""
    status, told, answer = _post(world, {"date": SUNDAY, "reason": "late connector"})
    assert (status, told["state"]) == (202, "queued")
    assert answer.headers["Location"] == told["location"] == f"/api/runs/{told['id']}"
    assert "Retry-After" in answer.headers
    run = world.last_run()
    assert (run.id, run.first_day, run.last_day, run.reason, run.asked_by) == (
        told["id"], SUNDAY, SUNDAY, "late connector", "http",
    )  # fmt: skip
    assert world.queue.sent == [(run.id, 0)]


def test_post_a_range(world: World) -> None:
    """Both ends included; a dry run of whole days too."""
    assert _post(world, {"from": SUNDAY, "to": MONDAY, "dryRun": True})[0] == 202
    run = world.last_run()
    assert (run.first_day, run.last_day, run.dry_run, run.start) == (SUNDAY, MONDAY, True, "")


def test_post_bounds(world: World) -> None:
    """Only a dry run may have bounds of its own."""
    bounds = {"start": f"{SUNDAY}T08:00:00Z", "end": f"{MONDAY}T08:00:00+02:00"}
    assert _post(world, {**bounds, "dryRun": True})[0] == 202
    assert world.last_run().end == f"{MONDAY}T06:00:00.0000000Z"
    status, told, _ = _post(world, bounds)
    assert (status, told["field"]) == (400, "dryRun")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "date"),
        ({"date": SUNDAY, "from": SUNDAY, "to": SUNDAY}, "date"),
        ({"from": SUNDAY}, "to"),
        ({"to": SUNDAY}, "from"),
        ({"end": SUNDAY, "dryRun": True}, "start"),
        ({"date": "2026-03-17"}, "date"),
        ({"date": "2026-13-01"}, "date"),
        ({"date": "yesterday"}, "date"),
        ({"date": 7}, "date"),
        ({"date": ["2026-03-15"]}, "date"),
        ({"from": MONDAY, "to": SUNDAY}, "to"),
        ({"from": "2026-02-13", "to": MONDAY}, "to"),
        ({"from": "2026-02-3", "to": MONDAY}, "from"),
        ({"start": MONDAY, "end": SUNDAY, "dryRun": True}, "end"),
        ({"start": "x", "end": SUNDAY, "dryRun": True}, "start"),
        ({"date": SUNDAY, "dryRun": "yes"}, "dryRun"),
        ({"date": SUNDAY, "reason": 5}, "reason"),
        ({"date": SUNDAY, "reason": "x" * 501}, "reason"),
        ({"date": SUNDAY, "force": True}, "force"),
        ([], "body"),
        ("2026-03-15", "body"),
        (None, "body"),
    ],
)
def test_refused(world: World, body: Any, field: str) -> None:
    """400, a problem that names the field; no row, no message."""
    status, told, answer = _post(world, body)
    assert (status, told["field"], told["status"]) == (400, field, 400)
    assert told["detail"]
    assert answer.kind == "application/problem+json"
    assert (world.queue.sent, world.runs()) == ([], [])


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"date":"2026-03-15"} x', b" " * 20_000])
def test_no_json(world: World, body: bytes) -> None:
    """What is no JSON, or far too much of it, is 400 as well."""
    status, told, _ = _post(world, body)
    assert (status, world.queue.sent) == (400, [])
    assert told["title"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "the body is empty: .* in chunks, without a Content-Length"),
        (b" \r\n", "the body is empty"),
        (b'\xef\xbb\xbf{"date": "2026-03-15"}', "a byte-order mark of UTF-8"),
        ('{"date": "2026-03-15"}'.encode("utf-16"), "a byte-order mark of UTF-16"),
        ('\ufeff{"date": "2026-03-15"}'.encode("utf-16-be"), "a byte-order mark of UTF-16"),
        ('{"reason": "naïve"}'.encode("latin-1"), "perhaps it is Latin-1 .*: byte 15 is 0xEF; send JSON in UTF-8"),
        (b"date=2026-03-15", "the body is no JSON"),
    ],
)
def test_what_a_body_is_instead(world: World, body: bytes, said: str) -> None:
    """Whoever sent it learns what it is."""
    status, told, _ = _post(world, body)
    assert (status, told["title"]) == (400, "The request can't be read")
    assert re.search(said, told["detail"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["date", "from", "to", "start", "end", "dryRun", "reason"]),
        st.one_of(st.text(max_size=30), st.sampled_from([SUNDAY, MONDAY]), st.booleans(), st.none(), st.integers()),
    )
)
def test_any_body(world: World, body: dict[str, Any]) -> None:
    """Whatever is sent is taken or refused with a field, never an error of ours."""
    status, told, _ = _post(world, body)
    assert status == 202 or (status, bool(told["field"])) == (400, True)


def test_get_runs(world: World) -> None:
    """The latest first, as many as asked for."""
    for day in (SUNDAY, MONDAY):
        world.clock.advance(1)
        _post(world, {"date": day})
    told = _told(api.get_runs(world.dispatch()))
    assert [run["firstDay"] for run in told["runs"]] == [MONDAY, SUNDAY]
    assert len(_told(api.get_runs(world.dispatch(), "1"))["runs"]) == 1
    for count in ("0", "101", "-1", "x", "１", "9" * 9):
        answer = api.get_runs(world.dispatch(), count)
        assert (answer.status, _told(answer)["field"]) == (400, "count")


def test_get_run(world: World) -> None:
    """A run as it stands; while it has not ended, when to ask again."""
    _, told, _ = _post(world, {"date": SUNDAY})
    waiting = api.get_run(world.dispatch(), told["id"])
    assert (_told(waiting)["state"], "Retry-After" in waiting.headers) == ("queued", True)
    world.dispatch().take(json.dumps({"run": told["id"]}))
    done = api.get_run(world.dispatch(), told["id"])
    assert (_told(done)["state"], "Retry-After" in done.headers) == ("done", False)
    assert _told(done)["funnel"]["findings"] == 1
    assert len(_told(done)["coverage"]) == 15


@pytest.mark.parametrize("run_id", ["", "gone", "../x", "a/b", "x" * 5_000, HOSTILE, "' or 1 eq 1"])
def test_unknown_run(world: World, run_id: str) -> None:
    """404 for whatever is no run's id."""
    for ask in (api.get_run, api.get_findings):
        answer = ask(world.dispatch(), run_id)
        assert (answer.status, answer.kind) == (404, api.PROBLEM)


def test_get_findings(world: World) -> None:
    """What a run found, whole, in ASCII: nothing in a name can be obeyed by what shows it."""
    _, told, _ = _post(world, {"date": SUNDAY})
    assert _told(api.get_findings(world.dispatch(), told["id"])) == {
        "run": told["id"],
        "state": "queued",
        "total": 0,
        "next": None,
        "findings": [],
    }
    world.dispatch().take(json.dumps({"run": told["id"]}))
    answer = api.get_findings(world.dispatch(), told["id"])
    (only,) = _told(answer)["findings"]
    assert only["change"] == "new"
    assert only["kept"]["coverage"] == {"days": 14, "of": 14, "missing": []}
    assert "<script>" in only["kept"]["finding"]["InitiatedByApp"]
    assert answer.body.isascii()
    assert_nothing_obeyed(answer.body.decode())
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert world.last_run().state is State.DONE


def test_lone_surrogates_are_told(world: World) -> None:
    """A reason that is no Unicode text is refused or told back, but breaks nothing."""
    status, told, _ = _post(world, b'{"date":"2026-03-15","reason":"\\ud800"}')
    assert status in {202, 400}
    if status == 202:
        assert api.get_run(world.dispatch(), told["id"]).status == 200


@pytest.mark.parametrize(("health", "status"), [("never-run", 200), ("ok", 200), ("stale", 503), ("unknown", 503)])
def test_health(health: HealthStatus, status: int) -> None:
    """One word, and the status that a watcher goes by."""
    answer = api.health_answer(health)
    assert (answer.status, _told(answer)) == (status, {"status": health})


def test_cached() -> None:
    """Asked again within a minute, what was known is told; then it is looked up anew."""
    now, made = [0.0], list[float]()
    cached: api.Cached[str] = api.Cached("0", 60, lambda: now[0])

    def make() -> str:
        made.append(now[0])
        return f"{len(made)}"

    for at, expected in ((0, "1"), (59.9, "1"), (60, "2"), (61, "2"), (120, "3")):
        now[0] = at
        assert cached.get(make) == expected


def test_cached_keeps_nobody_waiting() -> None:
    """While one caller looks up, however slowly, all others get the last value at once; its age counts from the end."""
    now, going_on, others = [0.0], threading.Event(), list[str]()
    cached: api.Cached[str] = api.Cached("unknown", 60, lambda: now[0])

    def slow(value: str) -> str:
        others.extend(cached.get(lambda: "never made") for _ in range(30))
        now[0] += 90
        return value

    assert cached.get(lambda: slow("first")) == "first"
    assert others == ["unknown"] * 30
    now[0] += 59
    assert cached.get(lambda: "never made") == "first"
    others.clear()
    now[0] += 2
    thread = threading.Thread(target=lambda: cached.get(lambda: "second" if going_on.wait(10) else "late"))
    thread.start()
    assert {cached.get(lambda: "never made") for _ in range(100)} == {"first"}
    going_on.set()
    thread.join()
    assert cached.get(lambda: "never made") == "second"


def test_cached_lookup_that_fails() -> None:
    """What is raised reaches its caller, and the next one looks up again."""
    cached: api.Cached[str] = api.Cached("unknown", 60, lambda: 0)
    with pytest.raises(ZeroDivisionError):
        cached.get(lambda: str(1 // 0))
    assert cached.get(lambda: "well") == "well"


def test_findings_page_by_page(tmp_path: Path) -> None:
    """All pages together are all findings, each once, and reading them costs no more than once over all rows."""
    events = [
        event(f"{day}T03:00:00Z", f"App {number}", "Consent", principal=f"p{number}")
        for day, numbers in ((SUNDAY, range(600)), (MONDAY, range(600, 1_200)))
        for number in numbers
    ]
    world = World(tmp_path / "outbox", events)
    _, told, _ = _post(world, {"from": SUNDAY, "to": MONDAY})
    world.dispatch().take(json.dumps({"run": told["id"]}))
    counting = Counted(world.table)
    dispatch = world.dispatch(findings=Findings(counting))
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        answer = _told(api.get_findings(dispatch, told["id"], after))
        assert answer["total"] == 1_200
        assert len(answer["findings"]) <= 500
        seen += [one["kept"]["finding"]["id"] for one in answer["findings"]]
        after = answer["next"]
    assert len(seen) == len(set(seen)) == 1_200
    assert counting.rows < 1_200 + 10
    assert set(seen) == set(world.last_run().changes.new)


@pytest.mark.parametrize(
    "after", ["5", "2026-03-15", "2026-03-15.", "2026-03-15.x'y", "٢٠٢٦-03-15.a", "2026-03-15.a\n"]
)
def test_no_such_place(world: World, after: str) -> None:
    """What is no `next` of an answer is refused."""
    answer = api.get_findings(world.dispatch(), "run", after)
    assert (answer.status, _told(answer)["field"]) == (400, "after")


class Counted(FailingTable):
    """Counts the rows that queries gave."""

    rows = 0

    def query(self, partition: str, *, first: str = "", last: str = "\x7f") -> Iterator[Entity]:
        """Yield rows in order."""
        for entity in super().query(partition, first=first, last=last):
            self.rows += 1
            yield entity
