"""Incidents about the job's own sight, not about an app."""

from rare_audit.detection.finding import content_id
from rare_audit.detection.rule import Rule
from rare_audit.reporting.incident import App, Incident
from rare_audit.reporting.text import markdown


def silence(rule: Rule, since: str) -> Incident:
    """Return the incident that says that AuditLogs has no event from a UTC day (`YYYY-MM-DD`) on.

    One for each time that it falls silent: its id and its text come from the rule and that day alone.
    """
    return Incident(
        id=content_id("silence", rule.id, since),
        rule_id=rule.id,
        day=since,
        app=App("", "", ""),
        title=f"AuditLogs went silent: no event since {since}",
        description=(
            f"Since {since} (UTC) the workspace's table AuditLogs has not had a single event, of any initiator. Either "
            "the diagnostic setting of Microsoft Entra that sends them was removed, switched off or fails, or the "
            "tenant is asleep. Until it speaks again nothing is looked for: what an attacker does meanwhile is not "
            "seen here.\n\n"
            "Check in the Entra admin center, Monitoring & health, Diagnostic settings, that AuditLogs go to this "
            "workspace, and who changed that last (Azure activity log, Microsoft.AadIam/diagnosticSettings). These "
            "days stay due; they are run by themselves once their events are there.\n\n"
            f"Rule: {markdown(rule.name)} ({rule.id})."
        ),
        severity="Medium",
        first_activity=f"{since}T00:00:00.0000000Z",
        last_activity=f"{since}T23:59:59.9999999Z",
        labels=("Rare Audit", f"rule:{rule.id}", "silence"),
        tactics=("DefenseEvasion",),
        techniques=("T1562",),
        findings=(),
    )
