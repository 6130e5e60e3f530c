"""A finding as the page shows it: every text made visible and cut, every number and list ready."""

from collections.abc import Iterable
from typing import Final

import msgspec

from rare_audit.detection.finding import LeftOut, Seen
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.report import Fate, Told
from rare_audit.reporting.report.ranking import Novelty, novelty
from rare_audit.reporting.report.words import Piece, resource_name, sentence
from rare_audit.reporting.text import one_line

_LONGEST: Final = 160
_SUMMARY: Final = 90
_CHANGES: Final = {"new": "new in this run", "confirmed": "found before", "changed": "changed by this run"}


class Detail(msgspec.Struct, frozen=True):
    """How much of a finding is shown: rows of each table and list, and characters of a value."""

    rows: int
    characters: int


LEVELS: Final = (Detail(50, 2_050), Detail(20, 600), Detail(5, 200))
"""From all that is kept down to a glimpse. A kept value has up to 2,000 characters and a remark on what is missing."""


class Change(msgspec.Struct, frozen=True):
    """A line of the evidence."""

    time: str
    name: str
    old: str
    new: str
    result: str


class Fact(msgspec.Struct, frozen=True):
    """A named list of values."""

    name: str
    values: tuple[str, ...]


class FindingView(msgspec.Struct, frozen=True):
    """One finding of the page. Evidence, facts and ids, which are to be copied, are empty where there is no room."""

    id: str
    sentence: tuple[Piece, ...]
    properties: str
    remarks: tuple[str, ...]
    degraded: str
    changes: tuple[Change, ...] = ()
    facts: tuple[Fact, ...] = ()
    ids: tuple[Fact, ...] = ()
    cut: str = ""


class Setting(msgspec.Struct, frozen=True):
    """What all findings of a page share."""

    lookback_days: int
    dated: bool
    coverage: dict[str, Coverage]
    degraded: frozenset[str]


def brief(told: Told, setting: Setting) -> FindingView:
    """Return a finding without what is to unfold."""
    finding = told.finding
    coverage = setting.coverage.get(finding.day)
    gaps = f"Baseline incomplete: {coverage}." if coverage and finding.day in setting.degraded else ""
    remarks = (_CHANGES.get(told.change, ""), told.fate if told.fate is not Fate.UNKNOWN else "")
    return FindingView(
        id=finding.id,
        sentence=sentence(finding, setting.lookback_days, dated=setting.dated),
        properties=one_line(", ".join(finding.property_names), _SUMMARY),
        remarks=tuple(filter(None, remarks)),
        degraded=gaps,
    )


def whole(told: Told, setting: Setting, detail: Detail) -> FindingView:
    """Return a finding with its evidence, familiarity and ids, so far as `detail` has room."""
    finding = told.finding
    changes = tuple(
        Change(
            time=one.time_generated[11:19],
            name=_line(one.property_name),
            old=one_line(one.old_value, detail.characters),
            new=one_line(one.new_value, detail.characters),
            result=_line(one.result),
        )
        for one in finding.evidence[: detail.rows]
    )
    facts = (*_familiarity(told, setting), *_parties(told, detail))
    is_whole = not finding.cut and finding.left_out == LeftOut()
    is_cut = not is_whole or len(finding.evidence) > detail.rows or detail is not LEVELS[0]
    left_out = (
        f"{len(finding.evidence) - len(changes)} more changes and " if len(finding.evidence) > len(changes) else ""
    )
    cut = f"Not all is shown here: {left_out}long values and lists are cut." if is_cut else ""
    return msgspec.structs.replace(
        brief(told, setting), changes=changes, facts=_filled(facts), ids=_filled(_ids(told, detail)), cut=cut
    )


def _filled(facts: Iterable[Fact]) -> tuple[Fact, ...]:
    return tuple(fact for fact in facts if fact.values)


def at_least(told: Told, detail: Detail) -> int:
    """Return how many bytes a finding's values take at the least with so much of them shown."""
    values = (value for one in told.finding.evidence[: detail.rows] for value in (one.old_value, one.new_value))
    return sum(min(len(value), detail.characters) for value in values)


def _familiarity(told: Told, setting: Setting) -> Iterable[Fact]:
    history, days = told.finding.history, setting.lookback_days
    yield Fact("App seen", (_seen(history.app, days),))
    yield Fact("App in this operation", (_seen(history.app_and_operation, days),))
    if novelty(history) is Novelty.PROPERTY:
        yield Fact("The same, other properties", (_seen(history.combination, days),))
    coverage = setting.coverage.get(told.finding.day)
    if coverage:
        yield Fact("Compared with", (str(coverage),))


def _seen(seen: Seen, days: int) -> str:
    return f"on {seen.days} of {days} days, last on {seen.last}" if seen.days else f"on none of {days} days"


def _parties(told: Told, detail: Detail) -> Iterable[Fact]:
    finding = told.finding
    yield Fact("Operation", (_line(finding.operation_name.strip()),))
    yield Fact("Properties", _few(finding.property_names, detail.rows, finding.left_out.property_names))
    yield Fact("Categories", _few(filter(None, finding.categories), detail.rows))
    targets = (
        " · ".join(filter(None, (target.type, target.display_name, target.user_principal_name, target.id)))
        for target in finding.targets
    )
    yield Fact("Targets", _few(targets, detail.rows) or _few(filter(None, [resource_name(finding)]), 1))
    yield Fact("Host", _few(filter(None, [finding.host]), 1))


def _ids(told: Told, detail: Detail) -> Iterable[Fact]:
    finding = told.finding
    yield Fact("Finding", (finding.id,))
    yield Fact("Incident", tuple(filter(None, [told.incident_id])))
    yield Fact("Application", _few(finding.app_ids, detail.rows))
    yield Fact("Service principal", _few(finding.service_principal_ids, detail.rows))
    yield Fact("Address", _few(filter(None, [finding.initiated_by_ip_address]), 1))
    events = dict.fromkeys(one.id for one in finding.evidence if one.id)
    yield Fact("Event", _few(events, detail.rows))
    correlations = dict.fromkeys(one.correlation_id for one in finding.evidence if one.correlation_id)
    yield Fact("Correlation", _few(correlations, detail.rows))


def _few(values: Iterable[str], most: int, left_out: int = 0) -> tuple[str, ...]:
    """Return the first values, and how many more there are; `left_out` of them are not even here."""
    there = tuple(values)
    more = max(0, len(there) - most) + left_out
    return (*map(_line, there[:most]), *([f"… {more} more"] if more else []))


def _line(text: str) -> str:
    return one_line(text, _LONGEST)
