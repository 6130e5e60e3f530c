"""On which days apps were active, small enough to be kept with a run."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from rare_audit.detection.finding import Finding
from rare_audit.detection.history import Attendance
from rare_audit.detection.windows import Windows
from rare_audit.reporting.report.ranking import rank

MOST_APPS: Final = 60
"""How many apps are kept and shown, those with the worst findings."""
EVERYONE: Final = ""
"""The key of all apps together."""


def app_key(name: str) -> str:
    """Return what an app's activity is kept under: names may be as long as somebody likes, and there are many."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def worst_apps(findings: Iterable[Finding]) -> tuple[str, ...]:
    """Return the names of the apps of these findings, that with the worst one first."""
    return tuple(dict.fromkeys(finding.initiated_by_app for finding in sorted(findings, key=rank)))


def kept_activity(attendance: Attendance, windows: Windows, findings: Iterable[Finding]) -> dict[str, str]:
    """Return what is kept of a pass over these windows: of all apps together, and of each of the MOST_APPS worst.

    Each is a text of a `1` or `0` for each slot, the first first.
    """
    apps = worst_apps(findings)[:MOST_APPS]
    slots = {EVERYONE: attendance.everyone} | {app_key(name): attendance.apps[name] for name in apps}
    return {key: f"{bits:0{windows.last_slot + 1}b}"[::-1] for key, bits in slots.items()}


def part_of(activity: Mapping[str, str], first: int, width: int) -> dict[str, str]:
    """Return the slots `first` to `first + width` of an activity: those of a day among a run's, with its lookback."""
    return {key: marks[first : first + width] for key, marks in activity.items()}
