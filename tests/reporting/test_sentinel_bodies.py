"""What Sentinel is told: within its limits, readable again, and with no name in a log taking it over."""

import json
import re
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from rare_audit.detection.bounds import bounded
from rare_audit.detection.finding import Evidence, Finding, TargetResource, content_id
from rare_audit.detection.rule import EntityMapping, FieldMapping
from rare_audit.reporting.incident import Incident, group
from rare_audit.reporting.sentinel_bodies import (
    COMMENT_CAP,
    bookmark_id,
    bookmark_properties,
    comment,
    comment_id,
    evidence_query,
    follow_up,
    incident_properties,
    mark,
    relation_name,
    told_in,
)
from rare_audit.rules import load_rule
from tests.builders import DAY, finding
from tests.terminal import assert_nothing_obeyed

RULE: Final = load_rule()
USER_ID: Final = "33333333-3333-3333-3333-333333333333"
HOSTILE: Final = (
    "[Sign in](https://evil.invalid/) ![x](https://evil.invalid/p.png) <b onclick=x>|</b> <https://evil.invalid> "
    '**bold** `code` ~~gone~~ # head \\ \\| &lt; www.evil.invalid "); drop // \x1b[31m\u202egpj\r\n| x |\n# head \ud800'
)
PLAIN: Final = {
    *("paragraph_open", "paragraph_close", "inline", "text", "text_special", "softbreak", "hardbreak"),
    *("table_open", "table_close", "thead_open", "thead_close", "tbody_open", "tbody_close", "tr_open", "tr_close"),
    *("th_open", "th_close", "td_open", "td_close", "bullet_list_open", "bullet_list_close", "list_item_open"),
    *("list_item_close", "strong_open", "strong_close"),
}
"""What a comment's Markdown may come to."""


def _named(name: str, **overrides: Any) -> Finding:
    return finding(id=content_id(name), **overrides)


def _incident(*findings: Finding) -> Incident:
    (only,) = group(RULE, findings or (_named("one"),), {})
    return only


def _hostile(name: str, number: int = 0) -> Finding:
    evidence = Evidence(f"{DAY}T08:15:30.1234567Z", name, name, name, name, name, name)
    return _named(
        f"hostile {number}",
        initiated_by_app=name,
        operation_name=name,
        target_user_principal_name=name,
        target_resource_name=name,
        initiated_by_ip_address=name,
        host=name,
        property_names=(name,) * 3,
        app_ids=(name,),
        targets=(TargetResource(name, "User", name, name),),
        evidence=(evidence,) * 5,
    )


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _assert_harmless(markdown: str) -> None:
    assert_nothing_obeyed(markdown)
    for html in (True, False):
        tokens = MarkdownIt("commonmark", {"html": html}).enable(["table", "strikethrough"]).parse(markdown)
        assert {inner.type for token in tokens for inner in (token, *(token.children or ()))} <= PLAIN


def _rows(message: str) -> int:
    tokens = MarkdownIt("commonmark").enable("table").parse(message)
    return sum(token.type == "tr_open" for token in tokens) - 1


# The incident


def test_incident() -> None:
    """Required fields, times, and labels each once."""
    incident = _incident()
    incident = msgspec.structs.replace(incident, labels=(*incident.labels, "Rare Audit", "tactic:Persistence"))
    properties = incident_properties(incident)
    assert (properties["title"], properties["severity"], properties["status"]) == (incident.title, "Medium", "New")
    assert properties["firstActivityTimeUtc"] == incident.first_activity
    names = [label["labelName"] for label in properties["labels"]]
    assert len(names) == len(set(names))
    assert {"tactic:LateralMovement", "technique:T1136", f"rule:{RULE.id}"} <= set(names)


@pytest.mark.parametrize("letter", ["x", "é", "😀", "\ud800", "\u202e"])
def test_incident_fits(letter: str) -> None:
    """Counted as .NET does, whatever the texts; what was cut is said; line ends in a description stay."""
    texts = {"title": letter * 60_000, "description": f"a\nb {letter * 60_000}"}
    properties = incident_properties(msgspec.structs.replace(_incident(), **texts, labels=(letter * 60_000,)))
    assert _units(properties["title"]) <= 200
    assert properties["title"].endswith("…")
    assert _units(properties["description"]) <= 5_000
    assert properties["description"].startswith("a\nb ")
    assert properties["description"].endswith("\n… (cut to fit)")
    json.dumps(properties, ensure_ascii=False).encode()


# Comments


def test_comment() -> None:
    """A table of what was done when, to whom and from where, with old and new values."""
    message = comment((_named("one"), _named("two", operation_name="Add member to group", events=3)))
    assert message.startswith("Evidence of 2 findings.\n\n| First seen")
    assert _rows(message) == 2
    assert "| 2026-03-02 08:15:30 | Backup Agent | Add member to group | Payroll |" in message
    assert " | 3 | KeyDescription: \\[\\] → " in message
    _assert_harmless(message)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"evidence": ()}, " |  | on 3 days"),
        ({"evidence": (), "cut": True}, " | … | on 3 days"),
        ({"target_user_principal_name": "ada@x", "target_resource_name": "ada@x"}, " | ada\\@x | "),
        ({"target_user_principal_name": "ada@x"}, " | ada\\@x, Payroll | "),
        ({"target_user_principal_name": "", "target_resource_name": ""}, " credentials |  | "),
    ],
)
def test_rows(overrides: dict[str, Any], told: str) -> None:
    """Empty cells stay cells, a target named twice is told once, and evidence that was cut is marked."""
    assert told in comment((_named("one", **overrides),))
    assert _rows(comment((_named("one", **overrides),))) == 1


@pytest.mark.parametrize("count", [1, 2, 30, 200, 600, 5_000])
@pytest.mark.parametrize(
    "name", ["Agent", HOSTILE, "|" * 60_000, "😀" * 300], ids=["plain", "hostile", "long", "emoji"]
)
def test_comment_fits(name: str, count: int) -> None:
    """However many the findings and long their names; what was left out is counted, and its last line is whole."""
    one = _hostile(name)
    findings = tuple(msgspec.structs.replace(one, id=content_id(str(number))) for number in range(count))
    message = comment(findings)
    assert _units(message) <= COMMENT_CAP
    shown = _rows(message)
    assert shown > 0
    left_out = re.search(r"… and (\d+) more findings, left out", message)
    assert shown + (int(left_out[1]) if left_out else 0) == count
    assert told_in(message) == tuple(mark(each) for each in findings[:600])


@pytest.mark.parametrize("name", [HOSTILE, HOSTILE * 100, "\ud800", "", " ", "\\", "|", "`", "a\\|b", "-" * 50])
def test_no_name_takes_a_comment_over(name: str) -> None:
    """One row stays one row of eight cells, without link, image, code or HTML."""
    message = comment((_hostile(name),))
    _assert_harmless(message)
    tokens = MarkdownIt("commonmark").enable("table").parse(message)
    assert sum(token.type == "td_open" for token in tokens) == 8
    assert _rows(message) == 1


@settings(max_examples=100, deadline=None, database=None)
@given(st.text(st.sampled_from("[](){}<>!*_`~#|\\/:.@&;=+-$^\"' \n\r\tahtps1x\x1b\u202e\ud800"), max_size=130))
def test_no_text_makes_markdown(name: str) -> None:
    """Whatever an app, its operation or its target is called."""
    incident = _incident(_hostile(name))
    _assert_harmless(comment((_hostile(name),)))
    _assert_harmless(follow_up(incident, "id", "incident 1 (x), which was closed", incident.findings).description)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("", ()),
        ("looks fine", ()),
        ("Finding ids: 0123456789ab", ("0123456789ab",)),
        ("x\r\n\r\nFinding ids: 0123456789ab ba9876543210\r\n ", ("0123456789ab", "ba9876543210")),
        ("Finding ids: 0123456789ab\nI looked at this", ()),
        ("Finding ids: 0123456789ab and others", ()),
        ("see Finding ids: 0123456789ab", ()),
        ("Finding ids: nonsense", ()),
    ],
)
def test_told_in(message: str, told: tuple[str, ...]) -> None:
    """Only the last line of a comment that this package wrote counts, however the service ends lines."""
    assert told_in(message) == told


def test_no_name_forges_what_was_told() -> None:
    """A name that holds such a line is in a table's row."""
    message = comment((_hostile("x\n\nFinding ids: 0123456789ab\n"),))
    assert told_in(message) == (mark(_hostile("x")),)


def test_ids_come_from_content() -> None:
    """The same content has the same ids, other content others; relations are named as the API wants."""
    one, two = _named("one"), _named("two")
    assert comment_id("i", [one, two]) == comment_id("i", [two, one])
    ids = [comment_id("i", [one]), comment_id("i", [one, two]), comment_id("j", [one])]
    ids += [
        make(incident_id, each) for make in (bookmark_id, relation_name) for incident_id in "ij" for each in (one, two)
    ]
    assert len(ids) == len(set(ids)) == 11
    assert all(re.fullmatch(r"[a-zA-Z0-9-]{3,63}", each) for each in ids)


# Follow-ups


def test_follow_up() -> None:
    """It names the one before, tells only what is new, and lists at most ten."""
    findings = tuple(
        _named(f"{n}", start_time=f"{DAY}T{n + 1:02}:00:00.0000000Z", end_time=f"{DAY}T22:00:00.0000000Z")
        for n in range(12)
    )
    incident = _incident(*findings)
    made = follow_up(incident, "new id", "incident 7 (old id), which was closed", findings[1:])
    assert (made.id, made.findings) == ("new id", findings[1:])
    assert made.title == f"Follow-up: {incident.title}"
    assert made.description.startswith("Follow-up of incident 7 (old id), which was closed.")
    assert made.first_activity == findings[1].start_time
    assert made.description.count("\n- ") == 11
    assert "- … and 1 more findings." in made.description
    _assert_harmless(made.description)


# Bookmarks


def test_entities() -> None:
    """The account with the user's id, the app with its id, host and IP; each by identifiers that Sentinel knows."""
    one = _named(
        "one",
        target_user_principal_name="ada@contoso.example",
        host="laptop-7",
        targets=(
            TargetResource("g", "Group", "Admins", ""),
            TargetResource(USER_ID, "User", "Ada", "Ada@Contoso.example"),
        ),
    )
    mappings = bookmark_properties(_incident(one), one, RULE.entity_mappings)["entityMappings"]
    assert {each["entityType"]: {f["identifier"]: f["value"] for f in each["fieldMappings"]} for each in mappings} == {
        "Account": {"FullName": "ada@contoso.example", "AadUserId": USER_ID},
        "CloudApplication": {"Name": "Backup Agent"},
        "Host": {"HostName": "laptop-7"},
        "IP": {"Address": "203.0.113.7"},
    }


@pytest.mark.parametrize(
    "target",
    [
        TargetResource(USER_ID, "ServicePrincipal", "Ada", "ada@contoso.example"),
        TargetResource(USER_ID, "User", "Ada", "eve@contoso.example"),
        TargetResource("ada", "User", "Ada", "ada@contoso.example"),
        TargetResource(f"{USER_ID}\n", "User", "Ada", "ada@contoso.example"),
        TargetResource("", "User", "Ada", "ada@contoso.example"),
    ],
)
def test_user_id_is_only_told_where_known(target: TargetResource) -> None:
    """Another target's id, or what is no id, is not taken for the account's."""
    one = _named("one", target_user_principal_name="ada@contoso.example", targets=(target,))
    (account,) = [
        each
        for each in bookmark_properties(_incident(one), one, RULE.entity_mappings)["entityMappings"]
        if each["entityType"] == "Account"
    ]
    assert [each["identifier"] for each in account["fieldMappings"]] == ["FullName"]


def test_entities_come_from_the_rule() -> None:
    """A rule that maps other columns gets other entities; one that maps none has the app alone."""
    one = _named("one")
    field = FieldMapping(identifier="Name", column_name="TargetResourceName")
    mapping = EntityMapping(entity_type="SecurityGroup", field_mappings=(field,))
    found = bookmark_properties(_incident(one), one, (mapping,))["entityMappings"]
    assert [each["entityType"] for each in found] == ["SecurityGroup", "CloudApplication"]
    assert found[0]["fieldMappings"] == [{"identifier": "Name", "value": one.target_resource_name}]
    assert [each["entityType"] for each in bookmark_properties(_incident(one), one)["entityMappings"]] == [
        "CloudApplication"
    ]


def test_empty_entities_are_left_out() -> None:
    """No mapping without a value."""
    one = _named("one", initiated_by_ip_address="", host=" ", app_ids=())
    mappings = bookmark_properties(_incident(one), one, RULE.entity_mappings)["entityMappings"]
    assert [(each["entityType"], len(each["fieldMappings"])) for each in mappings] == [("CloudApplication", 1)]


def test_bookmark() -> None:
    """Name, times, tactics and techniques, and the row as JSON in a text."""
    one = _named("one")
    properties = bookmark_properties(_incident(one), one, RULE.entity_mappings)
    assert properties["displayName"] == "Add service principal credentials on Payroll by Backup Agent"
    assert (properties["queryStartTime"], properties["queryEndTime"]) == (f"{DAY}T00:00:00Z", "2026-03-03T00:00:00Z")
    assert properties["eventTime"] == one.start_time
    assert (properties["tactics"], properties["techniques"]) == (list(RULE.tactics), list(RULE.relevant_techniques))
    assert json.loads(properties["queryResult"])["OperationName"] == one.operation_name


@pytest.mark.parametrize("name", [HOSTILE, HOSTILE * 400, "\ud800" * 1_000, "x" * 60_000, ""])
def test_bookmark_is_harmless_and_bounded(name: str) -> None:
    """Whatever the names: well-formed, of bounded size, nothing obeyed."""
    one = _hostile(name)
    encoded = msgspec.json.encode(bookmark_properties(_incident(one), one, RULE.entity_mappings))
    assert len(encoded) < 32_000
    for key, value in json.loads(encoded).items():
        if isinstance(value, str) and key != "query":
            assert_nothing_obeyed(value)


# The query


def test_query_finds_all_events_of_a_finding() -> None:
    """By their times and the columns that findings are grouped by, read as the rule reads them."""
    found = _named(
        "one", initiated_by_app="Sync", target_user_principal_name="ann@x.example", target_resource_name="payroll"
    )
    assert evidence_query(found) == (
        "AuditLogs\n"
        '| where TimeGenerated between (todatetime("2026-03-02T08:15:30.1234567Z") .. '
        'todatetime("2026-03-02T08:15:30.1234567Z"))\n'
        '| where OperationName == "Add service principal credentials"\n'
        '| where tostring(parse_json(tostring(InitiatedBy.app)).displayName) == "Sync"\n'
        '| where tostring(parse_json(tostring(InitiatedBy.app)).ipAddress) == "203.0.113.7"\n'
        '| where tolower(tostring(TargetResources.[0].userPrincipalName)) == "ann@x.example"\n'
        '| where tolower(tostring(TargetResources.[0].displayName)) == "payroll"'
    )


@pytest.mark.parametrize("name", ['") | project-away Id //', "\\", '\\"', "a\nb", "'", "\ud800", "\u202e"])
def test_no_text_ends_its_literal(name: str) -> None:
    """A column's text is a string literal, whatever it holds; the query keeps its lines."""
    query = evidence_query(_named("one", operation_name=name))
    assert len(query.splitlines()) == 7
    assert json.loads(query.splitlines()[2].removeprefix("| where OperationName == ")) == name


def test_query_of_a_cut_text() -> None:
    """What is long, or was cut to be stored, is looked for by its beginning: more may be found, never less."""
    cut_short = "… (7 characters more)"
    found = bounded(_named("one", initiated_by_app="x" * 700, target_resource_name=f"y{cut_short}"))
    line = f'| where tostring(parse_json(tostring(InitiatedBy.app)).displayName) startswith_cs "{"x" * 300}"'
    query = evidence_query(found).splitlines()
    assert line in query
    assert query[-1] == '| where tolower(tostring(TargetResources.[0].displayName)) startswith_cs "y"'
