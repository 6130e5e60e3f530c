"""Apps by day, and the bits it is made of."""

from rare_audit.detection.history import Attendance
from rare_audit.detection.ticks import TICKS_PER_DAY, parse_ticks
from rare_audit.detection.windows import Windows
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.report.activity import EVERYONE, MOST_APPS, app_key, kept_activity, part_of
from rare_audit.reporting.report.heat import MOST_COLUMNS, HeatMap, days_without_activity, heat_map
from tests.builders import DAY, finding
from tests.reporting.report_world import history, numbered, report, told, windows

APP = "Backup Agent"


def _kinds(of: HeatMap) -> list[str]:
    return ["".join(cell.kind[0] + (str(cell.count) if cell.count else "") for cell in row.cells) for row in of.rows]


def test_a_row_has_the_lookback_and_the_day() -> None:
    """Active, idle, and rare with the number of findings, withdrawn ones left out."""
    findings = [told(numbered(number)) for number in range(3)] + [told(numbered(4), held=False)]
    told_of = heat_map(report(findings, attendance={app_key(APP): "110000000000011"}))
    assert _kinds(told_of) == ["aaiiiiiiiiiiiar3"]
    assert [column.label for column in told_of.columns][:3] == ["16", "17", "18"]
    assert told_of.months == (("February 2026", 13), ("March 2026", 2))
    assert [column.looked_at for column in told_of.columns] == [False] * 14 + [True]
    assert (told_of.rows[0].app, told_of.rows[0].findings, told_of.is_known) == (APP, 3, True)


def test_what_was_not_kept_is_not_known() -> None:
    """Rare days are known of the findings themselves."""
    told_of = heat_map(report([told()]))
    assert _kinds(told_of) == ["u" * 14 + "r1"]
    assert not told_of.is_known


def test_days_without_data_are_marked() -> None:
    """Those that a baseline lacks, and silent ones."""
    told_of = heat_map(
        report(
            [told()],
            windows=windows(days=2),
            silent=("2026-03-03",),
            coverage={DAY: Coverage(13, 14, ("2026-02-20",)), "2026-03-03": Coverage(14, 14)},
        )
    )
    assert [column.day for column in told_of.columns if column.empty] == ["2026-02-20", "2026-03-03"]


def test_a_window_of_any_bounds_is_one_column() -> None:
    """Days are counted from its start, and a finding belongs to the window, whatever its day."""
    start = parse_ticks("2026-03-01T12:00:00Z")
    single = Windows.single(start, start + 3 * TICKS_PER_DAY, 14)
    told_of = heat_map(report([told()], windows=single, attendance={app_key(APP): "0" * 14 + "1"}))
    assert _kinds(told_of) == ["i" * 14 + "r1"]
    assert told_of.long_window
    assert told_of.columns[-1].day == "2026-03-01"


def test_the_worst_apps_and_the_last_days_are_shown() -> None:
    """The numbers of the others are told."""
    findings = [
        told(numbered(n, initiated_by_app=f"app {n}", history=history(0 if n == MOST_APPS else 3)))
        for n in range(MOST_APPS + 5)
    ]
    told_of = heat_map(report(findings, windows=windows("2025-12-01", 92)))
    assert (len(told_of.rows), told_of.apps_left_out) == (MOST_APPS, 5)
    assert (len(told_of.columns), told_of.days_left_out) == (MOST_COLUMNS, 14 + 92 - MOST_COLUMNS)
    assert told_of.rows[0].app == f"app {MOST_APPS}"


def test_what_is_kept_is_small() -> None:
    """Sixty apps at most, the worst, none under its name."""
    findings = [numbered(n, initiated_by_app=f"{n}" * 9_000) for n in range(200)]
    attendance = Attendance(1 << 44, {one.initiated_by_app: 1 for one in findings})
    kept = kept_activity(attendance, windows(days=31), findings)
    assert len(kept) == MOST_APPS + 1
    assert {len(key) for key in kept} == {0, 32}
    assert kept.pop(EVERYONE) == "0" * 44 + "1"
    assert set(kept.values()) == {"1" + "0" * 44}
    assert sum(map(len, kept)) + sum(map(len, kept.values())) < 6_000


def test_a_part_is_a_days() -> None:
    """The slots of its lookback and its own."""
    assert part_of({EVERYONE: "0123456"}, 2, 3) == {EVERYONE: "234"}


def test_days_on_which_nobody_was_active() -> None:
    """Of the lookbacks, not the last day itself; unknown is none."""
    assert days_without_activity(report(attendance={EVERYONE: "0" + "1" * 12 + "00"})) == ("2026-02-16", "2026-03-01")
    assert days_without_activity(report()) == ()
    assert heat_map(report([told(finding(), held=False)])).rows == ()
