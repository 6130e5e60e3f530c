"""The custom table of findings: what is sent, within which limits, and what is sent again."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import msgspec
import pytest

from rare_audit.detection.finding import TargetResource
from rare_audit.errors import ServiceError
from rare_audit.places import Ingestion, parse_collection_rule
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.finding_rows import COLUMNS, FIELD_CAP, weight
from rare_audit.sinks.findings_table import MOST_BYTES, FindingsTable
from tests.azure.ingestion_server import LIMIT, RULE_ID
from tests.builders import DAY
from tests.fakes import FixedClock
from tests.project import azure_imported_by
from tests.sinks.findings_table_world import NOW, RULE, World, ids, row, rows, worlds
from tests.sinks.sentinel_world import ONE, TWO, USER_ID, Credential, named

HOSTILE: Final = (
    "<img src=x onerror=alert(1)>[a](https://evil.example) | where 1==1 // "
    '"); drop\r\n\x1b[31m\u202e\u2066 \\u0041 #/?% \ud800 \udfff\U000e0041'
)


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


def test_row(world: World) -> None:
    """A finding's row holds what an analyst and the rule need, each in the column of its name."""
    world.upload([row(TWO, run_id="run 7", coverage=Coverage(12, 14, ("2026-02-20", "2026-02-21")))])
    (found,) = world.server.rows
    assert found.pop("Revision").count("-") == 4
    assert found.pop("Evidence") == [msgspec.to_builtins(each) for each in TWO.evidence]
    assert found == {
        "TimeGenerated": "2026-03-03T01:40:00.000000Z",
        "FindingId": TWO.id,
        "RuleId": RULE.id,
        "RuleName": RULE.name,
        "Day": DAY,
        "Severity": "Medium",
        "Headline": "Add member to group on ada@contoso.example, Payroll by Backup Agent",
        "AppName": "Backup Agent",
        "AppId": TWO.app_ids[0],
        "ServicePrincipalId": TWO.service_principal_ids[0],
        "OperationName": "Add member to group",
        "TargetUserPrincipalName": "ada@contoso.example",
        "TargetUserId": USER_ID,
        "TargetResourceName": "Payroll",
        "IPAddress": "203.0.113.7",
        "HostName": "laptop-7",
        "PropertyNames": ["KeyDescription"],
        "Tactics": ["Persistence", "LateralMovement"],
        "Techniques": ["T1136"],
        "Events": 1,
        "StartTime": TWO.start_time,
        "EndTime": TWO.end_time,
        "Coverage": "12 of 14 days had data",
        "IncidentId": row(ONE).values["IncidentId"],
        "RunId": "run 7",
    }


def test_columns() -> None:
    """A row has every column but TimeGenerated, in the order of the table, and no value of another type."""
    values = row(ONE).values
    assert ["TimeGenerated", *values] == list(COLUMNS)
    kinds = {"string": str, "int": int, "datetime": str, "dynamic": list}
    for name, value in values.items():
        assert isinstance(value, kinds[COLUMNS[name]]), name


def test_revision() -> None:
    """The same content has the same revision, whichever run wrote it; any other content has another."""
    first = row(ONE).revision
    assert row(ONE, run_id="another").revision == first
    others = [
        row(msgspec.structs.replace(ONE, events=2)),
        row(msgspec.structs.replace(ONE, end_time=f"{DAY}T23:00:00.0000000Z")),
        row(msgspec.structs.replace(ONE, evidence=ONE.evidence * 2)),
        row(ONE, coverage=Coverage(13, 14, ("2026-02-20",))),
    ]
    assert len({first, *(each.revision for each in others)}) == 5


def test_nothing_twice(world: World) -> None:
    """What is there is not sent again, nor is any token asked for; what is new or has changed is."""
    both = rows("one", "two")
    memo = world.upload(both)
    world.server.gate.forget()
    world.credential = Credential()
    assert list(world.sink().upload(both, memo)) == []
    assert (world.server.gate.count(), world.credential.scopes) == (0, [])
    changed = row(named("two", events=2))
    memo = world.upload([both[0], changed, *rows("three")], memo)
    assert world.told() == [*ids(both), *ids([changed]), *ids(rows("three"))]
    assert world.upload([both[0]], memo) == memo, "what is withdrawn is forgotten by nobody"
    assert world.upload(both[:1], memo) == memo


def test_back_to_what_it_was(world: World) -> None:
    """A finding that changes back is told again: its last row says what holds."""
    (before,), after = rows("one"), row(named("one", events=2))
    memo = world.upload([before], world.upload([after], world.upload([before])))
    assert world.told() == ids([before, after, before])
    assert world.upload([before], memo) == memo


def test_parts(world: World) -> None:
    """Many findings go in requests just under 1 MB, each recorded by itself; together they are all, in their order."""
    many = rows(*map(str, range(3_000)))
    parts = list(world.sink().upload(many, ""))
    assert sum(part.rows for part in parts) == 3_000
    assert len(parts) == len(world.server.parts) == world.server.gate.count("ingestion")
    assert len(parts) >= 3
    assert all(MOST_BYTES * 0.99 < size <= LIMIT for size in world.server.parts[:-1])
    assert world.told() == ids(many)
    world.server.forget()
    assert [part.rows for part in world.sink().upload(many, parts[0].memo)] == [part.rows for part in parts[1:]]
    assert len(parts[-1].memo) < 100_000


@pytest.mark.parametrize(
    "name", [HOSTILE, HOSTILE * 400, "x" * 60_000, "\ud800" * 60_000, "😀" * 60_000, '"\\' * 30_000, "\r\n", " "]
)
def test_hostile_text(name: str, world: World) -> None:
    """Whatever a text holds and however long it is, its row is sent, nothing of it is cut by the service or obeyed."""
    evidence = msgspec.structs.replace(
        ONE.evidence[0], id=name, property_name=name, old_value=name, new_value=name, correlation_id=name, result=name
    )
    hostile = named(
        "hostile",
        initiated_by_app=name,
        operation_name=name,
        target_user_principal_name=name,
        target_resource_name=name,
        initiated_by_ip_address=name,
        host=name,
        property_names=tuple(f"{number}{name}" for number in range(500)),
        app_ids=(name,),
        targets=(TargetResource(name, "User", name, name),),
        evidence=(evidence,) * 50,
        cut=True,
    )
    memo = world.upload([row(hostile)])
    (found,) = world.server.rows
    assert world.server.cut == []
    assert json.loads(json.dumps(found)) == found
    assert all(text.isprintable() for text in found.values() if isinstance(text, str))
    assert json.dumps(found["Evidence"], ensure_ascii=False).isprintable()
    assert len(found["Headline"].encode("utf-16-le")) <= 2 * 200
    assert world.upload([row(hostile)], memo) == memo


def test_cut_is_said() -> None:
    """Evidence that does not fit is left out from its end, and the last element says how much."""
    change = msgspec.structs.replace(ONE.evidence[0], old_value="a" * 2_000, new_value="b" * 2_000)
    long = msgspec.structs.replace(ONE, evidence=(change,) * 50, property_names=("p" * 900,) * 100)
    evidence = row(long).values["Evidence"]
    assert evidence[-1] == {"Cut": f"{51 - len(evidence)} more changes are left out to fit"}
    assert 5 < len(evidence) < 50
    assert FIELD_CAP * 0.8 < weight(evidence) <= FIELD_CAP
    names = row(long).values["PropertyNames"]
    assert names[-1] == f"… and {101 - len(names)} more (cut to fit)"
    assert weight(names) <= FIELD_CAP
    assert row(msgspec.structs.replace(ONE, cut=True)).values["Evidence"][-1] == {"Cut": "others were not kept"}
    assert len(row(named("n", initiated_by_app="n" * 5_000)).values["AppName"]) == 1_000


def test_time_generated_is_when_it_was_sent(world: World) -> None:
    """Days long past keep their rows in the rule's sight: an older time, the workspace would replace."""
    world.clock.advance(timedelta(days=30).total_seconds())
    world.upload(rows("one"))
    (found,) = world.server.rows
    assert found["TimeGenerated"] == f"{world.clock.now():%Y-%m-%dT%H:%M:%S.%f}Z"
    world.clock.advance(-timedelta(days=30).total_seconds())


def test_memo_of_another_rule(world: World) -> None:
    """What went elsewhere says nothing here."""
    memo = world.upload(rows("one"))
    world.upload(rows("one"), memo.replace(RULE_ID, f"dcr-{'0' * 32}"))
    assert len(world.told()) == 2


@pytest.mark.parametrize("memo", ["{", "[]", '{"rule": 1}'])
def test_memo_that_cannot_be_read(memo: str, world: World) -> None:
    """It is not taken for none, which would send all again."""
    with pytest.raises(ServiceError, match="earlier upload can't be read"):
        world.upload(rows("one"), memo)
    assert world.server.gate.count() == 0


def test_memo_holds_no_text_from_logs(world: World) -> None:
    """Only ids and revisions, cut to what tells them apart."""
    memo = json.loads(world.upload([row(ONE)]))
    assert memo == {
        "rule": RULE_ID,
        "told": {ONE.id.replace("-", "")[:12]: row(ONE).revision.replace("-", "")[:12]},
    }


@pytest.mark.parametrize(
    ("endpoint", "scope"),
    [
        ("https://x-abcd.westeurope-1.ingest.monitor.azure.com", "https://monitor.azure.com/.default"),
        ("https://x-abcd.usgovvirginia-1.ingest.monitor.azure.us", "https://monitor.azure.us/.default"),
        ("https://x-abcd.chinaeast2-1.ingest.monitor.azure.cn", "https://monitor.azure.cn/.default"),
        ("https://127.0.0.1:8443", "https://monitor.azure.com/.default"),
    ],
)
def test_audience(endpoint: str, scope: str) -> None:
    """The token is asked for the endpoint's cloud."""
    assert FindingsTable(Ingestion(endpoint, RULE_ID), Credential, FixedClock(NOW)).scope == scope


@pytest.mark.parametrize("text", [RULE_ID, f" {RULE_ID.upper()}\n"])
def test_collection_rule(text: str) -> None:
    """An immutable id, whatever the case of its letters."""
    assert parse_collection_rule(text) == RULE_ID


@pytest.mark.parametrize("text", ["", "dcr-", RULE_ID[:-1], f"{RULE_ID}0", RULE_ID[4:], f"/subscriptions/s/{RULE_ID}"])
def test_no_collection_rule(text: str) -> None:
    """Anything else is refused, with what was expected."""
    with pytest.raises(ValueError, match="expected a data collection rule's immutable id"):
        parse_collection_rule(text)


def test_azure_is_imported_when_first_used() -> None:
    """Importing the sink, and making one, costs nothing of azure."""
    program = (
        "from rare_audit.sinks.findings_table import FindingsTable; "
        "from rare_audit.places import Ingestion; "
        "list(FindingsTable(Ingestion('https://x', 'r'), lambda: None, __import__('rare_audit.app').app.SystemClock())"
        ".upload([], ''))"
    )
    assert azure_imported_by(program) == []


# The stand-in itself


def _sent(world: World, body: Any) -> dict[str, Any]:
    assert world.post(json.dumps(body).encode()).status_code == 204
    return world.server.rows[-1]


def test_stand_in_keeps_what_fits_the_stream(world: World) -> None:
    """Unknown columns go, other types are null, long fields are cut, far times are replaced."""
    found = _sent(world, [{"Events": "3", "StartTime": "soon", "Nope": 1, "Headline": "x" * 40_000, "AppName": 5}])
    assert (found["Events"], found["StartTime"], found["AppName"]) == (None, None, "")
    assert "Nope" not in found
    assert (len(found["Headline"]), world.server.cut) == (16_384, ["Headline"])
    assert found["TimeGenerated"] == "2026-03-03T01:40:00Z"
    assert _sent(world, [{"TimeGenerated": "2026-02-28T00:00:00Z"}])["TimeGenerated"] == "2026-03-03T01:40:00Z"
    assert _sent(world, [{"TimeGenerated": "2026-03-02T00:00:00Z"}])["TimeGenerated"] == "2026-03-02T00:00:00Z"
