"""The route by a table: one list of columns for table, stream and query, and a rule that misses and repeats nothing."""

import re
from typing import Final

from tests.infra.bicep import INFRA, body, file, properties, text, walk
from tests.infra.kql import COLUMNS, checked

RESERVED: Final = {
    "id", "title", "type", "tenantid", "uniqueid", "billedsize", "isbillable", "invalidtimegenerated", "mg",
    "sourcesystem", "managementgroupname", "computer", "rawdata",
}  # fmt: skip
"""https://learn.microsoft.com/azure/azure-monitor/logs/create-custom-table and .../log-standard-columns."""
_RULE: Final = properties(
    properties(body(file(INFRA / "sentinel/findings.bicep").of("resource")["rule"]))["properties"]
)
_QUERY: Final = (INFRA / "rules/findings-to-incidents.kql").read_text(encoding="utf-8")


def _literals(name: str, of: str) -> list[str]:
    """Return the values that a property has anywhere below another."""
    found = [properties(node) for node in walk(_RULE[of]) if node.type == "object"]
    return [text(each[name]).strip("'") for each in found if name in each]


def test_columns_are_such_as_a_table_may_have() -> None:
    """Names and types are allowed ones, each name stands once, and the time is among them."""
    names = [each["name"] for each in COLUMNS]
    assert len(names) == len(set(names))
    assert {"name": "TimeGenerated", "type": "datetime"} in COLUMNS
    for each in COLUMNS:
        assert re.fullmatch(r"[A-Za-z]\w{1,44}", each["name"]), each
        assert each["type"] in {"string", "int", "long", "real", "boolean", "datetime", "dynamic", "guid"}
    assert not RESERVED & {name.lower() for name in names}


def test_the_list_stands_in_one_place() -> None:
    """Table and stream load the same file, and go by the same name."""
    table = (INFRA / "sentinel/findings.bicep").read_text(encoding="utf-8")
    stream = (INFRA / "app/ingestion.bicep").read_text(encoding="utf-8")
    assert "columns: loadJsonContent('../findings-columns.json')" in table
    assert "columns: loadJsonContent('../findings-columns.json')" in stream
    assert "'RareAuditFindings_CL'" in table
    assert "'Custom-RareAuditFindings_CL'" in stream


def test_the_query_yields_what_the_rule_maps() -> None:
    """Microsoft's parser accepts the query, and every column the rule takes is in its result, as text or list."""
    types = {column.name: column.type for column in checked(_QUERY).columns}
    details = {text(value).strip("'") for value in properties(_RULE["customDetails"]).values()}
    overrides = properties(_RULE["alertDetailsOverride"])
    formats = re.findall(r"\{\{(\w+)\}\}", text(_RULE["alertDetailsOverride"]))
    named = {text(value).strip("'") for name, value in overrides.items() if name.endswith("ColumnName")}
    dynamic = set(_literals("value", "alertDetailsOverride"))
    mapped = set(_literals("columnName", "entityMappings"))
    assert details | set(formats) | named | dynamic | mapped <= types.keys()
    assert {types[name] for name in mapped} == {"string"}


def test_entities_are_the_four() -> None:
    """Account, cloud application, host and address are mapped, within Sentinel's limits."""
    assert _literals("entityType", "entityMappings") == ["Account", "CloudApplication", "Host", "IP"]
    assert len(properties(_RULE["customDetails"])) <= 20
    for line in re.findall(r"'([^']*\{\{[^']*)'", text(_RULE["alertDetailsOverride"])):
        assert line.count("{{") <= 3


def test_incidents_are_one_for_an_app_and_a_day() -> None:
    """Alerts are grouped by the id of the incident that the job has for an app and a day."""
    grouping = properties(properties(_RULE["incidentConfiguration"])["groupingConfiguration"])
    assert text(grouping["groupByCustomDetails"]) == "['Incident']"
    assert text(properties(_RULE["customDetails"])["Incident"]) == "'IncidentId'"
    assert text(properties(_RULE["eventGroupingSettings"])["aggregationKind"]) == "'AlertPerResult'"


def test_it_runs_as_its_query_counts() -> None:
    """The rule's frequency and period are those that the query says it is made for."""
    for name in ("queryFrequency", "queryPeriod"):
        assert f"{name} {text(_RULE[name]).strip(chr(39))}" in _QUERY
