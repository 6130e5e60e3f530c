"""Events with every quirk of real AuditLogs, from alphabets small enough that combinations meet again.

Hypothesis draws one number an event, and a log is a list of them: so logs are long, cheap to draw, and shrink to the
few events that matter.
"""

import json
from random import Random
from typing import Any, Final

from hypothesis import strategies as st

from rare_audit.detection.ticks import TICKS_PER_DAY, format_ticks, parse_ticks

START: Final = parse_ticks("2026-03-15")
LOOKBACK: Final = 14 * TICKS_PER_DAY
MICROSECOND: Final = 10
"""The yardstick's clock: instants drawn here are whole microseconds."""

Event = dict[str, Any]

_VALUES: Final[list[Any]] = [
    *["x", "y", "é\u2028", 'q"\\', " ", "DirectorySync", "directorysync", "LastDirSyncTime", "", True, False, None, 0],
    *[5, -1, 1.5, 2**40, [], {}, {"a": 1, "b": [1, 2]}, [None], ["n", 1]],
]
_ODD_NEW_VALUES: Final[list[Any]] = [
    *[None, "", "[]", [], "[", "[1,", "bare", '["x"] y', ' [ "x" ] ', "[01]", "['x']", "\ufeff[1]", 7, True, {"0": "x"}]
]
_NAMES: Final[list[Any]] = [
    "Role.Name",
    "KeyDescription",
    "DeviceOSType",
    "CloudDeviceOSType.x",
    "xDeviceOSType",
    "Größe",
]
_ODD_NAMES: Final[list[Any]] = [
    *["role.name", "clouddeviceostype", "GRÖßE", "", None, 5, "TargetId.UserType", "lastdirsynctime"],
    *["DeviceObjectVersion", "Action Client Name", "ACTION client name", "Included Updated Properties"],
]
_ODD_PROPERTIES: Final[list[Any]] = [None, "text", 5, [], {}, {"newValue": '["x"]'}, {"displayName": "P"}]
_ODD_MODIFIED: Final[list[Any]] = [
    *[None, [], {}, "text", '[{"newValue":"[\\"x\\"]"}]', 3, {"displayName": "x"}],
    *[{"newValue": '["x"]', "displayName": "P"}, {"newValue": ["x"]}],
]
_UPNS: Final[list[Any]] = ["Ann@X.example", "ann@x.example", "ann@x.example", "bob@x.example"]
_ODD_UPNS: Final[list[Any]] = ["ΑΣ@x", "ασ@X", "ÅÉA", "", None, 5]
_RESOURCES: Final[list[Any]] = ["Ann", "ann", "PC-1", None, True]
_ODD_TARGETS: Final[list[Any]] = [None, [], {}, "text", 5, {"0": {"modifiedProperties": []}}, [None], [[]], ["text"]]
_APPS: Final[list[Any]] = [{"displayName": "Sync"}] * 3 + [
    {"displayName": "sync"},
    {"displayName": "Backup"},
    {"displayName": "Äpp"},
]
_ODD_APPS: Final[list[Any]] = [
    *[{"displayName": "Sync", "ipAddress": address} for address in (None, "", "10.0.0.1", 7)],
    *[{"displayName": name} for name in (" ", "", None, 5, "äpp", "MICROSOFT azure ad Group-Based Licensing")],
    {"appId": "a"},
]
_ODD_INITIATORS: Final[list[Any]] = [
    None,
    {},
    [],
    "text",
    {"app": None},
    {"app": "x"},
    {"user": {"id": "1"}},
    {"app": []},
]
_OPERATIONS: Final[list[Any]] = ["Add owner"] * 3 + [
    "add owner",
    "Update application – Certificates and secrets management ",
]
_ODD_OPERATIONS: Final[list[Any]] = ["CHANGE user license", ""]


def _pick(random: Random, usual: list[Any], odd: list[Any]) -> Any:
    return random.choice(odd if random.random() < 0.15 else usual)


def _instant(random: Random) -> int:
    edge = random.choice([-MICROSECOND, 0, 0, MICROSECOND])
    bound = START + random.choice([-14, -14, -13, -1, 0, 0, 1, 1, 2]) * TICKS_PER_DAY
    anywhere = START + random.randrange(-15 * TICKS_PER_DAY, 3 * TICKS_PER_DAY) // MICROSECOND * MICROSECOND
    return random.choice([bound + edge, anywhere, anywhere])


def _new_value(random: Random) -> Any:
    if random.random() < 0.5:
        return '["x"]'
    value = random.choice(_VALUES)
    forms = (
        json.dumps([value]),
        json.dumps([value, "second"]),
        [value],
        json.dumps(value),
        random.choice(_ODD_NEW_VALUES),
    )
    return random.choice(forms)


def _property(random: Random) -> Any:
    usual = {"displayName": _pick(random, _NAMES, _ODD_NAMES), "newValue": _new_value(random), "oldValue": "[]"}
    return _pick(random, [usual], _ODD_PROPERTIES)


def _target(random: Random) -> Any:
    properties = [_property(random) for _ in range(random.randint(1, 3))]
    members = [
        ("userPrincipalName", _pick(random, _UPNS, _ODD_UPNS)),
        ("displayName", random.choice(_RESOURCES)),
        ("modifiedProperties", _pick(random, [properties], _ODD_MODIFIED)),
    ]
    if random.random() < 0.2:
        random.shuffle(members)
    target = dict(members)
    for absent in random.choices(["", "userPrincipalName", "displayName"], weights=[6, 2, 1]):
        target.pop(absent, None)
    return target


def event_of(seed: str) -> Event:
    """Return the event that a seed stands for, as Log Analytics holds it, its dynamic columns as plain values."""
    random = Random(seed)
    app = _pick(random, _APPS, _ODD_APPS)
    initiator = {"app": json.dumps(app), "user": None} if random.random() < 0.1 else {"app": app}
    targets = [_target(random) for _ in range(random.choice([1, 1, 1, 2]))]
    return {
        "TimeGenerated": format_ticks(_instant(random)),
        "Type": "AuditLogs",
        "OperationName": _pick(random, _OPERATIONS, _ODD_OPERATIONS),
        "Category": random.choice(["GroupManagement", "UserManagement"]),
        "Id": random.choice(["id1", "id2", "id3", "id4"]),
        "CorrelationId": random.choice(["c1", "c2"]),
        "Result": "success",
        "InitiatedBy": _pick(random, [initiator], _ODD_INITIATORS),
        "TargetResources": _pick(random, [targets] * 2, [random.choice(_ODD_TARGETS), targets, targets]),
    }


def logs(least: int = 0, most: int = 60) -> st.SearchStrategy[list[Event]]:
    """Some events, in no order."""
    salts, seeds = st.integers(0, 2**32 - 1), st.lists(st.integers(0, 2**32 - 1), min_size=least, max_size=most)
    return st.tuples(salts, seeds).map(lambda drawn: [event_of(f"{drawn[0]} {seed}") for seed in drawn[1]])


def line(event: Event, *, as_text: bool) -> bytes:
    """Return an event as an export's line, its dynamic columns as JSON text or as values."""
    if as_text:
        event = event | {name: json.dumps(event[name]) for name in ("InitiatedBy", "TargetResources")}
    return json.dumps(event).encode()
