"""A page stays under a megabyte, whatever was found, and says what was cut for that."""

import re
from typing import Any

import msgspec
import pytest

from rare_audit.detection.finding import TargetResource, content_id
from rare_audit.detection.funnel import Funnel
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.report import Delivered
from rare_audit.reporting.report.activity import app_key
from rare_audit.reporting.report.press import MOST_BYTES
from tests.builders import finding, funnel
from tests.reporting.report_world import (
    evidence,
    history,
    numbered,
    of_run,
    page,
    read,
    report,
    run_facts,
    told,
    windows,
)


def _large(characters: str) -> dict[str, Any]:
    name = characters * 3_000
    return {
        "initiated_by_app": name,
        "operation_name": name,
        "target_user_principal_name": name,
        "initiated_by_ip_address": name,
        "target_resource_name": name,
        "property_names": (name,) * 50,
        "categories": (name,) * 50,
        "app_ids": (name,) * 50,
        "service_principal_ids": (name,) * 50,
        "targets": (TargetResource(name, name, name, name),) * 50,
        "evidence": evidence(50, name, name),
        "cut": True,
    }


def test_fifty_thousand_findings() -> None:
    """Under a megabyte, the worst first, and what is missing is counted on the page."""
    findings = [
        told(numbered(n, initiated_by_app=f"<b>app</b> & {n:05}", history=history(n % 50 and 3))) for n in range(50_000)
    ]
    made = page(report(findings))
    assert 500_000 < len(made.html.encode()) < MOST_BYTES
    reader = read(made)
    cut = re.search(r"([\d,]+) of the findings above stand without their evidence\. ([\d,]+) more are not", reader.text)
    assert cut
    bare, unlisted = (int(number.replace(",", "")) for number in cut.groups())
    assert reader.count["h4"] == 50_000 - unlisted
    assert reader.count["details"] == 50_000 - unlisted - bare
    assert reader.text.index("An application never seen before 1,000") < reader.text.index("A known application")
    assert "hunt --format json" in reader.text
    assert "49,940 more applications are not shown" in reader.text


@pytest.mark.parametrize("characters", ["&", "'", "\U0001f600", "\u202e", "\U000e0001", "\u05d0", "<b>"])
def test_the_largest_of_everything(characters: str) -> None:
    """Each text at its longest, in letters that take the most room, in every section at once."""
    large, days = _large(characters), [f"2026-03-{day:02}" for day in range(1, 32)]
    findings = [told(numbered(n, **large | {"initiated_by_app": f"{n} {characters * 3_000}"})) for n in range(300)]
    findings += [msgspec.structs.replace(one, held=False) for one in findings]
    name = characters * 3_000
    many = {f"{n} {name}": n for n in range(500)}
    counts = msgspec.to_builtins(funnel())
    counts["reading"] |= {"unreadable": many, "skipped": many}
    counts["current"] |= {"excluded": many}
    ids = tuple(content_id(f"{n}") for n in range(5_000))
    made = page(
        of_run(
            findings,
            windows=windows("2026-03-01", 31),
            attendance={app_key(one.finding.initiated_by_app): "1" * 45 for one in findings},
            funnel=msgspec.convert(counts, Funnel),
            places=dict.fromkeys(many, name),
            coverage={day: Coverage(0, 14, tuple(days[:14])) for day in days},
            degraded=tuple(days),
            silent=tuple(days),
            notes=(name,) * 500,
            rule_name=name,
            run=run_facts(reason=name, asked_by=name, error=name),
            delivered=Delivered(ids, (), (*ids, *ids[:9]), 50_000, tuple(days)),
            severity=name,
        )
    )
    size = len(made.html.encode())
    assert size < MOST_BYTES
    read(made)


def test_a_giant_finding_keeps_a_glimpse() -> None:
    """Its evidence is cut, not left out, and says so."""
    text = read(page(report([told(finding(evidence=evidence(50, "&" * 2_000)))]))).text
    assert "45 more changes and long values and lists are cut." in text
    whole = read(page(report([told(finding(evidence=evidence(3, "x" * 2_000)))]))).text
    assert "x" * 2_000 in whole
    assert "Not all is shown" not in whole
