"""Tables for people: what stands in them, and that no name from a log is obeyed."""

import io
from typing import Any, Final

import pytest
from rich.console import Console
from rich.table import Table

from rare_audit.detection.finding import History, Seen
from rare_audit.reporting.incident import group
from rare_audit.reporting.table import finding_table, incident_table
from rare_audit.rules import load_rule
from tests.builders import DAY, finding
from tests.terminal import assert_nothing_obeyed

RULE: Final = load_rule()
FRIENDLY: Final = (
    "[bold red]x[/bold red]",
    "[link=https://evil.invalid]x[/link]",
    ":skull:",
    "[/]",
    "[[x]]",
    "\\[x]",
    "https://evil.invalid",
)
HOSTILE: Final = "\x1b[31m\x1b]8;;https://evil.invalid\x07x\u202egpj\x00\x9b2J\r\n\u2028\U000e0041"


def _drawn(table: Table, *, terminal: bool = False) -> str:
    colours: Any = "truecolor" if terminal else None
    console = Console(file=io.StringIO(), width=400, force_terminal=terminal, color_system=colours)
    with console.capture() as drawn:
        console.print(table)
    return drawn.get()


def _cells(table: Table, row: int = 0) -> list[str]:
    """Return the text of a row's cells, before it is laid out."""
    return [str(list(column.cells)[row]) for column in table.columns]


def _row(**overrides: Any) -> list[str]:
    return _cells(finding_table([finding(**overrides)], 14))


def test_finding() -> None:
    """When first and last, who, what, to whom, how often, in which properties, and how familiar the app is."""
    table = finding_table([finding()], 14)
    assert [column.header for column in table.columns] == [
        *("First seen", "Last", "App", "Did", "To", "Times", "Properties", "App known")
    ]
    assert _cells(table) == [
        f"{DAY} 08:15:30",
        "08:15:30",
        "Backup Agent\n203.0.113.7",
        "Add service principal credentials",
        "Payroll",
        "1",
        "KeyDescription",
        "3 of 14 days, last 2026-03-01",
    ]


def test_window_of_several_days() -> None:
    """A last time on another day is told with its day."""
    assert _row(end_time="2026-03-04T09:00:01.0000000Z")[1] == "2026-03-04 09:00:01"


@pytest.mark.parametrize(
    ("user", "resource", "told"),
    [("ann@x.example", "payroll", "ann@x.example\npayroll"), ("ann", "ann", "ann"), ("", "", ""), ("ann", "", "ann")],
)
def test_target(user: str, resource: str, told: str) -> None:
    """The user, then the resource; what is empty or said already is left out."""
    assert _row(target_user_principal_name=user, target_resource_name=resource)[4] == told


def test_unknown_app() -> None:
    """An app that was not seen before is told so."""
    never = History(app=Seen(0, ""), app_and_operation=Seen(0, ""), combination=Seen(0, ""))
    assert _row(history=never)[7] == "not in 14 days"


def test_properties() -> None:
    """All properties stand in one cell; very many are cut."""
    assert _row(property_names=("one", "two"))[6] == "one, two"
    assert len(_row(property_names=tuple(map(str, range(500))))[6]) == 200


def test_incident() -> None:
    """The day, the severity, the number of findings, and the title."""
    findings = [finding(), finding(id="2", operation_name="Add owner", start_time=f"{DAY}T09:00:00.0000000Z")]
    table = incident_table(group(RULE, findings, {}))
    assert [column.header for column in table.columns] == ["Day", "Severity", "Findings", "Incident"]
    assert _cells(table) == [
        DAY,
        RULE.severity,
        "2",
        "Rare activity by app Backup Agent: Add service principal credentials and 1 more",
    ]


def test_nothing() -> None:
    """Without findings or incidents there is a header."""
    for table in (finding_table([], 14), incident_table([])):
        assert table.row_count == 0
        assert len(_drawn(table).splitlines()) == 2


@pytest.mark.parametrize("name", FRIENDLY)
def test_markup_is_shown(name: str) -> None:
    """What rich would take for markup, a link or an emoji stands there as it was."""
    of = finding(initiated_by_app=name, operation_name=name, target_resource_name=name, property_names=(name,))
    for table in (finding_table([of], 14), incident_table(group(RULE, [of], {}))):
        drawn = _drawn(table, terminal=True)
        assert name in drawn
        assert "\x1b]8" not in drawn


def test_hostile_name_on_a_terminal() -> None:
    """On a terminal, the only sequences are rich's own: headers in bold."""
    names = ("initiated_by_app", "operation_name", "target_user_principal_name", "target_resource_name")
    of = finding(**dict.fromkeys(names, HOSTILE), property_names=(HOSTILE,), initiated_by_ip_address=HOSTILE)
    for table in (finding_table([of], 14), incident_table(group(RULE, [of], {}))):
        drawn = _drawn(table, terminal=True)
        assert_nothing_obeyed(drawn.replace("\x1b[1m", "").replace("\x1b[0m", ""))
        assert _drawn(table) == drawn.replace("\x1b[1m", "").replace("\x1b[0m", "")


def test_long_names_are_cut() -> None:
    """Sixty thousand letters take one line of two hundred."""
    app = _row(initiated_by_app="x" * 60_000, initiated_by_ip_address="")[2]
    assert app == "x" * 199 + "…"
