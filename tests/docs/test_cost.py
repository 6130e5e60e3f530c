"""docs/cost.md: its figures follow from its inputs, and its inputs from the code where they can."""

import ast
import json
import operator
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from rare_audit.cli import SAMPLE
from rare_audit.detection.detector import Detector
from rare_audit.detection.result import conclude
from rare_audit.detection.ticks import TICKS_PER_DAY, day_ticks
from rare_audit.detection.windows import Windows
from rare_audit.exports.export_files import ExportFiles
from rare_audit.job.options import Options
from rare_audit.job.planning import whole_days
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.finding_rows import finding_row
from rare_audit.rules import load_rule
from rare_audit.settings import read_settings
from rare_audit.sources.sample import FIRST_HUNTED, LAST_HUNTED
from tests.docs.pages import ROOT, code, page
from tests.docs.test_settings_page import LEAST
from tests.fakes import FailingTable
from tests.job.test_uploads import RecordingTable
from tests.job_world import World, event

PAGE: Final = page("docs/cost.md")
SIZES: Final = ("small", "medium", "large")
TOTAL: Final = "**Total**"
_MONTH, _COMPARED = (table for table in PAGE.tables if "price" in table.columns and "item" in table.columns)
_OPERATORS: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _number(cell: str) -> Decimal:
    return Decimal(cell.replace(",", ""))


def _value(node: ast.AST, names: dict[str, Decimal]) -> Decimal:
    """Return what a formula of names, numbers and the four operations comes to."""
    match node:
        case ast.Expression(body):
            return _value(body, names)
        case ast.BinOp(left, kind, right):
            return Decimal(_OPERATORS[type(kind)](_value(left, names), _value(right, names)))
        case ast.Name(name):
            return names[name]
        case ast.Constant(int() | float() as number):
            return Decimal(str(number))
    raise AssertionError(ast.dump(node))


def _inputs(size: str) -> dict[str, Decimal]:
    return {code(row["input"]): _number(row[size]) for row in PAGE.table("Inputs").rows}


def _quantities(size: str) -> dict[str, Decimal]:
    """Return the inputs and all that is computed of them, unrounded."""
    names = _inputs(size)
    for row in PAGE.table("Quantities").rows:
        names[code(row["quantity"])] = _value(ast.parse(code(row["formula"]), mode="eval"), names)
    return names


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


@pytest.mark.parametrize("size", SIZES)
def test_quantities_follow_from_inputs(size: str) -> None:
    """Each is its formula's value, rounded to the digits that are shown."""
    names = _quantities(size)
    for row in PAGE.table("Quantities").rows:
        shown, value = _number(row[size]), names[code(row["quantity"])]
        assert shown == value.quantize(shown, ROUND_HALF_UP), row["quantity"]
        assert shown, f"{row['quantity']} is shown with too few digits"


@pytest.mark.parametrize("size", SIZES)
def test_costs_follow_from_quantities(size: str) -> None:
    """Each is quantity times price, to the cent, and the total is the sum of what is shown."""
    names = _quantities(size)
    *items, total = _MONTH.rows
    for row in (*items, *_COMPARED.rows):
        assert _number(row[size]) == _cents(names[code(row["quantity"])] * _number(row["price"])), row["item"]
    assert total["item"] == TOTAL
    assert _number(total[size]) == sum(_number(row[size]) for row in items)


def test_every_price_has_its_source() -> None:
    """Each that is used has a row which says where it was seen and where to look it up, and no other has."""
    used = {_number(row["price"]) for row in (*_MONTH.rows, *_COMPARED.rows) if row["item"] != TOTAL}
    sources = PAGE.table("The prices, and how sure they are").rows
    assert {_number(row["price"]) for row in sources} == used
    assert [row for row in sources if not all(row.values())] == []


def test_every_input_is_used() -> None:
    """None is left over from an earlier formula."""
    formulas = " ".join(row["formula"] for row in PAGE.table("Quantities").rows)
    formulas += " ".join(row["quantity"] for row in (*_MONTH.rows, *_COMPARED.rows))
    assert [name for name in _inputs("small") if name not in formulas] == []


def test_inputs_that_the_code_knows() -> None:
    """Days that are read, retention and the most incidents are the defaults; alert rules are those there are."""
    settings, inputs = read_settings(LEAST), _inputs("large")
    assert inputs["days_read"] == 1 + settings.late_days + load_rule().lookback_days
    assert inputs["retention_days"] == settings.retention_days
    assert inputs["incidents_a_day"] == settings.max_incidents
    assert len(list((ROOT / "infra/alerts").glob("*.kql"))) in {0, int(inputs["alert_rules"])}


def test_share_and_rows_of_the_sample() -> None:
    """What is said of the bundled sample, measured again; the inputs are no less."""
    rule, source = load_rule(), ExportFiles([SAMPLE])
    windows = Windows.days(day_ticks(FIRST_HUNTED), day_ticks(LAST_HUNTED) + TICKS_PER_DAY, rule.lookback_days)
    detector = Detector(rule, windows)
    detector.feed(source.events(windows.origin, windows.end))
    detection = conclude(detector, source.reading())
    funnel = detection.funnel
    by_apps = funnel.baseline.app_initiated + funnel.current.app_initiated
    assert f"{by_apps / funnel.reading.events:.2f}" == "0.68"
    told = {"incident_id": "0" * 36, "run_id": "0" * 28, "coverage": Coverage(14, 14)}
    rows = [finding_row(rule, one, **told) for one in detection.findings]  # type: ignore[arg-type]
    average = sum(len(json.dumps(row.values)) for row in rows) / len(rows)
    assert f"{average:,.0f}" == "1,479"
    inputs = _inputs("small")
    assert inputs["bytes_a_row"] >= average
    assert all(told in PAGE.text for told in ("sample 0.68", "1,479 on average"))


@pytest.mark.parametrize(("apps", "each"), [(1, 1), (1, 10), (8, 1), (10, 5), (50, 1)])
def test_storage_requests_are_an_upper_bound(apps: int, each: int, tmp_path: Path) -> None:
    """Of the first run over three days, asked for and looked at, both sinks on; a second one makes fewer."""
    world = World(tmp_path, _events(apps, each))
    world.options = Options(max_incidents=apps)
    counted = FailingTable(world.table)
    world.table = counted  # type: ignore[assignment]  # a table like any other
    made = list[int]()
    for _ in range(2):
        counted.calls = 0
        dispatch = world.dispatch(table=RecordingTable())
        run = dispatch.ask(whole_days("2026-03-14", "2026-03-16", world.clock.now()), asked_by="test")
        ended = dispatch.take(json.dumps({"run": run.id}))
        assert ended
        assert len(ended.changes.new) == (0 if made else apps * each)
        dispatch.health()
        made.append(counted.calls)
        world.clock.advance(60)
    formula = next(r["formula"] for r in PAGE.table("Quantities").rows if code(r["quantity"]) == "storage_requests")
    told = {name: Decimal(n) for name, n in (("incidents_a_day", apps), ("findings_a_day", apps * each))}
    assert made[1] < made[0] <= _value(ast.parse(code(formula), mode="eval"), told | {"days_a_month": Decimal(1)})


def _events(apps: int, each: int) -> list[Any]:
    return [
        event(f"2026-03-16T{1 + app % 20:02}:{number:02}:00Z", f"app {app}", f"do {number}", id=f"{app}-{number}")
        for app in range(apps)
        for number in range(each)
    ]
