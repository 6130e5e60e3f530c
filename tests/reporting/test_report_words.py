"""A finding in one sentence."""

from typing import Any

import pytest

from rare_audit.detection.finding import TargetResource
from rare_audit.reporting.report.words import sentence
from tests.builders import finding
from tests.reporting.report_world import HOSTILE, history


def _said(*, dated: bool = False, **overrides: Any) -> str:
    return "".join(piece.text for piece in sentence(finding(**overrides), 14, dated=dated))


def test_a_known_app_in_a_new_operation() -> None:
    """Who, how familiar, did what for the first time, to what, from where, how often and when."""
    assert _said(
        initiated_by_app="Windlass Automation",
        operation_name="Add owner to application",
        target_resource_name="payroll api",
        targets=(TargetResource("t1", "Application", "Payroll API", ""),),
        history=history(14),
        events=3,
        end_time="2026-03-02T09:10:00.0000000Z",
    ) == (
        "Windlass Automation, known on 14 of 14 days, added an owner to an application for the first time: "
        "Payroll API, from 203.0.113.7, 3 times from 08:15 to 09:10."
    )


def test_an_app_never_seen() -> None:
    """It need not be said that it is the first time."""
    assert _said(history=history(), dated=True) == (
        "Backup Agent, never seen in the 14 days before, added credentials to a service principal: Payroll, "
        "from 203.0.113.7, once at 08:15 on 2026-03-02."
    )


@pytest.mark.parametrize(
    ("address", "user", "so"),
    [
        ("10.0.0.1", "ann@x.example", "from this address for this user: ann@x.example, from 10.0.0.1"),
        ("10.0.0.1", "", "from this address: Payroll, from 10.0.0.1"),
        ("", "ann@x.example", "for this user: ann@x.example"),
        ("", "", "without an address and a user: Payroll"),
    ],
)
def test_a_new_combination(address: str, user: str, so: str) -> None:
    """The key holds the address and the user: one of them is new."""
    said = _said(
        history=history(14, 1), initiated_by_ip_address=address, target_user_principal_name=user, events=2
    )  # fmt: skip
    assert said == (
        "Backup Agent, known on 14 of 14 days, added credentials to a service principal, as on one day before, "
        f"though never {so}, 2 times at 08:15."
    )


def test_a_new_property() -> None:
    """Of the by-property variant."""
    assert _said(history=history(14, 9, 2), property_names=("Role.Name", "Owner")).endswith(
        "as on 2 days before, though never this of it: Role.Name, Owner; Payroll, from 203.0.113.7, once at 08:15."
    )


def test_what_is_not_there() -> None:
    """A blank name, no operation, no target, no address: still a sentence."""
    empty: dict[str, Any] = {
        "target_resource_name": "",
        "targets": (),
        "initiated_by_ip_address": "",
        "operation_name": "",
    }
    assert _said(initiated_by_app=" ", **empty) == (
        "An application without a name, known on 3 of 14 days, did something that has no name for the first time, "
        "once at 08:15."
    )


def test_an_operation_of_another_kind_is_quoted() -> None:
    """Entra has more of them than anybody lists; a blank at the end is Entra's, and of no matter."""
    assert "did “Rotate the moon” for the first time" in _said(operation_name="Rotate the moon ")
    assert "changed an application's certificates and secrets" in _said(
        operation_name="Update application – Certificates and secrets management "
    )


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_names_stay_names(name: str) -> None:
    """Each stands in a piece of its own, visible and short."""
    pieces = sentence(finding(initiated_by_app=name, operation_name=name, target_user_principal_name=name), 14)
    assert len([piece for piece in pieces if piece.name]) == 4
    for piece in pieces:
        assert len(piece.text) <= 120 or not piece.name
        assert piece.text.isprintable()
