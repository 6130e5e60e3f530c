"""Everything that may go wrong with what a run meets outside, one thing after the other, and what is left in the end.

    python -m tests.azure.fault_matrix [--whole]

Prints the table: faults tried, survived, lost, doubled. `--whole` kills on the whole sample tenant as well.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tests.azure import log_analytics_faults
from tests.azure.gate import Action, answering, dropping, waiting
from tests.azure.log_analytics_server import Exchange
from tests.azure.small_tenant import DAY, SmallTenant, State
from tests.azure.zygote import Zygote

SERVICES: Final = ("identity", "logs", "arm", "table", "queue")
_PASSING: Final = (408, 429, 500, 502, 503, 504)
_LASTING: Final = (400, 401, 403, 404)
LATE: Final = 0.5
QUICKLY: Final = {"Retry_After": "1"}
AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is left after a fault and the run that heals it, against an undisturbed run: keys lost, keys doubled."""

    fault: str
    lost: tuple[tuple[str, ...], ...]
    doubled: tuple[tuple[str, ...], ...]

    @property
    def survived(self) -> bool:
        """Whether nothing differs."""
        return not self.lost and not self.doubled


def compared(fault: str, expected: State, found: State) -> Outcome:
    """Compare what is left: what is missing or other than expected is lost, what nobody expected is doubled."""
    lost = tuple(key for key, value in expected.items() if found.get(key) != value)
    return Outcome(fault, lost, tuple(key for key in found if key not in expected))


def requests(tenant: SmallTenant) -> tuple[State, int]:
    """Return what an undisturbed run leaves, and how many requests it makes where table and queue are there."""
    for _ in range(2):
        tenant.stack.reset()
        assert tenant.run() == "done: "
    return tenant.state(), tenant.stack.gate.count()


def killed(tenant: SmallTenant, expected: State, number: int) -> Outcome:
    """Kill a run after its n-th request; then its message comes again, or else another run of the days is asked for."""
    tenant.stack.reset()
    tenant.killed_after(number)
    tenant.minutes_pass()
    if number % 2:
        tenant.redelivered()
    if not number % 2 or not any(run["state"] == "done" for run in tenant.runs()):
        assert tenant.run() == "done: "
    return compared(f"killed after request {number}", expected, tenant.state())


def gate_faults() -> Iterator[tuple[str, str, Action, dict[str, object]]]:
    """Yield what a service may do to requests: its name, the fault's, what happens, and to which requests."""
    for service in SERVICES:
        for at in (1, 2):
            yield service, f"no answer at request {at}", dropping, {"at": at}
            yield service, f"done, but no answer at request {at}", dropping, {"at": at, "applied": True}
            yield service, f"late at request {at}", waiting(LATE), {"at": at}
        for status in _PASSING:
            yield service, f"{status} once", answering(status), {"times": 1}
        yield service, "429 with Retry-After", answering(429, **QUICKLY), {"times": 1}
        for status in _LASTING:
            yield service, f"{status} always", answering(status), {}


def misbehaved(
    tenant: SmallTenant, expected: State, service: str, name: str, action: Action, when: dict[str, object]
) -> Outcome:
    """Let a service misbehave during a run, which ends right or says why not; then let another run heal it."""
    tenant.stack.reset()
    gate = tenant.stack.gate
    if "at" in when:
        gate.at(int(str(when["at"])), action, service=service, applied=bool(when.get("applied")))
    else:
        gate.upon(action, service=service, times=1 if when.get("times") else None)
    tenant.zygote.wait(tenant.start())
    gate.forget()
    return _healed(tenant, expected, f"{service}: {name}")


def _healed(tenant: SmallTenant, expected: State, name: str) -> Outcome:
    """Check that what ended told why it failed, if so; then run again and compare."""
    for run in tenant.runs():
        assert (run["state"] == "failed") == bool(run["error"]), f"{name}: {run}"
    if not tenant.runs() or tenant.runs()[0]["state"] != "done":
        tenant.minutes_pass()
        assert tenant.run() == "done: ", name
    return compared(name, expected, tenant.state())


ANSWERS: Final = {
    "a part of the result": log_analytics_faults.partial,
    "half a body": log_analytics_faults.short_body,
    "half the chunks": log_analytics_faults.short_chunks,
    "half the JSON": log_analytics_faults.short_json,
    "204 without a body": log_analytics_faults.empty(204),
    "504 in HTML": log_analytics_faults.html(504),
    "500 in HTML": log_analytics_faults.html(500),
}


def _whole(exchange: Exchange) -> None:
    exchange.send(*exchange.answer())


def cut(tenant: SmallTenant, expected: State, name: str) -> Outcome:
    """Let Log Analytics send less than a whole answer to two of the questions for events, which follow the first."""
    tenant.stack.reset()
    tenant.stack.logs.faults.extend([_whole, ANSWERS[name], ANSWERS[name]])
    tenant.zygote.wait(tenant.start())
    return _healed(tenant, expected, f"logs: {name}")


def at_once(tenant: SmallTenant, expected: State) -> Outcome:
    """Deliver one message eight times at once, then what went back."""
    tenant.stack.reset()
    environment = tenant.stack.environment
    run_id = tenant.zygote.run(environment, "ask", tenant.first_day, DAY)
    processes = [tenant.zygote.start(environment, "take", run_id) for _ in range(AT_ONCE)]
    said = [tenant.zygote.wait(process) for process in processes]
    assert all(status == 0 for status, _ in said), said
    assert tenant.zygote.run(environment, "take", run_id) == "done: "
    (run,) = tenant.runs()
    assert (run["id"], run["state"]) == (run_id, "done")
    return compared("one message eight times at once", expected, tenant.state())


def overtaken(tenant: SmallTenant, expected: State, service: str) -> Outcome:
    """Let a run's lease run out while it waits for a service, and another run do the same days meanwhile."""
    tenant.stack.reset()
    with Zygote() as other:

        def meanwhile(_: object) -> None:
            tenant.minutes_pass()
            assert other.run(tenant.stack.environment, "both", tenant.first_day, DAY) == "done: "

        tenant.stack.gate.at(2, meanwhile, service=service)
        status, said = tenant.zygote.wait(tenant.start())
    assert (status, said) == (0, ""), "it went on without the lease"
    assert sorted(run["state"] for run in tenant.runs()) == ["done", "running"]
    tenant.redelivered()
    assert {run["state"] for run in tenant.runs()} == {"done"}
    return compared(f"lease lost while waiting for {service}", expected, tenant.state())


Case = Callable[[SmallTenant, State], Outcome]


def cases() -> dict[str, Case]:
    """Return every fault but the kills, by a name of its own."""
    found: dict[str, Case] = {}
    for service, name, action, when in gate_faults():
        found[f"{service}: {name}"] = partial(misbehaved, service=service, name=name, action=action, when=when)
    found |= {f"logs: {name}": partial(cut, name=name) for name in ANSWERS}
    found |= {f"lease lost, {service}": partial(overtaken, service=service) for service in ("logs", "arm")}
    return found | {"eight at once": at_once}


def _table(outcomes: Iterable[tuple[str, Outcome]]) -> str:
    tried: Counter[str] = Counter()
    survived: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    doubled: Counter[str] = Counter()
    for kind, outcome in outcomes:
        tried[kind] += 1
        survived[kind] += outcome.survived
        lost[kind] += len(outcome.lost)
        doubled[kind] += len(outcome.doubled)
    head = f"{'fault':<44}{'tried':>8}{'survived':>10}{'lost':>6}{'doubled':>9}"
    lines = [f"{kind:<44}{tried[kind]:>8}{survived[kind]:>10}{lost[kind]:>6}{doubled[kind]:>9}" for kind in tried]
    return "\n".join([head, *lines])


def _tried(tenant: SmallTenant, what: str) -> Iterator[tuple[str, Outcome]]:
    expected, count = requests(tenant)
    for number in range(1, count + 1):
        yield what, killed(tenant, expected, number)


def main() -> None:
    """Try everything, and print the table."""
    parser = argparse.ArgumentParser(prog="fault_matrix")
    parser.add_argument("--whole", action="store_true", help="kill on the whole sample tenant as well")
    whole = parser.parse_args().whole
    outcomes: list[tuple[str, Outcome]] = []
    with tempfile.TemporaryDirectory() as folder:
        with SmallTenant(Path(folder)) as tenant:
            outcomes += _tried(tenant, "killed after each request in turn")
            expected, _ = requests(tenant)
            for name, case in cases().items():
                outcomes.append(
                    (name.partition(":")[0] + " misbehaves" if ":" in name else name, case(tenant, expected))
                )
        if whole:
            with SmallTenant(Path(folder), sample=True) as tenant:
                outcomes += _tried(tenant, "killed, on the whole sample")
    print(_table(outcomes))  # noqa: T201 - its result


if __name__ == "__main__":
    main()
