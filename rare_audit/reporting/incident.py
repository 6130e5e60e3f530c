"""Findings of a day to incidents: one for each app and UTC day, with ids that come from content."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from rare_audit.detection.finding import Finding, content_id
from rare_audit.detection.rule import Rule
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.floods import flood_line
from rare_audit.reporting.text import markdown, one_line

TITLE_CAP: Final = 200
DESCRIPTION_CAP: Final = 5_000
"""Characters a Sentinel incident's description holds: sentinel/sentinel-service-limits."""
_LISTED: Final = 10
_NO_MORE: Final = 120


class App(msgspec.Struct, frozen=True, rename="camel"):
    """The application an incident is about; ids are "" where no event told them."""

    name: str
    app_id: str
    service_principal_id: str

    @property
    def identity(self) -> str:
        """What tells apps apart: a service principal's id, else the app's, else its name, which anyone may choose."""
        return self.service_principal_id or self.app_id or self.name


class Incident(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an analyst is shown: all that one app did for the first time on one UTC day. Times are ISO 8601 text."""

    id: str
    rule_id: str
    day: str
    app: App
    title: str
    description: str
    severity: str
    first_activity: str
    last_activity: str
    labels: tuple[str, ...]
    tactics: tuple[str, ...]
    techniques: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def digest(self) -> str:
        """An id of the whole content: equal digests, nothing to write. Made piece by piece, as findings may be many."""
        hashed = hashlib.sha256(msgspec.json.encode(msgspec.structs.replace(self, findings=())))
        for finding in self.findings:
            hashed.update(msgspec.json.encode(finding))
        return content_id("content", hashed.hexdigest())


def app_of(finding: Finding) -> App:
    """Return the app of a finding by the ids of its earliest events."""
    return App(
        name=finding.initiated_by_app,
        app_id=next(iter(finding.app_ids), ""),
        service_principal_id=next(iter(finding.service_principal_ids), ""),
    )


def incident_id(finding: Finding) -> str:
    """Return the id of the incident a finding opens, from its rule, its app and its day."""
    return content_id("incident", finding.rule_id, app_of(finding).identity, finding.day)


def group(
    rule: Rule, findings: Iterable[Finding], raised: Mapping[str, str], coverage: Coverage | None = None
) -> tuple[Incident, ...]:
    """Return the incidents of these findings, ordered by their first activity.

    `coverage` is the health of their baseline; they tell of it where days of it are missing.

    `raised` maps the ids of findings that were part of an incident before to that incident's id: there they stay, even
    if events that came late have since told another id of the app.
    """
    members: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        members[raised.get(finding.id) or incident_id(finding)].append(finding)
    gaps = _gaps(coverage) if coverage else ""
    incidents = (_incident(rule, id_, tuple(sorted(those, key=_order)), gaps) for id_, those in members.items())
    return tuple(sorted(incidents, key=lambda incident: (incident.first_activity, incident.id)))


def _order(finding: Finding) -> tuple[str, str]:
    return finding.start_time, finding.id


def _incident(rule: Rule, id_: str, findings: tuple[Finding, ...], gaps: str) -> Incident:
    first = findings[0]
    app = app_of(first)
    return Incident(
        id=id_,
        rule_id=rule.id,
        day=first.day,
        app=app,
        title=_title(app, findings),
        description=_description(rule, app, findings, gaps),
        severity=rule.severity,
        first_activity=first.start_time,
        last_activity=max(finding.end_time for finding in findings),
        labels=("Rare Audit", f"rule:{rule.id}"),
        tactics=rule.tactics,
        techniques=rule.relevant_techniques,
        findings=findings,
    )


def _title(app: App, findings: tuple[Finding, ...]) -> str:
    operations = list(dict.fromkeys(one_line(finding.operation_name.strip(), _NO_MORE) for finding in findings))
    more = f" and {len(operations) - 1} more" if len(operations) > 1 else ""
    name = one_line(app.name, 80)
    return one_line(f"Rare activity by app {name}: {operations[0]}{more}", TITLE_CAP)


def _gaps(coverage: Coverage) -> str:
    """Return a sentence on the days that a baseline lacks, "" where it lacks none."""
    if not coverage.missing:
        return ""
    return f" Of the days it was compared with, {coverage}; without any: {', '.join(coverage.missing)}."


def _description(rule: Rule, app: App, findings: tuple[Finding, ...], gaps: str) -> str:
    lines = [
        _opening(rule, app, findings[0]) + gaps,
        "",
        *(_sentence(finding) for finding in findings[:_LISTED]),
    ]
    if len(findings) > _LISTED:
        lines.append(f"- … and {len(findings) - _LISTED} more findings.")
    lines += ["", f"Rule: {markdown(rule.name)} ({rule.id})."]
    text = "\n".join(lines)
    return text if len(text) <= DESCRIPTION_CAP else text[: DESCRIPTION_CAP - 20] + "\n… (cut to fit)"


def _opening(rule: Rule, app: App, first: Finding) -> str:
    ids = [
        f"{name} {markdown(one_line(value, _NO_MORE))}"
        for name, value in (("appId", app.app_id), ("servicePrincipalId", app.service_principal_id))
        if value
    ]
    told = f" ({', '.join(ids)})" if ids else ""
    days, seen = rule.lookback_days, first.history.app
    familiar = f"active on {seen.days} of them, last on {seen.last}" if seen.days else "seen on none of them"
    name = markdown(one_line(app.name.strip(), _NO_MORE))
    return (
        f"On {first.day} (UTC) the application **{name}**{told} did what it had not done in the {days} days before. "
        f"It was {familiar}."
    )


def _sentence(finding: Finding) -> str:
    names = [target for target in (finding.target_user_principal_name, finding.target_resource_name) if target]
    if finding.flood:
        names = [flood_line(finding.flood)]
    on = f" on {markdown(one_line(names[0], _NO_MORE))}" if names else ""
    properties = ", ".join(markdown(one_line(name, 60)) for name in finding.property_names[:5])
    count = "once" if finding.events == 1 else f"{finding.events} times"
    return (
        f"- **{markdown(one_line(finding.operation_name.strip(), _NO_MORE))}**{on}, {count}, "
        f"first at {finding.start_time[11:19]}: {properties or 'no named property'}"
    )
