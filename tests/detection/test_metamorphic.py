"""What must not change the outcome, whatever the events are."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product
from random import Random
from typing import Any, Final

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rare_audit.detection.detector import Detector
from rare_audit.detection.event import AuditEvent, decode_event
from rare_audit.detection.finding import Finding
from rare_audit.detection.funnel import Reading
from rare_audit.detection.result import Detection, conclude
from rare_audit.detection.rule import Exclusion
from rare_audit.detection.ticks import TICKS_PER_DAY, format_ticks
from rare_audit.detection.windows import Windows
from tests.detection.helpers import RULE, decoded, detect
from tests.strategies import LOOKBACK, START, Event, event_of, logs

DAYS: Final = 3
WINDOWS: Final = {
    "open": Windows.single(START, None, RULE.lookback_days),
    "a day": Windows.single(START, START + TICKS_PER_DAY, RULE.lookback_days),
    "daily": Windows.days(START, START + DAYS * TICKS_PER_DAY, RULE.lookback_days),
}
LOGS: Final = logs(least=10, most=80)
RANDOMS: Final = st.integers(0, 2**32 - 1).map(Random)
checked: Final = settings(
    max_examples=120,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
CROWDED: Final = logs(least=20, most=80).map(lambda log: [_crowded(event) for event in log])
windows_and_variant: Final = st.tuples(st.sampled_from(sorted(WINDOWS)).map(WINDOWS.__getitem__), st.booleans())


def _crowded(event: Event) -> Event:
    """Move an event of the past into the current day: with little past, much is rare, and many events share a row."""
    return event | {"TimeGenerated": max(event["TimeGenerated"], "2026-03-15" + event["TimeGenerated"][10:])}


def exclusion(condition: str, *, enabled: bool = True) -> Exclusion:
    """Return an exclusion named like its condition."""
    return Exclusion(name=condition, description="A test's.", condition=condition, enabled=enabled)


ADD_OWNER: Final = exclusion('OperationName = "Add owner"')
OF_BACKUP: Final = exclusion('ActivityName = "x" or InitiatedByApp = "Backup"')
OF_USERS: Final = exclusion('Category = "UserManagement"')
NEVER: Final = exclusion('ResourceType = "Microsoft.Security/assessments"')
DISABLED: Final = exclusion('OperationName = "add owner"', enabled=False)
EXCLUSIONS: Final = (ADD_OWNER, OF_BACKUP, OF_USERS, NEVER, DISABLED)


def passed(
    events: Sequence[AuditEvent], windows: Windows, *, by_property: bool, exclusions: tuple[Exclusion, ...] = ()
) -> tuple[Detector, Detection]:
    """Run a pass; return what it remembers, too."""
    detector = Detector(RULE, windows, by_property=by_property, exclusions=exclusions)
    detector.feed(events)
    return detector, conclude(detector, Reading(events=len(events)))


def groups(detection: Detection, windows: Windows) -> set[tuple[str, ...]]:
    """Return what identifies each row of the rule's result: its window's day, and the five columns it is grouped by."""
    return {
        (finding.day if windows.daily else "", *(finding.row()[column] for column in GROUP))
        for finding in detection.findings
    }


GROUP: Final = (
    *("InitiatedByApp", "OperationName", "TargetUserPrincipalName"),
    *("InitiatedByIpAddress", "TargetResourceName"),
)


def baseline_event(random: Random) -> Event:
    """Return an event of the first window's baseline, both of whose ends count."""
    at = START - random.choice([0, 1, LOOKBACK, random.randrange(LOOKBACK)])
    return event_of(str(random.random())) | {"TimeGenerated": format_ticks(at)}


def is_baseline(event: AuditEvent) -> bool:
    """Tell whether an event is in the first window's baseline."""
    return START - LOOKBACK <= event.ticks <= START


@checked
@given(LOGS, windows_and_variant, RANDOMS, st.booleans())
def test_the_order_of_events_does_not_matter(
    log: list[Event], asked: tuple[Windows, bool], random: Random, excluding: bool
) -> None:
    """Findings with their evidence and history, and the funnel: all the same."""
    windows, by_property = asked
    exclusions = EXCLUSIONS if excluding else ()
    events = decoded(log)
    shuffled = random.sample(events, len(events))
    first = detect(events, windows, by_property=by_property, exclusions=exclusions)
    assert detect(shuffled, windows, by_property=by_property, exclusions=exclusions) == first
    assert detect(events[::-1], windows, by_property=by_property, exclusions=exclusions) == first


@checked
@given(LOGS, windows_and_variant, RANDOMS)
def test_a_baseline_event_more_adds_no_finding(log: list[Event], asked: tuple[Windows, bool], random: Random) -> None:
    """What is rare with more of a past was rare with less."""
    windows, by_property = asked
    before = detect(decoded(log), windows, by_property=by_property)
    more = [*log, *(baseline_event(random) for _ in range(3)), *map(_moved_to_baseline(random), random.sample(log, 3))]
    assert groups(detect(decoded(more), windows, by_property=by_property), windows) <= groups(before, windows)


def _moved_to_baseline(random: Random) -> Callable[[Event], Event]:
    return lambda event: event | {"TimeGenerated": baseline_event(random)["TimeGenerated"]}


@checked
@given(LOGS, windows_and_variant, RANDOMS)
def test_a_baseline_event_less_removes_no_finding(
    log: list[Event], asked: tuple[Windows, bool], random: Random
) -> None:
    """What is rare stays rare when less of the past is known."""
    windows, by_property = asked
    events = decoded(log)
    before = detect(events, windows, by_property=by_property)
    fewer = [event for event in events if not is_baseline(event) or random.random() < 0.7]
    assert groups(detect(fewer, windows, by_property=by_property), windows) >= groups(before, windows)


@checked
@given(LOGS, windows_and_variant, RANDOMS)
def test_duplicates_change_no_row(log: list[Event], asked: tuple[Windows, bool], random: Random) -> None:
    """Logs deliver some events twice: the 13 columns and the evidence of each finding stay as they are."""
    windows, by_property = asked
    events = decoded(log)
    doubled = events + random.choices(events, k=10)
    before = detect(events, windows, by_property=by_property).findings
    after = detect(doubled, windows, by_property=by_property).findings
    assert [finding.row() for finding in after] == [finding.row() for finding in before]
    assert [uncounted(finding) for finding in after] == [uncounted(finding) for finding in before]


def uncounted(finding: Finding) -> Finding:
    """Return a finding without its number of events."""
    return msgspec.structs.replace(finding, events=0)


@checked
@given(LOGS, st.booleans(), st.sampled_from([0, TICKS_PER_DAY // 4, 1]))
def test_many_windows_in_one_pass_equal_each_alone(log: list[Event], by_property: bool, offset: int) -> None:
    """Three daily windows, whole findings with their history, against three passes of one window each."""
    events = decoded(log)
    starts = [START + offset + day * TICKS_PER_DAY for day in range(DAYS)]
    together = Windows.days(starts[0], starts[-1] + TICKS_PER_DAY, RULE.lookback_days)
    alone = [Windows.single(start, start + TICKS_PER_DAY, RULE.lookback_days) for start in starts]
    each = [finding for window in alone for finding in detect(events, window, by_property=by_property).findings]
    found = detect(events, together, by_property=by_property).findings
    assert sorted(found, key=_place) == sorted(each, key=_place)


def _place(finding: Finding) -> tuple[str, str]:
    return finding.start_time, finding.id


@checked
@given(logs(least=40, most=120), windows_and_variant, RANDOMS, st.booleans(), st.booleans())
def test_how_json_is_written_does_not_matter(
    log: list[Event], asked: tuple[Windows, bool], random: Random, as_text: bool, alike: bool
) -> None:
    """White space, escapes and the order of members, all events alike or each its own way: no shortcut is misled.

    The log has no record twice: whether two are the same is told by how they are written.
    """
    windows, by_property = asked
    log = list({json.dumps(event, sort_keys=True): event for event in log}.values())
    before = detect(decoded(log), windows, by_property=by_property)
    lines, state = [], random.getstate()
    for event in log:
        if alike:
            random.setstate(state)
        lines.append(_spelled(event, random, as_text=as_text))
    assert detect([decode_event(line.encode()) for line in lines], windows, by_property=by_property) == before


def _spelled(event: Event, random: Random, *, as_text: bool) -> str:
    """Return an event as JSON, spelled as `random` has it: two of the same state spell alike."""
    order, space = random.sample(range(8), 8), random.choice(["", "", " ", "\n\t", "\r"])
    escaped = random.choice([(), (), ("userPrincipalName", "newValue"), ("modifiedProperties",), ("x", "Sync")])
    event = event | {"TargetResources": _reordered(event["TargetResources"], order)}
    columns = {name: _written(event[name], space, escaped) for name in ("InitiatedBy", "TargetResources")}
    if as_text:
        columns = {name: json.dumps(text) for name, text in columns.items()}
    columns |= {name: json.dumps(value) for name, value in event.items() if name not in columns}
    return "{" + ",".join(f'"{name}"{space}:{space}{text}' for name, text in columns.items()) + "}"


def _reordered(targets: Any, order: list[int]) -> Any:
    if isinstance(targets, list):
        return [_reordered(target, order) for target in targets]
    if not isinstance(targets, dict):
        return targets
    return {name: targets[name] for name in sorted(targets, key=lambda name: order[len(name) % 8])}


def _written(value: Any, space: str, escaped: tuple[str, ...]) -> str:
    if isinstance(value, dict):
        members = (f"{_written(name, '', escaped)}{space}:{_written(value[name], space, escaped)}" for name in value)
        return f"{space}{{{','.join(members)}{space}}}"
    if isinstance(value, list):
        return f"{space}[{','.join(_written(inner, space, escaped) for inner in value)}{space}]"
    if value in escaped:
        return '"' + "".join(f"\\u{ord(letter):04x}" for letter in value) + '"'
    return space + json.dumps(value)


def _lookalike(day: str, changes: dict[str, str], *, as_text: bool) -> AuditEvent:
    """Return an event; two of them are alike up to the properties but for what is changed."""
    named = {"operation": "Add owner", "app": "Sync", "ip": "10.0.0.1", "upn": "ann@x.example"} | changes
    properties = '"modifiedProperties":[{"displayName":"P","newValue":"[\\"x\\"]"}]'
    upn = f'"{named.get("member", "userPrincipalName")}":"{named["upn"]}"'
    target = f"{properties},{upn}" if "behind" in named else f"{upn},{properties}"
    columns = {
        "InitiatedBy": f'{{"app":{{"displayName":"{named["app"]}","ipAddress":"{named["ip"]}"}}}}',
        "TargetResources": f"[{{{target}}}]",
    }
    if as_text:
        columns = {name: json.dumps(text) for name, text in columns.items()}
    columns |= {"TimeGenerated": f'"2026-03-{day}T10:00:00Z"', "OperationName": json.dumps(named["operation"])}
    return decode_event("{" + ",".join(f'"{name}":{text}' for name, text in columns.items()) + "}")


LOOKALIKES: Final = {
    "operations": ({"operation": "Add owner"}, {"operation": "Add owner "}),
    "apps": ({"app": "Sync"}, {"app": "Backup"}),
    "addresses": ({"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}),
    "names": ({"upn": "ann@x.example"}, {"upn": "bob@x.example"}),
    "names behind": ({"upn": "ann@x.example", "behind": ""}, {"upn": "bob@x.example", "behind": ""}),
    "names behind, their member escaped": (
        {"upn": "ann@x.example", "behind": "", "member": r"\u0075serPrincipalName"},
        {"upn": "bob@x.example", "behind": "", "member": r"\u0075serPrincipalName"},
    ),
    "names that hold a member's": (
        {"upn": "modifiedProperties-1@x.example"},
        {"upn": "modifiedProperties-2@x.example"},
    ),
}


@pytest.mark.parametrize("as_text", [True, False])
@pytest.mark.parametrize("what", LOOKALIKES)
def test_lookalikes_are_told_apart(what: str, as_text: bool) -> None:
    """Each is learnt, whichever comes first; and only one of them learnt leaves the other rare."""
    past = [_lookalike("10", changes, as_text=as_text) for changes in LOOKALIKES[what]]
    today = [_lookalike("15", changes, as_text=as_text) for changes in LOOKALIKES[what]]
    for learnt, rare in ((past, 0), (past[::-1], 0), (past[:1], 1), (past[1:], 1), ([], 2)):
        assert len(detect([*learnt, *today], WINDOWS["open"]).findings) == rare


@pytest.mark.parametrize("as_text", [True, False])
@pytest.mark.parametrize("place", ["in the app", "beside the new value", "in a second target"])
def test_a_number_past_a_double_hides_nothing(place: str, as_text: bool) -> None:
    """As step 5 has it of a new value, it keeps its text; where columns are values, the whole row may be refused."""
    places = ("in the app", "beside the new value", "in a second target")
    number = {name: "1e999" if name == place else "1" for name in places}
    initiator = f'{{"app":{{"displayName":"Sync","x":{number["in the app"]}}}}}'
    changed = f'{{"newValue":["x"],"oldValue":{number["beside the new value"]}}}'
    targets = f'[{{"modifiedProperties":[{changed}]}},{{"id":{number["in a second target"]}}}]'
    if as_text:
        initiator, targets = json.dumps(initiator), json.dumps(targets)
    line = f'{{"TimeGenerated":"2026-03-15T10:00:00Z","InitiatedBy":{initiator},"TargetResources":{targets}}}'
    try:
        event = decode_event(line.encode())
    except msgspec.ValidationError:
        assert not as_text
    else:
        assert len(detect([event], WINDOWS["open"]).findings) == 1


@checked
@given(LOGS, windows_and_variant, st.integers(1, 20))
def test_batches_equal_all_at_once(log: list[Event], asked: tuple[Windows, bool], size: int) -> None:
    """Events may be fed a few at a time."""
    windows, by_property = asked
    events = decoded(log)
    detector = Detector(RULE, windows, by_property=by_property)
    for at in range(0, len(events), size):
        detector.feed(iter(events[at : at + size]))
    together = detect(events, windows, by_property=by_property)
    assert conclude(detector, Reading(events=len(events))) == together
    assert conclude(detector, Reading(events=len(events))) == together, "concluding changes nothing"


@checked
@given(LOGS | CROWDED, windows_and_variant, st.booleans(), st.booleans())
def test_the_funnel_adds_up(log: list[Event], asked: tuple[Windows, bool], as_text: bool, excluding: bool) -> None:
    """No event is lost without a number; both variants, with exclusions and without."""
    windows, by_property = asked
    exclusions = EXCLUSIONS if excluding else ()
    events = decoded(log, as_text=as_text)
    detection = detect(events, windows, by_property=by_property, exclusions=exclusions)
    funnel, current = detection.funnel, detection.funnel.current
    assert funnel.reading.events == len(log) == funnel.outside + funnel.baseline.events + current.events
    past = detect([event for event in events if event.ticks < START], windows, by_property=by_property)
    assert funnel.baseline == past.funnel.baseline
    assert funnel.baseline.events >= funnel.baseline.app_initiated
    assert current.events >= current.app_initiated
    told = current.repeated + sum(current.dropped.values()) + current.on_first_tick + current.known + current.rare
    assert current.app_initiated == told
    assert current.rare == sum(current.excluded.values()) + current.reported
    assert current.reported == sum(finding.events for finding in detection.findings)
    assert funnel.findings == len(detection.findings)
    assert len({finding.id for finding in detection.findings}) == funnel.findings


@checked
@given(LOGS, windows_and_variant)
def test_exclusions_hide_and_never_teach(log: list[Event], asked: tuple[Windows, bool]) -> None:
    """The findings are those without exclusions, less the excluded; what is known and what is rare stays the same."""
    windows, by_property = asked
    events = decoded(log)
    bare, without = passed(events, windows, by_property=by_property)
    excluding, found = passed(events, windows, by_property=by_property, exclusions=(ADD_OWNER, OF_BACKUP))
    assert list(found.findings) == [
        finding
        for finding in without.findings
        if finding.operation_name != "Add owner" and finding.initiated_by_app != "Backup"
    ]
    assert excluding.seen == bare.seen
    assert found.funnel.baseline == without.funnel.baseline
    changed = msgspec.structs.replace(found.funnel.current, excluded={}, reported=without.funnel.current.reported)
    assert changed == without.funnel.current


@checked
@given(LOGS | CROWDED, windows_and_variant)
def test_an_exclusion_may_hide_part_of_a_finding(log: list[Event], asked: tuple[Windows, bool]) -> None:
    """A finding goes when all its events are excluded; else it stays, without what they brought."""
    windows, by_property = asked
    events = decoded(log)
    without = detect(events, windows, by_property=by_property).findings
    found = detect(events, windows, by_property=by_property, exclusions=(OF_USERS,)).findings
    assert {(finding.history, finding.categories) for finding in found} == {
        (finding.history, ("GroupManagement",)) for finding in without if "GroupManagement" in finding.categories
    }
    if windows is not WINDOWS["daily"]:  # there, an excluded event is the past of later days
        kept = [event for event in events if event.category != "UserManagement" or event.ticks <= START]
        assert found == detect(kept, windows, by_property=by_property).findings


@checked
@given(LOGS, windows_and_variant)
def test_each_enabled_exclusion_is_told_with_its_number(log: list[Event], asked: tuple[Windows, bool]) -> None:
    """Zeros too, in the order of the file; of several that match, the first takes the event. One that is off is not."""
    windows, by_property = asked
    events = decoded(log)
    told = detect(events, windows, by_property=by_property, exclusions=EXCLUSIONS).funnel.current
    assert list(told.excluded) == [ADD_OWNER.name, OF_BACKUP.name, OF_USERS.name, NEVER.name]
    assert told.excluded[NEVER.name] == 0
    alone = detect(events, windows, by_property=by_property, exclusions=(ADD_OWNER,)).funnel.current
    assert told.excluded[ADD_OWNER.name] == alone.excluded[ADD_OWNER.name]
    assert told == detect(events, windows, by_property=by_property, exclusions=EXCLUSIONS[:-1]).funnel.current


def test_the_logs_drawn_here_have_something_to_say() -> None:
    """Not vacuous: such logs hold events of every fate."""
    fates: Counter[str] = Counter()
    for seed in range(60):
        events = decoded([event_of(f"{seed} {place}") for place in range(40)])
        for windows, by_property in product(WINDOWS.values(), (False, True)):
            current = detect(events, windows, by_property=by_property, exclusions=EXCLUSIONS).funnel.current
            fates.update({"known": current.known, "on the first tick": current.on_first_tick})
            fates.update({"reported": current.reported} | current.dropped | current.excluded)
    assert fates.pop(NEVER.name) == 0
    assert min(fates.values()) >= 10, fates
    assert min(fates["known"], fates["reported"], fates["on the first tick"]) >= 100, fates
