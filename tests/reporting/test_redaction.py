"""Values are hidden, and nothing else of a finding changes."""

import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rare_audit.detection.finding import Activity, Evidence
from rare_audit.reporting.incident import incident_id
from rare_audit.reporting.redaction import without_values
from tests.builders import finding

_HASH = re.compile("sha256:[0-9a-f]{16}")
_ANY_TEXT = st.text(st.characters(exclude_categories=()), min_size=1)


def test_values_are_hashes() -> None:
    """Old and new values, in evidence and in activities, are hashes; equal values have equal ones."""
    (evidence,), (activity,) = (hidden := without_values(finding(), "tenant")).evidence, hidden.activities
    assert _HASH.fullmatch(evidence.new_value)
    assert _HASH.fullmatch(evidence.old_value)
    assert evidence.old_value != evidence.new_value
    assert activity.new_value == evidence.new_value


def test_published_hash() -> None:
    """The hash is what it was in the releases before: a day run again must compare equal."""
    assert without_values(finding(), "tenant").activities[0].new_value == "sha256:c7c08c72b0359435"


def test_all_else_stays() -> None:
    """With the values put back, it is the finding it was; its incident is the same."""
    plain = finding()
    hidden = without_values(plain, "tenant")
    assert incident_id(hidden) == incident_id(plain)
    assert msgspec.structs.replace(hidden, evidence=plain.evidence, activities=plain.activities) == plain
    assert hidden.evidence[0].property_name == "KeyDescription"
    assert hidden.activities[0].correlation_id == "c1"


@given(_ANY_TEXT, _ANY_TEXT, st.text())
def test_no_value_is_left(old: str, new: str, salt: str) -> None:
    """Whatever a value was, only its hash is left, and other values have other hashes."""
    evidence = Evidence("", "e1", "p", old, new, "", "")
    hidden = without_values(finding(evidence=(evidence,), activities=(Activity("p", new, "e1", "c1"),)), salt)
    shown = [hidden.evidence[0].old_value, hidden.evidence[0].new_value, hidden.activities[0].new_value]
    assert all(_HASH.fullmatch(value) for value in shown)
    assert (shown[0] == shown[1]) == (old == new)


def test_salts_keep_tenants_apart() -> None:
    """The same value has the same hash in one tenant, again and again, and another one in another."""
    assert without_values(finding(), "one") == without_values(finding(), "one")
    assert without_values(finding(), "one").evidence != without_values(finding(), "other").evidence


def test_empty_stays_empty() -> None:
    """That there was no value is told."""
    evidence = Evidence("", "e1", "p", "", "", "", "")
    assert without_values(finding(evidence=(evidence,)), "tenant").evidence == (evidence,)
