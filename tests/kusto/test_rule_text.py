"""The rule's text as the program prints it, checked by Microsoft's own parser."""

from itertools import product
from typing import Final

import msgspec
import pytest

from rare_audit.detection.query import render
from rare_audit.detection.rule import IgnoredPair, Parameters, Rule
from rare_audit.detection.ticks import TICKS_PER_DAY, format_ticks, parse_ticks
from rare_audit.rules import load_rule
from tests.builders import finding
from tests.kusto import kusto
from tests.kusto.kusto import Checked, Column, check

RULE: Final = load_rule()
START: Final = parse_ticks("2026-03-15")
END: Final = START + TICKS_PER_DAY
COLUMNS: Final = {
    "InitiatedByApp": "string",
    "OperationName": "string",
    "TargetUserPrincipalName": "string",
    "InitiatedByIpAddress": "string",
    "TargetResourceName": "string",
    "StartTime": "datetime",
    "EndTime": "datetime",
    "set_Activity": "dynamic",
    "set_PropertyName": "dynamic",
    "timestamp": "datetime",
    "AccountCustomEntity": "string",
    "HostCustomEntity": "string",
    "IPCustomEntity": "string",
}

ATTACKS: Final = (
    '"; drop table AuditLogs; //',
    '"]); AuditLogs | take 1 //',
    "'), TargetResourceName, '') //",
    '" or 1 == 1 or "" == "',
    "two\r\nlines // and no comment",
    "{{key}} {{no such placeholder}}",
    "\\u0022 \\x22 \\42 \\",
    "```~~~@\"h'",
    "\ud800 alone, \U0001f600 and \U000e0001 and \U0010ffff",
)
SHORT: Final = tuple("".join(letters) for size in (1, 2, 3) for letters in product("\"'\\\n\0nux0", repeat=size))
"""All short texts of the letters that could end or bend a literal."""
BLOCKS: Final = tuple(
    "".join(map(chr, range(first, first + 0x100)))
    for first in range(0, 0x10000, 0x100)
    if not 0xD800 <= first < 0xE000  # halves of pairs: a high one would join the low one after it
)
"""Every letter of the Basic Multilingual Plane."""

BROKEN: Final = {
    "no expression": ("AuditLogs | extend Late = ", ""),
    "unknown table": ("SigninLogs | count", "SigninLogs"),
    "unknown column": ("AuditLogs | where Nope == 'x'", "Nope"),
    "unknown function": ("AuditLogs | extend Late = nope(Id)", "nope"),
    "wrong type": ("AuditLogs | where TimeGenerated > 5", ">"),
    "open literal": ('AuditLogs | where Id == "it', ""),
    "the rule, misspelt": (render(RULE, START).replace("CorrelationId)", "CorelationId)"), "CorelationId"),
    "the rule, cut": (render(RULE, START).removesuffix("InitiatedByIpAddress\n"), ""),
}
"""Broken queries, and the text that the parser should point at."""


def _hostile_rule() -> Rule:
    tricky = (*ATTACKS, *SHORT)
    parameters = msgspec.structs.replace(
        RULE.parameters,
        property_ignore_list=(*tricky, *BLOCKS),
        app_ignore_list=tricky[::-1],
        operation_ignore_list=ATTACKS,
        ignored_pairs=tuple(IgnoredPair(property_name=text, new_value=text[::-1]) for text in ATTACKS),
        host_properties=tricky,  # these stand between single quotes
    )
    return msgspec.structs.replace(RULE, parameters=parameters)


SHIPPED: Final = {
    "open": render(RULE, START),
    "bounded": render(RULE, START, END),
    "open by property": render(RULE, START, by_property=True),
    "bounded by property": render(RULE, START, END, by_property=True),
}
HOSTILE: Final = _hostile_rule()
QUERIES: Final = {
    **SHIPPED,
    **{name: query for name, (query, _) in BROKEN.items()},
    "hostile": render(HOSTILE, START, END, by_property=True),
    "unescaped": 'AuditLogs | where Id == "a" or Id == "b"',
}


@pytest.fixture(scope="module")
def checked() -> dict[str, Checked]:
    """What the parser made of each query, in one run."""
    return dict(zip(QUERIES, check(list(QUERIES.values())), strict=True))


def _columns() -> tuple[Column, ...]:
    return tuple(Column(*item) for item in COLUMNS.items())


def _literals(parameters: Parameters, *times: str) -> tuple[str, ...]:
    """Return the string literals that the rule's text should hold, in order."""
    pairs = [text for pair in parameters.ignored_pairs for text in (pair.property_name, pair.new_value)]
    ignored = [*pairs, *parameters.operation_ignore_list]
    lists = [*parameters.property_ignore_list, *parameters.app_ignore_list]
    bag = ["PropertyName", "newValue", "Id", "CorrelationId"]
    return (*times, *lists, *ignored, *ignored, *bag, *parameters.host_properties, "")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_rule(checked: dict[str, Checked], name: str) -> None:
    """The shipped rule's text passes without a remark and yields the 13 columns, whatever its window and variant."""
    assert checked[name].diagnostics == ()
    assert checked[name].columns == _columns()


def test_shipped_literals(checked: dict[str, Checked]) -> None:
    """The parser sees the window's times and every constant of the rule file in the text."""
    assert checked["bounded"].literals == _literals(RULE.parameters, format_ticks(START), format_ticks(END))


def test_findings_have_the_columns_of_the_query() -> None:
    """A finding's row has the columns that the parser finds in the query's result, in their order."""
    assert list(finding().row()) == list(COLUMNS)


def test_hostile_parameters(checked: dict[str, Checked]) -> None:
    """No parameter can end its literal, whatever it holds: the text passes and the parser reads each one unchanged."""
    expected = _literals(HOSTILE.parameters, format_ticks(START), format_ticks(END))
    seen = checked["hostile"]
    assert seen.diagnostics == ()
    assert seen.columns == _columns()
    assert len(seen.literals) == len(expected)
    assert [pair for pair in zip(seen.literals, expected, strict=True) if pair[0] != pair[1]][:3] == []


def test_unescaped_text_is_seen(checked: dict[str, Checked]) -> None:
    """A text put into a query without escapes shows in the literals, even where the query is still a valid one."""
    assert checked["unescaped"].diagnostics == ()
    assert checked["unescaped"].literals == ("a", "b")


@pytest.mark.parametrize("name", BROKEN)
def test_broken_query(checked: dict[str, Checked], name: str) -> None:
    """The check can fail: it points at what is wrong with a query."""
    diagnostics = checked[name].diagnostics
    assert [each.text for each in diagnostics if each.severity == "Error"][:1] == [BROKEN[name][1]]


def test_missing_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without node the check fails with what to do; it is not skipped."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pytest.fail.Exception, match=r"^node is missing: .*\./scripts/test$"):
        check(["AuditLogs"])


def test_missing_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the parser the check fails with the command that installs it; it is not skipped."""
    monkeypatch.setattr(kusto, "PACKAGE", "@kusto/none")
    with pytest.raises(pytest.fail.Exception, match=r"run npm ci --prefix tests/kusto, or \./scripts/test$"):
        check(["AuditLogs"])
