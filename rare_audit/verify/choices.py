"""What `make_bag` may keep where Kusto's choice is arbitrary, read off the events as the engine reads them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

import msgspec

from rare_audit.detection.combination import combination_of, first_target
from rare_audit.detection.event import AuditEvent, json_text, targets_of
from rare_audit.detection.finding import Activity, Finding
from rare_audit.detection.rows import property_rows, screened
from rare_audit.detection.rule import Ignored, Rule
from rare_audit.verify.comparison import Key, Part, key_of, spelled


def parts_of(rule: Rule, events: Iterable[AuditEvent], findings: Collection[Finding]) -> Mapping[Key, list[Part]]:
    """Return of each finding's row the groups of AccountMods it is made of, with every value that meets in them.

    `events` are those of the findings' window. Which properties of a row are rare is taken from its finding.
    """
    ignored = Ignored(rule.parameters)
    rare = {key_of(finding.row()): frozenset(finding.property_names) for finding in findings}
    met: dict[Key, dict[tuple[str, ...], dict[str, set[str]]]] = defaultdict(dict)
    for event in events:
        for key, activity in _activities(event, ignored):
            if activity.property_name in rare.get(key, ()):
                group = (event.type or "AuditLogs", event.category or "", activity.property_name)
                values = met[key].setdefault(group, defaultdict(set))
                for name, text in msgspec.to_builtins(activity).items():
                    values[name].add(spelled(text) if name == "newValue" else text)
    return {
        key: [{name: frozenset(texts) for name, texts in values.items()} for values in groups.values()]
        for key, groups in met.items()
    }


def _activities(event: AuditEvent, ignored: Ignored) -> Iterator[tuple[Key, Activity]]:
    """Yield what counts in an event, each with the row of the rule's result that it would be part of."""
    operation = event.operation_name or ""
    initiator, drop = screened(json_text(event.initiated_by), operation, ignored)
    if initiator is None or drop is not None:
        return
    target = first_target(targets_of(json_text(event.target_resources)))
    operation, app, ip_address, upn, resource = combination_of(operation, initiator, target)
    for row in property_rows(target, ignored):
        if row.dropped is None:
            yield (
                (app, operation, upn, ip_address, resource),
                Activity(row.name, row.new_value, event.id or "", event.correlation_id or ""),
            )
