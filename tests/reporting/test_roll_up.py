"""The roll-up: how many incidents a day raises, which ones, and that no app left out goes unnamed without a word."""

import random
from typing import Any, Final

import msgspec
import pytest
from markdown_it import MarkdownIt

from rare_audit.reporting.incident import DESCRIPTION_CAP, TITLE_CAP, Incident, group
from rare_audit.reporting.roll_up import choose
from rare_audit.rules import load_rule
from tests.builders import DAY, finding
from tests.terminal import assert_nothing_obeyed

RULE: Final = load_rule()


def _incident(name: str, *, findings: int = 1, severity: str = "Medium", **overrides: Any) -> Incident:
    those = [
        finding(
            id=f"{name} {number}", service_principal_ids=(f"sp {name}",), **({"initiated_by_app": name} | overrides)
        )
        for number in range(findings)
    ]
    (only,) = group(RULE, those, {})
    return msgspec.structs.replace(only, severity=severity)


def _incidents(count: int) -> list[Incident]:
    return [_incident(f"App {number}", findings=number % 3 + 1) for number in range(count)]


def test_few() -> None:
    """Where all have room there is no roll-up."""
    incidents = _incidents(3)
    for most in (3, 50):
        chosen, roll_up = choose(incidents, most)
        assert sorted(chosen, key=lambda one: one.id) == sorted(incidents, key=lambda one: one.id)
        assert roll_up is None
    assert choose([], 50) == ((), None)


def test_gravest_first() -> None:
    """By severity, then by id."""
    incidents = [
        _incident(name, severity=severity)
        for name, severity in (("a", "Informational"), ("b", "Low"), ("c", "High"), ("d", "Medium"), ("e", "High"))
    ]
    chosen, roll_up = choose(incidents, 3)
    assert [one.severity for one in chosen] == ["High", "High", "Medium"]
    assert chosen[0].id < chosen[1].id
    assert roll_up is not None
    assert roll_up.severity == "Low"


def test_order_does_not_matter() -> None:
    """A rerun that finds the same in another order chooses the same and rolls up the same."""
    incidents = _incidents(20)
    expected = choose(incidents, 7)
    for seed in range(5):
        random.Random(seed).shuffle(incidents)
        assert choose(incidents, 7) == expected


def test_names_all_that_are_left_out() -> None:
    """Each app left out with how many findings it has; those raised are not in it, and nothing gets lost."""
    incidents = _incidents(12)
    chosen, roll_up = choose(incidents, 5)
    assert roll_up is not None
    left_out = [one for one in incidents if one not in chosen]
    lines = [line for line in roll_up.description.splitlines() if line.startswith("- ")]
    assert len(lines) == len(left_out) == 7
    for one in left_out:
        count = len(one.findings)
        (line,) = [line for line in lines if line.startswith(f"- {one.app.name} (")]
        assert line.endswith(": one finding" if count == 1 else f": {count} findings")
    assert "5 were raised" in roll_up.description
    assert {each.id for each in roll_up.findings} == {each.id for one in left_out for each in one.findings}
    assert roll_up.title == f"Rare activity by 7 more apps on {DAY}"


def test_identity() -> None:
    """The roll-up of a rule and day has one id, whoever is in it; labels, rule and technique are the rule's."""
    ids = set()
    for most in range(5):
        _, roll_up = choose(_incidents(6), most)
        assert roll_up is not None
        ids.add(roll_up.id)
        assert (roll_up.rule_id, roll_up.day, roll_up.techniques) == (RULE.id, DAY, RULE.relevant_techniques)
        assert roll_up.labels[-1] == "roll-up"
        assert roll_up.first_activity <= roll_up.last_activity
    assert len(ids) == 1


def test_spans_the_activity() -> None:
    """From the first activity of all left out to the last."""
    early = _incident("early", start_time=f"{DAY}T01:00:00.0000000Z", end_time=f"{DAY}T02:00:00.0000000Z")
    late = _incident("late", start_time=f"{DAY}T21:00:00.0000000Z", end_time=f"{DAY}T22:00:00.0000000Z")
    _, roll_up = choose([late, early], 0)
    assert roll_up is not None
    assert (roll_up.first_activity, roll_up.last_activity) == (early.first_activity, late.last_activity)
    assert [each.initiated_by_app for each in roll_up.findings] == ["early", "late"]


@pytest.mark.parametrize("name", ["App", "[a](https://evil.invalid)" * 4, "é" * 70, "😀" * 70, "\u202e<b>" * 30, " "])
def test_bounded(name: str) -> None:
    """Five hundred apps of any name: it fits, says how many are cut, and the count adds up; nothing is obeyed."""
    incidents = [_incident(f"{number}", initiated_by_app=f"{name} {number}", findings=2) for number in range(500)]
    _, roll_up = choose(incidents, 50)
    assert roll_up is not None
    assert len(roll_up.description.encode("utf-16-le")) // 2 <= DESCRIPTION_CAP
    assert len(roll_up.title) <= TITLE_CAP
    lines = [line for line in roll_up.description.splitlines() if line.startswith("- ")]
    cut = 450 - (len(lines) - 1)
    assert lines[-1] == f"- … and {cut} more apps with {2 * cut} findings (cut to fit)"
    assert_nothing_obeyed(roll_up.description)
    tokens = MarkdownIt("commonmark").enable("table").parse(roll_up.description)
    kinds = {inner.type for token in tokens for inner in (token, *(token.children or ()))}
    assert not kinds & {"link_open", "image", "html_inline", "html_block", "em_open", "code_inline"}
