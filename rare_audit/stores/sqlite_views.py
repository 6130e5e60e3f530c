"""What is kept, as views that people can query: `findings`, `runs`, `deliveries` and others, a column for each field.

They are for reading alone; the program itself reads and writes the table `entities`, whose rows hold JSON. Text from
logs is made visible as `rare_audit.reporting.text` does it, since whoever asks may sit at a terminal. JSON functions
are part of SQLite since 3.38 and of nearly every build before (https://www.sqlite.org/json1.html); without them only
the views fail.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from rare_audit.reporting.text import UNSAFE

LONGEST_SHOWN: Final = 1_000
"""Characters of a text with unsafe ones that are shown; making them visible takes a step for each."""


def _at(path: str) -> str:
    return f"json_extract(body, '$.{path}')"


def _count(path: str) -> str:
    return f"json_array_length(body, '$.{path}')"


_FINDING: Final = {
    "FindingId": _at("finding.id"),
    "Day": _at("finding.day"),
    "App": _at("finding.InitiatedByApp"),
    "Operation": _at("finding.OperationName"),
    "Target": f"coalesce(nullif({_at('finding.TargetUserPrincipalName')}, ''), {_at('finding.TargetResourceName')})",
    "Properties": "(SELECT group_concat(value, ', ') FROM json_each(body, '$.finding.set_PropertyName'))",
    "Events": _at("finding.events"),
    "StartTime": _at("finding.StartTime"),
    "EndTime": _at("finding.EndTime"),
    "Current": _at("held"),
    "AppSeenDays": _at("finding.history.app.days"),
    "AppAndOperationSeenDays": _at("finding.history.appAndOperation.days"),
    "BaselineDays": _at("coverage.of"),
    "BaselineDaysWithData": _at("coverage.days"),
    "TargetUserPrincipalName": _at("finding.TargetUserPrincipalName"),
    "TargetResourceName": _at("finding.TargetResourceName"),
    "IPAddress": _at("finding.InitiatedByIpAddress"),
    "AppId": _at("finding.appIds[0]"),
    "ServicePrincipalId": _at("finding.servicePrincipalIds[0]"),
    "IncidentId": _at("incidentId"),
    "FirstRun": _at("firstRun"),
    "LastRun": _at("lastRun"),
    "Variant": _at("finding.variant"),
    "RuleId": _at("finding.ruleId"),
}
_RUN: Final = {
    "RunId": _at("id"),
    "FirstDay": _at("firstDay"),
    "LastDay": _at("lastDay"),
    "State": _at("state"),
    "Started": _at("started"),
    "Ended": _at("ended"),
    "DryRun": _at("dryRun"),
    "AskedBy": _at("askedBy"),
    "Reason": _at("reason"),
    "Attempts": _at("attempts"),
    "Error": _at("error"),
    "Events": _at("funnel.reading.events"),
    "Findings": _at("funnel.findings"),
    "New": _count("changes.new"),
    "Confirmed": _count("changes.confirmed"),
    "Changed": _count("changes.changed"),
    "Withdrawn": _count("changes.withdrawn"),
    "Incidents": _count("incidents"),
    "Delivered": _count("delivered"),
    "Refused": _at("refused"),
    "Unreadable": _at("unreadable"),
    "LookbackDays": _at("lookbackDays"),
    "RuleId": _at("ruleId"),
}
_DELIVERY: Final = {
    "IncidentId": _at("incidentId"),
    "Day": _at("day"),
    "Sink": _at("sink"),
    "Pending": f"{_at('wanted')} <> {_at('written')}",
    "Failures": _at("failures"),
    "RuleId": _at("ruleId"),
}
_PROGRESS: Final = {
    "RuleId": _at("ruleId"),
    "FirstDay": _at("first"),
    "DueDay": _at("due"),
    "LastSuccess": _at("lastSuccess"),
    "SilentSince": _at("silentSince"),
}
_LEASE: Final = {
    "Name": _at("name"),
    "Holder": _at("holder"),
    "Until": _at("until"),
}
_WRITTEN_BY_OTHERS: Final = frozenset(
    "App Operation Target Properties TargetUserPrincipalName TargetResourceName IPAddress AppId ServicePrincipalId "
    "RunId AskedBy Reason Error Holder".split()
)
"""Columns with text from logs, from requests, or about files."""

# A pattern ends at NUL, which JSON functions end a text at too; half a surrogate pair reads as U+FFFD.
_LETTERS: Final = UNSAFE.replace("\0", "\1").replace("\ud800-\udfff", "\ufffd")
_UNSAFE: Final = (
    f"unsafe(pattern) AS (SELECT '*[' || char({', '.join(str(ord(letter)) for letter in _LETTERS)}) || ']*')"
)
_BODIES: Final = """bodies(body) AS (
  SELECT coalesce(
    json_extract(CAST(whole.body AS TEXT), '$.body'),
    -- a body too long for a row lies in others, in pieces
    (SELECT CASE WHEN count(*) = json_extract(CAST(whole.body AS TEXT), '$.parts') THEN group_concat(piece, '') END
    FROM (SELECT json_extract(CAST(part.body AS TEXT), '$.body') AS piece FROM entities AS part
      WHERE part.partition > 'parts.' AND part.partition < 'parts/'
      AND part.row GLOB json_extract(CAST(whole.body AS TEXT), '$.digest') || '.*' ORDER BY part.row)))
  FROM entities AS whole WHERE {} ORDER BY whole.partition, whole.row)"""
_SHOWN: Final = r"""CASE WHEN {0} GLOB (SELECT pattern FROM unsafe) THEN (
    WITH RECURSIVE spelled(done, rest) AS (
      SELECT '', substr({0}, 1, {1})
      UNION ALL
      SELECT done || CASE WHEN substr(rest, 1, 1) GLOB (SELECT pattern FROM unsafe)
        THEN printf(
          CASE WHEN unicode(rest) < 256 THEN '\x%02x' WHEN unicode(rest) < 65536 THEN '\u%04x' ELSE '\U%08x' END,
          unicode(rest))
        ELSE substr(rest, 1, 1) END, substr(rest, 2)
      FROM spelled WHERE rest <> '')
    SELECT done FROM spelled WHERE rest = '') ELSE {0} END AS {0}"""


def _view(name: str, columns: Mapping[str, str], where: str) -> str:
    fields = ",\n    ".join(f"{sql} AS {column}" for column, sql in columns.items())
    shown = ",\n  ".join(_shown(columns))
    return (
        f"CREATE VIEW {name} AS WITH {_UNSAFE},\n{_BODIES.format(where)},\n"
        f"fields AS (SELECT\n    {fields}\n  FROM bodies)\nSELECT\n  {shown}\nFROM fields"
    )


def _shown(columns: Iterable[str]) -> Iterable[str]:
    for column in columns:
        yield _SHOWN.format(column, LONGEST_SHOWN) if column in _WRITTEN_BY_OTHERS else column


VIEWS: Final[Mapping[str, str]] = {
    "findings": _view("findings", _FINDING, "whole.partition > 'findings.' AND whole.partition < 'findings/'"),
    "dry_findings": _view("dry_findings", _FINDING, "whole.partition > 'dry.' AND whole.partition < 'dry/'"),
    "runs": _view("runs", _RUN, "whole.partition = 'runs'"),
    "deliveries": _view("deliveries", _DELIVERY, "whole.partition = 'deliveries'"),
    "progress": _view("progress", _PROGRESS, "whole.partition = 'progress'"),
    "leases": _view("leases", _LEASE, "whole.partition = 'leases'"),
}
"""The statements that make the views, by name."""
