"""The page: every section, whatever was found, and nothing that a name could add to it."""

import base64
import hashlib
import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rare_audit.detection.finding import TargetResource
from rare_audit.detection.funnel import Funnel
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.report import Delivered, Fate, Report, Told
from rare_audit.reporting.report.activity import EVERYONE, app_key
from tests.builders import DAY, finding, funnel
from tests.reporting.report_world import (
    HOSTILE,
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
from tests.reporting.test_text import ANY_TEXT, NASTY, assert_safe


def _text(of: Report) -> str:
    return read(page(of)).text


# Sections


def test_a_finding_has_its_sentence_evidence_and_ids() -> None:
    """Old and new values, who acted on what, and all that can be copied."""
    one = told(finding(evidence=evidence(2, '["secret"]')), change="new", incident_id="incident 1", fate=Fate.WRITTEN)
    text = _text(of_run([one]))
    for part in (
        "Backup Agent , known on 3 of 14 days, added credentials to a service principal for the first time: Payroll",
        "A known application, a new kind of operation 1",
        "Changed KeyDescription new in this run incident written",
        'KeyDescription 08:15:30 ["secret"] ["secret"]',
        "on 3 of 14 days, last on 2026-03-01",
        "ServicePrincipal · Payroll · t1",
        "Incident incident 1",
        "Application 11111111-1111-1111-1111-111111111111",
        "Service principal 22222222-2222-2222-2222-222222222222",
        "Event e0 e1",
        "Compared with 14 of 14 days had data",
    ):
        assert part in text


def test_a_result_other_than_success_is_told() -> None:
    """As is an empty value."""
    failed = msgspec.structs.replace(evidence(1, "")[0], result="failure")
    text = _text(report([told(finding(evidence=(failed,)))]))
    assert "KeyDescription 08:15:30 · failure empty empty" in text


def test_the_funnel_adds_up() -> None:
    """Each sum stands beside its parts; the numbers are those of the funnel."""
    text = _text(report([told()]))
    for part in (
        "Events read 9 = 1 + 5 + 3",
        "not by an app 0",
        "By apps, in the days looked at 3 = 1 + 0 + 0 + 2",
        "dropped by the rule 1 no modified properties 1",
        "Rare 2 = 1 + 1",
        "excluded: PIM 1",
        "reported 1 grouped into one finding",
        "one record not read: not JSON",
        "2 records skipped: SignInLogs",
    ):
        assert part in text


def test_a_funnel_that_does_not_add_up_says_so() -> None:
    """Such a one would be a mistake of ours: it is not hidden."""
    wrong = msgspec.structs.replace(funnel(), outside=2)
    assert "but the parts are 2 + 5 + 3 = 10" in _text(report(funnel=wrong))


def test_where_the_first_unread_record_is() -> None:
    """So far as the source knows."""
    assert "one record not read: not JSON, first at a.json, line 3" in _text(
        report(places={"not JSON": "a.json, line 3"})
    )


def test_nothing_found() -> None:
    """A page all the same."""
    text = _text(report())
    assert "Nothing rare." in text
    assert "findings 0 applications 0 never seen before 0" in text
    assert "No application has a finding." in text


def test_a_hunt_tells_of_days_without_activity() -> None:
    """Days of data on which no app did anything are named."""
    text = _text(report([told()], attendance={EVERYONE: "01" + "1" * 13, app_key("Backup Agent"): "1" * 15}))
    assert "did anything that the rule counts on 2026-02-16 ;" in text
    every_day = _text(report([told()], attendance={EVERYONE: "1" * 15}))
    assert "On each of the days before, some application did what the rule counts." in every_day


def test_a_run_tells_its_baseline() -> None:
    """Missing days by name, and what that means."""
    coverage = {
        DAY: Coverage(12, 14, ("2026-02-20", "2026-02-21")),
        "2026-03-03": Coverage(3, 14, ("2026-02-22",)),
        "2026-03-04": Coverage(14, 14),
    }
    late = told(finding(day="2026-03-03"))
    of = of_run([told(), late], windows=windows(days=3), coverage=coverage, degraded=("2026-03-03",))
    text = _text(of)
    assert "2026-03-02 12 of 14 days had data 2026-02-20 , 2026-02-21 gaps" in text
    assert "2026-03-03 3 of 14 days had data 2026-02-22 degraded" in text
    assert "2026-03-04 14 of 14 days had data none whole" in text
    assert "Baseline incomplete. Too few days had data before 2026-03-03" in text
    assert text.count("Baseline incomplete: 3 of 14 days had data.") == 1


def test_silent_days() -> None:
    """No data is no good news."""
    text = _text(of_run(silent=(DAY,), run=run_facts(state="no-data")))
    assert f"No data. AuditLogs has no event at all of {DAY}" in text
    assert "14 of 14 days had data none silent" in text


def test_what_was_delivered() -> None:
    """Incidents written, standing, waiting, of other days too; rows, where findings go to a table."""
    delivered = Delivered(("a", "b", "c"), ("a", "x"), ("c", "y"), 1_234, ("2026-03-01", DAY))
    text = _text(of_run([told(fate=Fate.WAITING)], delivered=delivered))
    assert (
        "incidents of the run's days 3 written by this run 1 written by other runs 1 not delivered yet 2 "
        "of other days, written by this run 1 rows added to the findings table 1,234 Not delivered yet: c , y"
    ) in text
    assert "Not delivered. 2 incidents are still to be delivered" in text
    assert f"Not uploaded. Findings of 2026-03-01, {DAY} are still to come to their table" in text
    assert "row added to the findings table 1" in _text(of_run(delivered=Delivered(uploaded=1)))
    assert "Nothing was delivered." in _text(of_run())
    many = Delivered(waiting=tuple(f"i{n}" for n in range(60)))
    assert "i49 and 10 more" in _text(of_run(delivered=many))
    for none in (report(), of_run(run=run_facts(dry_run=True), delivered=None)):
        assert "elivered" not in _text(none)


def test_withdrawn_findings_are_told_apart() -> None:
    """They are in no count of findings, and no heat."""
    text = _text(of_run([told(held=False), told(numbered(2, initiated_by_app="Other"))]))
    assert "Withdrawn Found once, and no longer" in text
    assert "finding 1 application 1 never seen before 0 event excluded 1 withdrawn 1" in text
    assert text.count("Backup Agent") == 1
    many = _text(of_run([told(numbered(n), held=False) for n in range(80)]))
    assert "30 more are not listed." in many


def test_a_dry_run_a_failed_one_and_one_that_waits() -> None:
    """Each says so before anything else."""
    assert "A dry run. Nothing was kept" in _text(of_run(run=run_facts(dry_run=True), delivered=None))
    assert "The run failed. no room" in _text(of_run(run=run_facts(state="failed", error="no room")))
    waiting = of_run(run=run_facts(state="queued", ended=""), funnel=None, coverage={})
    text = _text(waiting)
    assert "Not finished. The run is queued" in text
    assert "Not known: the run has not got so far." in text
    assert "Events read" not in text


def test_the_runs_own_facts_and_notes() -> None:
    """Who asked, why, when, and what the sink left out."""
    text = _text(of_run(run=run_facts(reason="connector was late"), notes=("bookmarks need a role",)))
    for part in (
        "Reason connector was late",
        "Started 2026-03-03 01:30:00",
        "Run run 1",
        "SignInLogs bookmarks need a role",
    ):
        assert part in text


def test_findings_of_several_days_are_dated() -> None:
    """Of one day they aren't."""
    two = [told(), told(numbered(2, day="2026-03-03"))]
    assert "once at 08:15 on 2026-03-03." in _text(report(two, windows=windows(days=2)))
    assert "once at 08:15." in _text(report(two[:1]))


def test_windows_in_words() -> None:
    """A day, days, bounds, or no end."""
    assert f"{DAY} , held against the 14 days before." in _text(report())
    assert "2026-03-02 to 2026-03-04 , each day held against the 14 days before it" in _text(
        report(windows=windows(days=3))
    )
    one = windows()
    bounds = type(one).single(one.start + 36_000_000_000, one.end, 14)
    assert "2026-03-02 01:00:00 to 2026-03-03 , held" in _text(report(windows=bounds))
    assert "2026-03-02 and later , held" in _text(report(windows=type(one).single(one.start, None, 14)))


# Safety


def test_the_policy_lets_nothing_in() -> None:
    """No script, no request, one style: the one whose hash it has. As a header it forbids frames too."""
    made = page(report([told()]))
    style = re.search("<style>(.*?)</style>", made.html, re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert made.policy == f"{policy}; frame-ancestors 'none'"
    assert policy in made.html.replace("&#39;", "'")
    assert not re.search(r"url\(|@import|@font-face|https?:", style[1])


def _hostile(name: str) -> Told:
    return told(
        finding(
            initiated_by_app=name,
            operation_name=name,
            target_user_principal_name=name,
            initiated_by_ip_address=name,
            target_resource_name=name,
            property_names=(name,),
            host=name,
            categories=(name,),
            app_ids=(name,),
            service_principal_ids=(name,),
            targets=(TargetResource(name, name, name, name),),
            evidence=evidence(1, name, name),
        )
    )


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_hostile_names_add_nothing(name: str) -> None:
    """The page has the very elements that it has with a harmless name, and shows no character that is obeyed."""
    made = {
        one: read(
            page(
                of_run(
                    [_hostile(one), msgspec.structs.replace(_hostile(one), held=False)],
                    run=run_facts(id=one, reason=one, error=one, asked_by=one, state="failed"),
                    rule_name=one,
                    severity=one,
                    notes=(one,),
                    funnel=msgspec.convert(
                        msgspec.to_builtins(funnel()) | {"reading": {"unreadable": {one: 1}, "skipped": {one: 2}}},
                        Funnel,
                    ),
                    places={one: one},
                )
            )
        )
        for one in ("harmless", name)
    }
    assert made[name].count == made["harmless"].count
    assert_safe("".join(made[name].texts).replace("\n", ""))


@given(st.lists(ANY_TEXT | NASTY, min_size=12, max_size=12), st.integers(0, 14), st.booleans())
@settings(max_examples=150)
def test_any_text_is_only_text(texts: list[str], days: int, held: bool) -> None:
    """Whatever stands in a finding, the page parses, and has no element, attribute or link of its own."""
    app, operation, upn, address, resource, name, value, category, app_id, target, result, note = texts
    change = msgspec.structs.replace(evidence(1, value, name)[0], result=result, id=target, correlation_id=app_id)
    one = finding(
        initiated_by_app=app,
        operation_name=operation,
        target_user_principal_name=upn,
        initiated_by_ip_address=address,
        target_resource_name=resource,
        property_names=(name,),
        categories=(category,),
        app_ids=(app_id,),
        targets=(TargetResource(target, category, resource, upn),),
        evidence=(change,),
        history=history(days, days // 2, days // 4),
    )
    made = page(of_run([told(one, held=held)], notes=(note,)))
    assert_safe("".join(read(made).texts).replace("\n", ""))
    assert made.html.encode().decode() == made.html
