"""No flood: of a day with too many incidents, the gravest are raised, and one names all others."""

from collections.abc import Iterable, Sequence
from typing import Final

from rare_audit.detection.finding import content_id
from rare_audit.reporting.incident import App, Incident
from rare_audit.reporting.text import markdown, one_line

_ORDER: Final = ("High", "Medium", "Low", "Informational")
_LIST_CAP: Final = 4_000
"""Characters of the description's list; the rest of it and an ending stay within DESCRIPTION_CAP."""


def choose(incidents: Iterable[Incident], most: int) -> tuple[tuple[Incident, ...], Incident | None]:
    """Return at most `most` of one rule's incidents of one day, and a roll-up of those left out, None for none.

    The gravest come first, then it goes by id: the same incidents, in whatever order, give the same choice. The
    roll-up's id comes from the rule and the day, and the findings of all incidents left out are its own.
    """
    ordered = sorted(incidents, key=lambda incident: (_ORDER.index(incident.severity), incident.id))
    chosen, left_out = ordered[:most], ordered[most:]
    return tuple(chosen), _roll_up(left_out, len(chosen)) if left_out else None


def _roll_up(left_out: Sequence[Incident], chosen: int) -> Incident:
    first = left_out[0]
    count = "one more app" if len(left_out) == 1 else f"{len(left_out)} more apps"
    findings = sorted(
        (finding for incident in left_out for finding in incident.findings),
        key=lambda finding: (finding.start_time, finding.id),
    )
    return Incident(
        id=content_id("roll-up", first.rule_id, first.day),
        rule_id=first.rule_id,
        day=first.day,
        app=App(count, "", ""),
        title=f"Rare activity by {count} on {first.day}",
        description=_description(left_out, chosen),
        severity=first.severity,
        first_activity=min(incident.first_activity for incident in left_out),
        last_activity=max(incident.last_activity for incident in left_out),
        labels=(*first.labels, "roll-up"),
        tactics=first.tactics,
        techniques=first.techniques,
        findings=tuple(findings),
    )


def _description(left_out: Sequence[Incident], chosen: int) -> str:
    first = left_out[0]
    opening = (
        f"On {first.day} (UTC) more apps did what they had not done before than incidents are raised for in a day. "
        f"{chosen} were raised, the gravest first; these apps have none of their own:"
    )
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
    lines += ["", f"Rule: {first.rule_id}."]
    return "\n".join(lines)


def _name(incident: Incident) -> str:
    """Return an app by its name and, since anyone may choose that, by the id that tells it from others."""
    name = markdown(one_line(incident.app.name.strip(), 60))
    identity = incident.app.identity
    return name if identity == incident.app.name else f"{name} ({markdown(one_line(identity, 40))})"


def _findings(count: int) -> str:
    return "one finding" if count == 1 else f"{count} findings"
