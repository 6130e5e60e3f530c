"""Incidents: which findings make one, under which id, and a text that no name in a log can take over."""

import json
from itertools import permutations
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from rare_audit.detection.finding import Finding, History, Seen, content_id
from rare_audit.reporting.incident import (
    DESCRIPTION_CAP,
    TITLE_CAP,
    App,
    Incident,
    app_of,
    group,
    incident_id,
)
from rare_audit.reporting.text import visible
from rare_audit.rules import load_rule
from tests.builders import DAY, finding
from tests.terminal import assert_nothing_obeyed

RULE: Final = load_rule()
NEXT_DAY: Final = "2026-03-03"
HOSTILE: Final = (
    "[Sign in](https://evil.invalid/) ![x](https://evil.invalid/p.png) <b onclick=x>|</b> <https://evil.invalid> "
    "**bold** _em_ `code` ~~gone~~ # head \\ &lt; &#x5b; www.evil.invalid a@evil.invalid "
    "\x1b[31m\u202egpj\r\n# head\n- x"
)
PLAIN: Final = {
    *("paragraph_open", "paragraph_close", "bullet_list_open", "bullet_list_close", "list_item_open"),
    *("list_item_close", "inline", "text", "strong_open", "strong_close", "softbreak", "hardbreak"),
    "text_special",
}
"""What an incident's Markdown may come to; no link, image, code, heading, table or HTML is in it."""
_MARKDOWN: Final = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def _finding(name: str, **overrides: Any) -> Finding:
    return finding(id=content_id(name), **overrides)


def _one(*findings: Finding) -> Incident:
    (incident,) = group(RULE, findings, {})
    return incident


def _tokens(markdown: str) -> list[Token]:
    tokens = _MARKDOWN.parse(markdown)
    return [inner for token in tokens for inner in (token, *(token.children or ()))]


def _shown(markdown: str) -> str:
    """Return the text that a reader sees."""
    return "".join(token.content for token in _tokens(markdown) if token.type in {"text", "text_special"})


# Which findings make an incident


@pytest.mark.parametrize(
    ("app", "identity"),
    [
        (App("name", "app", "principal"), "principal"),
        (App("name", "app", ""), "app"),
        (App("name", "", ""), "name"),
        (App("name", "", "principal"), "principal"),
    ],
)
def test_identity(app: App, identity: str) -> None:
    """A service principal's id, else the app's, else its name."""
    assert app.identity == identity


def test_app_is_that_of_the_earliest_event() -> None:
    """Of several ids the first counts; where there is none it is empty."""
    assert app_of(finding(app_ids=("a1", "a2"), service_principal_ids=("p1", "p2"))) == App("Backup Agent", "a1", "p1")
    assert app_of(finding(app_ids=(), service_principal_ids=())) == App("Backup Agent", "", "")


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ({"service_principal_ids": ("p",)}, {"service_principal_ids": ("p",), "initiated_by_app": "Renamed"}, True),
        ({"service_principal_ids": ("p",)}, {"service_principal_ids": ("q",)}, False),
        ({"service_principal_ids": ("p",)}, {"service_principal_ids": ()}, False),
        ({"service_principal_ids": ()}, {"service_principal_ids": (), "initiated_by_app": "Renamed"}, True),
        ({"service_principal_ids": ()}, {"service_principal_ids": (), "app_ids": ("b",)}, False),
        (
            {"service_principal_ids": (), "app_ids": ()},
            {"service_principal_ids": (), "app_ids": (), "operation_name": "Add owner"},
            True,
        ),
        (
            {"service_principal_ids": (), "app_ids": ()},
            {"service_principal_ids": (), "app_ids": (), "initiated_by_app": "Backup agent"},
            False,
        ),
        ({}, {"day": NEXT_DAY}, False),
        ({}, {"rule_id": "another"}, False),
        ({}, {"initiated_by_ip_address": "198.51.100.1", "target_resource_name": "other"}, True),
    ],
)
def test_grouping(one: dict[str, Any], other: dict[str, Any], together: bool) -> None:
    """By service principal, else app id, else name; by day and rule; by nothing else."""
    findings = [_finding("one", **one), _finding("other", **other)]
    assert (len(group(RULE, findings, {})) == 1) == together
    assert (incident_id(findings[0]) == incident_id(findings[1])) == together


def test_nothing() -> None:
    """No findings, no incidents."""
    assert group(RULE, [], {}) == ()


def test_order_of_findings_does_not_matter() -> None:
    """Incidents come by their first activity, findings in them likewise, whatever order they are given in."""
    times = {"a": f"{DAY}T10:00:00.0000000Z", "b": f"{DAY}T08:00:00.0000000Z", "c": f"{DAY}T09:00:00.0000000Z"}
    findings = [_finding(name, start_time=time, end_time=f"{time[:-1]}1Z") for name, time in times.items()]
    findings.append(_finding("d", start_time=f"{DAY}T07:00:00.0000000Z", service_principal_ids=("first",)))
    expected = group(RULE, findings, {})
    assert [incident.app.service_principal_id[:5] for incident in expected] == ["first", "22222"]
    assert [one.start_time[11:13] for one in expected[1].findings] == ["08", "09", "10"]
    assert expected[1].first_activity == f"{DAY}T08:00:00.0000000Z"
    assert expected[1].last_activity == f"{DAY}T10:00:00.00000001Z"
    assert all(group(RULE, order, {}) == expected for order in permutations(findings))


def test_last_activity_is_the_latest_end() -> None:
    """The finding that starts first may be the one that ends last."""
    long = _finding("a", start_time=f"{DAY}T01:00:00.0000000Z", end_time=f"{DAY}T23:00:00.0000000Z")
    short = _finding("b", start_time=f"{DAY}T02:00:00.0000000Z", end_time=f"{DAY}T02:00:00.0000000Z")
    assert _one(short, long).last_activity == long.end_time


def test_raised_findings_stay_in_their_incident() -> None:
    """What was in an incident stays in it, though its app's ids have been told since; the rest goes by its app."""
    before = _finding("one", service_principal_ids=(), app_ids=())
    raised = {before.id: incident_id(before)}
    after = [_finding("one"), _finding("two")]
    incidents = {incident.id: incident for incident in group(RULE, after, raised)}
    assert set(incidents) == {incident_id(before), incident_id(after[1])}
    assert incidents[incident_id(before)].findings == (after[0],)
    assert incidents[incident_id(before)].app == app_of(after[0])


def test_raised_incidents_take_in_what_belongs_there() -> None:
    """A finding that is raised elsewhere joins the others there."""
    one, two = _finding("one"), _finding("two", service_principal_ids=("other",))
    (incident,) = group(RULE, [one, two], {two.id: incident_id(one)})
    assert (incident.id, len(incident.findings)) == (incident_id(one), 2)


# Ids


def test_ids_are_pinned() -> None:
    """Ids come from content and never change: with another scheme every incident would be raised a second time."""
    assert incident_id(finding()) == "e67aec77-842b-57ba-a5b1-2ea29d396dee"
    assert incident_id(finding(service_principal_ids=())) == "fcf1be7e-2120-5f25-8ca2-4f362a7ffd6d"
    assert (
        incident_id(finding(service_principal_ids=(), app_ids=(), initiated_by_app="Größe \u202e"))
        == "704035e1-393d-5ad0-adb9-b2523c9ef121"
    )
    assert _one(finding()).id == "e67aec77-842b-57ba-a5b1-2ea29d396dee"


def test_digest_is_one_of_the_whole_content() -> None:
    """Equal incidents have equal digests, also when read back; one that differs anywhere has another."""
    incident = _one(finding())
    read = msgspec.json.decode(msgspec.json.encode(incident), type=Incident)
    assert read == incident
    assert read.digest == incident.digest == _one(finding()).digest
    others = [
        _one(finding(events=2)),
        _one(finding(cut=True)),
        msgspec.structs.replace(incident, severity="High"),
        msgspec.structs.replace(incident, title=f"{incident.title} "),
    ]
    assert len({incident.digest, *(other.digest for other in others)}) == 5


# Texts


def test_texts() -> None:
    """Title and description say what happened, in words."""
    incident = _one(finding())
    assert incident.title == "Rare activity by app Backup Agent: Add service principal credentials"
    assert _shown(incident.description.splitlines()[0]) == (
        "On 2026-03-02 (UTC) the application Backup Agent (appId 11111111-1111-1111-1111-111111111111, "
        "servicePrincipalId 22222222-2222-2222-2222-222222222222) did what it had not done in the 14 days before. "
        "It was active on 3 of them, last on 2026-03-01."
    )
    assert _shown(incident.description.splitlines()[2]) == (
        "Add service principal credentials on Payroll, once, first at 08:15:30: KeyDescription"
    )
    assert _shown(incident.description.splitlines()[-1]) == f"Rule: {RULE.name} ({RULE.id})."
    assert (incident.severity, incident.tactics, incident.techniques) == (
        RULE.severity,
        RULE.tactics,
        RULE.relevant_techniques,
    )
    assert incident.labels == ("Rare Audit", f"rule:{RULE.id}")


def test_unknown_app() -> None:
    """An app without ids that nobody saw before is described so."""
    never = History(app=Seen(0, ""), app_and_operation=Seen(0, ""), combination=Seen(0, ""))
    incident = _one(finding(app_ids=(), service_principal_ids=(), history=never))
    assert _shown(incident.description.splitlines()[0]) == (
        "On 2026-03-02 (UTC) the application Backup Agent did what it had not done in the 14 days before. "
        "It was seen on none of them."
    )


def test_sentences() -> None:
    """Each finding has a line: the user before the resource, how often, the first five properties, or none."""
    names = tuple(f"P{number}" for number in range(7))
    incident = _one(
        _finding("a", target_user_principal_name="ann@x.example", events=3, property_names=names),
        _finding("b", target_resource_name="", property_names=("",)),
    )
    shown = sorted(_shown(line) for line in incident.description.splitlines() if line.startswith("- "))
    assert shown == [
        "Add service principal credentials on ann@x.example, 3 times, first at 08:15:30: P0, P1, P2, P3, P4",
        "Add service principal credentials, once, first at 08:15:30: no named property",
    ]


def test_title_counts_operations() -> None:
    """Several findings of one operation are one; several operations are counted."""
    same = [_finding("a"), _finding("b", target_resource_name="other")]
    assert _one(*same).title.endswith(": Add service principal credentials")
    more = [
        _finding(f"{n}", operation_name=f"Operation {n}", start_time=f"{DAY}T0{n}:00:00.0000000Z") for n in range(3)
    ]
    assert _one(*more).title.endswith(": Operation 0 and 2 more")


def test_many_findings() -> None:
    """Ten findings are described, the rest is counted."""
    incident = _one(*(_finding(f"{number}") for number in range(25)))
    lines = [_shown(line) for line in incident.description.splitlines() if line.startswith("- ")]
    assert (len(lines), lines[-1]) == (11, "… and 15 more findings.")
    assert len(incident.findings) == 25


def test_operation_that_ends_in_a_blank() -> None:
    """A real operation's name ends in a blank; its stars are emphasis all the same and not shown."""
    incident = _one(finding(operation_name="Update application \u2013 Certificates and secrets management "))
    assert "*" not in _shown(incident.description)


# Names from logs


def _named(name: str, **more: Any) -> dict[str, Any]:
    texts = ("initiated_by_app", "operation_name", "target_user_principal_name", "target_resource_name")
    lists = ("property_names", "app_ids", "service_principal_ids")
    return {**dict.fromkeys(texts, name), **dict.fromkeys(lists, (name,) * 6), **more}


_LONG: Final = [HOSTILE, "[" * 60_000, "x" * 60_000, "é`" * 30_000]
_SLOW: Final = ["\x00" * 60_000, "\u202e" * 60_000]


@pytest.mark.parametrize(
    ("name", "count"), [*((name, count) for name in _LONG for count in (1, 10, 50)), *((name, 1) for name in _SLOW)]
)
def test_bounds(name: str, count: int) -> None:
    """However long and many the names, title and description stay within what Sentinel takes."""
    incident = _one(*(_finding(f"{number}", **_named(name, target_user_principal_name="")) for number in range(count)))
    assert len(incident.title) <= TITLE_CAP
    assert len(incident.description) <= DESCRIPTION_CAP
    assert incident.description.startswith(f"On {DAY} (UTC) the application **")
    assert_harmless(incident)


def assert_harmless(incident: Incident) -> None:
    """Fail where a text holds characters that are obeyed, or Markdown that is more than paragraphs, lists and bold."""
    assert_nothing_obeyed(incident.title)
    assert_nothing_obeyed(incident.description)
    assert "\n" not in incident.title
    assert {token.type for token in _tokens(incident.description)} <= PLAIN


def test_hostile_names_are_shown_letter_for_letter() -> None:
    """A name that tries every trick of Markdown and HTML is text, and all of it that is shown is what it was."""
    incident = _one(finding(**_named(HOSTILE[:110])))
    assert_harmless(incident)
    assert _shown(incident.description.splitlines()[0]).count(visible(HOSTILE[:110])[:110]) == 3
    assert HOSTILE[:40] in incident.title


@settings(max_examples=200, deadline=None, database=None)
@given(st.text(st.sampled_from("[](){}<>!*_`~#|\\/:.@&;=+-$^\"' \n\r\tahtps1x\x1b\u202e"), max_size=130))
def test_no_name_makes_markdown(name: str) -> None:
    """Whatever an app, its operation or its target is called."""
    assert_harmless(_one(finding(**_named(name))))


@pytest.mark.parametrize("length", range(20, 40))
def test_cut_anywhere(length: int) -> None:
    """Wherever the cut falls, in an escape too, the rest is text."""
    name = "x" * length + "\\[a](b)" * 12
    incident = _one(*(_finding(f"{number}", **_named(name)) for number in range(10)))
    assert incident.description.endswith("\n… (cut to fit)")
    assert len(incident.description) <= DESCRIPTION_CAP
    assert_harmless(incident)


def test_json_names() -> None:
    """An incident's JSON has camel-case names, and its findings those of the rule's columns."""
    document = json.loads(msgspec.json.encode(_one(finding())))
    assert (
        list(document)
        == (
            "id ruleId day app title description severity firstActivity lastActivity labels tactics techniques findings"
        ).split()
    )
    assert list(document["app"]) == ["name", "appId", "servicePrincipalId"]
    assert {"InitiatedByApp", "set_PropertyName", "evidence", "history"} <= set(document["findings"][0])
