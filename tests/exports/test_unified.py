"""AuditData of the unified audit log: directory records become events, others are skipped by name or refused."""

import csv
import io
import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rare_audit.detection.event import AuditEvent, initiator_of, json_text, targets_of
from rare_audit.detection.ticks import parse_ticks
from rare_audit.detection.windows import Windows
from rare_audit.exports.context import Clock
from rare_audit.exports.times import DateOrder
from rare_audit.exports.unified import (
    AUDIT_DATA_COLUMN,
    LACKS,
    is_unified_header,
    is_unified_record,
    unified_event,
)
from rare_audit.sources.tally import UnreadableError
from tests.detection.helpers import detect

CLOCK = Clock(DateOrder.MONTH_FIRST, lambda value: DateOrder.MONTH_FIRST)

Json = dict[str, Any]
PURVIEW: Final = [
    *["RecordId", "CreationDate", "RecordType", "Operation", "UserId", "AuditData"],
    *["AssociatedAdminUnits", "AssociatedAdminUnitsNames"],
]
POWERSHELL: Final = [
    *["PSComputerName", "RunspaceId", "PSShowComputerName", "RecordType", "CreationDate", "UserIds", "Operations"],
    *["AuditData", "ResultIndex", "ResultCount", "Identity", "IsValid", "ObjectState"],
]
PRINCIPAL: Final = "11111111-2222-3333-4444-555555555555"
APP: Final = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
APP_ACTOR: Final[list[Json]] = [
    {"ID": "Backup Agent", "Type": 1},
    {"ID": APP, "Type": 2},
    {"ID": f"ServicePrincipal_{PRINCIPAL}", "Type": 2},
    {"ID": PRINCIPAL, "Type": 2},
    {"ID": "ServicePrincipal", "Type": 2},
]
USER_ACTOR: Final[list[Json]] = [
    {"ID": "ann@x.example", "Type": 5},
    {"ID": "1003200000000000", "Type": 3},
    {"ID": "Some Portal", "Type": 1},
    {"ID": APP, "Type": 2},
    {"ID": "User_u-1", "Type": 2},
    {"ID": "u-1", "Type": 2},
    {"ID": "User", "Type": 2},
]


def record(**members: Any) -> Json:
    """Return a record by an app on an application, with other members as they are given here."""
    return {
        "CreationTime": "2026-03-10T08:00:00",
        "Id": "r-1",
        "Operation": "Update application.",
        "OrganizationId": "o-1",
        "RecordType": 8,
        "ResultStatus": "Success",
        "UserKey": "Not Available",
        "UserType": 4,
        "Version": 1,
        "Workload": "AzureActiveDirectory",
        "ObjectId": "Not Available",
        "UserId": f"ServicePrincipal_{PRINCIPAL}",
        "AzureActiveDirectoryEventType": 1,
        "ExtendedProperties": [{"Name": "additionalDetails", "Value": "{}"}],
        "ModifiedProperties": [{"Name": "KeyDescription", "NewValue": '[\r\n  "x"\r\n]', "OldValue": "[]"}],
        "Actor": APP_ACTOR,
        "InterSystemsId": "c-1",
        "Target": [
            {"ID": "Application_t-1", "Type": 2},
            {"ID": "t-1", "Type": 2},
            {"ID": "Application", "Type": 2},
            {"ID": "Payroll", "Type": 1},
        ],
    } | members


def read(**members: Any) -> AuditEvent:
    """Return the event of the record that `record` makes."""
    event = unified_event(json.dumps(record(**members)), CLOCK)
    assert isinstance(event, AuditEvent)
    return event


def reason(audit_data: bytes | str) -> str:
    """Return why a record can't be read."""
    with pytest.raises(UnreadableError) as caught:
        unified_event(audit_data, CLOCK)
    return str(caught.value)


def initiator_in(event: AuditEvent) -> str | None:
    """Return the app's name that the engine sees."""
    initiator = initiator_of(json_text(event.initiated_by))
    return None if initiator is None else initiator.app


@pytest.mark.parametrize("header", [PURVIEW, POWERSHELL, ["CreationDate", "UserIds", "Operations", "AuditData"]])
def test_headers_are_recognised(header: list[str]) -> None:
    """Purview's columns, PowerShell's, and a selection of them are recognised by the one column that is needed."""
    assert is_unified_header(header)
    assert not is_unified_header([column for column in header if column != AUDIT_DATA_COLUMN])


def test_records_are_recognised() -> None:
    """Records are recognised by mandatory members; Log Analytics rows and Graph records are not."""
    assert is_unified_record(set(record()))
    for member in ("CreationTime", "Operation", "RecordType"):
        assert not is_unified_record(set(record()) - {member})
    assert not is_unified_record({"TimeGenerated", "OperationName", "InitiatedBy", "TargetResources"})
    assert not is_unified_record({"activityDateTime", "activityDisplayName", "operationType"})


def test_a_record_by_an_app() -> None:
    """A record becomes the event that AuditLogs would have, with values of properties as they are."""
    assert read() == AuditEvent(
        time_generated="2026-03-10T08:00:00.0000000Z",
        operation_name="Update application",
        category=None,
        id="r-1",
        correlation_id="c-1",
        result="success",
        type="AuditLogs",
        initiated_by={"app": {"appId": APP, "displayName": "Backup Agent", "servicePrincipalId": PRINCIPAL}},
        target_resources=[
            {
                "id": "t-1",
                "type": "Application",
                "displayName": "Payroll",
                "userPrincipalName": None,
                "modifiedProperties": [
                    {"displayName": "KeyDescription", "oldValue": "[]", "newValue": '[\r\n  "x"\r\n]'}
                ],
            }
        ],
    )


def test_bytes_and_text_are_the_same() -> None:
    """A record reads the same from a CSV cell and from a file's bytes."""
    text = json.dumps(record(Operation="Größe."), ensure_ascii=False)
    assert unified_event(text, CLOCK) == unified_event(text.encode(), CLOCK)


def test_a_user_who_works_through_an_app_is_a_user() -> None:
    """An app's name beside a user's UPN does not make the app the initiator, since AuditLogs has the user."""
    event = read(Actor=USER_ACTOR, ActorIpAddress="192.0.2.1")
    user = {"id": "u-1", "displayName": None, "userPrincipalName": "ann@x.example", "ipAddress": "192.0.2.1"}
    assert event.initiated_by == {"user": user}


@pytest.mark.parametrize("address", [None, "", "<null>"])
def test_missing_addresses(address: str | None) -> None:
    """An address that is missing is null, however the record says so."""
    assert read(Actor=USER_ACTOR, ActorIpAddress=address).initiated_by["user"]["ipAddress"] is None


@pytest.mark.parametrize("of_user", [entry for entry in USER_ACTOR if entry["ID"] not in ("Some Portal", APP, "u-1")])
def test_each_mark_of_a_user_is_enough(of_user: Json) -> None:
    """Any one of UPN, PUID and class makes the actor a user."""
    event = read(Actor=[{"ID": "Some Portal", "Type": 1}, of_user])
    assert initiator_in(event) is None
    assert list(event.initiated_by) == ["user"]


def test_an_app_named_like_a_user_is_an_app() -> None:
    """An app's display name, which anybody can choose, does not make it a user."""
    for name in ("User", "User_1", "ann@x.example"):
        assert initiator_in(read(Actor=[{"ID": name, "Type": 1}, *APP_ACTOR[1:]])) == name


def test_a_service_of_microsoft_is_an_app() -> None:
    """An actor of the class Other with a name is an app, as AuditLogs has it."""
    event = read(Actor=[{"ID": "Jit", "Type": 1}, {"ID": "Certificate", "Type": 2}, {"ID": "Other", "Type": 2}])
    assert event.initiated_by == {"app": {"appId": None, "displayName": "Jit", "servicePrincipalId": None}}


def test_the_spn_is_the_app_id() -> None:
    """An SPN is the appId; where several GUIDs could be it, none is chosen."""
    spn, other = {"ID": "spn-1", "Type": 4}, {"ID": APP.replace("a", "f"), "Type": 2}
    assert read(Actor=[*APP_ACTOR, spn]).initiated_by["app"]["appId"] == "spn-1"
    assert read(Actor=[*APP_ACTOR, other]).initiated_by["app"]["appId"] is None


def test_an_app_without_a_name_stays_without() -> None:
    """No id replaces a name that is missing: the rule does not see such an app, and the note says so."""
    event = read(Actor=APP_ACTOR[1:])
    assert event.initiated_by["app"] == {"appId": APP, "displayName": None, "servicePrincipalId": PRINCIPAL}
    assert initiator_in(event) is None
    assert "without a display name" in LACKS


@pytest.mark.parametrize("actor", [None, "", []])
@pytest.mark.parametrize(
    ("user_id", "expected"),
    [
        (f"ServicePrincipal_{PRINCIPAL}", {"app": {"displayName": None, "servicePrincipalId": PRINCIPAL}}),
        ("ann@x.example", {"user": {"userPrincipalName": "ann@x.example"}}),
        (None, None),
        ("", None),
    ],
)
def test_without_an_actor_the_user_id_decides(actor: Any, user_id: str | None, expected: Json | None) -> None:
    """An actor that is null or empty is legitimate; UserId then names the initiator, if anything does."""
    assert read(Actor=actor, UserId=user_id).initiated_by == expected


def test_a_user_as_target() -> None:
    """A target's UPN, class and id are found among its entries, whatever their order."""
    claims = [{"ID": "ann@x.example", "Type": 5}, {"ID": "User", "Type": 2}, {"ID": "User_u-1", "Type": 2}]
    (target,) = read(Target=claims).target_resources
    assert (target["type"], target["id"], target["userPrincipalName"]) == ("User", "u-1", "ann@x.example")
    assert target["displayName"] is None


@pytest.mark.parametrize("nothing", [None, "", []])
def test_records_without_target_or_properties(nothing: Any) -> None:
    """Null, "" and [] are legitimate; properties without a target are not lost, nor is a target without properties."""
    assert read(Target=nothing, ModifiedProperties=nothing).target_resources == []
    assert [target["modifiedProperties"] for target in read(ModifiedProperties=nothing).target_resources] == [[]]
    (target,) = read(Target=nothing).target_resources
    assert target["displayName"] is None
    assert len(target["modifiedProperties"]) == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", ""),
        ("bare text", "bare text"),
        (["x", 1], '["x",1]'),
        (True, "true"),
        ({"a": []}, '{"a":[]}'),
    ],
)
def test_values_of_properties(value: Any, expected: str | None) -> None:
    """Text stays as it is; a value that is not text becomes JSON text."""
    (target,) = read(ModifiedProperties=[{"Name": "P", "NewValue": value}]).target_resources
    assert target["modifiedProperties"] == [{"displayName": "P", "oldValue": None, "newValue": expected}]


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("Add member to role.", "Add member to role"),
        ("Add member to role..", "Add member to role."),
        ("Add member to role", "Add member to role"),
        (
            "Update application – Certificates and secrets management ",
            "Update application – Certificates and secrets management ",
        ),
    ],
)
def test_one_full_stop_is_removed(operation: str, expected: str) -> None:
    """The operation loses exactly one final full stop, and nothing else."""
    assert read(Operation=operation).operation_name == expected


def test_the_category_of_older_records() -> None:
    """Where the extended properties carry the category of AuditLogs, the event has it."""
    extended = [{"Name": "teamName", "Value": "x"}, {"Name": "auditEventCategory", "Value": "RoleManagement"}]
    assert read(ExtendedProperties=extended).category == "RoleManagement"
    assert read(ExtendedProperties=[{"Name": "auditEventCategory", "Value": "<null>"}]).category is None


@pytest.mark.parametrize("kind", [8, "8", "AzureActiveDirectory", "azureActiveDirectory", None])
def test_directory_records(kind: Any) -> None:
    """The record type may be a number, text or a name, or missing if the workload is there."""
    assert read(RecordType=kind).operation_name == "Update application"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"RecordType": 15}, "AzureActiveDirectory, record type 15"),
        ({"RecordType": "15"}, "AzureActiveDirectory, record type 15"),
        ({"RecordType": 2, "Workload": "Exchange", "ModifiedProperties": ["a"]}, "Exchange, record type 2"),
        ({"RecordType": 20, "Workload": None}, "unified audit log, record type 20"),
        ({"RecordType": None, "Workload": "Exchange"}, "Exchange"),
    ],
)
def test_records_of_other_kinds_are_named(members: Json, expected: str) -> None:
    """Sign-ins and records of other workloads give their kind, whatever else is in them."""
    assert unified_event(json.dumps(record(**members)), CLOCK) == expected


def test_a_new_operation_of_a_known_app_is_the_one_finding() -> None:
    """Of an app's known and new operation, the rule reports the new one alone, as it would from AuditLogs."""
    owner = {"Name": "Owner", "NewValue": '[\r\n  "ann"\r\n]', "OldValue": ""}
    records = [
        record(),
        record(CreationTime="2026-03-16T09:00:00", Id="r-2"),
        record(
            CreationTime="2026-03-16T10:00:00",
            Id="r-3",
            Operation="Add owner to application.",
            ModifiedProperties=[owner],
        ),
    ]
    events = [unified_event(row[AUDIT_DATA_COLUMN], CLOCK) for row in through_csv(records)]
    windows = Windows.single(parse_ticks("2026-03-16"), parse_ticks("2026-03-17"), 14)
    (finding,) = detect([event for event in events if isinstance(event, AuditEvent)], windows).findings
    assert finding.operation_name == "Add owner to application"
    assert finding.initiated_by_app == "Backup Agent"
    assert finding.target_resource_name == "payroll"
    assert finding.start_time == finding.end_time == "2026-03-16T10:00:00.0000000Z"
    assert [activity.new_value for activity in finding.activities] == ["ann"]


def through_csv(records: list[Json]) -> list[dict[str, str]]:
    """Return records as they come out of a Purview export, whose other columns hold other texts."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, PURVIEW)
    writer.writeheader()
    for each in records:
        writer.writerow({"CreationDate": "3/16/2026 10:00:00 AM", "AuditData": json.dumps(each)})
    return list(csv.DictReader(io.StringIO(text.getvalue(), newline="")))


WHOLE: Final = json.dumps(record())


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "5", '"text"', "{", WHOLE[:-1], WHOLE[:300], f"[{WHOLE}]", "[" * 9999]
)
def test_incomplete_or_other_json(text: str) -> None:
    """A record that was cut, or is not an object, is refused, as text and as bytes."""
    assert reason(text) == "AuditData is not a whole JSON object"
    assert reason(text.encode()) == "AuditData is not a whole JSON object"


def test_other_encodings() -> None:
    """Bytes in another encoding are refused as such, from a file and from a CSV cell."""
    broken = WHOLE.encode().replace(b"Payroll", b"\xff")
    assert reason(broken) == reason(broken.decode(errors="surrogateescape")) == "not UTF-8"


OBJECTS: Final = "{} in AuditData is not an array of objects with {}"
ENTRY: Final = "{} in AuditData has an entry whose ID is not text or whose Type is not a number"


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({"CreationTime": None}, "no readable time"),
        ({"CreationTime": "16/16/2026 10:00:00 AM"}, "no readable time"),
        ({"CreationTime": 5}, "no readable time"),
        ({"Operation": ""}, "no Operation in AuditData; expected the operation's name"),
        ({"Operation": ["x"]}, "Operation in AuditData is not text"),
        ({"Id": 5}, "Id in AuditData is not text"),
        ({"InterSystemsId": {}}, "InterSystemsId in AuditData is not text"),
        ({"ResultStatus": True}, "ResultStatus in AuditData is not text"),
        ({"Workload": 8}, "Workload in AuditData is not text"),
        ({"RecordType": None, "Workload": None}, "RecordType in AuditData is neither a number nor a name"),
        ({"RecordType": True}, "RecordType in AuditData is neither a number nor a name"),
        ({"RecordType": 8.5}, "RecordType in AuditData is neither a number nor a name"),
        ({"Actor": {}}, OBJECTS.format("Actor", "ID")),
        ({"Actor": "Backup Agent"}, OBJECTS.format("Actor", "ID")),
        ({"Actor": ["Backup Agent"]}, OBJECTS.format("Actor", "ID")),
        ({"Actor": [{"Type": 1}]}, OBJECTS.format("Actor", "ID")),
        ({"Actor": [{"ID": 5, "Type": 1}]}, ENTRY.format("Actor")),
        ({"Actor": [{"ID": "x"}]}, ENTRY.format("Actor")),
        ({"Actor": [{"ID": "x", "Type": True}]}, ENTRY.format("Actor")),
        ({"Target": [{"ID": "x", "Type": "one"}]}, ENTRY.format("Target")),
        ({"Target": 5}, OBJECTS.format("Target", "ID")),
        ({"ModifiedProperties": {"Name": "x"}}, OBJECTS.format("ModifiedProperties", "Name")),
        ({"ModifiedProperties": ["HtmlBody"]}, OBJECTS.format("ModifiedProperties", "Name")),
        ({"ModifiedProperties": [{"NewValue": "[1]"}]}, OBJECTS.format("ModifiedProperties", "Name")),
        ({"ExtendedProperties": [None]}, OBJECTS.format("ExtendedProperties", "Name")),
    ],
)
def test_records_that_can_not_be_read(members: Json, expected: str) -> None:
    """What is wrong in structure is refused with a reason that names the field and what was expected."""
    assert reason(json.dumps(record(**members))) == expected


def test_numbers_as_text() -> None:
    """Types that a tool has written as text are read as the numbers they are; an entry without an ID is skipped."""
    actor = [{"ID": entry["ID"], "Type": str(entry["Type"])} for entry in APP_ACTOR]
    assert read(Actor=[*actor, {"ID": None, "Type": 1}]) == read()


_SCALARS: Final = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
_NAMES: Final = st.sampled_from(["ID", "Type", "Name", "NewValue", "OldValue", "Value"]) | st.text(max_size=3)
_ANY: Final = st.recursive(
    _SCALARS | st.sampled_from(["User", "ServicePrincipal_1", "auditEventCategory", "<null>", "8", 8, 1, 2, 5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=4),
    max_leaves=8,
)
_MEMBERS: Final = st.dictionaries(st.sampled_from(sorted(record())), _ANY, max_size=4)


@given(_MEMBERS.map(lambda members: record() | members) | st.dictionaries(st.text(max_size=3), _ANY))
def test_any_object(members: Json) -> None:
    """Any JSON object gives an event that the engine can read, the name of another kind, or the one error."""
    try:
        event = unified_event(json.dumps(members), CLOCK)
    except UnreadableError:
        return
    if isinstance(event, str):
        assert event
        return
    initiator_in(event)
    assert len(targets_of(json_text(event.target_resources))) == len(event.target_resources)


@given(st.binary(max_size=40) | st.integers(0, len(WHOLE)).map(lambda end: WHOLE[:end].encode()))
def test_any_bytes(audit_data: bytes) -> None:
    """Arbitrary bytes, and a record cut anywhere, give the one error; only the whole record is an event."""
    try:
        event = unified_event(audit_data, CLOCK)
    except UnreadableError:
        return
    assert audit_data == WHOLE.encode()
    assert isinstance(event, AuditEvent)
