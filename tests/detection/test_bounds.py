"""A finding that is bounded: small, true to the whole one, and it says what is gone."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rare_audit.detection.bounds import MOST_ACTIVITIES, MOST_NAMES, NAME_CAP, VALUE_CAP, bounded, capped
from rare_audit.detection.finding import Activity, Evidence, Finding, LeftOut, TargetResource
from tests.builders import DAY, finding

LONG = "x" * 1_000_000


def _huge(lists: int = 5_000) -> Finding:
    """Return a finding with every list and every text far too long."""
    return finding(
        initiated_by_app=LONG,
        operation_name=LONG,
        target_user_principal_name=LONG,
        initiated_by_ip_address=LONG,
        target_resource_name=LONG,
        host=LONG,
        activities=tuple(Activity(f"P{at}{LONG[:3000]}", LONG[:5000], LONG[:600], LONG[:600]) for at in range(lists)),
        property_names=tuple(f"P{at}{LONG[:3000]}" for at in range(lists)),
        categories=tuple(f"C{at}{LONG[:3000]}" for at in range(lists)),
        app_ids=(LONG,) * 50,
        service_principal_ids=(LONG,) * 50,
        targets=(TargetResource(LONG, LONG, LONG, LONG),) * 50,
        evidence=(Evidence(f"{DAY}T00:00:00.0000000Z", LONG, LONG, LONG, LONG, LONG, LONG),) * 50,
    )


def test_an_ordinary_finding_stays_itself() -> None:
    """Nothing is cut, nothing said, and its JSON has no more than it ever had."""
    whole = finding()
    assert bounded(whole) is whole
    assert b"leftOut" not in msgspec.json.encode(whole)


def test_a_bounded_finding_is_small() -> None:
    """Whatever is in it: three quarters of a million characters."""
    small = bounded(_huge())
    assert len(msgspec.json.encode(small)) < 800_000
    assert (len(small.activities), len(small.property_names)) == (MOST_ACTIVITIES, MOST_NAMES)
    assert (small.left_out.activities, small.left_out.property_names) == (5_000 - MOST_ACTIVITIES, 5_000 - MOST_NAMES)
    assert small.left_out.categories == 5_000 - MOST_NAMES
    assert small.left_out.texts > 500
    assert (small.id, small.events, small.day) == (finding().id, finding().events, DAY)


def test_each_text_says_how_much_is_gone() -> None:
    """A name, and a value."""
    small = bounded(finding(initiated_by_app="x" * 600, activities=(Activity("P", "y" * 2_100, "e", "c"),)))
    assert small.initiated_by_app == f"{'x' * NAME_CAP}… (100 characters more)"
    assert small.activities[0].new_value == f"{'y' * VALUE_CAP}… (100 characters more)"
    assert small.left_out == LeftOut(texts=2)


def test_what_is_cut_already_is_not_cut_again() -> None:
    """Evidence comes with long values cut; they keep saying how long they were."""
    evidence = finding().evidence[0]
    value = capped("z" * 9_000, VALUE_CAP)
    whole = finding(evidence=(msgspec.structs.replace(evidence, new_value=value),))
    assert bounded(whole) is whole


def test_sensitive_names_stay() -> None:
    """A flood of other names, before it in the alphabet and in time, does not push one out."""
    names = (*(f"A{at:04d}" for at in range(300)), "Role.TemplateId")
    small = bounded(finding(property_names=names, activities=tuple(Activity(name, "v", "e", "c") for name in names)))
    assert small.property_names == (*names[: MOST_NAMES - 1], "Role.TemplateId")
    assert [one.property_name for one in small.activities] == [*names[: MOST_ACTIVITIES - 1], "Role.TemplateId"]


@given(st.integers(0, 150), st.integers(0, 3_000))
def test_bounding_twice_is_bounding_once(count: int, length: int) -> None:
    """What is small enough stays as it is."""
    texts = tuple(f"{at}{'v' * length}" for at in range(count))
    whole = finding(property_names=texts, activities=tuple(Activity(text, text, text, text) for text in texts))
    once = bounded(whole)
    assert bounded(once) is once
    assert len(once.property_names) + once.left_out.property_names == count
    assert len(once.activities) + once.left_out.activities == count
