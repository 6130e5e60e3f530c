"""What is kept beside the rule's columns: the earliest and the latest, up to a cap, whatever the order of events."""

import json
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rare_audit.detection.candidates import EVIDENCE_CAP, TEXT_CAP, Ends, When
from rare_audit.detection.event import decode_event
from rare_audit.detection.finding import Evidence, Finding, TargetResource
from rare_audit.detection.windows import Windows
from tests.detection.helpers import RULE, detect
from tests.strategies import START

Added = tuple[int, When]
ADDITIONS: Final = st.lists(
    st.tuples(st.integers(0, 400), st.tuples(st.integers(0, 9), st.sampled_from(["", "a", "b"]), st.integers(0, 2))),
    max_size=600,
)
checked: Final = settings(deadline=None, database=None)


def filled(additions: list[Added]) -> Ends[int]:
    """Return an Ends that was given these, in this order."""
    ends: Ends[int] = Ends()
    for value, when in additions:
        ends.add(value, when)
    return ends


@checked
@given(ADDITIONS, st.randoms(use_true_random=False), st.integers(0, 600), st.integers(0, EVIDENCE_CAP))
def test_ends_whatever_the_order(additions: list[Added], random: Any, cut_at: int, most: int) -> None:
    """The values met first and last, ties by value; `cut` says that some were left out; in one go or merged of two."""
    first: dict[int, When] = {}
    last: dict[int, When] = {}
    for value, when in additions:
        first[value] = min(when, first.get(value, when))
        last[value] = max(when, last.get(value, when))
    merged = filled(additions[:cut_at])
    merged.merge(filled(additions[cut_at:]))
    shuffled = random.sample(additions, len(additions))
    for ends in (filled(additions), filled(shuffled), merged):
        assert ends.ends(most) == _ends(first, last, most)
        assert ends.cut is (len(first) > EVIDENCE_CAP)


def _ends(first: dict[int, When], last: dict[int, When], most: int) -> list[tuple[When, int]]:
    """Return what is chosen of values that were all remembered."""
    earliest = sorted((when, value) for value, when in first.items())
    if len(earliest) <= most:
        return earliest
    chosen = {value: when for when, value in earliest[: most - most // 2]}
    late = sorted(((when, value) for value, when in last.items() if value not in chosen), reverse=True)
    return sorted([*((when, value) for value, when in chosen.items()), *late[: most // 2]])


def test_ends_at_their_cap() -> None:
    """As many as the cap are all kept, and nothing is said to be cut; with one more, one in the middle is left out."""
    full = [(value, (value, "", 0)) for value in range(EVIDENCE_CAP)]
    assert not filled(full).cut
    assert filled(full).values() == tuple(range(EVIDENCE_CAP))
    more = filled([*full, (EVIDENCE_CAP, (EVIDENCE_CAP, "", 0))])
    assert more.cut
    assert more.values() == (*range(25), *range(26, EVIDENCE_CAP + 1))


def event(**columns: Any) -> dict[str, Any]:
    """Return an event of an app that changed one property of a user."""
    return {
        "TimeGenerated": "2026-03-15T10:00:00Z",
        "OperationName": "Add owner",
        "Category": "GroupManagement",
        "Id": "e1",
        "CorrelationId": "c1",
        "Result": "success",
        "InitiatedBy": {"app": {"displayName": "Sync", "appId": "a1", "servicePrincipalId": "s1"}},
        "TargetResources": [target()],
    } | columns


def target(*properties: dict[str, Any], **members: Any) -> dict[str, Any]:
    """Return a target with these properties, else with one."""
    ordinary = {"displayName": "KeyDescription", "oldValue": "[]", "newValue": '["x"]'}
    return {
        "id": "t1",
        "type": "User",
        "displayName": "Ann",
        "userPrincipalName": "ann@x.example",
        "modifiedProperties": list(properties) or [ordinary],
    } | members


def app(**ids: Any) -> dict[str, Any]:
    """Return an InitiatedBy with these ids."""
    return {"app": {"displayName": "Sync"} | ids}


def only_finding(*events: dict[str, Any]) -> Finding:
    """Return the one finding of these events."""
    decoded = [decode_event(json.dumps(each).encode()) for each in events]
    windows = Windows.single(START, None, RULE.lookback_days)
    (finding,) = detect(decoded, windows).findings
    (reversed_,) = detect(decoded[::-1], windows).findings
    assert finding == reversed_
    return finding


def test_evidence_has_the_whole_values() -> None:
    """The rule takes the first element of the new value alone; evidence holds both values as they were logged."""
    properties = (
        {"displayName": "A", "oldValue": '["1", "2"]', "newValue": '["x", "y"]'},
        {"displayName": "B", "newValue": ["x", {"b": [1, 2]}]},
        {"displayName": "Dropped", "oldValue": '["1"]', "newValue": "[]"},
    )
    finding = only_finding(event(TargetResources=[target(*properties)]))
    at = "2026-03-15T10:00:00.0000000Z"
    assert finding.evidence == (
        Evidence(at, "e1", "A", '["1", "2"]', '["x", "y"]', "c1", "success"),
        Evidence(at, "e1", "B", "", '["x",{"b":[1,2]}]', "c1", "success"),
    )
    assert [activity.new_value for activity in finding.activities] == ["x", "x"]
    assert not finding.cut


def test_long_texts_are_capped_and_say_so() -> None:
    """In the evidence and the targets; the rule's own columns keep theirs whole."""
    fits, longer = "x" * TEXT_CAP, "y" * (TEXT_CAP + 5)
    changed = {"displayName": longer, "oldValue": fits, "newValue": json.dumps([longer])}
    finding = only_finding(event(TargetResources=[target(changed, displayName=longer)]))
    (evidence,), cut = finding.evidence, "y" * TEXT_CAP + "… (5 characters more)"
    assert evidence.property_name == finding.targets[0].display_name == cut
    assert evidence.old_value == fits
    assert evidence.new_value == f'["{"y" * (TEXT_CAP - 2)}… (9 characters more)'
    assert finding.activities[0].new_value == longer
    assert finding.property_names == (longer,)
    assert finding.target_resource_name == longer


def test_more_changes_than_the_cap_are_cut() -> None:
    """The earliest and the latest stay and `cut` is set; the rule's own columns have them all."""
    names = [f"P{place:02d}" for place in range(EVIDENCE_CAP + 10)]
    properties = [{"displayName": name, "newValue": '["x"]'} for name in names]
    finding = only_finding(event(TargetResources=[target(*properties[::-1])]))
    assert finding.cut
    assert [each.property_name for each in finding.evidence] == [*names[:-26:-1], *names[24::-1]]
    assert finding.property_names == tuple(names)
    assert len(finding.activities) == len(names)
    exactly = only_finding(event(TargetResources=[target(*properties[:EVIDENCE_CAP])]))
    assert not exactly.cut
    assert len(exactly.evidence) == EVIDENCE_CAP


def test_many_events_keep_both_ends_of_the_evidence() -> None:
    """Over events too, in time and not in the order they came."""
    events = [event(TimeGenerated=f"2026-03-15T10:{59 - at:02d}:00Z", Id=f"e{at}") for at in range(60)]
    finding = only_finding(*events)
    assert finding.cut
    assert finding.events == 60
    assert [each.id for each in finding.evidence] == [f"e{59 - at}" for at in (*range(25), *range(35, 60))]


@pytest.mark.parametrize("place", [0, 100, 199])
def test_a_flood_does_not_bury_what_matters(place: int) -> None:
    """Of 200 changes one is of a property that makes an identity stronger: it is in the evidence, wherever it lies."""
    properties = [{"displayName": "Notes", "newValue": f'["{at}"]'} for at in range(200)]
    properties[place] = {"displayName": "Role.TemplateId", "newValue": '["62e90394-69f5-4237-9190-012177145e10"]'}
    finding = only_finding(event(TargetResources=[target(*properties)]))
    assert "Role.TemplateId" in {each.property_name for each in finding.evidence}
    assert len(finding.evidence) == EVIDENCE_CAP


def test_the_latest_is_not_buried() -> None:
    """Of one property with 59 ordinary values and then another, the last is in the evidence."""
    events = [
        event(
            TimeGenerated=f"2026-03-15T10:{at:02d}:00Z",
            Id=f"e{at}",
            TargetResources=[target({"displayName": "KeyDescription", "newValue": f'["{at}"]'})],
        )
        for at in range(60)
    ]
    assert only_finding(*events).evidence[-1].new_value == '["59"]'


def test_ids_are_ordered_by_their_earliest_event() -> None:
    """An app's name may hide several apps: the id of the earliest event comes first, each once, none empty."""
    finding = only_finding(
        event(TimeGenerated="2026-03-15T12:00:00Z", Id="e1", InitiatedBy=app(appId="a", servicePrincipalId="s")),
        event(TimeGenerated="2026-03-15T10:00:00Z", Id="e2", InitiatedBy=app(appId="z", servicePrincipalId="s")),
        event(TimeGenerated="2026-03-15T11:00:00Z", Id="e3", InitiatedBy=app(appId="m", servicePrincipalId=None)),
        event(TimeGenerated="2026-03-15T13:00:00Z", Id="e4", InitiatedBy=app(appId="z", servicePrincipalId="t")),
        event(TimeGenerated="2026-03-15T09:00:00Z", Id="e5", InitiatedBy=app(appId="")),
    )
    assert finding.app_ids == ("z", "m", "a")
    assert finding.service_principal_ids == ("s", "t")


def test_targets_beyond_the_first_are_kept() -> None:
    """The rule reads only the first; an analyst is shown them all, as they were logged."""
    finding = only_finding(
        event(
            TargetResources=[
                target(userPrincipalName="Ann@X.example", displayName="Ann"),
                {"id": "g1", "type": "Group", "displayName": "Admins"},
                {"id": 7, "type": None},
                None,
            ]
        )
    )
    assert finding.target_user_principal_name == "ann@x.example"
    assert finding.targets == (
        TargetResource("t1", "User", "Ann", "Ann@X.example"),
        TargetResource("g1", "Group", "Admins", ""),
        TargetResource("7", "", "", ""),
        TargetResource("", "", "", ""),
    )


def test_only_what_is_rare_brings_evidence() -> None:
    """By property, an event may hold a known property beside a rare one: the known one is no evidence."""
    both = [{"displayName": name, "newValue": '["x"]'} for name in ("Known", "Rare")]
    past = event(TimeGenerated="2026-03-10T10:00:00Z", TargetResources=[target(both[0])])
    events = [decode_event(json.dumps(each).encode()) for each in (past, event(TargetResources=[target(*both)]))]
    windows = Windows.single(START, None, RULE.lookback_days)
    (finding,) = detect(events, windows, by_property=True).findings
    assert [each.property_name for each in finding.evidence] == ["Rare"]
    assert finding.property_names == ("Rare",)
    assert finding.events == 1


def test_a_finding_survives_json() -> None:
    """Whatever is kept can be written and read back as it was."""
    finding = only_finding(event())
    assert msgspec.json.decode(msgspec.json.encode(finding), type=Finding) == finding
