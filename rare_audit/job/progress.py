"""How far a rule's days are done, and since when its logs are silent, after a run that kept all it found."""

from rare_audit.detection.ticks import day_after
from rare_audit.job.planning import silent_from
from rare_audit.ports import ProgressStore
from rare_audit.records import Run


def silent_since(progress: ProgressStore, run: Run, yesterday: str) -> str:
    """Return the day from which on there is no event up to yesterday, "" where there is one.

    Once it was told, it stays that day until there are events again, however much of the silence can be seen.
    """
    if run.last_day not in run.silent or run.last_day < yesterday:
        return ""
    told = progress.get(run.rule_id).silent_since
    return told or silent_from(run)


def advance(store: ProgressStore, run: Run, yesterday: str, silence: str) -> None:
    """Note that a run's days are done, but for the silent ones at its end: what was found is kept and queued."""
    progress = store.get(run.rule_id)
    changed: dict[str, str] = {}
    to = max(run.first_day, silent_from(run)) if run.last_day in run.silent else day_after(run.last_day)
    joins = run.first_day <= progress.due or run.resumes == progress.due
    if progress.due and joins and to > progress.due:
        changed["due"] = to
    if run.last_day >= yesterday:
        changed["silent_since"] = silence
    store.change(run.rule_id, **changed)
