"""The workbook: JSON as Azure takes it, and queries that Microsoft's parser accepts."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.infra.bicep import INFRA
from tests.infra.kql import checked
from tests.job_world import World, event
from tests.watched import Watched

_TEXT: Final = (INFRA / "workbook.json").read_text(encoding="utf-8")
_BOOK: Final[dict[str, Any]] = json.loads(_TEXT)
_QUERIES: Final = [item for item in _BOOK["items"] if item["type"] == 3]


@pytest.mark.parametrize("item", _QUERIES, ids=lambda item: str(item["name"]))
def test_queries_parse(item: dict[str, Any]) -> None:
    """Each has a title, says what it shows when there is nothing, and yields columns."""
    assert item["content"]["title"]
    assert item["content"]["noDataMessage"]
    assert checked(item["content"]["query"]).columns


def test_it_shows_what_it_should() -> None:
    """Findings and incidents over time, top apps, exclusions, and the job's health."""
    names = {item["name"] for item in _QUERIES}
    assert {"findings-by-day", "incidents-by-day", "apps-by-incidents", "exclusions-by-day", "runs-by-day"} <= names


def test_metrics_are_those_that_a_run_measures(tmp_path: Path) -> None:
    """Every metric and attribute that a query asks for is told of a real run."""
    watched = Watched()
    world = World(tmp_path, [event("2026-03-15T03:00:00Z", "An app", "Consent", upn="ann@x.example")])
    world.run("2026-03-15", watch=watched.watch)
    told = {name: {key for point in points for key in point.attributes} for name, points in watched.points().items()}
    asked = [item["content"]["query"] for item in _QUERIES if item["content"]["query"].startswith("customMetrics")]
    for query in asked:
        [name] = re.findall(r'"(rare_audit\.\w+)"', query)
        assert set(re.findall(r"customDimensions\.(\w+)", query)) <= told[name], query
    assert len(asked) >= 7


def test_incidents_are_found_by_what_they_are_called(tmp_path: Path) -> None:
    """The title and the label that queries look for are those of a real incident."""
    world = World(tmp_path, [event("2026-03-15T03:00:00Z", "An app", "Consent", upn="ann@x.example")])
    world.run("2026-03-15")
    [incident] = world.job().incidents("2026-03-15")
    assert incident.title.startswith("Rare activity by app An app: ")
    assert "Rare Audit" in incident.labels


def test_names_are_unique() -> None:
    """Azure tells items apart by name."""
    names = [item["name"] for item in _BOOK["items"]]
    assert len(names) == len(set(names))


def test_queries_go_where_their_tables_are() -> None:
    """Application Insights has the telemetry, the workspace the rest; the table is shown only where it is."""
    for item in _QUERIES:
        query, [resource] = item["content"]["query"], item["content"]["crossComponentResources"]
        telemetry = query.startswith(("traces", "requests", "customMetrics"))
        assert resource == ("{{applicationInsightsId}}" if telemetry else "{{workspaceId}}")
        assert ("RareAuditFindings_CL" in query) == ("conditionalVisibility" in item)


def test_bicep_fills_every_place() -> None:
    """Each place in the JSON is replaced by workbook.bicep, and what it replaces is there."""
    bicep = (INFRA / "app/workbook.bicep").read_text(encoding="utf-8")
    for place in ("{{applicationInsightsId}}", "{{workspaceId}}", "{{findingsTable}}"):
        assert place in _TEXT
        assert f"'{place}'" in bicep
    filled = _TEXT
    for place in ("applicationInsightsId", "workspaceId", "findingsTable"):
        filled = filled.replace(f"{{{{{place}}}}}", "/subscriptions/a")
    assert "{{" not in "".join(_strings(json.loads(filled)))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
