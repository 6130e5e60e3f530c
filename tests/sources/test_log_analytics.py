"""The Log Analytics source against a loopback stand-in whose answers come from an independent KQL engine."""

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rare_audit.detection.detector import Detector
from rare_audit.detection.event import AuditEvent, initiator_of, json_text
from rare_audit.detection.result import conclude
from rare_audit.detection.ticks import END_OF_TIME, TICKS_PER_DAY, TICKS_PER_SECOND, day_ticks, parse_ticks
from rare_audit.detection.windows import Windows
from rare_audit.errors import ServiceError, SettingsError
from rare_audit.exports.export_files import ExportFiles
from rare_audit.rules import load_rule
from rare_audit.sources.log_analytics import LINES, MOST_SLICES, LogAnalytics, _Slices
from rare_audit.sources.log_analytics_answer import read_events
from rare_audit.sources.log_analytics_client import IncompleteAnswerError
from rare_audit.sources.log_analytics_query import (
    APP_INITIATED,
    EVENT_COLUMNS,
    coverage_question,
    events_question,
    last_event_question,
)
from rare_audit.sources.sample import sample_lines
from tests.azure.log_analytics_faults import slow
from tests.azure.log_analytics_server import WORKSPACE, LogAnalyticsServer
from tests.azure.log_analytics_world import StaticCredential, ids, row, source, threads, wait_for, workspace
from tests.kusto.kusto import check
from tests.project import azure_imported_by

FIRST, END = day_ticks("2026-03-01"), day_ticks("2026-03-17")
RULE = load_rule()
HOUR = TICKS_PER_DAY // 24


def _told(event: AuditEvent) -> tuple[Any, ...]:
    return tuple(getattr(event, name) for name in AuditEvent.__struct_fields__)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a sample tenant's export."""
    path = tmp_path_factory.mktemp("export") / "sample.ndjson"
    path.write_bytes(b"".join(sample_lines(events=1200)))
    return path


@pytest.fixture(scope="module")
def _plain() -> Iterator[LogAnalyticsServer]:
    with workspace(()) as server:
        yield server


@pytest.fixture
def plain(_plain: LogAnalyticsServer) -> LogAnalyticsServer:
    """Return the stand-in, for a test to fill."""
    assert wait_for(lambda: threads() == 0)
    _plain.reset()
    return _plain


@pytest.fixture
def sample(plain: LogAnalyticsServer, export: Path) -> LogAnalyticsServer:
    """Return the stand-in, serving the sample's rows."""
    plain.table.load(str(export))
    return plain


def test_importing_and_constructing_it_imports_no_azure() -> None:
    """Azure's clients are imported with the first fetch."""
    program = (
        f"from rare_audit.sources.log_analytics import LogAnalytics; LogAnalytics('{WORKSPACE}', None).events(0, 1)"
    )
    assert azure_imported_by(program) == []


@pytest.mark.parametrize("length", [7 * HOUR, TICKS_PER_DAY, 5 * TICKS_PER_DAY + 1, 100 * TICKS_PER_DAY])
def test_without_rules_it_reads_what_the_export_holds(sample: LogAnalyticsServer, export: Path, length: int) -> None:
    """The same rows give the same events, however they are sliced."""
    files = ExportFiles([export])
    expected = Counter(map(_told, files.events(FIRST, END)))
    fetched = source(sample, first_slice=length)
    assert Counter(map(_told, fetched.events(FIRST, END))) == expected
    assert fetched.reading() == files.reading()
    assert sample.most_at_once <= LINES


def test_with_rules_only_what_they_drop_first_is_left_out(sample: LogAnalyticsServer, export: Path) -> None:
    """Exactly the events of named apps come, and the findings are those of the whole export."""
    everything = list(ExportFiles([export]).events(FIRST, END))
    fetched = list(source(sample, rules=[RULE]).events(FIRST, END))
    assert ids(fetched) == ids(event for event in everything if initiator_of(json_text(event.initiated_by)))
    assert len(fetched) < len(everything)
    assert all(APP_INITIATED in asked.query for asked in sample.asked)
    windows = Windows.days(day_ticks("2026-03-15"), END, RULE.lookback_days)
    found = []
    for events in (everything, fetched):
        detector = Detector(RULE, windows)
        detector.feed(events)
        found.append(conclude(detector, source(sample).reading()).findings)
    assert found[0] == found[1]
    assert found[0]


def test_a_rule_that_asks_for_something_else_keeps_everything(sample: LogAnalyticsServer) -> None:
    """What not every rule drops first stays."""
    other = msgspec.structs.replace(RULE, query="AuditLogs | where Result == 'failure'")
    assert len(list(source(sample, rules=[RULE, other]).events(FIRST, END))) > 1000


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ticks=st.lists(st.integers(0, 40), max_size=30),
    bounds=st.tuples(st.integers(-5, 45), st.integers(-5, 45)).map(sorted),
    length=st.integers(4, 50),
)
def test_no_event_is_lost_or_doubled_at_a_slices_end(
    plain: LogAnalyticsServer, ticks: list[int], bounds: list[int], length: int
) -> None:
    """Down to the tick: an event is fetched once if it lies in the range, and not at all if it does not."""
    plain.table.fill(row(FIRST + at, number) for number, at in enumerate(ticks))
    start, end = bounds
    expected = sorted(f"Directory_{number}" for number, at in enumerate(ticks) if start <= at < end)
    fetched = source(plain, first_slice=length)
    events = list(fetched.events(FIRST + start, FIRST + end))
    assert ids(events) == expected
    assert all(start <= event.ticks - FIRST < end for event in events)
    assert fetched.reading().events == len(expected)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seconds=st.lists(st.integers(0, 500), min_size=1, max_size=40, unique=True), most=st.integers(3, 9),
       uneven=st.integers(0, TICKS_PER_SECOND))  # fmt: skip
def test_halving_loses_and_doubles_nothing(
    plain: LogAnalyticsServer, seconds: list[int], most: int, uneven: int
) -> None:
    """Answers that are cut off are fetched again in parts, and none of what they held counts twice."""
    plain.table.fill(row(FIRST + at * TICKS_PER_SECOND, number) for number, at in enumerate(seconds))
    plain.reset()
    plain.most_rows = most
    events = source(plain).events(FIRST, FIRST + 501 * TICKS_PER_SECOND + uneven)
    assert ids(events) == sorted(f"Directory_{number}" for number in range(len(seconds)))


def test_answers_over_the_byte_limit_are_halved(plain: LogAnalyticsServer) -> None:
    """The limit in bytes is met like the one in rows."""
    plain.table.fill(row(FIRST + number * HOUR, number) for number in range(24))
    plain.most_bytes = 500
    assert len(list(source(plain).events(FIRST, FIRST + TICKS_PER_DAY))) == 24
    assert len(plain.asked) > 20


def test_slices_grow_again_where_there_is_little(plain: LogAnalyticsServer) -> None:
    """One crowded minute does not leave the rest of the range in small slices."""
    plain.table.fill(row(FIRST + number * TICKS_PER_SECOND, number) for number in range(60))
    plain.most_rows = 20
    assert len(list(source(plain).events(FIRST, FIRST + 30 * TICKS_PER_DAY))) == 60
    assert len(plain.asked) < 200


def test_a_range_of_any_length_is_cut_into_few_slices(plain: LogAnalyticsServer) -> None:
    """An open range asks no query for each day until the year 9999."""
    plain.table.fill([row(FIRST, 1)])
    slices = _Slices(FIRST, END_OF_TIME, TICKS_PER_DAY)
    bounds = [(part.start, part.end) for part in iter(lambda: slices.next(0), None)]
    assert len(bounds) <= MOST_SLICES
    assert [start for start, _ in bounds[1:]] == [end for _, end in bounds[:-1]]
    assert (bounds[0][0], bounds[-1][1]) == (FIRST, END_OF_TIME)
    assert ids(source(plain, first_slice=END_OF_TIME).events(0, END_OF_TIME)) == ["Directory_1"]


def test_four_queries_run_at_a_time_and_never_more(plain: LogAnalyticsServer) -> None:
    """Four are under way together; the service would turn a sixth away."""
    plain.table.fill(row(FIRST + number * HOUR, number) for number in range(12))
    plain.faults.extend([slow(0.2)] * 12)
    assert len(list(source(plain, first_slice=HOUR).events(FIRST, FIRST + 12 * HOUR))) == 12
    assert plain.most_at_once == LINES


def test_a_consumer_that_stops_stops_the_fetching(plain: LogAnalyticsServer) -> None:
    """The answer being taken and three more are all that is held."""
    plain.table.fill(row(FIRST + number * HOUR, number) for number in range(24))
    events = source(plain, first_slice=HOUR).events(FIRST, FIRST + 24 * HOUR)
    next(events)
    assert wait_for(lambda: len(plain.asked) == LINES)
    time.sleep(0.2)
    assert len(plain.asked) == LINES
    assert len(list(events)) == 23
    assert len(plain.asked) == 24


def test_closing_the_iterator_ends_the_threads(plain: LogAnalyticsServer) -> None:
    """Whoever breaks off leaves nothing running, and nothing more is asked."""
    plain.table.fill(row(FIRST + number * HOUR, number) for number in range(24))
    events = source(plain, first_slice=HOUR).events(FIRST, FIRST + 24 * HOUR)
    assert len(list(islice(events, 2))) == 2
    assert threads() == LINES
    events.close()
    assert wait_for(lambda: threads() == 0)
    assert len(plain.asked) <= LINES + 1


def test_nothing_runs_before_the_first_event_is_asked_for(plain: LogAnalyticsServer) -> None:
    """An iterator that is never used costs nothing."""
    source(plain).events(FIRST, END)
    assert not plain.asked
    assert threads() == 0


def test_coverage_counts_every_event_by_day(sample: LogAnalyticsServer, export: Path) -> None:
    """All events count, not only those the rules care for; days cut by the range count what lies in it."""
    days = Counter(event.time_generated[:10] for event in ExportFiles([export]).events(FIRST, END))
    assert source(sample, rules=[RULE]).coverage(FIRST, END) == days
    assert len(sample.asked) == 1
    half = source(sample).coverage(FIRST + TICKS_PER_DAY // 2, FIRST + 2 * TICKS_PER_DAY)
    assert half["2026-03-02"] == days["2026-03-02"]
    assert 0 < half["2026-03-01"] < days["2026-03-01"]
    assert source(sample).coverage(END + TICKS_PER_DAY, END + 2 * TICKS_PER_DAY) == {}


def test_events_by_apps_are_those_that_the_engine_sees(sample: LogAnalyticsServer) -> None:
    """What the workspace counts by itself is, day by day, what a run reads: else every run would miss some."""
    windows = Windows.days(END - 2 * TICKS_PER_DAY, END, RULE.lookback_days)
    detector = Detector(RULE, windows)
    fetched = source(sample, rules=[RULE])
    detector.feed(fetched.events(windows.origin, windows.end))
    read = conclude(detector, fetched.reading()).data.days_by_apps
    assert fetched.by_apps(windows.origin, windows.end) == read
    assert sum(read.values()) > 500


def test_last_event_and_latest_arrival(sample: LogAnalyticsServer, export: Path) -> None:
    """How fresh the log is can be told, and that there is none."""
    last = max(event.ticks for event in ExportFiles([export]).events(FIRST, END))
    assert source(sample).last_event(FIRST, END) == last
    assert source(sample).last_event(END, END + 1) is None
    fetched = source(sample)
    assert fetched.latest_arrival() is None
    list(fetched.events(FIRST, END))
    assert 0 <= last + 180 * TICKS_PER_SECOND - (fetched.latest_arrival() or 0) < 10


def test_the_request_is_what_the_service_documents(sample: LogAnalyticsServer) -> None:
    """The client's own user agent, the longest time the service grants, a token for the endpoint."""
    credential = StaticCredential()
    fetched = LogAnalytics(WORKSPACE, lambda: credential, endpoint=f"{sample.endpoint}/v1")
    list(fetched.events(FIRST, FIRST + TICKS_PER_DAY))
    (asked,) = sample.asked
    assert (asked.prefer, asked.timespan) == ("wait=600", "2026-03-01T00:00:00Z/2026-03-02T00:00:00Z")
    assert asked.agent.startswith("azsdk-python-monitor-query/")
    assert set(credential.scopes) == {f"{sample.endpoint}/.default"}


def test_every_query_passes_microsofts_parser() -> None:
    """Also at the ends of time; the columns have the names and types that are read."""
    ranges = [(FIRST, END), (FIRST + 1, FIRST + 2), (-5 * TICKS_PER_DAY, END_OF_TIME + 1)]
    asked = [events_question(*each, condition).text for each in ranges for condition in ("", APP_INITIATED)]
    asked += [make(*each).text for each in ranges for make in (coverage_question, last_event_question)]
    checked = check(asked)
    assert not [each.diagnostics for each in checked if each.diagnostics]
    kinds = ["datetime", *["string"] * 7, "dynamic", "dynamic", "datetime"]
    assert [(each.name, each.type) for each in checked[0].columns] == [
        *zip((*EVENT_COLUMNS, "IngestionTime"), kinds, strict=True)
    ]
    assert [(each.name, each.type) for each in checked[6].columns] == [("Day", "datetime"), ("Events", "long")]


@pytest.mark.parametrize("bad", ["0 | take 1", "2026-03-01", None])
def test_a_bound_that_is_no_instant_never_becomes_kql(bad: Any) -> None:
    """Queries hold typed values only."""
    with pytest.raises(TypeError):
        events_question(bad, END)


@pytest.mark.parametrize(
    "workspace_id", ["", "x", f"{WORKSPACE}/../other", f"{WORKSPACE}?a=b", "{workspace}", "a\r\nb"]
)
def test_a_workspace_id_that_is_none_is_refused(workspace_id: str) -> None:
    """No text gets into the address but a GUID."""
    with pytest.raises(SettingsError, match="LOG_ANALYTICS_WORKSPACE_ID"):
        LogAnalytics(workspace_id, StaticCredential)


@pytest.mark.parametrize(
    "endpoint", ["", "http://127.0.0.1", "https://", "https://host/path", "https://h?x=1", "ftp://h"]
)
def test_an_endpoint_that_is_none_is_refused(endpoint: str) -> None:
    """A token goes over TLS only, and only to a host."""
    with pytest.raises(SettingsError, match="RARE_AUDIT_LOGS_ENDPOINT"):
        LogAnalytics(WORKSPACE, StaticCredential, endpoint=endpoint)


def test_hostile_text_comes_through_unchanged(plain: LogAnalyticsServer) -> None:
    """KQL, quotes, control and direction characters in a name are data."""
    apps = [
        '"); AuditLogs | take 1 //',
        "a' or 1 == 1",
        "\u202egpj.exe",
        "\x1b[2J\x00",
        "<img src=x>",
        "\\\\\\",
        "𝕏" * 500,
    ]
    plain.table.fill(row(FIRST + number, number, app) for number, app in enumerate(apps))
    events = sorted(source(plain, rules=[RULE]).events(FIRST, END), key=lambda event: event.ticks)
    names = [msgspec.json.decode(event.initiated_by)["app"]["displayName"] for event in events]
    assert names == apps


ROW = ["2026-03-01T00:00:00.0000001Z", "Update user", "c", "1", "2", "success", "", "AuditLogs", '{"app":{}}', "[]"]


def _answer(rows: list[Any], columns: Sequence[str] = EVENT_COLUMNS, **more: Any) -> bytearray:
    named = [{"name": name, "type": "string"} for name in columns]
    return bytearray(
        msgspec.json.encode({"tables": [{"name": "PrimaryResult", "columns": named, "rows": rows}], **more})
    )


def test_columns_may_come_in_any_order_and_with_others() -> None:
    """Cells are taken by their column's name."""
    turned = [*reversed(EVENT_COLUMNS), "Other"]
    answer = read_events(_answer([[*reversed(ROW), {"a": 1}]], turned))
    assert answer.events == [AuditEvent(*ROW)]
    assert answer.events[0].ticks == FIRST + 1


def test_a_missing_column_is_an_error() -> None:
    """A table that is not what was asked for is refused, and says what it lacks."""
    with pytest.raises(ServiceError, match="TargetResources"):
        read_events(_answer([ROW[:-1]], EVENT_COLUMNS[:-1]))


@pytest.mark.parametrize("body", [b'{"tables":[]}', b"[]", b'{"a":1}', b'{"tables":[{"columns":1,"rows":[]}]}', b"7"])
def test_json_that_is_no_answer_is_an_error(body: bytes) -> None:
    """Asking for less would not help: this is not the query API."""
    with pytest.raises(ServiceError) as caught:
        read_events(bytearray(body))
    assert not isinstance(caught.value, IncompleteAnswerError)


@pytest.mark.parametrize("end", range(1, 300, 23))
def test_any_cut_is_noticed(end: int) -> None:
    """An answer that lacks its end is none."""
    with pytest.raises(IncompleteAnswerError):
        read_events(_answer([ROW])[:-end])


def test_an_error_beside_the_rows_makes_them_a_part() -> None:
    """The innermost message alone says why."""
    error = {
        "message": "outer",
        "details": [{"message": "middle", "innererror": {"message": "limit of 64000000 bytes"}}],
    }
    with pytest.raises(IncompleteAnswerError, match="64000000"):
        read_events(_answer([ROW], error=error))
    assert read_events(_answer([ROW], error=None)).events


@pytest.mark.parametrize(
    "beside",
    [
        {"errors": [{"code": "E_LOW_MEMORY", "message": "ran low on memory"}]},
        {"Error": {"code": "PartialError", "message": "ran low on memory"}},
        {"partialError": {"error": {"message": "ran low on memory"}}},
        {"OneApiErrors": [{"error": {"code": "LimitsExceeded", "message": "ran low on memory"}}]},
        {"Exceptions": ["ran low on memory"]},
        {"error": "ran low on memory"},
    ],
    ids=lambda beside: next(iter(beside)),
)
def test_whatever_says_that_rows_are_missing_makes_them_a_part(beside: dict[str, Any]) -> None:
    """Documented or not: an error beside the rows, or in the place of one, is none of the rows that can't be read."""
    with pytest.raises(IncompleteAnswerError, match=r"a part of the result: .*ran low on memory"):
        read_events(_answer([ROW], **beside))
    with pytest.raises(IncompleteAnswerError, match=r"a part of the result: .*ran low on memory"):
        read_events(_answer([ROW, beside]))


def test_rows_of_a_second_table_are_not_left_out() -> None:
    """Only the first is read, so that no other may have any."""
    whole = msgspec.json.decode(_answer([ROW]))
    second = whole["tables"][0]
    rows: list[Any]
    for rows in ([ROW], [[]]):
        whole["tables"] = [second, second | {"name": "Table_1", "rows": rows}]
        with pytest.raises(IncompleteAnswerError, match="rows in a second table"):
            read_events(bytearray(msgspec.json.encode(whole)))
    whole["tables"] = [second, {"name": "Table_1", "columns": [], "rows": []}]
    assert read_events(bytearray(msgspec.json.encode(whole))).events


def test_what_says_nothing_of_rows_is_passed_over() -> None:
    """What is sent when asked for, and errors that are none."""
    beside: dict[str, Any] = {
        "statistics": {"query": {"executionTime": 1}},
        "render": {"visualization": "table"},
        "errors": [],
    }
    assert read_events(_answer([ROW], **beside)).events


def test_rows_that_cant_be_read_are_counted_by_reason() -> None:
    """The others still count."""
    odd = [
        [None, *ROW[1:]],
        ["yesterday", *ROW[1:]],
        ["2026-13-01T00:00:00Z", *ROW[1:]],
        [ROW[0], 5, *ROW[2:]],
        ROW[:-1],
        [*ROW, "more"],
    ]
    answer = read_events(_answer([ROW, *odd, ROW]))
    assert answer.events == [AuditEvent(*ROW)] * 2
    assert answer.unreadable == {"no readable time": 3, "wrong type in a column": 1, "wrong number of columns": 2}


def test_unreadable_rows_reach_the_reading(plain: LogAnalyticsServer) -> None:
    """What the last fetch could not read is told."""
    body = bytes(_answer([ROW, [None, *ROW[1:]]]))
    plain.faults.append(lambda exchange: exchange.send(200, body))
    fetched = source(plain)
    assert list(fetched.events(FIRST, FIRST + TICKS_PER_DAY)) == [AuditEvent(*ROW)]
    assert fetched.reading().unreadable == {"no readable time": 1}


def test_values_may_be_json_or_its_text_and_times_of_any_length() -> None:
    """Dynamic cells that are no text pass as they are; times are brought to the form that events hold."""
    answer = read_events(_answer([["2026-03-01 01:00:00.5+01:00", *ROW[1:8], {"app": {"displayName": "x"}}, None]]))
    (event,) = answer.events
    assert event.ticks == parse_ticks("2026-03-01T00:00:00.5Z")
    assert re.fullmatch(r"2026-03-01T00:00:00\.5000000Z", event.time_generated)
    assert initiator_of(json_text(event.initiated_by))
