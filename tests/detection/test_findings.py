"""A finding's id, its 13 columns, and how familiar its parts are."""

import json
import uuid
from typing import Any, Final

import msgspec
import pytest

from rare_audit.detection.event import decode_event
from rare_audit.detection.finding import COLUMNS, NAMESPACE, Finding, History, Seen, content_id
from rare_audit.detection.result import Detection
from rare_audit.detection.ticks import TICKS_PER_DAY
from rare_audit.detection.windows import Windows
from tests.detection.helpers import RULE, detect
from tests.strategies import START

SINGLE: Final = Windows.single(START, None, RULE.lookback_days)
DAILY: Final = Windows.days(START, START + 3 * TICKS_PER_DAY, RULE.lookback_days)


def event(at: str = "2026-03-15T10:00:00Z", **changes: str) -> dict[str, Any]:
    """Return an event of an app; `changes` name the app, operation, ip, upn, resource or property."""
    named = {"app": "Sync", "operation": "Add owner", "ip": "10.0.0.1", "upn": "ann@x.example", "resource": "Ann"}
    named |= {"property": "KeyDescription"} | changes
    properties = [{"displayName": named["property"], "newValue": '["x"]'}]
    return {
        "TimeGenerated": at,
        "OperationName": named["operation"],
        "Category": "GroupManagement",
        "Id": "e1",
        "CorrelationId": "c1",
        "InitiatedBy": {"app": {"displayName": named["app"], "ipAddress": named["ip"]}},
        "TargetResources": [
            {"userPrincipalName": named["upn"], "displayName": named["resource"], "modifiedProperties": properties}
        ],
    }


def found(*events: dict[str, Any], windows: Windows = SINGLE, by_property: bool = False) -> Detection:
    """Run the shipped rule over events."""
    return detect([decode_event(json.dumps(each).encode()) for each in events], windows, by_property=by_property)


def only(*events: dict[str, Any], windows: Windows = SINGLE, by_property: bool = False) -> Finding:
    """Return the one finding of these events."""
    (finding,) = found(*events, windows=windows, by_property=by_property).findings
    return finding


# Ids


def test_the_id_is_pinned() -> None:
    """For ever: another id of the same content would raise what was raised before."""
    assert only(event()).id == "c7906be3-fec4-59c7-a713-385bcb59ebdc"
    assert only(event(), by_property=True).id == "47a2f070-da81-5db7-882c-83d3c774d1c1"
    assert content_id("incident", "a") == "f45a9fb8-e478-5406-a743-e842bde4ee63"
    assert str(NAMESPACE) == "0d3c7b52-6f0e-5d0a-9a52-8a3f6d2f4c11"


def test_the_id_is_a_uuid_of_what_it_is_made_of() -> None:
    """Rule, variant, the five columns and the UTC day, as compact JSON."""
    parts = [RULE.id, "", "Sync", "Add owner", "ann@x.example", "10.0.0.1", "ann", "2026-03-15"]
    name = json.dumps(parts, separators=(",", ":"), ensure_ascii=False)
    assert only(event()).id == str(uuid.uuid5(NAMESPACE, name))


@pytest.mark.parametrize(
    "changes",
    [
        {"app": "sync"},
        {"operation": "Add owner "},
        {"ip": "10.0.0.2"},
        {"upn": "bob@x.example"},
        {"resource": "Bob"},
        {"at": "2026-03-16T10:00:00Z"},
    ],
)
def test_the_id_differs_by_each_part(changes: dict[str, str]) -> None:
    """Each column RareAudits groups by, and the day."""
    assert only(event(**changes)).id != only(event()).id


def test_the_id_differs_by_rule_and_variant() -> None:
    """What both variants find has two ids."""
    assert only(event()).id != only(event(), by_property=True).id
    assert only(event()).variant != only(event(), by_property=True).variant
    assert only(event()).rule_id == RULE.id


def test_the_id_is_the_same_for_more_of_the_same() -> None:
    """Later events of the day, other properties, other values and another time of day leave it."""
    more = only(event(), event("2026-03-15T23:59:59.9999999Z", property="Role.Name"))
    assert more.id == only(event("2026-03-15T00:00:00.0000001Z")).id == only(event(), windows=DAILY).id
    assert more.day == "2026-03-15"


@pytest.mark.parametrize(("one", "other"), [(("ab", "c"), ("a", "bc")), (("a", ""), ("a",)), (("a",), ('a","a',))])
def test_content_ids_keep_their_parts_apart(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    """No text can pretend to be two."""
    assert content_id(*one) != content_id(*other)
    assert content_id(*one) == content_id(*one)


# Columns


def test_a_row_is_the_13_columns_in_order() -> None:
    """And says of the three entities and the timestamp what they repeat."""
    row = only(event(property="DeviceOSType")).row()
    assert tuple(row) == COLUMNS
    assert len(COLUMNS) == 13
    assert json.loads(json.dumps(row)) == {
        "InitiatedByApp": "Sync",
        "OperationName": "Add owner",
        "TargetUserPrincipalName": "ann@x.example",
        "InitiatedByIpAddress": "10.0.0.1",
        "TargetResourceName": "ann",
        "StartTime": "2026-03-15T10:00:00.0000000Z",
        "EndTime": "2026-03-15T10:00:00.0000000Z",
        "set_Activity": [{"PropertyName": "DeviceOSType", "newValue": "x", "Id": "e1", "CorrelationId": "c1"}],
        "set_PropertyName": ["DeviceOSType"],
        "timestamp": "2026-03-15T10:00:00.0000000Z",
        "AccountCustomEntity": "ann@x.example",
        "HostCustomEntity": "ann",
        "IPCustomEntity": "10.0.0.1",
    }


def test_a_finding_in_json_has_the_columns_under_their_names() -> None:
    """Beside them, in lower camel case, what an analyst needs."""
    told = msgspec.to_builtins(only(event()))
    assert set(COLUMNS) - set(told) == {"timestamp", "AccountCustomEntity", "IPCustomEntity"}
    assert set(told) - set(COLUMNS) == set(
        "id ruleId variant day categories appIds servicePrincipalIds targets events evidence cut history".split()
    )


def test_an_event_counts_once_in_its_finding() -> None:
    """However many of its properties count."""
    two = event()
    two["TargetResources"][0]["modifiedProperties"] *= 2
    assert only(two, event()).events == 2


def test_categories_are_all_of_them() -> None:
    """Sorted, each once."""
    events = [event() | {"Category": category} for category in ("UserManagement", "Device", "UserManagement")]
    assert only(*events).categories == ("Device", "UserManagement")


# History


def seen(*days: str) -> Seen:
    """Return what is told of something seen on these days of March 2026."""
    return Seen(len(days), f"2026-03-{days[-1]}" if days else "")


def test_history_counts_days_of_the_lookback() -> None:
    """The app by any operation, the operation by any target; days, not events; the window's own day not."""
    finding = only(
        event("2026-03-02T00:00:00Z", operation="Other"),
        event("2026-03-02T23:59:59.9999999Z", operation="Other"),
        event("2026-03-03T10:00:00Z", operation="Another"),
        event("2026-03-09T10:00:00Z", upn="bob@x.example"),
        event("2026-03-07T10:00:00Z", upn="eve@x.example"),
        event("2026-02-28T10:00:00Z", operation="Too long ago"),
        event("2026-03-14T10:00:00Z", app="Another app"),
        event("2026-03-15T10:00:00Z"),
        event("2026-03-15T11:00:00Z"),
    )
    assert finding.history == History(
        app=seen("02", "03", "07", "09"), app_and_operation=seen("07", "09"), combination=seen()
    )


def test_history_of_an_app_never_seen() -> None:
    """Nought days, and no last one."""
    assert only(event()).history == History(app=seen(), app_and_operation=seen(), combination=seen())


def test_history_counts_only_rows_that_the_rule_counts() -> None:
    """What the filter drops makes nothing familiar."""
    finding = only(event("2026-03-10T10:00:00Z", property="Action Client Name"), event())
    assert finding.history.app == seen()


def test_history_by_property_knows_the_combination() -> None:
    """There the combination may be old and only the property new."""
    finding = only(
        event("2026-03-10T10:00:00Z", property="Old"),
        event("2026-03-11T10:00:00Z", property="Older"),
        event("2026-03-12T10:00:00Z", property="Old", upn="bob@x.example"),
        event(property="New"),
        by_property=True,
    )
    assert finding.history == History(
        app=seen("10", "11", "12"), app_and_operation=seen("10", "11", "12"), combination=seen("10", "11")
    )


def test_history_is_each_windows_own() -> None:
    """Of three days in one pass, each looks back from itself: what the day before did is past, what comes is not."""
    detection = found(
        event("2026-03-01T10:00:00Z", operation="Old"),
        event("2026-03-15T10:00:00Z", operation="First"),
        event("2026-03-16T10:00:00Z", operation="Second"),
        event("2026-03-17T10:00:00Z", operation="Third"),
        windows=DAILY,
    )
    assert [(finding.operation_name, finding.history.app) for finding in detection.findings] == [
        ("First", seen("01")),
        ("Second", seen("15")),
        ("Third", seen("15", "16")),
    ]


def test_history_where_the_lookback_is_full() -> None:
    """All 14 days, and the last of them."""
    past = [event(f"2026-03-{day:02d}T10:00:00Z", operation="Other") for day in range(1, 15)]
    assert only(*past, event()).history.app == Seen(14, "2026-03-14")
