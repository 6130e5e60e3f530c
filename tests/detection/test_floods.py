"""Floods: past a limit the combinations of one app and operation are one finding, whatever the order of events."""

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rare_audit.detection.detector import Detector
from rare_audit.detection.event import AuditEvent
from rare_audit.detection.finding import Finding, FloodCounts
from rare_audit.detection.floods import FloodLimits
from rare_audit.detection.funnel import Reading
from rare_audit.detection.result import Detection, conclude
from rare_audit.detection.rule import Exclusion
from rare_audit.detection.ticks import TICKS_PER_DAY
from rare_audit.detection.windows import Windows
from tests.detection.helpers import RULE, decoded
from tests.strategies import START, Event

LIMIT: Final = 5
LIMITS: Final = FloodLimits(of_one=LIMIT)
CROWDED: Final = FloodLimits(of_one=LIMIT, of_all=12, of_crowded=2)
WINDOWS: Final = Windows.days(START, START + 2 * TICKS_PER_DAY, RULE.lookback_days)
HIDDEN: Final = Exclusion(name="hidden", description="hidden", condition='ResourceGroup = "hidden"')
seeds: Final = st.integers(0, 2**32 - 1)


def _event(random: Random, day: str, **more: Any) -> Event:
    names = random.choices(["Department", "Role.TemplateId", "Notes"], k=random.choice([1, 2]))
    changed = [{"displayName": name, "newValue": f'["{random.randrange(4)}"]'} for name in names]
    user = f"user{random.randrange(more.pop('users', 12))}@x"
    app = {"displayName": random.choice(["Sync", "Backup"]), "ipAddress": random.choice(["", "10.0.0.1"])}
    return {
        "TimeGenerated": f"{day}T10:{random.randrange(60):02d}:00Z",
        "OperationName": random.choice(["Update user", "Add owner"]),
        "Id": f"e{random.randrange(1_000_000)}",
        "ResourceGroup": random.choice(["", "", "hidden"]),
        "InitiatedBy": {"app": app},
        "TargetResources": [{"displayName": user, "userPrincipalName": user, "modifiedProperties": changed}],
    } | more


def _log(random: Random) -> list[Event]:
    days = ["2026-03-08"] * random.choice([0, 5, 60]) + ["2026-03-15"] * 60 + ["2026-03-16"] * 40
    return [_event(random, day, users=random.choice([2, 12])) for day in days]


def _detect(events: Sequence[AuditEvent], floods: FloodLimits | None) -> Detection:
    detector = Detector(RULE, WINDOWS, exclusions=(HIDDEN,), floods=floods)
    detector.feed(events)
    if detector.is_overflowing:
        detector.look_again()
        detector.feed([event for event in events if event.ticks >= START])
        assert detector.looked_again() == 0
    return conclude(detector, Reading(events=len(events)))


def _group(finding: Finding) -> tuple[str, str, str]:
    return finding.day, finding.operation_name, finding.initiated_by_app


def _counts(those: list[Finding]) -> FloodCounts:
    """Return what a flood of findings should say."""
    return FloodCounts(
        combinations=len(those),
        users=len({one.target_user_principal_name for one in those} - {""}),
        resources=len({one.target_resource_name for one in those} - {""}),
        addresses=len({one.initiated_by_ip_address for one in those} - {""}),
    )


@given(seeds, st.sampled_from([LIMITS, CROWDED]))
def test_a_flood_is_its_findings_together(seed: int, limits: FloodLimits) -> None:
    """Up to the limit findings are as ever, past it one has all: counts, first and last time, events, properties.

    The funnel says the same, and so does the log in any other order.
    """
    random = Random(seed)
    events = decoded(_log(random))
    whole, folded = _detect(events, None), _detect(events, limits)
    by_group: dict[tuple[str, str, str], list[Finding]] = {}
    for one in whole.findings:
        by_group.setdefault(_group(one), []).append(one)
    on_day = Counter(one.day for one in whole.findings)
    most = {day: limits.of_crowded if count > limits.of_all else LIMIT for day, count in on_day.items()}
    small = [one for those in by_group.values() if len(those) <= most[those[0].day] for one in those]
    assert {one.id for one in folded.findings if one.flood is None} == {one.id for one in small}
    assert sorted(small, key=lambda one: one.id) == sorted(
        (one for one in folded.findings if one.flood is None), key=lambda one: one.id
    )
    floods = {_group(one): one for one in folded.findings if one.flood is not None}
    assert set(floods) == {group for group, those in by_group.items() if len(those) > most[those[0].day]}
    for group, flood in floods.items():
        those = by_group[group]
        assert flood.flood == _counts(those)
        assert flood.events == sum(one.events for one in those)
        assert (flood.start_time, flood.end_time) == (
            min(one.start_time for one in those),
            max(one.end_time for one in those),
        )
        assert set(flood.property_names) == {name for one in those for name in one.property_names}
        assert flood.target_user_principal_name == flood.initiated_by_ip_address == flood.target_resource_name == ""
        assert (flood.history.app, flood.history.app_and_operation) == (
            those[0].history.app,
            those[0].history.app_and_operation,
        )
        assert flood.history.combination.days == 0
    assert msgspec.structs.replace(folded.funnel, findings=0) == msgspec.structs.replace(whole.funnel, findings=0)
    for ordered in (events[::-1], random.sample(events, len(events))):
        assert _detect(ordered, limits) == folded


def test_the_id_is_that_of_app_operation_and_day() -> None:
    """However large a flood is, and whoever it met first: its id stays, and is none of its combinations'."""
    events = decoded(
        [
            _event(Random(n), "2026-03-15", OperationName="Update user", ResourceGroup="", Id=f"e{n}", users=100)
            | {"InitiatedBy": {"app": {"displayName": "Sync"}}}
            for n in range(60)
        ]
    )
    (few,), (many,) = (_detect(those, LIMITS).findings for those in (events[:20], events))
    assert few.id == many.id
    assert few.id not in {one.id for one in _detect(events, None).findings}
    assert few.flood is not None
    assert many.flood is not None
    assert few.flood.combinations < many.flood.combinations


@pytest.mark.parametrize("count", [LIMIT, LIMIT + 1])
def test_where_a_flood_begins(count: int) -> None:
    """With one more than the limit."""
    events = decoded(
        [
            _event(Random("one"), "2026-03-15", ResourceGroup="", Id=f"e{n}")
            | {"TargetResources": [{"userPrincipalName": f"{n}@x", "modifiedProperties": [{"newValue": '["x"]'}]}]}
            for n in range(count)
        ]
    )
    assert len(_detect(events, LIMITS).findings) == (LIMIT if count == LIMIT else 1)


def test_the_known_are_no_flood() -> None:
    """Where most of a day's combinations turn out known, whatever came first, the rare ones are findings as ever."""
    users = [
        [{"userPrincipalName": f"{n}@x", "modifiedProperties": [{"displayName": "P", "newValue": '["x"]'}]}]
        for n in range(30)
    ]
    today = [_event(Random("one"), "2026-03-15", ResourceGroup="", Id=f"t{n}") | {"TargetResources": user}
             for n, user in enumerate(users)]  # fmt: skip
    before = [_event(Random("one"), "2026-03-08", ResourceGroup="", Id=f"b{n}") | {"TargetResources": user}
              for n, user in enumerate(users[2:])]  # fmt: skip
    log = decoded([*today, *before])
    detection = _detect(log, LIMITS)
    assert [one.target_user_principal_name for one in detection.findings] == ["0@x", "1@x"]
    assert detection == _detect(log, None)


def test_events_that_do_not_come_again_are_counted() -> None:
    """A second look that sees less than the first is told, so that nothing is concluded of it."""
    events = decoded([_event(Random(n), "2026-03-15", ResourceGroup="", users=100) for n in range(60)])
    detector = Detector(RULE, WINDOWS, floods=LIMITS)
    detector.feed(events)
    assert detector.is_overflowing
    detector.look_again()
    detector.feed(events[:50])
    assert detector.looked_again() == 10


def test_by_property_is_never_folded() -> None:
    """There a combination may be known and its property rare: hunts alone ask for it, and get every row."""
    events = decoded([_event(Random(n), "2026-03-15", users=100) for n in range(60)])
    detector = Detector(RULE, WINDOWS, by_property=True, floods=FloodLimits(of_one=1))
    detector.feed(events)
    assert not detector.is_overflowing
