"""Rows of the admin center's CSV: recognised, read in the shape of Graph, judged by the rule, or refused."""

import csv
import io
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rare_audit.detection.event import AuditEvent, initiator_of, json_text, targets_of
from rare_audit.detection.ticks import parse_ticks
from rare_audit.detection.windows import Windows
from rare_audit.exports.context import Clock
from rare_audit.exports.portal_csv import LACKS, REQUIRED, is_portal_header, portal_event
from rare_audit.exports.times import DateOrder
from rare_audit.sources.tally import UnreadableError
from tests.detection.helpers import detect

CLOCK = Clock(DateOrder.MONTH_FIRST, lambda value: DateOrder.MONTH_FIRST)

_ACTOR: Final = [
    *["Date (UTC)", "CorrelationId", "Service", "Category", "Activity", "Result", "ResultReason", "User Agent"],
    *["ActorType", "ActorDisplayName", "ActorObjectId", "ActorUserPrincipalName", "IPAddress"],
    *["ActorHomeTenantId", "ActorHomeTenantName", "ActorServicePrincipalId", "ActorServicePrincipalName"],
]
_TARGETS: Final = [
    column
    for target in (1, 2, 3)
    for column in [
        *[f"Target{target}{name}" for name in ("Type", "DisplayName", "ObjectId", "UserPrincipalName")],
        *[
            f"Target{target}ModifiedProperty{number}{name}"
            for number in range(1, 6)
            for name in ("Name", "OldValue", "NewValue")
        ],
    ]
]
_DETAILS: Final = [f"AdditionalDetail{number}{name}" for number in range(1, 7) for name in ("Key", "Value")]
HEADER: Final = _ACTOR + _TARGETS + _DETAILS
EMPTY: Final = dict.fromkeys(HEADER, "")


def cells(**filled: str) -> dict[str, str]:
    """Return a row by an app on an application, with other cells as they are filled in here."""
    row = {
        "Date (UTC)": "2026-03-10T08:00:00.1234567+00:00",
        "CorrelationId": "c-1",
        "Service": "Core Directory",
        "Category": "ApplicationManagement",
        "Activity": "Update application",
        "Result": "success",
        "ActorType": "Application",
        "ActorDisplayName": "Backup Agent",
        "ActorServicePrincipalId": "sp-1",
        "Target1Type": "Application",
        "Target1DisplayName": "Payroll",
        "Target1ObjectId": "t-1",
        "Target1ModifiedProperty1Name": "KeyDescription",
        "Target1ModifiedProperty1OldValue": "[]",
        "Target1ModifiedProperty1NewValue": '["x"]',
    }
    return EMPTY | row | filled


def read(**filled: str) -> AuditEvent:
    """Return the event of the row that `cells` makes."""
    return portal_event(cells(**filled), CLOCK)


def reason(row: dict[str, str]) -> str:
    """Return why a row can't be read."""
    with pytest.raises(UnreadableError) as caught:
        portal_event(row, CLOCK)
    return str(caught.value)


def through_csv(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return rows as they come out of a file that has every cell in quotes, as the portal writes it."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, HEADER, quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    return list(csv.DictReader(io.StringIO(text.getvalue(), newline="")))


def test_the_download_is_recognised() -> None:
    """The portal's header is recognised, in any order and with further columns."""
    assert is_portal_header(HEADER)
    assert is_portal_header([*reversed(HEADER), "Notes"])


@pytest.mark.parametrize("column", sorted(REQUIRED))
def test_every_required_column_is_asked_for(column: str) -> None:
    """Without any one of the columns that the rule needs, the header is not recognised."""
    assert not is_portal_header([each for each in HEADER if each != column])


def test_other_exports_are_not_recognised() -> None:
    """Neither sign-ins, whose time column is the same, nor Log Analytics rows are recognised."""
    assert not is_portal_header(["Date (UTC)", "Request ID", "User", "Application", "IP address", "Status"])
    assert not is_portal_header(["TimeGenerated", "OperationName", "InitiatedBy", "TargetResources"])
    assert not is_portal_header([])


def test_a_row_by_an_app() -> None:
    """A row becomes the event that Graph would list, with null for empty cells and no id, as the file has none."""
    event = read()
    assert event == AuditEvent(
        time_generated="2026-03-10T08:00:00.1234567Z",
        operation_name="Update application",
        category="ApplicationManagement",
        correlation_id="c-1",
        result="success",
        type="AuditLogs",
        initiated_by={
            "app": {
                "appId": None,
                "displayName": "Backup Agent",
                "servicePrincipalId": "sp-1",
                "servicePrincipalName": None,
            }
        },
        target_resources=[
            {
                "id": "t-1",
                "type": "Application",
                "displayName": "Payroll",
                "userPrincipalName": None,
                "modifiedProperties": [{"displayName": "KeyDescription", "oldValue": "[]", "newValue": '["x"]'}],
            }
        ],
    )
    initiator = initiator_of(json_text(event.initiated_by))
    assert initiator is not None
    assert (initiator.app, initiator.service_principal_id) == ("Backup Agent", "sp-1")


def test_a_row_by_a_user() -> None:
    """A user's row names the user with the address, and no app."""
    event = read(
        ActorType="User",
        ActorObjectId="u-1",
        ActorUserPrincipalName="ann@x.example",
        ActorDisplayName="",
        IPAddress="192.0.2.1",
        ActorServicePrincipalId="",
    )
    user = {"id": "u-1", "displayName": None, "userPrincipalName": "ann@x.example", "ipAddress": "192.0.2.1"}
    assert event.initiated_by == {"user": user}


@pytest.mark.parametrize("kind", ["Application", "application", "App", "Service Principal", "ServicePrincipal"])
def test_types_of_apps(kind: str) -> None:
    """Any spelling of an app's type makes an app of the actor; an address is not taken over."""
    assert read(ActorType=kind, IPAddress="192.0.2.1").initiated_by == read().initiated_by


@pytest.mark.parametrize(
    ("filled", "who"),
    [
        ({"ActorType": ""}, "app"),
        ({"ActorType": "Other"}, "app"),
        ({"ActorType": "Guest", "ActorUserPrincipalName": "ann@x.example"}, "user"),
        ({"ActorType": "", "ActorUserPrincipalName": "ann@x.example", "ActorServicePrincipalId": ""}, "user"),
        ({"ActorType": "User", "ActorUserPrincipalName": ""}, "user"),
    ],
)
def test_other_columns_decide_where_the_type_is_unknown(filled: dict[str, str], who: str) -> None:
    """Where the type is unknown, a column that only users or only apps fill decides who acted."""
    assert list(read(**filled).initiated_by) == [who]


def test_a_row_without_an_actor() -> None:
    """A row in which no cell names an actor has no initiator."""
    assert read(ActorType="", ActorDisplayName="", ActorServicePrincipalId="").initiated_by is None


def test_an_app_without_a_name_stays_without() -> None:
    """No id replaces a display name that is empty: the rule does not see such an app, and the note says so."""
    event = read(ActorDisplayName="")
    assert event.initiated_by["app"]["displayName"] is None
    assert initiator_of(json_text(event.initiated_by)) is None
    assert "without a display name" in LACKS


def test_targets_keep_their_places() -> None:
    """Empty targets at the end are absent; one in the middle stays, as the rule reads the first by its place."""
    assert read(Target3DisplayName="Ann").target_resources[1:] == [
        {"id": None, "type": None, "displayName": None, "userPrincipalName": None, "modifiedProperties": []},
        {"id": None, "type": None, "displayName": "Ann", "userPrincipalName": None, "modifiedProperties": []},
    ]
    assert len(read().target_resources) == 1
    assert portal_event(EMPTY | {"Date (UTC)": "2026-03-10", "Activity": "x"}, CLOCK).target_resources == []


def test_properties_with_gaps() -> None:
    """Properties that are empty throughout are absent; those with any cell filled are not lost."""
    filled = {"Target1ModifiedProperty3OldValue": '"a"', "Target1ModifiedProperty5Name": "Role.DisplayName"}
    properties = read(**filled).target_resources[0]["modifiedProperties"]
    assert properties[1:] == [
        {"displayName": None, "oldValue": '"a"', "newValue": None},
        {"displayName": "Role.DisplayName", "oldValue": None, "newValue": None},
    ]


def test_more_columns_than_today() -> None:
    """Targets and properties past those that the portal writes today are read as well."""
    more = {
        "Target1ModifiedProperty6Name": "P",
        "Target1ModifiedProperty6NewValue": "[6]",
        "Target4DisplayName": "Fourth",
    }
    targets = read(**more).target_resources
    assert targets[0]["modifiedProperties"][-1] == {"displayName": "P", "oldValue": None, "newValue": "[6]"}
    assert targets[3]["displayName"] == "Fourth"


def test_a_new_operation_of_a_known_app_is_the_one_finding() -> None:
    """Of an app's known and new operation, the rule reports the new one alone, as it would from AuditLogs."""
    owner = {"Activity": "Add owner to application", "Target1ModifiedProperty1NewValue": '["ann"]'}
    rows = [
        cells(),
        cells(**{"Date (UTC)": "2026-03-16T09:00:00+00:00"}),
        cells(**owner, **{"Date (UTC)": "2026-03-16T10:00:00+00:00"}),
    ]
    events = [portal_event(row, CLOCK) for row in through_csv(rows)]
    windows = Windows.single(parse_ticks("2026-03-16"), parse_ticks("2026-03-17"), 14)
    (finding,) = detect(events, windows).findings
    assert finding.operation_name == "Add owner to application"
    assert finding.initiated_by_app == "Backup Agent"
    assert finding.target_resource_name == "payroll"
    assert finding.start_time == finding.end_time == "2026-03-16T10:00:00.0000000Z"
    assert [activity.new_value for activity in finding.activities] == ["ann"]


@pytest.mark.parametrize("value", ["", "noon", "16/03/2026", "2026-13-01T00:00:00Z"])
def test_a_row_needs_a_time(value: str) -> None:
    """A row without a readable time, or without the time column, is refused."""
    assert reason(cells(**{"Date (UTC)": value})) == "no readable time"
    assert reason({name: cell for name, cell in cells().items() if name != "Date (UTC)"}) == "no readable time"


@pytest.mark.parametrize(
    ("filled", "expected"),
    [
        ({"Activity": ""}, "no Activity; expected the operation's name"),
        ({"ActorType": "Other", "ActorServicePrincipalId": ""}, "unknown ActorType; expected User or Application"),
        ({"ActorType": "", "ActorServicePrincipalId": ""}, "unknown ActorType; expected User or Application"),
        ({"ActorDisplayName": "\udcff"}, "not UTF-8"),
        ({"Target1ModifiedProperty1NewValue": '["\udcff"]'}, "not UTF-8"),
        (
            {"Target1ModifiedProperty1NewValue": '["' + "x" * 32_765},
            "a value cut at 32,767 characters; expected the file as it was downloaded",
        ),
    ],
)
def test_rows_that_can_not_be_read(filled: dict[str, str], expected: str) -> None:
    """What is wrong in structure is refused with a reason that is the same for every such row."""
    assert reason(cells(**filled)) == expected


@pytest.mark.parametrize("value", ['["' + "x" * 32_763 + '"]', '["' + "x" * 40_000 + '"]'])
def test_long_values_that_are_whole(value: str) -> None:
    """A value that happens to be as long as a spreadsheet's cell, or longer, is read when it is whole."""
    event = read(Target1ModifiedProperty1NewValue=value)
    assert event.target_resources[0]["modifiedProperties"][0]["newValue"] == value


@given(st.dictionaries(st.sampled_from(HEADER), st.text(max_size=6) | st.sampled_from(list(cells().values()))))
def test_any_cells(filled: dict[str, Any]) -> None:
    """Any cells give an event that the engine can read, or the one error."""
    try:
        event = portal_event(EMPTY | filled, CLOCK)
    except UnreadableError:
        return
    initiator_of(json_text(event.initiated_by))
    assert len(targets_of(json_text(event.target_resources))) == len(event.target_resources)
