"""Events with many properties and many targets: what is kept of them, against a literal reading, and what it costs."""

import json
import time
from random import Random
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rare_audit.detection.candidates import EVIDENCE_CAP
from rare_audit.detection.finding import Activity, Evidence, Finding, TargetResource
from rare_audit.detection.ticks import parse_ticks
from rare_audit.detection.windows import Windows
from tests.detection.helpers import RULE, decoded, detect
from tests.strategies import START, Event

WINDOW: Final = Windows.single(START, None, RULE.lookback_days)
SENSITIVE: Final = ("KeyDescription", "Role.TemplateId")
NAMES: Final = [*(f"P{at}" for at in range(10)), *SENSITIVE]
KNOWN: Final = frozenset(NAMES[:4])
FIRST: Final[dict[str, Any]] = {"id": "first", "type": "User", "displayName": "Ann", "userPrincipalName": "ann@x"}
seeds: Final = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 12))


def _event(random: Random) -> Event:
    """Return an event of the one combination; instants, ids and targets meet again, so that there are many ties."""
    names = random.choices(NAMES, k=random.choice([1, 3, 12, 40, 90]))
    changed = [{"displayName": name, "newValue": json.dumps([random.randrange(30)])} for name in names]
    others = [{"id": f"t{random.randrange(70)}"} for _ in range(random.choice([0, 2, 40, 120]))]
    app = {"displayName": "Sync", "appId": f"a{random.randrange(60)}", "servicePrincipalId": random.choice(["", "s"])}
    return {
        "TimeGenerated": f"2026-03-15T10:00:00.000000{random.randrange(4)}Z",
        "OperationName": "Add owner",
        "Category": random.choice(["GroupManagement", "UserManagement"]),
        "Id": random.choice(["", "e1", "e2"]),
        "CorrelationId": random.choice(["c1", "c2"]),
        "InitiatedBy": {"app": app},
        "TargetResources": [FIRST | {"modifiedProperties": changed}, *others],
    }


def _past() -> Event:
    """Return an event of the lookback that makes its properties known, by property, and nothing else."""
    changed = [{"displayName": name, "newValue": '["x"]'} for name in sorted(KNOWN)]
    event = _event(Random("past"))
    return event | {
        "TimeGenerated": "2026-03-10T10:00:00Z",
        "TargetResources": [FIRST | {"modifiedProperties": changed}],
    }


class _Row(NamedTuple):
    when: tuple[int, str, int]
    event: Event
    name: str
    value: str

    @property
    def evidence(self) -> Evidence:
        return Evidence(
            f"{self.event['TimeGenerated']}",
            self.event["Id"],
            self.name,
            "",
            self.value,
            self.event["CorrelationId"],
            "",
        )

    @property
    def activity(self) -> Activity:
        return Activity(self.name, self.value[1:-1], self.event["Id"], self.event["CorrelationId"])


def _when(event: Event, place: int) -> tuple[int, str, int]:
    return parse_ticks(event["TimeGenerated"]), event["Id"], place


def _rare_rows(events: list[Event], known: frozenset[str]) -> list[_Row]:
    return [
        _Row(_when(event, place), event, changed["displayName"], changed["newValue"])
        for event in events
        for place, changed in enumerate(event["TargetResources"][0]["modifiedProperties"])
        if changed["displayName"] not in known
    ]


Met = list[tuple[tuple[int, str, int], Any]]


def _ends(met: Met, most: int = EVIDENCE_CAP) -> list[tuple[tuple[int, str, int], Any]]:
    """Return the distinct values with the time of each: all that fit, or half of them from each end."""
    first: dict[Any, tuple[int, str, int]] = {}
    last: dict[Any, tuple[int, str, int]] = {}
    for when, value in met:
        first[value] = min(when, first.get(value, when))
        last[value] = max(when, last.get(value, when))
    if len(first) <= most:
        return sorted((when, value) for value, when in first.items())
    early = sorted((when, value) for value, when in first.items())[: most - most // 2]
    there = {value for _, value in early}
    late = sorted((when, value) for value, when in last.items() if value not in there)
    return sorted([*early, *late[len(late) - most // 2 :]])


def _values(met: Met) -> tuple[tuple[Any, ...], bool]:
    """Return the distinct values that are kept, in order, and whether there were more."""
    return tuple(value for _, value in _ends(met)), len({value for _, value in met}) > EVIDENCE_CAP


def _evidence(rows: list[_Row]) -> tuple[tuple[Evidence, ...], bool]:
    """Return the changes that are kept: of sensitive properties as many as fit, then others."""
    sensitive, others = (
        [(row.when, row.evidence) for row in rows if (row.name in SENSITIVE) is wanted] for wanted in (True, False)
    )
    kept = _ends(sensitive)
    kept += _ends(others, EVIDENCE_CAP - len(kept))
    return tuple(value for _, value in sorted(kept)), len({row.evidence for row in rows}) > EVIDENCE_CAP


def _target(target: dict[str, Any]) -> TargetResource:
    return TargetResource(*(target.get(name) or "" for name in ("id", "type", "displayName", "userPrincipalName")))


def _expected(events: list[Event], known: frozenset[str]) -> dict[str, Any]:
    """Return what a finding says of these events, read off them row by row."""
    rows = _rare_rows(events, known)
    touched = [one for one in events if any(row.event is one for row in rows)]
    apps = [(_when(one, 0), one["InitiatedBy"]["app"]) for one in touched]
    parts: dict[tuple[str, str], tuple[Any, Activity]] = {}
    for row in rows:
        part = (row.event["Category"], row.name)
        parts[part] = min(parts.get(part, (row.when, row.activity)), (row.when, row.activity))
    columns = {
        "evidence": _evidence(rows),
        "app_ids": _values([(when, app["appId"]) for when, app in apps]),
        "service_principal_ids": _values([(when, "s") for when, app in apps if app["servicePrincipalId"]]),
        "targets": _values(
            [(_when(one, at), _target(each)) for one in touched for at, each in enumerate(one["TargetResources"])]
        ),
    }
    return {
        **{name: values for name, (values, _) in columns.items()},
        "cut": any(cut for _, cut in columns.values()),
        "events": len(touched),
        "activities": tuple(dict.fromkeys(activity for _, activity in sorted(parts.values()))),
        "property_names": tuple(sorted({row.name for row in rows})),
        "categories": tuple(sorted({row.event["Category"] for row in rows})),
        "start_time": min(row.event["TimeGenerated"] for row in rows),
        "end_time": max(row.event["TimeGenerated"] for row in rows),
    }


def _found(events: list[Event], *, by_property: bool) -> tuple[Finding, ...]:
    return detect(decoded(events), WINDOW, by_property=by_property).findings


@given(seeds)
def test_one_finding_of_wide_events(seed: tuple[int, int]) -> None:
    """All properties are rare together: each field is what a literal reading gives, whatever the order of events."""
    random = Random(str(seed))
    events = [_event(random) for _ in range(seed[1])]
    expected = _expected(events, frozenset())
    for ordered in (events, events[::-1], random.sample(events, len(events))):
        (finding,) = _found(ordered, by_property=False)
        assert {name: getattr(finding, name) for name in expected} == expected


@given(seeds)
def test_one_finding_of_wide_events_by_property(seed: tuple[int, int]) -> None:
    """Only rare properties bring evidence, and only events with a rare one bring parties."""
    random = Random(str(seed))
    events = [_event(random) for _ in range(seed[1])]
    for ordered in ([_past(), *events], [*events[::-1], _past()]):
        findings = _found(ordered, by_property=True)
        if not _rare_rows(events, KNOWN):
            assert findings == ()
            continue
        expected = _expected(events, KNOWN)
        (finding,) = findings
        assert {name: getattr(finding, name) for name in expected} == expected


@pytest.mark.parametrize("by_property", [False, True])
def test_wide_events_cost_what_they_weigh(by_property: bool) -> None:
    """Ten events of 1,000 properties and 1,500 targets take no seconds, though their product is 15,000,000."""
    changed = [{"displayName": f"P{at}", "newValue": '["x"]'} for at in range(1_000)]
    first = FIRST | {"modifiedProperties": changed}
    events = [
        _event(Random("wide"))
        | {"Id": f"e{number}", "TargetResources": [first, *({"id": f"{number}-{at}"} for at in range(1_499))]}
        for number in range(10, 0, -1)
    ]
    log = decoded(events)
    began = time.process_time()
    (finding,) = detect(log, WINDOW, by_property=by_property).findings
    assert time.process_time() - began < 4
    assert finding.cut
    assert len(finding.property_names) == 1_000
