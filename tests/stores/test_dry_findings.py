"""What dry runs found, on every backend."""

import msgspec

from rare_audit.detection.finding import content_id
from rare_audit.ports import Table
from rare_audit.stores.dry_findings import DryFindings
from rare_audit.stores.findings import Findings
from rare_audit.stores.retention import sweep
from tests.builders import DAY, RULE_ID, finding, kept, run
from tests.fakes import FailingTable, Killed, MemoryTable

_FOUND = [kept(finding(id=content_id(name))) for name in ("one", "two", "three")]
_RUN = run(dry_run=True)


def test_kept_apart(table: Table) -> None:
    """They are found by their run alone; findings that count know nothing of them; twice is once."""
    for _ in range(2):
        DryFindings(table).keep(_RUN, _FOUND)
    assert sorted(one.finding.id for one in _FOUND) == [one.finding.id for one in DryFindings(table).of_run(_RUN.id)]
    assert DryFindings(table).of_run("another") == ()
    assert Findings(table).of_day(RULE_ID, DAY) == ()


def test_expire_by_the_day_of_the_run(table: Table) -> None:
    """They go before all else does, and only once their run is old enough."""
    DryFindings(table).keep(_RUN, _FOUND)
    later = msgspec.structs.replace(_RUN, id="later", started="2026-03-04T00:00:00Z")
    DryFindings(table).keep(later, _FOUND)
    Findings(table).keep(_FOUND)
    sweep(table, "2026-01-01", "2026-03-03")
    assert len(DryFindings(table).of_run(_RUN.id)) == 3
    sweep(table, "2026-01-01", "2026-03-04")
    assert (DryFindings(table).of_run(_RUN.id), len(DryFindings(table).of_run("later"))) == ((), 3)
    assert len(Findings(table).of_day(RULE_ID, DAY)) == 3


def test_killed_at_any_call() -> None:
    """Whatever was written before the process died can be found by retention, and goes."""
    for call in range(1, 5):
        table = MemoryTable()
        try:
            DryFindings(FailingTable(table, call)).keep(_RUN, _FOUND)
        except Killed:
            sweep(table, "2026-06-01", "2026-06-01")
            assert table.contents() == {}
        else:
            raise AssertionError(call)
