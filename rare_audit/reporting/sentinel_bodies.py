"""What Microsoft Sentinel is told of an incident: the properties of its API's resources, made harmless and to fit.

Lengths are counted in UTF-16 units, as .NET counts characters.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from rare_audit.detection.finding import Evidence, Finding, content_id
from rare_audit.detection.kql import lower, string_literal
from rare_audit.detection.rule import EntityMapping
from rare_audit.detection.ticks import day_after
from rare_audit.reporting.floods import flood_line
from rare_audit.reporting.incident import DESCRIPTION_CAP, TITLE_CAP, Incident
from rare_audit.reporting.text import markdown, one_line, visible

COMMENT_CAP: Final = 30_000
"""Characters a comment holds: https://learn.microsoft.com/azure/sentinel/sentinel-service-limits."""
MOST_COMMENTS: Final = 100
"""Comments an incident holds: the same page."""
MOST_BOOKMARKS: Final = 20
"""Bookmarks an incident holds: the same page."""

_HEAD: Final = (
    "| First seen (UTC) | App | Did | To | From | Times | What changed | App seen before |\n"
    "|---|---|---|---|---|---|---|---|"
)
_MOST_IDS: Final = 600
_LISTED: Final = 10
_APP: Final = "tostring(parse_json(tostring(InitiatedBy.app))"
_TARGET: Final = "tostring(TargetResources.[0]"
"""How the rule reads an event, without the closing bracket."""
_COMPARED: Final = 300
"""Characters of a column's text that a query names. Display names in Entra have at most 256."""
_CUT: Final = re.compile(r"… \(\d+ characters more\)\Z")
"""How a text ends that detection.bounds cut."""
_IDS: Final = re.compile(r"Finding ids: ((?:[0-9a-f]{12} ?)+)")
_GUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")


def mark(finding: Finding) -> str:
    """Return a finding's id cut to what tells it from the others of its incident: 12 hexadecimal digits."""
    return finding.id.replace("-", "")[:12]


def incident_properties(incident: Incident) -> dict[str, Any]:
    """Return the properties of a new incident.

    Tactics and techniques are labels, since an incident's own are read-only: SecurityInsights API, 2025-09-01.
    """
    labels = (
        *incident.labels,
        *(f"tactic:{tactic}" for tactic in incident.tactics),
        *(f"technique:{technique}" for technique in incident.techniques),
    )
    return {
        "title": _fit(one_line(incident.title, TITLE_CAP), TITLE_CAP, "…"),
        "description": _fit("\n".join(map(visible, incident.description.split("\n"))), DESCRIPTION_CAP),
        "severity": incident.severity,
        "status": "New",
        "firstActivityTimeUtc": incident.first_activity,
        "lastActivityTimeUtc": incident.last_activity,
        "labels": [{"labelName": one_line(label, 100)} for label in dict.fromkeys(labels)],
    }


def follow_up(incident: Incident, follow_up_id: str, follows: str, findings: tuple[Finding, ...]) -> Incident:
    """Return the incident under `follow_up_id` for findings that the incident `follows` names can't be told any more.

    `findings` are those of `incident` it is about, at least one.
    """
    lines = [
        f"Follow-up of {visible(follows)}. Found since, of what the same application did on {incident.day} (UTC):",
        "",
        *(_sentence(finding) for finding in findings[:_LISTED]),
    ]
    if len(findings) > _LISTED:
        lines.append(f"- … and {len(findings) - _LISTED} more findings.")
    lines += ["", f"Rule: {incident.rule_id}."]
    return msgspec.structs.replace(
        incident,
        id=follow_up_id,
        title=one_line(f"Follow-up: {incident.title}", TITLE_CAP),
        description="\n".join(lines),
        first_activity=min(finding.start_time for finding in findings),
        last_activity=max(finding.end_time for finding in findings),
        findings=findings,
    )


def comment_id(incident_id: str, findings: Iterable[Finding]) -> str:
    """Return the id of the comment that tells these findings: the same ones, the same comment."""
    return content_id("comment", incident_id, *sorted(finding.id for finding in findings))


def comment(findings: tuple[Finding, ...]) -> str:
    """Return the evidence of findings as a Markdown table, at most COMMENT_CAP long; what was cut is said.

    Its last line holds their marks, by which `told_in` knows again what a comment tells.
    """
    marks = " ".join(mark(finding) for finding in findings[:_MOST_IDS])
    count = "one finding" if len(findings) == 1 else f"{len(findings)} findings"
    top = f"Evidence of {count}.\n\n{_HEAD}"
    last = f"\n\nFinding ids: {marks}"
    room = COMMENT_CAP - len(top) - len(last) - 100
    rows: list[str] = []
    for finding in findings:
        row = "\n" + _row(finding)
        room -= _units(row)
        if room < 0:
            break
        rows.append(row)
    cut = len(findings) - len(rows)
    said = f"\n\n… and {cut} more findings, left out of this table to fit." if cut else ""
    return f"{top}{''.join(rows)}{said}{last}"


def told_in(message: str) -> tuple[str, ...]:
    """Return the marks of the findings that a comment tells; none for a comment that somebody else wrote."""
    lines = message.strip().splitlines()
    found = _IDS.fullmatch(lines[-1].strip()) if lines else None
    return tuple(found[1].split()) if found else ()


def bookmark_id(incident_id: str, finding: Finding) -> str:
    """Return the id of a finding's bookmark on an incident."""
    return content_id("bookmark", incident_id, finding.id)


def relation_name(incident_id: str, finding: Finding) -> str:
    """Return the name of the relation between an incident and a finding's bookmark: 36 of the 63 letters allowed."""
    return content_id("relation", incident_id, finding.id)


def bookmark_properties(incident: Incident, finding: Finding, mappings: Sequence[EntityMapping] = ()) -> dict[str, Any]:
    """Return the properties of a finding's bookmark, by the preview of the API that knows entities and tactics.

    `mappings` are those of the rule: which of a finding's columns make which entities.
    Source: the example CreateBookmark of api-version 2025-07-01-preview.
    """
    return {
        "displayName": headline(finding),
        "query": evidence_query(finding),
        "queryResult": _result(finding),
        "notes": f"Finding {finding.id} of incident {incident.id}.",
        "labels": [one_line(label, 100) for label in incident.labels],
        "eventTime": finding.start_time,
        "queryStartTime": f"{finding.day}T00:00:00Z",
        "queryEndTime": f"{day_after(finding.day)}T00:00:00Z",
        "entityMappings": list(_entities(finding, mappings)),
        "tactics": list(incident.tactics),
        "techniques": list(incident.techniques),
    }


def headline(finding: Finding) -> str:
    """Return a finding in one line of at most 200 UTF-16 units: what was done, to whom or what, by which app."""
    target = _target(finding)
    on = f" on {target}" if target else ""
    return _fit(one_line(f"{finding.operation_name}{on} by {finding.initiated_by_app}", 200), 200, "…")


def user_id(finding: Finding) -> str:
    """Return the object id of the user a finding is about, "" where no target tells it."""
    name = finding.target_user_principal_name
    ids = (
        target.id
        for target in finding.targets
        if name and target.type == "User" and lower(target.user_principal_name) == name and _GUID.match(target.id)
    )
    return next(ids, "")


def evidence_query(finding: Finding) -> str:
    """Return KQL that finds all events behind a finding, by the columns that it is grouped by and its times.

    It finds events that the rule drops as well, where they have the same columns.
    """
    bounds = f"todatetime({string_literal(finding.start_time)}) .. todatetime({string_literal(finding.end_time)})"
    columns = (
        ("OperationName", finding.operation_name),
        (f"{_APP}.displayName)", finding.initiated_by_app),
        (f"{_APP}.ipAddress)", finding.initiated_by_ip_address),
        (f"tolower({_TARGET}.userPrincipalName))", finding.target_user_principal_name),
        (f"tolower({_TARGET}.displayName))", finding.target_resource_name),
    )
    lines = ["AuditLogs", f"| where TimeGenerated between ({bounds})"]
    of_all = columns[:2] if finding.flood else columns
    lines += [f"| where {column} {_compared(text)}" for column, text in of_all]
    return "\n".join(lines)


def _compared(text: str) -> str:
    """Return a comparison with a column's text; of one that is long or was cut, with its beginning."""
    cut = _CUT.search(text)
    beginning = (text[: cut.start()] if cut else text)[:_COMPARED]
    operator = "==" if beginning == text else "startswith_cs"
    return f"{operator} {string_literal(beginning)}"


def _entities(finding: Finding, rule_mappings: Sequence[EntityMapping]) -> Iterator[dict[str, Any]]:
    """Yield what Sentinel can link: by the rule's mappings, and beside them what a finding has and no column of it.

    Types and identifiers: https://learn.microsoft.com/azure/sentinel/entities-reference.
    """
    row = finding.row()
    entities: dict[str, dict[str, str]] = {}
    for mapping in rule_mappings:
        identifiers = {each.identifier: str(row.get(each.column_name, "")) for each in mapping.field_mappings}
        entities.setdefault(mapping.entity_type, {}).update(identifiers)
    if "Account" in entities:
        entities["Account"].setdefault("AadUserId", user_id(finding))
    # By its name alone: an AppId there is a number of another catalogue, and not the application's id in Entra.
    entities.setdefault("CloudApplication", {"Name": finding.initiated_by_app})
    for entity_type, found in entities.items():
        fields = [{"identifier": key, "value": one_line(value, 256)} for key, value in found.items() if value.strip()]
        if fields:
            yield {"entityType": entity_type, "fieldMappings": fields}


def _result(finding: Finding) -> str:
    """Return the rule's row, each value cut, as the JSON text that a bookmark keeps of a query's result."""
    row = {name: one_line(value, 500) for name, value in finding.row().items() if isinstance(value, str)}
    row["set_PropertyName"] = one_line(", ".join(finding.property_names[:20]), 500)
    return msgspec.json.encode(row).decode()


def _row(finding: Finding) -> str:
    changes = [_change(evidence) for evidence in finding.evidence[:3]]
    if len(finding.evidence) > 3 or finding.cut or finding.left_out.texts:
        changes.append("…")
    app = finding.history.app
    cells = (
        finding.start_time[:19].replace("T", " "),
        _cell(finding.initiated_by_app, 80),
        _cell(finding.operation_name, 100),
        _cell(_target(finding), 160),
        _cell(finding.initiated_by_ip_address, 60),
        str(finding.events),
        "; ".join(changes),
        f"on {app.days} days, last on {app.last}" if app.days else "never",
    )
    return f"| {' | '.join(cells)} |"


def _change(evidence: Evidence) -> str:
    name = _cell(evidence.property_name, 60) or "a property without a name"
    return f"{name}: {_cell(evidence.old_value, 80) or 'nothing'} → {_cell(evidence.new_value, 80) or 'nothing'}"


def _cell(text: str, most: int) -> str:
    return markdown(one_line(text.strip(), most))


def _target(finding: Finding) -> str:
    """Return what a finding's operation was done to: the user, the resource, or both where they differ."""
    if finding.flood:
        return flood_line(finding.flood)
    return ", ".join(
        dict.fromkeys(
            name.strip()
            for name in (finding.target_user_principal_name, finding.target_resource_name)
            if name.strip()
        )
    )  # fmt: skip


def _sentence(finding: Finding) -> str:
    target = _cell(_target(finding), 160)
    on = f" on {target}" if target else ""
    times = "once" if finding.events == 1 else f"{finding.events} times"
    return f"- {_cell(finding.operation_name, 120)}{on}, {times}, first at {finding.start_time[11:19]}"


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _fit(text: str, most: int, said: str = "\n… (cut to fit)") -> str:
    """Return `text`, cut to `most` UTF-16 units where it is longer, with `said` at its end."""
    if _units(text) <= most:
        return text
    return text.encode("utf-16-le")[: 2 * (most - len(said))].decode("utf-16-le", "ignore") + said
