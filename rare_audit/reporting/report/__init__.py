"""What a report tells, as plain values: a hunt's outcome, or what is kept of a run."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from rare_audit.detection.finding import Finding
from rare_audit.detection.funnel import Funnel
from rare_audit.detection.windows import Windows
from rare_audit.reporting.coverage import Coverage


class Fate(StrEnum):
    """What became of the incident that a finding is part of. The words stand on the page."""

    UNKNOWN = ""
    WRITTEN = "incident written"
    STANDING = "incident written by another run"
    WAITING = "incident not delivered yet"
    ROLLED_UP = "told in the day's roll-up"
    NOT_RAISED = "no incident raised"


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A finding as it is reported. `change` is what the run did to it, as Changes names it, "" for a hunt."""

    finding: Finding
    change: str = ""
    held: bool = True
    incident_id: str = ""
    fate: Fate = Fate.UNKNOWN


class RunFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The run that a report is about, and how it ended; times are ISO 8601, "" where there is none yet."""

    id: str
    state: str
    asked_by: str
    reason: str = ""
    started: str
    ended: str = ""
    error: str = ""
    dry_run: bool = False
    covers: str
    """The days or bounds of the whole run, of which the report may show a part."""


class Delivered(msgspec.Struct, frozen=True):
    """What a run delivered: incidents, by ids, and rows of findings.

    Of incidents there are those its days have, those it wrote, and those that still wait; `uploaded` counts rows that
    it added to the findings' table, and `rows_wait` are days with rows that are still to come there.
    """

    raised: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    uploaded: int = 0
    rows_wait: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that a page is made of.

    `windows` are those shown; `attendance` has a text of their slots for each key of reporting.report.activity, none
    where it isn't known. `coverage` tells of each shown day's baseline, nothing where a source can't tell. `places`
    says where the first record was that could not be read, for each reason.
    """

    rule_id: str
    rule_name: str
    severity: str = ""
    windows: Windows
    findings: tuple[Told, ...]
    funnel: Funnel | None = None
    places: Mapping[str, str] = {}
    attendance: Mapping[str, str] = {}
    coverage: Mapping[str, Coverage] = {}
    degraded: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    run: RunFacts | None = None
    delivered: Delivered | None = None
