"""What a pass amounts to: findings, in the rule's order, and the funnel."""

from collections import Counter

import msgspec

from rare_audit.detection import kql
from rare_audit.detection.candidates import Candidate, Gathered, Part
from rare_audit.detection.combination import Combination
from rare_audit.detection.data import Data
from rare_audit.detection.detector import Detector
from rare_audit.detection.finding import Finding, FloodCounts, content_id
from rare_audit.detection.funnel import Baseline, Current, Funnel, Reading
from rare_audit.detection.history import Attendance, Histories
from rare_audit.detection.rows import Drop
from rare_audit.detection.ticks import format_ticks


class Detection(msgspec.Struct, frozen=True):
    """The outcome of a pass. Findings are ordered by TargetUserPrincipalName, then StartTime, then the group."""

    findings: tuple[Finding, ...]
    funnel: Funnel
    attendance: Attendance = Attendance()
    data: Data = Data()


class _Group(msgspec.Struct, frozen=True):
    """One group of the rule's RareAudits, its rare parts only."""

    slot: int
    combination: Combination
    parts: dict[tuple[str, str, str], Part]
    gathered: Gathered
    events: int
    flood: FloodCounts | None = None


def conclude(detector: Detector, reading: Reading) -> Detection:
    """Return the findings of all windows and the funnel; `reading` is what the source counted."""
    rare: Counter[str] = Counter(detector.excluded)
    known = detector.known
    groups = []
    for (slot, combination), candidate in detector.kept.candidates.items():
        events = 0
        for (exclusion, names), count in candidate.events.items():
            if not any(_is_rare(detector, slot, combination, name) for name in names):
                known += count
                continue
            rare[exclusion] += count
            events += 0 if exclusion else count
        parts = {name: part for name, part in candidate.parts.items() if _is_rare(detector, slot, combination, name[2])}
        if parts:
            groups.append(_Group(slot, combination, parts, _gathered(detector, slot, candidate), events))
    for (slot, operation, app), flood in detector.kept.floods.items():
        events = flood.whole.events.total()
        rare[""] += events
        combination = (operation, app, "", "", "")
        groups.append(_Group(slot, combination, flood.whole.parts, flood.whole.gathered[()], events, flood.counts()))
    histories = Histories(detector, (group.combination for group in groups))
    findings = sorted((_finding(detector, group, histories) for group in groups), key=_order)
    funnel = _funnel(detector, reading, rare, known, len(findings))
    return Detection(tuple(findings), funnel, histories.attendance(), detector.counts.data())


def _is_rare(detector: Detector, slot: int, combination: Combination, property_name: str) -> bool:
    return not detector.is_known(detector.key(combination, property_name), slot)


def _gathered(detector: Detector, slot: int, candidate: Candidate) -> Gathered:
    """Return what was gathered of the rare rows."""
    together = Gathered()
    for key, gathered in candidate.gathered.items():
        if not detector.is_known(key, slot):
            together.merge(gathered)
    return together


def _order(finding: Finding) -> tuple[str, ...]:
    return (
        finding.target_user_principal_name,
        finding.start_time,
        finding.initiated_by_app,
        finding.operation_name,
        finding.initiated_by_ip_address,
        finding.target_resource_name,
    )


def _finding(detector: Detector, group: _Group, histories: Histories) -> Finding:
    operation, app, ip_address, upn, resource = group.combination
    firsts = sorted(part.first for part in group.parts.values())
    start_time = format_ticks(firsts[0][0][0])
    variant, day = "by-property" if detector.by_property else "", start_time[:10]
    names = tuple(sorted({name for _, _, name in group.parts}))
    return Finding(
        id=content_id(detector.rule.id, variant, *_named(group), day),
        rule_id=detector.rule.id,
        variant=variant,
        day=day,
        initiated_by_app=app,
        operation_name=operation,
        target_user_principal_name=upn,
        initiated_by_ip_address=ip_address,
        target_resource_name=resource,
        start_time=start_time,
        end_time=format_ticks(max(part.last_ticks for part in group.parts.values())),
        activities=tuple(dict.fromkeys(activity for _, activity in firsts)),
        property_names=names,
        host=_host(detector, names, resource),
        categories=tuple(sorted({category for _, category, _ in group.parts})),
        app_ids=group.gathered.app_ids.values(),
        service_principal_ids=group.gathered.service_principal_ids.values(),
        targets=group.gathered.targets.values(),
        events=group.events,
        evidence=group.gathered.evidence(),
        cut=group.gathered.cut,
        history=histories.of(group.slot, group.combination, is_flood=group.flood is not None),
        flood=group.flood,
    )


def _named(group: _Group) -> tuple[str, ...]:
    """Return what an id is made of, apart from rule and day."""
    operation, app, ip_address, upn, resource = group.combination
    return ("flood", app, operation) if group.flood else (app, operation, upn, ip_address, resource)


def _host(detector: Detector, names: tuple[str, ...], resource: str) -> str:
    """`iff(set_PropertyName has_any (…), TargetResourceName, '')`."""
    terms = frozenset(map(kql.fold, detector.rule.parameters.host_properties))
    return resource if any(kql.has_any(name, terms) for name in names) else ""


def _funnel(detector: Detector, reading: Reading, rare: Counter[str], known: int, findings: int) -> Funnel:
    baseline, current = detector.counts.baseline(), detector.counts.current()
    before_first_window = (1 << detector.windows.lookback_days) - 1
    return Funnel(
        reading=reading,
        outside=detector.counts.outside,
        baseline=Baseline(
            events=baseline[0],
            app_initiated=baseline[1],
            combinations=sum(1 for slots in detector.seen.values() if slots & before_first_window),
        ),
        current=Current(
            events=current[0],
            app_initiated=current[1],
            repeated=detector.repeated,
            dropped={drop: detector.dropped[drop] for drop in Drop},
            dropped_rows={drop: detector.dropped_rows[drop] for drop in Drop if drop.is_about_rows},
            on_first_tick=detector.on_first_tick,
            known=known,
            rare=rare.total(),
            excluded={name: rare[name] for name, _ in detector.exclusions},
            reported=rare[""],
        ),
        findings=findings,
        odd=dict(detector.odd),
        first_odd={reason: f"{id_ or 'without Id'} at {time}" for reason, (time, id_) in detector.first_odd.items()},
    )
