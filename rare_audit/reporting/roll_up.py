"""No flood: of a day with too many incidents, the gravest are raised, and one names all others."""

from collections.abc import Container, Iterable, Sequence
from typing import Final

from rare_audit.detection.finding import content_id
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.incident import App, Incident
from rare_audit.reporting.text import markdown, one_line

_ORDER: Final = ("High", "Medium", "Low", "Informational")
_FLOOD: Final = "roll-up"
_LIST_CAP: Final = 4_000
"""Characters of the description's list; the rest of it and an ending stay within DESCRIPTION_CAP."""


def choose(
    incidents: Iterable[Incident], most: int, *, raised: Container[str] = (), degraded: Coverage | None = None
) -> tuple[tuple[Incident, ...], Incident | None]:
    """Return at most `most` of one rule's incidents of one day, and a roll-up of those left out, None for none.

    Those `raised` before (ids) stay, however many they are: they would be told twice. Of the others the gravest come
    first, then it goes by id: the same incidents, in whatever order, give the same choice. With a `degraded` baseline
    no other is chosen, and the roll-up says which days are missing. Its id comes from the rule, the day and which of
    the two it is; the findings of all incidents left out are its own.
    """
    ordered = sorted(incidents, key=lambda one: (one.id not in raised, _ORDER.index(one.severity), one.id))
    before = sum(one.id in raised for one in ordered)
    most = before if degraded else max(before, most)
    chosen, left_out = ordered[:most], ordered[most:]
    if not left_out:
        return tuple(chosen), None
    return tuple(chosen), _degraded(left_out, degraded) if degraded else _flood(left_out, len(chosen))


def flood_id(rule_id: str, day: str) -> str:
    """Return the id of the roll-up of a UTC day with too many incidents."""
    return content_id(_FLOOD, rule_id, day)


def _flood(left_out: Sequence[Incident], chosen: int) -> Incident:
    day, apps = left_out[0].day, _apps(left_out, "more ")
    opening = (
        f"On {day} (UTC) more apps did what they had not done before than incidents are raised for in a day. "
        f"{chosen} were raised, the gravest first; these apps have none of their own:"
    )
    return _roll_up(_FLOOD, f"Rare activity by {apps} on {day}", opening, left_out)


def _degraded(left_out: Sequence[Incident], coverage: Coverage) -> Incident:
    day, apps = left_out[0].day, _apps(left_out, "")
    opening = (
        f"Of the days before {day} (UTC) that activity is compared with, {coverage}. Without any event in AuditLogs: "
        f"{', '.join(coverage.missing)}. What looks new may not be; so these apps have no incidents of their own:"
    )
    return _roll_up("degraded", f"Baseline incomplete: {apps} with seemingly rare activity on {day}", opening, left_out)


def _apps(incidents: Sequence[Incident], more: str) -> str:
    return f"one {more}app" if len(incidents) == 1 else f"{len(incidents)} {more}apps"


def _roll_up(kind: str, title: str, opening: str, left_out: Sequence[Incident]) -> Incident:
    first = left_out[0]
    findings = sorted(
        (finding for incident in left_out for finding in incident.findings),
        key=lambda finding: (finding.start_time, finding.id),
    )
    return Incident(
        id=content_id(kind, first.rule_id, first.day),
        rule_id=first.rule_id,
        day=first.day,
        app=App(_apps(left_out, "more "), "", ""),
        title=title,
        description=_description(opening, left_out),
        severity=first.severity,
        first_activity=min(incident.first_activity for incident in left_out),
        last_activity=max(incident.last_activity for incident in left_out),
        labels=(*first.labels, kind),
        tactics=first.tactics,
        techniques=first.techniques,
        findings=tuple(findings),
    )


def _description(opening: str, left_out: Sequence[Incident]) -> str:
    lines = [opening, ""]
    room = _LIST_CAP
    for named, incident in enumerate(left_out):
        line = f"- {_name(incident)}: {_findings(len(incident.findings))}"
        room -= 2 * len(line) if not line.isascii() else len(line)
        if room < 0:
            rest = left_out[named:]
            more = sum(len(incident.findings) for incident in rest)
            lines.append(f"- … and {len(rest)} more apps with {_findings(more)} (cut to fit)")
            break
        lines.append(line)
    lines += ["", f"Rule: {left_out[0].rule_id}."]
    return "\n".join(lines)


def _name(incident: Incident) -> str:
    """Return an app by its name and, since anyone may choose that, by the id that tells it from others."""
    name = markdown(one_line(incident.app.name.strip(), 60))
    identity = incident.app.identity
    return name if identity == incident.app.name else f"{name} ({markdown(one_line(identity, 40))})"


def _findings(count: int) -> str:
    return "one finding" if count == 1 else f"{count} findings"
