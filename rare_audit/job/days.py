"""What a run changes among the kept findings of a day."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from rare_audit.job.outcome import Outcome
from rare_audit.ports import RunStore, Stores
from rare_audit.records import Changes, KeptFinding, Run
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.incident import Incident


class Day(msgspec.Struct, frozen=True):
    """A UTC day as it is kept before a run, and what its baseline is worth.

    `is_whole` says that all of its events could be read: only then is what was not found any more withdrawn.
    """

    stored: Mapping[str, KeptFinding]
    coverage: Coverage
    is_whole: bool = True

    @property
    def raised(self) -> dict[str, str]:
        """The incident that each finding was part of before, by ids."""
        return {id_: kept.incident_id for id_, kept in self.stored.items()}


def keep(stores: Stores, run: Run, day: Day, incidents: Sequence[Incident], outcome: Outcome) -> Changes:
    """Keep a day's findings, those withdrawn marked so; return what changed.

    `incidents` are all of the day, in which each finding is once. What the store refuses for what it holds goes into
    `outcome`, and stays as it was.
    """
    stored = dict(day.stored)
    told_by = {run_id for old in stored.values() for run_id in (old.first_run, old.last_run)}
    unfinished = _unfinished(stores.runs, told_by)
    kept: list[KeptFinding] = []
    changes: dict[str, list[str]] = defaultdict(list)
    for incident in incidents:
        for finding in incident.findings:
            old = stored.pop(finding.id, None)
            new = KeptFinding(finding, incident.id, held=True, first_run=run.id, last_run=run.id, coverage=day.coverage)
            kind, one = _compared(old, new, unfinished)
            changes[kind].append(finding.id)
            kept.append(one)
    for old in stored.values() if day.is_whole else ():
        if old.held or old.last_run in unfinished:
            changes["withdrawn"].append(old.finding.id)
            kept.append(msgspec.structs.replace(old, held=False, last_run=run.id))
    refused = stores.findings.keep(kept)
    for one in kept:
        if one.finding.id in refused:
            outcome.refuse_finding(one.finding, refused[one.finding.id])
    return Changes(**{kind: tuple(id_ for id_ in ids if id_ not in refused) for kind, ids in changes.items()})


def joined(one: Changes, other: Changes) -> Changes:
    """Return the changes of two days."""
    return Changes(*(getattr(one, name) + getattr(other, name) for name in Changes.__struct_fields__))


def _unfinished(runs: RunStore, run_ids: set[str]) -> set[str]:
    """Return which of these runs were cut short before all was kept: what they changed is still to be told."""
    found = {run_id: runs.get(run_id) for run_id in sorted(run_ids)}
    return {run_id for run_id, run in found.items() if run is None or not run.kept}


def _compared(old: KeptFinding | None, new: KeptFinding, unfinished: set[str]) -> tuple[str, KeptFinding]:
    """Return what became of a finding, as Changes names it, and how it is kept from here on."""
    if old is None or old.first_run in unfinished:
        return "new", new
    new = msgspec.structs.replace(new, first_run=old.first_run)
    if old.held and old.finding == new.finding and old.coverage == new.coverage and old.last_run not in unfinished:
        return "confirmed", msgspec.structs.replace(new, last_run=old.last_run)
    return "changed", new
