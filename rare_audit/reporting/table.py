"""Findings and incidents for people at a terminal."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from rare_audit.detection.finding import Finding, Seen
from rare_audit.reporting.incident import Incident
from rare_audit.reporting.text import one_line, visible

_MOST: int = 200


def finding_table(findings: Iterable[Finding], lookback_days: int) -> Table:
    """Return a table that says what is rare, when it was first and last seen, how often, and in which properties."""
    table = _table("First seen", "Last", "App", "Did", "To", "Times", "Properties", "App known")
    for finding in findings:
        table.add_row(
            _text(finding.start_time[:19].replace("T", " ")),
            _text(_last(finding)),
            _text(finding.initiated_by_app, finding.initiated_by_ip_address),
            _text(finding.operation_name),
            _text(finding.target_user_principal_name, finding.target_resource_name),
            _text(str(finding.events)),
            _text(", ".join(finding.property_names)),
            _text(_familiar(finding.history.app, lookback_days)),
        )
    return table


def incident_table(incidents: Iterable[Incident]) -> Table:
    """Return a table of incidents: the day, the severity, and what each is about."""
    table = _table("Day", "Severity", "Findings", "Incident")
    for incident in incidents:
        table.add_row(
            _text(incident.day), _text(incident.severity), _text(str(len(incident.findings))), _text(incident.title)
        )
    return table


def _table(*columns: str) -> Table:
    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _text(*parts: str) -> Text:
    """Return text that neither rich's markup nor the terminal obeys; empty parts and repeated ones are left out."""
    return Text("\n".join(one_line(part, _MOST) for part in dict.fromkeys(parts) if part))


def _last(finding: Finding) -> str:
    same_day = finding.end_time[:10] == finding.start_time[:10]
    return visible(finding.end_time[11:19] if same_day else finding.end_time[:19].replace("T", " "))


def _familiar(seen: Seen, lookback_days: int) -> str:
    return f"{seen.days} of {lookback_days} days, last {seen.last}" if seen.days else f"not in {lookback_days} days"
