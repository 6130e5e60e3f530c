"""What a hunt reads: exports, or a workspace."""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from rare_audit.cli.hunt_windows import Asked, Chosen, choose, shown
from rare_audit.cli.output import progress, warnings_said
from rare_audit.detection.detector import Detector
from rare_audit.detection.result import Detection, conclude
from rare_audit.detection.rule import Exclusion, Rule
from rare_audit.detection.ticks import TICKS_PER_DAY, day_ticks
from rare_audit.detection.windows import Windows
from rare_audit.errors import InputError
from rare_audit.exports.export_files import ExportFiles, Reads
from rare_audit.exports.survey import Survey
from rare_audit.reporting.coverage import Coverage, coverages


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a hunt found, and what is to be known of it.

    `places` and `details` say of each reason why records were not read where the first was and what was found there.
    `coverage` is that of each looked-at day with events by apps, before which the baseline lies. `left_out` are days of
    the data that the pass could not reach.
    """

    windows: Windows
    detection: Detection
    coverage: Mapping[str, Coverage]
    places: Mapping[str, str] = {}
    details: Mapping[str, str] = {}
    remarks: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def hunt_files(
    files: Sequence[str], reads: Reads, asked: Asked, rule: Rule, exclusions: Sequence[Exclusion], *, by_property: bool
) -> Found:
    """Hunt in exports. Raises InputError."""
    with progress(ExportFiles(files).size) as advance:
        source = ExportFiles(files, reads, progress=advance)
        chosen = choose(asked, rule.lookback_days, source.survey)
        detector = Detector(rule, chosen.windows, by_property=by_property, exclusions=exclusions)
        detector.feed(source.events(chosen.windows.origin, chosen.windows.end))
    detection = conclude(detector, source.reading())
    return Found(
        windows=chosen.windows,
        detection=detection,
        coverage=coverages(chosen.windows, detection.data.days, detection.data.days_by_apps),
        places=source.first_places(),
        details=source.first_details(),
        remarks=(*shown(chosen.windows), *chosen.remarks, *source.notes()),
        left_out=chosen.left_out,
    )


def hunt_workspace(
    workspace: str, asked: Asked, rule: Rule, exclusions: Sequence[Exclusion], *, by_property: bool
) -> Found:
    """Hunt in a Log Analytics workspace, by its GUID or, where that is "", by the settings' own.

    The workspace hands over events by apps alone, and counts all. Raises SettingsError, ServiceError, InputError.
    """
    from rare_audit.app import workspace_events  # noqa: PLC0415 - start-up counts, and files need nothing of it

    windows = _of_workspace(asked, rule.lookback_days).windows
    source = workspace_events(os.environ, workspace or None, rule)
    detector = Detector(rule, windows, by_property=by_property, exclusions=exclusions)
    with warnings_said():
        detector.feed(source.events(windows.origin, windows.end))
        days = source.coverage(windows.origin, windows.end)
    detection = conclude(detector, source.reading())
    data = msgspec.structs.replace(detection.data, events=sum(days.values()))  # of which only those by apps came here
    return Found(
        windows=windows,
        detection=msgspec.structs.replace(detection, data=data),
        coverage=coverages(windows, days, detection.data.days_by_apps),
        remarks=tuple(shown(windows)),
    )


def _of_workspace(asked: Asked, lookback_days: int) -> Chosen:
    """Return the windows to ask a workspace for: yesterday where nothing is said, and never one without an end."""
    now = datetime.now(UTC)
    today = day_ticks(f"{now:%Y-%m-%d}")
    if asked == Asked():
        asked = Asked(today - TICKS_PER_DAY, today - TICKS_PER_DAY)
    if asked.first_day is not None and asked.last_day is None:
        asked = Asked(asked.first_day, today - TICKS_PER_DAY)
    if asked.start is not None and asked.end is None:
        asked = Asked(start=asked.start, end=today + TICKS_PER_DAY, daily=asked.daily)
    if asked.start is None and asked.first_day is None:
        raise InputError("a workspace has no first day to begin with: give --date, --from or --start")
    return choose(asked, lookback_days, _no_survey)


def _no_survey() -> Survey:
    return Survey({}, {})
