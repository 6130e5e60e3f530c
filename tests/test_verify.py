"""`verify`: equal where the engine is right, and every difference told where one side is not."""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rare_audit.detection.event import AuditEvent
from rare_audit.detection.finding import COLUMNS
from rare_audit.detection.funnel import Reading
from rare_audit.detection.ticks import TICKS_PER_DAY, day_ticks, format_ticks, parse_ticks
from rare_audit.errors import ServiceError
from rare_audit.sources.log_analytics_answer import Rows, read_rows
from rare_audit.sources.log_analytics_client import IncompleteAnswerError
from rare_audit.verify import Comparison, verify
from rare_audit.verify.comparison import ACTIVITIES, GROUPING, PROPERTIES, TIMES, Difference, compare
from tests.azure import log_analytics_faults
from tests.azure.kql_table import KqlTable, Result
from tests.azure_terminal import AzureTerminal, RememberedTable, terminal
from tests.detection.helpers import decoded
from tests.job_world import RULE, event
from tests.strategies import MICROSECOND, START, Event, line, logs
from tests.terminal import FIRST_HUNTED, LAST_HUNTED, assert_nothing_obeyed, assert_refused

Cells = dict[str, Any]
LAST: Final = ("verify", "--date", LAST_HUNTED)
DAY: Final = "2026-03-15"
_STAMP: Final = f"{DAY}T08:15:30.1234567Z"


@pytest.fixture(scope="module")
def running() -> Iterator[AzureTerminal]:
    """The bundled sample in Azure."""
    with terminal() as started:
        yield started


@pytest.fixture
def azure(running: AzureTerminal) -> AzureTerminal:
    """The same, with the true answers."""
    running.reset()
    return running


class Doctored(RememberedTable):
    """A table whose rows for the rule's own text go through `doctor`."""

    def __init__(self, table: Any, doctor: Callable[[list[Cells]], list[Cells]]) -> None:
        super().__init__(table)
        self._doctor = doctor

    def run(self, query: str, timespan: tuple[int, int] | None = None) -> Result:
        """Run a query."""
        result = super().run(query, timespan)
        if "RareAudits" not in query:
            return result
        names = [column["name"] for column in result.columns]
        rows = self._doctor([dict(zip(names, cells, strict=True)) for cells in result.rows])
        return Result(result.columns, iter([[row[name] for name in names] for row in rows]))


def _doctored(azure: AzureTerminal, doctor: Callable[[list[Cells]], list[Cells]]) -> None:
    azure.stack.logs.table = Doctored(azure.table, doctor)  # type: ignore[assignment]  # it is asked nothing else


# On the command line


@pytest.mark.parametrize(
    ("day", "words", "rows"),
    [(FIRST_HUNTED, (), 6), (LAST_HUNTED, (), 9), (LAST_HUNTED, ("--by-property",), 10), ("2026-02-01", (), 0)],
)
def test_equal(azure: AzureTerminal, day: str, words: tuple[str, ...], rows: int) -> None:
    """On the sample the rule's own text and the engine give the same rows."""
    result = azure.called("verify", "--date", day, *words)
    assert (result.exit_code, result.stdout) == (0, f"{rows} rows, equal\n")
    assert f"findings: {rows}, from" in result.stderr


def test_workspace_alone(azure: AzureTerminal) -> None:
    """The workspace's settings and a sign-in are enough to compare: no setting of storage or Sentinel is needed."""
    ended = azure.alone(*LAST)
    assert (ended.returncode, ended.stdout) == (0, "9 rows, equal\n"), ended.stderr
    assert {passing.service for passing in azure.stack.gate.passed} == {"identity", "logs"}


def test_every_event_is_asked_for(azure: AzureTerminal) -> None:
    """The service is not made to drop what the rule would: the engine's first step is tested too."""
    azure.called(*LAST)
    asked = [each.query for each in azure.stack.logs.asked]
    assert sum("RareAudits" in query for query in asked) == 1
    assert not any("isnotempty" in query for query in asked if "RareAudits" not in query)
    assert azure.stack.gate.count("arm") == azure.stack.gate.count("table") == 0


def test_wrong_row_is_told(azure: AzureTerminal) -> None:
    """One row that differs in one column, one that the engine lacks and one that the workspace lacks: three lines."""

    def doctor(rows: list[Cells]) -> list[Cells]:
        rows[0] |= {"EndTime": "2026-03-16T23:00:00Z"}
        return [*rows[:-1], {**rows[-1], "OperationName": "Update \x1b[2J\u202eresu"}]

    _doctored(azure, doctor)
    result = azure.called(*LAST)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert len(lines) == 4
    changed = "EndTime: workspace 2026-03-16T23:00:00Z; engine 2026-03-16T01:17:40.2299318Z"
    assert sum(each.endswith(changed) for each in lines) == 1
    assert sum("workspace no such row; engine a row" in each for each in lines) == 1
    (other,) = (each for each in lines if each.endswith("workspace a row; engine no such row"))
    assert 'OperationName "Update \\x1b[2J\\u202eresu"' in other
    assert lines[-1] == "3 differences in 3 rows; the workspace has 9 rows, the engine 9"
    assert_nothing_obeyed(result.stdout)


def test_differences_are_bounded_and_not_obeyed(azure: AzureTerminal) -> None:
    """However long or hostile a name is, its line is neither."""
    name = "\r\n0 rows, equal\x1b]0;x\x07" * 5_000

    def doctor(rows: list[Cells]) -> list[Cells]:
        return [row | {"HostCustomEntity": name, "set_PropertyName": json.dumps([name])} for row in rows]

    _doctored(azure, doctor)
    result = azure.called(*LAST)
    lines = result.stdout.splitlines()
    assert (result.exit_code, len(lines)) == (1, 2 * 9 + 1)
    assert max(map(len, lines)) < 2_000
    assert "0 rows, equal" not in lines
    assert_nothing_obeyed(result.stdout)


def test_cut_off_answer_is_no_result(azure: AzureTerminal) -> None:
    """A part of the rule's rows is a failure, with what to do."""
    azure.stack.logs.most_rows = 5
    result = azure.called(*LAST)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "rare-audit: the query's result can't be had whole: " in result.stderr
    assert "record count limit 5" in result.stderr.splitlines()[-1]
    assert result.stderr.endswith("so ask for a shorter time\n")


def test_answer_that_is_cut_off_once_is_asked_for_again(azure: AzureTerminal) -> None:
    """A part that comes but once does no harm."""
    azure.stack.logs.faults.append(log_analytics_faults.partial)
    assert azure.called(*LAST).stdout == "9 rows, equal\n"


def test_events_that_arrived_meanwhile(azure: AzureTerminal) -> None:
    """A difference that may come of events that arrived in between is said to."""

    class Late(Doctored):
        def run(self, query: str, timespan: tuple[int, int] | None = None) -> Result:
            return super().run(query.replace("ingestion_time()", "datetime(2200-01-01T00:00:00Z)"), timespan)

    azure.stack.logs.table = Late(azure.table, lambda rows: rows[1:])  # type: ignore[assignment]
    result = azure.called(*LAST)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith("events of that time arrived while this ran")
    _doctored(azure, lambda rows: rows[1:])
    assert "arrived" not in azure.called(*LAST).stderr


def test_workspace_that_refuses(azure: AzureTerminal) -> None:
    """What the workspace refuses is exit code 1, told in the last line."""
    azure.stack.logs.readable = False
    result = azure.called(*LAST)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].startswith("rare-audit: the identity may not read the workspace")


@pytest.mark.parametrize("day", ["2999-01-01", "yesterday", "", "2026-03-16T00:00:00Z"])
def test_days_that_are_none(azure: AzureTerminal, day: str) -> None:
    """A day that is not over, or is none, is refused before anybody is asked."""
    result = azure.called("verify", "--date", day)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--date" in result.stderr
    assert azure.stack.gate.passed == ()


def test_wrong_settings(azure: AzureTerminal) -> None:
    """Settings that are wrong are exit code 2, all in one line; those that only other commands need don't count."""
    result = azure.called(*LAST, LOG_ANALYTICS_WORKSPACE_ID="x", RARE_AUDIT_MIN_DAYS="x", RARE_AUDIT_SINKS="x")
    assert_refused(result, "LOG_ANALYTICS_WORKSPACE_ID: expected the workspace's GUID")
    assert "RARE_AUDIT_MIN_DAYS: " in result.stderr
    assert "RARE_AUDIT_SINKS" not in result.stderr


# The engine against generated logs


class Kept:
    """A workspace of some events and what it answers to the rule's text."""

    def __init__(self, events: Sequence[AuditEvent], answer: Callable[[str, int, int], Rows]) -> None:
        self._events = events
        self._answer = answer
        self._read = 0
        self.fetches = 0

    def events(self, start: int, end: int) -> Iterator[AuditEvent]:
        """Yield the events of a range."""
        self.fetches += 1
        those = [each for each in self._events if start <= each.ticks < end]
        self._read = len(those)
        return iter(those)

    def reading(self) -> Reading:
        """Return that all was read."""
        return Reading(events=self._read)

    def coverage(self, start: int, end: int) -> dict[str, int]:
        """Return nothing: nobody asks."""
        return {}

    def query(self, text: str, start: int, end: int) -> Rows:
        """Answer the rule's text."""
        return self._answer(text, start, end)


@pytest.mark.parametrize("examples", [12, pytest.param(200, marks=pytest.mark.long)])
def test_equal_on_generated_logs(examples: int) -> None:
    """With every quirk of real events, and whichever values a bag keeps, there is no difference; and rows there are."""
    table = KqlTable()
    rows, chosen = [], []

    @settings(max_examples=examples)
    @given(log=logs(200, 300), by_property=st.booleans(), known=st.booleans())
    def check(log: list[Event], by_property: bool, known: bool) -> None:
        if not known:  # without a baseline rows are many, and their groups large
            log = [each for each in log if each["TimeGenerated"] > format_ticks(START)]
        log = [one for each in log for one in (_repeated(each), each)]
        table.fill(json.loads(line(each, as_text=True)) for each in log)
        source = Kept(decoded(log), partial(_answered, table))
        compared = verify(source, RULE, START, by_property=by_property)
        assert compared.differences == ()
        rows.append(compared.engine_rows)
        chosen.append(source.fetches > 1)

    check()
    assert sum(rows) >= examples
    assert any(chosen)


def _repeated(of: Event) -> Event:
    """Return an event a little later that differs in its id alone: where it comes first, its bag is the one kept."""
    return of | {"Id": "id9", "TimeGenerated": format_ticks(parse_ticks(of["TimeGenerated"]) + MICROSECOND)}


def _answered(table: KqlTable, text: str, start: int, end: int) -> Rows:
    result = table.run(text, (start, end))
    return Rows(tuple(column["name"] for column in result.columns), [tuple(row) for row in result.rows])


# What make_bag keeps


def _verified(events: Sequence[AuditEvent], **row: Any) -> Comparison:
    """Compare the engine's only row with one of the workspace that is the same but for some cells."""
    truth = verify(Kept(events, lambda *_: Rows(COLUMNS, [])), RULE, day_ticks(DAY))
    assert (truth.engine_rows, len(truth.differences)) == (1, 1)
    first = f"{DAY}T08:00:00.0000000Z"
    cells = {
        **dict.fromkeys(COLUMNS, ""),
        "InitiatedByApp": "Sync",
        "OperationName": "Add owner",
        "TargetResourceName": "payroll",
        "StartTime": first,
        "EndTime": f"{DAY}T09:00:00Z",
        "timestamp": first,
        "set_PropertyName": '["KeyDescription"]',
        **row,
    }
    return verify(Kept(events, lambda *_: Rows(COLUMNS, [tuple(cells.values())])), RULE, day_ticks(DAY))


TWICE: Final = (
    event(f"{DAY}T08:00:00Z", "Sync", "Add owner", value="one", id="e1"),
    event(f"{DAY}T09:00:00Z", "Sync", "Add owner", value="two", id="e2"),
)


def _bag(value: str, id_: str, **more: Any) -> dict[str, Any]:
    return {"PropertyName": "KeyDescription", "newValue": value, "Id": id_, "CorrelationId": "c1", **more}


@pytest.mark.parametrize("bag", [_bag("one", "e1"), _bag("two", "e2"), _bag("two", "e1"), _bag("one", "e2")])
def test_any_value_of_the_group_may_be_kept(bag: dict[str, Any]) -> None:
    """For each key of a bag Kusto keeps an arbitrary one of its values: none of these is a difference."""
    assert _verified(TWICE, set_Activity=json.dumps([bag])).differences == ()


@pytest.mark.parametrize(
    "bags",
    [
        [_bag("three", "e1")],
        [_bag("one", "e3")],
        [_bag("one", "e1", CorrelationId="c2")],
        [_bag("one", "e1", PropertyName="Other")],
        [_bag("one", "e1", More="x")],
        [_bag("one", "e1"), _bag("two", "e2")],
        [{"PropertyName": "KeyDescription"}],
        [],
    ],
)
def test_no_other_value_may_be_kept(bags: list[Any]) -> None:
    """A value that meets nowhere in the group, a bag too many and none at all are differences."""
    differences = _verified(TWICE, set_Activity=json.dumps(bags)).differences
    assert [each.column for each in differences] == [ACTIVITIES]
    assert differences[0].engine == "[]" or '"newValue":"one"' in differences[0].engine


@pytest.mark.parametrize("cell", ["", "x", "{}", "[1]", "[[]]", None, 5, '[{"newValue":{}}]', "[" * 5_000])
def test_cells_that_are_no_sets(cell: Any) -> None:
    """Whatever stands in place of a set is a difference, and nothing worse."""
    for column in (ACTIVITIES, PROPERTIES):
        told = {
            each.column
            for each in _verified(TWICE, **{ACTIVITIES: json.dumps([_bag("one", "e1")]), column: cell}).differences
        }
        assert told == {column}


def test_other_columns_are_refused() -> None:
    """A result without exactly the rule's columns is none of the rule's."""
    for columns in (COLUMNS[:-1], (*COLUMNS, "More"), tuple(reversed(COLUMNS))):
        answer = Rows(columns, [])
        with pytest.raises(ServiceError, match="the query's result has the columns"):
            verify(Kept((), lambda *_, answer=answer: answer), RULE, day_ticks(DAY))


# The comparison alone

TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
INSTANTS: Final = st.integers(parse_ticks("2026-03-01"), parse_ticks("2026-03-31"))
BAGS: Final = st.fixed_dictionaries(dict.fromkeys(("PropertyName", "newValue", "Id", "CorrelationId"), TEXTS))


@st.composite
def _rows(draw: st.DrawFn) -> list[Cells]:
    """Some rows as the engine has them, each of a combination of its own."""
    keys = draw(st.lists(st.tuples(*[TEXTS] * len(GROUPING)), max_size=5, unique=True))
    return [
        {
            **dict(zip(GROUPING, key, strict=True)),
            **{name: format_ticks(draw(INSTANTS)) for name in ("StartTime", "EndTime")},
            ACTIVITIES: draw(st.lists(BAGS, max_size=4)),
            PROPERTIES: draw(st.lists(TEXTS, max_size=4)),
            "timestamp": format_ticks(draw(INSTANTS)),
            **{name: draw(TEXTS) for name in COLUMNS[10:]},
        }
        for key in keys
    ]


def _respelled(row: Cells, draw: st.DrawFn) -> Cells:
    """Return a row as the workspace may spell it: sets as text, in another order, times without needless zeros."""
    spelled = dict(row)
    for name in TIMES:
        time = row[name].removesuffix("Z").rstrip("0").removesuffix(".")
        spelled[name] = f"{time}Z" if len(time) >= 19 else row[name]
    bags = [dict(draw(st.permutations(list(bag.items())))) for bag in row[ACTIVITIES]]
    spelled[ACTIVITIES] = json.dumps(draw(st.permutations(bags)), ensure_ascii=draw(st.booleans()))
    spelled[PROPERTIES] = json.dumps(draw(st.permutations([*row[PROPERTIES], *row[PROPERTIES]])))
    return spelled


@settings(max_examples=150)
@given(data=st.data(), rows=_rows())
def test_spelling_and_order_are_no_difference(data: st.DataObject, rows: list[Cells]) -> None:
    """Rows in another order, and cells in another spelling, are the same."""

    @st.composite
    def respelled(draw: st.DrawFn) -> list[Cells]:
        return [_respelled(row, draw) for row in draw(st.permutations(rows))]

    assert compare(data.draw(respelled()), rows) == ()


@settings(max_examples=150)
@given(data=st.data(), rows=_rows().filter(bool), column=st.sampled_from(COLUMNS))
def test_any_doctored_cell_is_found(data: st.DataObject, rows: list[Cells], column: str) -> None:
    """A cell that means something else is told, with its row and column, whichever side it is on."""
    at = data.draw(st.integers(0, len(rows) - 1))
    doctored = [dict(row) for row in rows]
    cell = doctored[at][column]
    if column in TIMES:
        doctored[at][column] = format_ticks(parse_ticks(cell) + data.draw(st.sampled_from([-1, 1, TICKS_PER_DAY])))
    elif isinstance(cell, list):
        doctored[at][column] = [*cell, "another" * 3 if column == PROPERTIES else {"Id": "another" * 3}]
    else:
        doctored[at][column] = cell + data.draw(st.sampled_from(["x", " ", "\u0301", "\0"]))
    if column in GROUPING:
        lost = tuple(rows[at][name] for name in GROUPING)
        assert Difference(lost, "", "no such row", "a row") in compare(doctored, rows)
        assert Difference(lost, "", "a row", "no such row") in compare(rows, doctored)
        return
    for differences in (compare(doctored, rows), compare(rows, doctored)):
        assert [(each.row, each.column) for each in differences] == [
            (tuple(rows[at][name] for name in GROUPING), column)
        ]
        assert differences[0].workspace != differences[0].engine


@settings(max_examples=50)
@given(rows=_rows().filter(bool))
def test_a_row_twice_is_found(rows: list[Cells]) -> None:
    """A row more, or less, of a combination is told."""
    (more,) = compare([*rows, rows[0]], rows)
    (less,) = compare(rows, [*rows, rows[0]])
    assert (more.workspace, less.engine) == ("a row", "a row")


@pytest.mark.parametrize(
    ("theirs", "ours", "same"),
    [
        ("2026-03-15T08:00:00.0000000Z", "2026-03-15T08:00:00Z", True),
        ("2026-03-15T08:00:00.0000001Z", "2026-03-15T08:00:00Z", False),
        ("2026-03-15T08:00:00.0000000Z", "2026-03-15 08:00:00", False),
        ("2026-13-15T08:00:00Z", "2026-13-15T08:00:00.0Z", False),
        (5, "5", True),
        (True, "true", True),
        (1.5, "1.5", True),
        ({"a": [1, None]}, '{"a":[1,null]}', True),
        (None, "", True),
        ("5.0", "5", False),
        ("TRUE", "true", False),
        ("x ", "x", False),
    ],
)
def test_spelling_of_new_values(theirs: Any, ours: str, same: bool) -> None:
    """What `tostring` makes of a value is that value, and a time may have all its decimals; all else counts."""
    row = {**dict.fromkeys(COLUMNS, ""), **dict.fromkeys(TIMES, _STAMP), PROPERTIES: []}
    found = compare(
        [row | {ACTIVITIES: json.dumps([{"newValue": theirs}])}], [row | {ACTIVITIES: [{"newValue": ours}]}]
    )
    assert (found == ()) == same


# A whole answer to any query


def test_rows_of_any_query() -> None:
    """All columns and cells come as they are."""
    body = {"tables": [{"columns": [{"name": "a"}, {"name": "b"}], "rows": [["x", None], [1, '{"y":2}']]}]}
    assert read_rows(bytearray(msgspec.json.encode(body))) == Rows(("a", "b"), [("x", None), (1, '{"y":2}')])


@pytest.mark.parametrize("rows", [[["x"]], [["x", 1, 2]], [5], {"a": 1}])
def test_rows_that_cant_be_read(rows: Any) -> None:
    """Rows of another length than the columns, and what are none, are refused."""
    body = {"tables": [{"columns": [{"name": "a"}, {"name": "b"}], "rows": rows}]}
    with pytest.raises(ServiceError) as caught:
        read_rows(bytearray(msgspec.json.encode(body)))
    assert not isinstance(caught.value, IncompleteAnswerError)
