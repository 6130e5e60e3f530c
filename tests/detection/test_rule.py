"""The shipped rule and exclusions, the query rendered from them, and what a mistake in such a file is told as."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from rare_audit.detection.detector import Detector
from rare_audit.detection.event import decode_event
from rare_audit.detection.funnel import Reading
from rare_audit.detection.query import render
from rare_audit.detection.result import conclude
from rare_audit.detection.rule import (
    MATCHABLE,
    Condition,
    Exclusion,
    IgnoredPair,
    Parameters,
    Rule,
    parse_conditions,
)
from rare_audit.detection.ticks import TICKS_PER_DAY, parse_ticks
from rare_audit.detection.windows import Windows
from rare_audit.errors import RuleError
from rare_audit.rules import DEFAULT_EXCLUSIONS, DEFAULT_RULE, load_exclusions, load_rule, unmatchable
from tests.detection.helpers import RULE
from tests.strategies import line

ROOT: Final = Path(__file__).parents[2]
PUBLISHED_FILE: Final = ROOT / "tests/published/rare-audit-activity-by-app.kql"
PUBLISHED: Final = PUBLISHED_FILE.read_text(encoding="utf-8")
SEED: Final = ROOT.parent / "shared/seed"
START: Final = parse_ticks("2026-03-15")
START_TEXT: Final = "2026-03-15T00:00:00.0000000Z"
NEXT_TEXT: Final = "2026-03-16T00:00:00.0000000Z"
needs_seed: Final = pytest.mark.skipif(
    not SEED.is_dir(), reason="the source document, ../shared/seed, is not beside this repository"
)


def filled_in(text: str, end: str = START_TEXT) -> str:
    """Return the published text with its two times filled in."""
    return text.replace("{{StartTimeISO}}", START_TEXT).replace("{{EndTimeISO}}", end)


def changed(**parameters: Any) -> Rule:
    """Return the shipped rule with other parameters."""
    return msgspec.structs.replace(RULE, parameters=msgspec.structs.replace(RULE.parameters, **parameters))


# The shipped files


def test_the_shipped_rule_is_the_documents() -> None:
    """Its metadata is that of the source document."""
    assert RULE.id == "5c799718-b361-4a91-9cb2-0c291e602707"
    assert RULE.name == "Rare Audit activity initiated by App"
    assert RULE.tactics == ("Persistence", "LateralMovement")
    assert RULE.relevant_techniques == ("T1136",)
    assert [connector.data_types for connector in RULE.required_data_connectors] == [("AuditLogs",)]
    assert [(each.entity_type, each.field_mappings[0].column_name) for each in RULE.entity_mappings] == [
        ("Account", "AccountCustomEntity"),
        ("Host", "HostCustomEntity"),
        ("IP", "IPCustomEntity"),
    ]
    assert RULE.lookback_days == 14
    assert RULE.key(by_property=False) == RULE.parameters.key
    assert RULE.key(by_property=True) == (*RULE.parameters.key, "PropertyName")


def test_every_constant_of_the_query_is_a_parameter() -> None:
    """None of them stands in the query's template too."""
    parameters = RULE.parameters
    pairs = [text for pair in parameters.ignored_pairs for text in (pair.property_name, pair.new_value)]
    lists = (parameters.property_ignore_list, parameters.app_ignore_list, parameters.operation_ignore_list)
    constants = [parameters.lookback, *pairs, *(text for texts in lists for text in texts), *parameters.host_properties]
    assert len(constants) == 15
    assert [constant for constant in constants if f'"{constant}"' in RULE.query or f"'{constant}'" in RULE.query] == []
    assert "14d" not in RULE.query
    assert ") on {{key}};" in RULE.query


SCENARIOS: Final = {
    "Scheduled Azure Automation Runbook Execution": (
        'AzureActivityType = "AutomationRunbook" or ResourceGroup = "Compliance-Reports"'
    ),
    "Azure AD Privileged Role Management Trust Framework (TRUSTe) Audit Job": (
        'ActivityName = "TRUSTe Audit Job" or OperationName = "AuditRoleAssignment"'
    ),
    "Azure Backup Vault Scheduled Backup Job": (
        'ResourceType = "Microsoft.RecoveryServices/vaults" or OperationName = "Backup Vault Job Execution"'
    ),
    "Azure DevOps Pipeline Audit Logging": 'OperationName = "AuditLogCapture" or ResourceGroup = "DevOps-Logs"',
    "Azure Security Center Automated Compliance Scan": (
        'ResourceType = "Microsoft.Security/assessments" or OperationName = "ComplianceScan"'
    ),
}


def test_the_shipped_exclusions_are_the_five_scenarios() -> None:
    """In the document's order, each switched on."""
    exclusions = load_exclusions()
    assert {exclusion.name: exclusion.condition for exclusion in exclusions} == SCENARIOS
    assert [exclusion.name for exclusion in exclusions] == list(SCENARIOS)
    assert all(exclusion.enabled and exclusion.description for exclusion in exclusions)


def test_conditions_that_no_row_can_match_are_told() -> None:
    """Of the shipped five, four ask for a field that AuditLogs lacks; one that is off is not spoken of."""
    told = unmatchable(load_exclusions())
    fields = [re.findall(r"AuditLogs has no (\w+),", sentence) for sentence in told]
    assert fields == [["AzureActivityType"], ["ActivityName"], ["ResourceType"], ["ResourceType"]]
    assert [name for name in SCENARIOS for sentence in told if name in sentence] == [
        name for name in SCENARIOS if name != "Azure DevOps Pipeline Audit Logging"
    ]
    off = tuple(msgspec.structs.replace(exclusion, enabled=False) for exclusion in load_exclusions())
    assert unmatchable(off) == ()


@needs_seed
def test_the_exclusions_have_the_documents_words() -> None:
    """Name, description and condition, word for word."""
    document = (SEED / "rare-audit-activity-by-app.txt").read_text(encoding="utf-8")
    scenarios = re.findall(r"^Scenario: (.*)\nDescription: (.*)\nFilter/Exclusion: (.*)$", document, re.MULTILINE)
    assert [(each.name, each.description, each.condition) for each in load_exclusions()] == scenarios


@needs_seed
def test_the_kept_copy_is_the_document() -> None:
    """`tests/published/` holds the published text as it was given."""
    assert PUBLISHED_FILE.read_bytes() == (SEED / PUBLISHED_FILE.name).read_bytes()


@needs_seed
def test_the_metadata_has_the_documents_words() -> None:
    """The descriptions too, but for the line breaks that the document lost."""
    document = (SEED / "rare-audit-activity-by-app.txt").read_text(encoding="utf-8")
    for text in (RULE.id, RULE.name, RULE.description.strip(), RULE.description_detailed.strip()):
        assert text in document


# The query


def test_rendered_open_it_is_the_published_text() -> None:
    """Letter for letter, its two times filled in."""
    assert render(RULE, START) == filled_in(PUBLISHED)


def test_rendered_for_a_window() -> None:
    """With an end, the current window gets its bound and `endtime` its value; all else stays."""
    bounded = render(RULE, START, START + TICKS_PER_DAY)
    assert bounded == filled_in(PUBLISHED, NEXT_TEXT).replace(
        "| where TimeGenerated >= starttime\n", "| where TimeGenerated >= starttime and TimeGenerated < endtime\n"
    )
    assert bounded.count("TimeGenerated < endtime") == 1


def test_rendered_by_property() -> None:
    """The variant moves the commented-out column into the key; all else stays."""
    assert render(RULE, START, by_property=True) == filled_in(PUBLISHED).replace(
        "TargetUserPrincipalName;//, PropertyName;", "TargetUserPrincipalName, PropertyName;//, PropertyName;"
    )


@pytest.mark.parametrize(
    ("parameters", "published", "rendered"),
    [
        ({"lookback": "7d"}, "starttime - 14d;", "starttime - 7d;"),
        (
            {"key": ("InitiatedByApp", "OperationName")},
            ") on OperationName, InitiatedByApp, InitiatedByIpAddress, TargetUserPrincipalName;//",
            ") on InitiatedByApp, OperationName;//",
        ),
        (
            {"app_ignore_list": ("A", 'B "quoted"')},
            '["Microsoft Azure AD Group-Based Licensing"]',
            r'["A", "B \"quoted\""]',
        ),
        ({"app_ignore_list": ()}, '["Microsoft Azure AD Group-Based Licensing"]', "[]"),
        (
            {"property_ignore_list": ("x",)},
            (
                '["TargetId.UserType", "StsRefreshTokensValidFrom", "LastDirSyncTime", "DeviceOSVersion", '
                '"CloudDeviceOSVersion", "DeviceObjectVersion"]'
            ),
            '["x"]',
        ),
        (
            {"operation_ignore_list": ("One", "Two")},
            ' and OperationName !~ "Change user license"',
            ' and OperationName !~ "One" and OperationName !~ "Two"',
        ),
        ({"operation_ignore_list": ()}, ' and OperationName !~ "Change user license"', ""),
        (
            {"ignored_pairs": (IgnoredPair(property_name="N", new_value="V"),)},
            (
                ' and (PropertyName !~ "Action Client Name" and newValue !~ "DirectorySync") and '
                '(PropertyName !~ "Included Updated Properties" and newValue !~ "LastDirSyncTime")'
            ),
            ' and (PropertyName !~ "N" and newValue !~ "V")',
        ),
        ({"host_properties": ("It's",)}, "('DeviceOSType', 'CloudDeviceOSType')", r"('It\'s')"),
    ],
)
def test_other_parameters_change_the_text_there_alone(
    parameters: dict[str, Any], published: str, rendered: str
) -> None:
    """Each in its places, baseline and current window alike."""
    assert published in PUBLISHED
    assert render(changed(**parameters), START) == filled_in(PUBLISHED.replace(published, rendered))


# What the engine makes of other parameters


def _found(rule: Rule, *events: dict[str, Any]) -> list[tuple[str, ...]]:
    detector = Detector(rule, Windows.single(START, None, rule.lookback_days))
    detector.feed(decode_event(line(event, as_text=False)) for event in events)
    return [finding.property_names for finding in conclude(detector, Reading()).findings]


def _event(
    at: str, name: str = "P", value: str = '["x"]', operation: str = "Add", resource: str = "r"
) -> dict[str, Any]:
    target = {"displayName": resource, "modifiedProperties": [{"displayName": name, "newValue": value}]}
    return {
        "TimeGenerated": at,
        "OperationName": operation,
        "InitiatedBy": {"app": {"displayName": "Sync"}},
        "TargetResources": [target],
    }


TODAY: Final = "2026-03-15T10:00:00Z"


@pytest.mark.parametrize(
    ("parameters", "events", "found"),
    [
        ({}, [_event(TODAY)], [("P",)]),
        ({"app_ignore_list": ("SYNC",)}, [_event(TODAY)], []),
        ({"operation_ignore_list": ("add",)}, [_event(TODAY)], []),
        ({"operation_ignore_list": ()}, [_event(TODAY, operation="Change user license")], [("P",)]),
        ({"property_ignore_list": ("p",)}, [_event(TODAY)], []),
        ({"property_ignore_list": ()}, [_event(TODAY, "DeviceOSVersion")], [("DeviceOSVersion",)]),
        ({"ignored_pairs": (IgnoredPair(property_name="p", new_value="no"),)}, [_event(TODAY)], []),
        ({"ignored_pairs": (IgnoredPair(property_name="no", new_value="X"),)}, [_event(TODAY)], []),
        ({"ignored_pairs": ()}, [_event(TODAY, "Action Client Name")], [("Action Client Name",)]),
        ({}, [_event("2026-03-05T10:00:00Z"), _event(TODAY)], []),
        ({"lookback": "7d"}, [_event("2026-03-05T10:00:00Z"), _event(TODAY)], [("P",)]),
        ({"key": ("OperationName", "InitiatedByApp", "TargetResourceName")},
         [_event("2026-03-05T10:00:00Z", resource="other"), _event(TODAY)], [("P",)]),
    ],
)  # fmt: skip
def test_the_engine_follows_the_parameters(
    parameters: dict[str, Any], events: list[dict[str, Any]], found: list[tuple[str, ...]]
) -> None:
    """Every constant of the query that is changed changes what is found."""
    assert _found(changed(**parameters), *events) == found


# Mistakes


def edited(old: str, new: str) -> str:
    """Return the shipped rule's file with one passage changed."""
    text = DEFAULT_RULE.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    return text.replace(old, new)


def mistake(path: Path, content: str | bytes, load: Callable[[Path], object] = load_rule) -> str:
    """Return the one line a wrong file is told as; it begins with the file's name."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(RuleError) as raised:
        load(path)
    told = str(raised.value)
    assert told.startswith(f"{path}: ")
    assert "\n" not in told
    return told.removeprefix(f"{path}: ")


RULE_MISTAKES: Final[dict[str, tuple[str | bytes, str, str]]] = {
    "missing field": (edited("name: Rare Audit activity initiated by App\n", ""), "missing required field `name`", ""),
    "empty field": (edited("name: Rare Audit activity initiated by App\n", "name: ''\n"), "length >= 1", "$.name"),
    "missing parameter": (edited("  lookback: 14d\n", ""), "missing required field `lookback`", "$.parameters"),
    "unknown field": (edited("severity: Medium", "severty: Medium"), "unknown field `severty`", ""),
    "unknown parameter": (edited("  lookback: 14d", "  lookbak: 14d"), "unknown field `lookbak`", "$.parameters"),
    "field that is no text": (edited("severity: Medium", "1: Medium"), "unknown field `1`", ""),
    "wrong type": (
        edited("[Microsoft Azure AD Group-Based Licensing]", "Sync"),
        "`array`",
        "$.parameters.appIgnoreList",
    ),
    "number for text": (edited("lookback: 14d", "lookback: 14"), "[1-9][0-9]?d", "$.parameters.lookback"),
    "lookback in hours": (edited("lookback: 14d", "lookback: 336h"), "[1-9][0-9]?d", "$.parameters.lookback"),
    "no lookback": (edited("lookback: 14d", "lookback: 0d"), "[1-9][0-9]?d", "$.parameters.lookback"),
    "long lookback": (edited("lookback: 14d", "lookback: 100d"), "[1-9][0-9]?d", "$.parameters.lookback"),
    "bad key column": (edited("  key: [OperationName,", "  key: [Operation,"), "'Operation' is none", "$.parameters"),
    "bad variant": (edited("[PropertyName]", "[Property]"), "TargetUserPrincipalName", "$.parameters"),
    "key without app": (edited("OperationName, InitiatedByApp, Init", "OperationName, Init"), "InitiatedByApp", "key"),
    "empty key": (re.sub(r"  key: \[.*\]", "  key: []", DEFAULT_RULE.read_text("utf-8")), "length >= 1", ".key"),
    "bad technique": (edited("  - T1136", "  - T113"), "matching regex '^T", "$.relevantTechniques[0]"),
    "unknown tactic": (edited("- LateralMovement", "- Lateral movement"), "'Lateral movement'", "tactic"),
    "bad severity": (edited("severity: Medium", "severity: medium"), "High|Medium", "$.severity"),
    "bad id": (edited("id: 5c799718", "id: 5C799718"), "[0-9a-f]{8}", "$.id"),
    "bad pair": (edited(", newValue: DirectorySync}", "}"), "missing required field `newValue`", "ignoredPairs[0]"),
    "bad connector": (edited("connectorId: Az", "connector: Az"), "`connector`", "$.requiredDataConnectors[0]"),
    "a last line break in lookback": (edited("lookback: 14d", 'lookback: "14d\\n"'), "[1-9][0-9]?d", ".lookback"),
    "a last line break in an id": (edited(f"id: {RULE.id}", f'id: "{RULE.id}\\n"'), "[0-9a-f]{8}", "$.id"),
    "a last line break in a technique": (edited("- T1136", '- "T1136\\n"'), "regex", "$.relevantTechniques[0]"),
    "unknown placeholder": (edited("starttime - {{lookback}}", "starttime - {{lokback}}"), "{{lokback}}", "query"),
    "not YAML": (edited("severity: Medium", "severity: Medium: high"), "not YAML", "line 19"),
    "a tag": (edited("severity: Medium", "severity: !!python/object:os.system x"), "High|Medium", "$.severity"),
    "control characters": ("name: \x00", "not YAML", "#x0000"),
    "not UTF-8": ("name: é".encode("latin-1"), "not UTF-8", ""),
    "empty file": ("", "Expected `object`, got `null`", ""),
    "a list": ("- 1", "Expected `object`, got `array`", ""),
    "a line break in a field's name": (edited("severity: Medium", '"bad\\nfield": Medium'), "unknown field `bad", ""),
    "no such date": (edited("severity: Medium", "severity: 2026-13-45"), "High|Medium", "$.severity"),
    "no such number": (edited("severity: Medium", "severity: !!int abc"), "High|Medium", "$.severity"),
    "no such boolean": (edited("severity: Medium", "severity: !!bool abc"), "High|Medium", "$.severity"),
    "nested too deep": ("[" * 3_000, "recursion", ""),
    "a value that holds itself": (edited("severity: Medium", "severity: &a [*a]"), "not YAML", "line 19"),
}


@pytest.mark.parametrize("name", RULE_MISTAKES)
def test_a_mistake_in_a_rule_is_one_line(name: str, tmp_path: Path) -> None:
    """It names the file, the field and what was expected."""
    content, expected, place = RULE_MISTAKES[name]
    told = mistake(tmp_path / "rule.yaml", content)
    assert expected in told
    assert place in told


def _exclusion(condition: str, *, name: str = "n", more: str = "") -> str:
    return f"- name: {name}\n  description: d\n  condition: |-\n    {condition}\n{more}"


EXCLUSION_MISTAKES: Final[dict[str, tuple[str, str, str]]] = {
    "no condition": ("- {name: n, description: d}", "missing required field `condition`", "$.exclusions[0]"),
    "unknown field": (_exclusion('X = "1"', more="  enable: false\n"), "unknown field `enable`", "$.exclusions[0]"),
    "wrong type": (
        _exclusion('X = "1"', more="  enabled: 5\n"),
        "Expected `bool`, got `str`",
        "$.exclusions[0].enabled",
    ),
    "no quotes": (_exclusion("OperationName = Add"), 'expected Field = "value"', "$.exclusions[0]"),
    "no field": (_exclusion('= "Add"'), 'expected Field = "value"', "$.exclusions[0]"),
    "another operator": (_exclusion('OperationName != "Add"'), 'expected Field = "value"', "$.exclusions[0]"),
    "and": (_exclusion('X = "1" and Y = "2"'), "expected or", "'and Y"),
    "or without more": (_exclusion('X = "1" or '), "expected", "$.exclusions[0]"),
    "open quote": (_exclusion('X = "1'), 'expected Field = "value"', "$.exclusions[0]"),
    "brackets": (_exclusion('(X = "1")'), 'expected Field = "value"', "$.exclusions[0]"),
    "uncompared column": (_exclusion('Identity = "x"'), "Identity can't be compared", "use one of OperationName"),
    "second wrong": (_exclusion('X = "1"') + _exclusion("Y", name="m"), "'Y'", "$.exclusions[1]"),
    "duplicate names": (_exclusion('X = "1"') * 2, "two are named 'n'", "exclusions"),
    "no list": ("  5", "Expected `array`, got `str`", "$.exclusions"),
}


@pytest.mark.parametrize("name", EXCLUSION_MISTAKES)
def test_a_mistake_in_exclusions_is_one_line(name: str, tmp_path: Path) -> None:
    """It names the file, the exclusion and what was expected."""
    content, expected, place = EXCLUSION_MISTAKES[name]
    told = mistake(tmp_path / "exclusions.yaml", f"exclusions:\n{content}", load_exclusions)
    assert expected in told
    assert place in told


@pytest.mark.parametrize("load", [load_rule, load_exclusions])
def test_a_file_that_cannot_be_read(load: Callable[[Path], object], tmp_path: Path) -> None:
    """A missing file, or a folder in its place."""
    for path, reason in ((tmp_path / "absent.yaml", "No such file"), (tmp_path, "directory")):
        with pytest.raises(RuleError, match=reason) as raised:
            load(path)
        assert str(raised.value).startswith(f"{path}: can't be read: ")
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("load", [load_rule, load_exclusions])
def test_a_file_without_end(load: Callable[[Path], object], tmp_path: Path) -> None:
    """What is larger than any rule is not read to its end, which it may not have."""
    large = tmp_path / "rule.yaml"
    large.write_bytes(b" " * 1_000_001)
    for path in (large, Path("/dev/zero")):
        with pytest.raises(RuleError, match=f"^{path}: is larger than 1,000,000 bytes"):
            load(path)


def test_mappings_and_tables_that_are_not_there(tmp_path: Path) -> None:
    """A mapped column that no finding has, and a table that is not read, are mistakes of the rule."""
    told = mistake(tmp_path / "rule.yaml", edited("columnName: IPCustomEntity", "columnName: Address"))
    assert told.startswith("entityMappings: a finding has no column 'Address'; it has InitiatedByApp, ")
    told = mistake(tmp_path / "rule.yaml", edited("      - AuditLogs\n", "      - SigninLogs\n"))
    assert told == "requiredDataConnectors: 'SigninLogs' is not read; AuditLogs alone is"


def test_a_tagged_timestamp_that_is_none_is_one_line_too(tmp_path: Path) -> None:
    """A mistake like any other."""
    assert "High|Medium" in mistake(tmp_path / "rule.yaml", edited("severity: Medium", "severity: !!timestamp abc"))


# Conditions


@pytest.mark.parametrize(
    ("text", "conditions"),
    [
        ('OperationName = "a"', [("OperationName", "a")]),
        ('OperationName == "a"', [("OperationName", "a")]),
        ('OperationName="a"', [("OperationName", "a")]),
        (' A = "1" or B = "2" OR C="3" ', [("A", "1"), ("B", "2"), ("C", "3")]),
        (r'A = "say \"hi\" \\ or B = "', [("A", r'say "hi" \ or B = ')]),
        ('A = ""', [("A", "")]),
        ('A = "Ä \u2013 "', [("A", "Ä \u2013 ")]),
    ],
)
def test_parse_conditions(text: str, conditions: list[tuple[str, str]]) -> None:
    """As the document words them; a value is exact, its escapes undone."""
    assert parse_conditions(text) == tuple(Condition(*condition) for condition in conditions)


@pytest.mark.parametrize("field", MATCHABLE)
def test_every_matchable_column_can_be_compared(field: str) -> None:
    """And is not told as one that never matches; a field that AuditLogs lacks is."""
    assert Exclusion(name="n", description="d", condition=f'{field} = "x"').unmatchable == ()
    both = Exclusion(name="n", description="d", condition=f'{field} = "x" or Nothing = "y"')
    assert both.unmatchable == ("Nothing",)


@pytest.mark.parametrize("column", MATCHABLE)
def test_a_condition_matches_its_column_exactly(column: str) -> None:
    """Case and all; the target's names as the rule has them, lower-cased."""
    values = {
        "OperationName": "Add",
        "Category": "C",
        "Result": "success",
        "ResourceGroup": "G",
        "InitiatedByApp": "Sync",
        "InitiatedByIpAddress": "10.0.0.1",
        "TargetUserPrincipalName": "ann@x.example",
        "TargetResourceName": "r",
    }
    event = _event(TODAY, resource="R") | {"Category": "C", "Result": "success", "ResourceGroup": "G"}
    event["InitiatedBy"] = {"app": {"displayName": "Sync", "ipAddress": "10.0.0.1"}}
    event["TargetResources"][0]["userPrincipalName"] = "Ann@X.example"
    for value, hidden in ((values[column], True), (values[column].upper() + "!", False), ("", False)):
        only = Exclusion(name="n", description="d", condition=f'{column} = "{value}"')
        detector = Detector(RULE, Windows.single(START, None, RULE.lookback_days), exclusions=[only])
        detector.feed([decode_event(line(event, as_text=False))])
        assert len(conclude(detector, Reading()).findings) == (0 if hidden else 1)


def test_shipped_files_are_where_the_loader_looks() -> None:
    """Both load with no path given, and are checked values."""
    assert load_rule() == load_rule(DEFAULT_RULE) == RULE
    assert isinstance(RULE.parameters, Parameters)
    assert load_exclusions() == load_exclusions(DEFAULT_EXCLUSIONS)
