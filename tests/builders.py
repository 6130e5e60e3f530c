"""Valid values to start from; each test names only what it is about."""

from typing import Any, Final

import msgspec

from rare_audit.detection.finding import Activity, Evidence, Finding, History, Seen, TargetResource, content_id
from rare_audit.detection.funnel import Baseline, Current, Funnel, Reading
from rare_audit.detection.rows import Drop
from rare_audit.records import Delivery, KeptFinding, Run
from rare_audit.reporting.incident import incident_id

RULE_ID: Final = "6f0c2a6e-7d0b-4f0e-8f55-0d1f7f0c9a11"
DAY: Final = "2026-03-02"
_STAMP: Final = f"{DAY}T08:15:30.1234567Z"


def finding(**overrides: Any) -> Finding:
    """Return a finding of an app that added a credential to a service principal."""
    first = Finding(
        id=content_id("finding"),
        rule_id=RULE_ID,
        variant="published",
        day=DAY,
        initiated_by_app="Backup Agent",
        operation_name="Add service principal credentials",
        target_user_principal_name="",
        initiated_by_ip_address="203.0.113.7",
        target_resource_name="Payroll",
        start_time=_STAMP,
        end_time=_STAMP,
        activities=(Activity("KeyDescription", '["new"]', "e1", "c1"),),
        property_names=("KeyDescription",),
        host="",
        categories=("ApplicationManagement",),
        app_ids=("11111111-1111-1111-1111-111111111111",),
        service_principal_ids=("22222222-2222-2222-2222-222222222222",),
        targets=(TargetResource("t1", "ServicePrincipal", "Payroll", ""),),
        events=1,
        evidence=(Evidence(_STAMP, "e1", "KeyDescription", "[]", '["new"]', "c1", "success"),),
        cut=False,
        history=History(app=Seen(3, "2026-03-01"), app_and_operation=Seen(0, ""), combination=Seen(0, "")),
    )
    return msgspec.structs.replace(first, **overrides)


def kept(of: Finding | None = None, **overrides: Any) -> KeptFinding:
    """Return a finding as a first run keeps it."""
    of = of or finding()
    first = KeptFinding(of, incident_id(of), held=True, first_run="run 1", last_run="run 1")
    return msgspec.structs.replace(first, **overrides)


def run(**overrides: Any) -> Run:
    """Return a run of one day that has just started."""
    first = Run(
        id="run 1",
        rule_id=RULE_ID,
        first_day=DAY,
        last_day=DAY,
        asked_by="timer",
        started="2026-03-03T01:30:00.0000000Z",
    )
    return msgspec.structs.replace(first, **overrides)


def funnel() -> Funnel:
    """Return a funnel with a number in every kind of place."""
    return Funnel(
        reading=Reading(events=9, unreadable={"not JSON": 1}, skipped={"SignInLogs": 2}),
        outside=1,
        baseline=Baseline(events=5, app_initiated=4, combinations=2),
        current=Current(
            events=3,
            app_initiated=3,
            dropped={Drop.NO_PROPERTIES: 1},
            dropped_rows={Drop.NO_VALUE: 2},
            rare=2,
            excluded={"PIM": 1},
            reported=1,
        ),
        findings=1,
    )


def delivery(**overrides: Any) -> Delivery:
    """Return a delivery that is still to be made."""
    first = Delivery(content_id("incident"), RULE_ID, DAY, wanted="digest 1")
    return msgspec.structs.replace(first, **overrides)
