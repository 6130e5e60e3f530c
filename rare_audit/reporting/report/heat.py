"""Apps by day: on which days an app was active, and on which it did what is rare."""

from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from typing import Final

import msgspec

from rare_audit.detection.ticks import TICKS_PER_DAY, parse_ticks
from rare_audit.detection.windows import Windows
from rare_audit.reporting.report import Report, Told
from rare_audit.reporting.report.activity import EVERYONE, MOST_APPS, app_key, worst_apps
from rare_audit.reporting.text import one_line

MOST_COLUMNS: Final = 45
_NAME: Final = 44
_MONTHS: Final = "January February March April May June July August September October November December".split()


class Column(msgspec.Struct, frozen=True):
    """A day of the map; `looked_at` where it is a day of the report, `empty` where there was nothing to be seen."""

    day: str
    label: str
    looked_at: bool
    first_looked_at: bool
    empty: bool


class Cell(msgspec.Struct, frozen=True):
    """What an app did on a day: `kind` is rare, active, idle or unknown; `count` of its findings."""

    kind: str
    count: int = 0


class Row(msgspec.Struct, frozen=True):
    """An app's days."""

    app: str
    cells: tuple[Cell, ...]
    findings: int


class HeatMap(msgspec.Struct, frozen=True):
    """The map. `months` are names with how many columns each spans."""

    columns: tuple[Column, ...]
    months: tuple[tuple[str, int], ...]
    rows: tuple[Row, ...]
    apps_left_out: int
    days_left_out: int
    is_known: bool
    long_window: bool


def heat_map(report: Report) -> HeatMap:
    """Return the apps with findings that hold, that with the worst first, by the days of the lookback and the report.

    Of many apps the worst MOST_APPS are shown, of many days the last MOST_COLUMNS.
    """
    windows, held = report.windows, [told for told in report.findings if told.held]
    slots = range(max(0, windows.last_slot + 1 - MOST_COLUMNS), windows.last_slot + 1)
    apps = worst_apps(told.finding for told in held)
    rare = Counter((told.finding.initiated_by_app, _slot(windows, told)) for told in held)
    counts = Counter(told.finding.initiated_by_app for told in held)
    columns = tuple(_columns(report, slots))
    return HeatMap(
        columns=columns,
        months=tuple(_months(columns)),
        rows=tuple(
            Row(
                one_line(app.strip(), _NAME) or "(no name)",
                tuple(_cell(rare[app, slot], report.attendance.get(app_key(app)), slot) for slot in slots),
                counts[app],
            )
            for app in apps[:MOST_APPS]
        ),
        apps_left_out=max(0, len(apps) - MOST_APPS),
        days_left_out=slots.start,
        is_known=all(app_key(app) in report.attendance for app in apps[:MOST_APPS]),
        long_window=not windows.daily and windows.end - windows.start > TICKS_PER_DAY,
    )


def days_without_activity(report: Report) -> tuple[str, ...]:
    """Return the days of the lookbacks on which no app at all did what the rule counts, so far as that is known."""
    marks = report.attendance.get(EVERYONE, "")
    return tuple(report.windows.day(slot) for slot, mark in enumerate(marks[: report.windows.last_slot]) if mark == "0")


def _slot(windows: Windows, told: Told) -> int:
    return windows.slot(parse_ticks(told.finding.start_time))


def _columns(report: Report, slots: Iterable[int]) -> Iterable[Column]:
    windows = report.windows
    empty = {day for coverage in report.coverage.values() for day in coverage.missing} | set(report.silent)
    for slot in slots:
        day = windows.day(slot)
        yield Column(day, day[8:], slot >= windows.lookback_days, slot == windows.lookback_days, day in empty)


def _months(columns: Iterable[Column]) -> Iterable[tuple[str, int]]:
    for month, days in groupby(columns, key=lambda column: column.day[:7]):
        yield f"{_MONTHS[int(month[5:]) - 1]} {month[:4]}", len(list(days))


def _cell(findings: int, marks: str | None, slot: int) -> Cell:
    if findings:
        return Cell("rare", findings)
    if marks is None or slot >= len(marks):
        return Cell("unknown")
    return Cell("active" if marks[slot] == "1" else "idle")
