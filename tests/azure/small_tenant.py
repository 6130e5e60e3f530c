"""A tenant in which two apps did something for the first time on one day, and what is left of a run over it."""

import base64
import json
import os
import re
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from rare_audit.stores.properties import MARK, decode
from tests.azure.gate import killing
from tests.azure.local_stack import SAMPLE, Stack
from tests.azure.zygote import Zygote

DAY: Final = "2026-03-16"
RUN_ID: Final = re.compile(r"\d{8}T\d{6}-[0-9a-f]{12}")
_LASTING: Final = ("findings.", "finding-days", "deliveries", "delivery-days", "pending.")
State = dict[tuple[str, ...], Any]


def rows(apps: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield a person's activity on each of fifteen days, and on the last one what each app (name to value) sets."""
    for day in (f"2026-03-{number:02d}" for number in range(2, 17)):
        yield _row(f"{day}T09:00:00.0000000Z", {"user": {"userPrincipalName": "ann@x.example"}}, "Update user", "[]")
    for number, (app, value) in enumerate(apps.items()):
        initiator = {"app": {"displayName": app, "servicePrincipalId": f"p-{number}", "appId": None}}
        yield _row(f"{DAY}T1{number % 10}:00:00.1234567Z", initiator, "Add owner to application", json.dumps([value]))


def _row(time: str, initiator: Any, operation: str, value: str) -> dict[str, Any]:
    changed = {"displayName": "Application.ObjectID", "oldValue": "[]", "newValue": value}
    target = {"id": "t1", "type": "User", "displayName": None, "userPrincipalName": "bob@x.example"}
    return {
        "TimeGenerated": time,
        "OperationName": operation,
        "Category": "ApplicationManagement",
        "Id": f"Directory_{time}",
        "CorrelationId": "c1",
        "Result": "success",
        "ResourceGroup": "Microsoft.aadiam",
        "InitiatedBy": json.dumps(initiator),
        "TargetResources": json.dumps([target | {"modifiedProperties": [changed]}]),
        "AdditionalDetails": "[]",
        "Type": "AuditLogs",
    }


def written(folder: Path, apps: Mapping[str, str]) -> Path:
    """Write such a tenant as an export."""
    file = folder / "small.ndjson"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows(apps)), encoding="utf-8")
    return file


class SmallTenant:
    """The tenant in a whole Azure of its own, with processes that run over it, while the block runs."""

    def __init__(
        self,
        folder: Path,
        apps: Mapping[str, str] | None = None,
        *,
        sample: bool = False,
        sinks: str = "incidents",
    ) -> None:
        """Prepare; `apps` are by default two. The `sample` is the bundled tenant with two days in its place.

        `sinks` is what RARE_AUDIT_SINKS says.
        """
        export = SAMPLE if sample else written(folder, apps or {"Backup": "secret", "Stranger": "key"})
        self.stack = Stack(export, host=False, settings={"RARE_AUDIT_SINKS": sinks})
        self.first_day = "2026-03-15" if sample else DAY
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            exits.enter_context(self.stack)
            self.zygote = exits.enter_context(Zygote())
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def run(self) -> str:
        """Have the days run by a process that is left alone; return how the run stands."""
        return self.zygote.run(self.stack.environment, "both", self.first_day, DAY)

    def start(self) -> int:
        """Have the days run by a process; return its id."""
        return self.zygote.start(self.stack.environment, "both", self.first_day, DAY)

    def killed_after(self, number: int) -> None:
        """Have the days run by a process that dies once its n-th request was done, before it hears of it."""
        process: list[int] = []
        started = threading.Event()
        self.stack.gate.forget()

        def kill() -> None:
            started.wait()
            os.kill(process[0], signal.SIGKILL)

        self.stack.gate.at(number, killing(kill), applied=True)
        process.append(self.start())
        started.set()
        status, said = self.zygote.wait(process[0])
        assert status < 0, f"request {number}: it lived, and said {said}"
        self.stack.gate.forget()

    def minutes_pass(self) -> None:
        """Let every lease run out."""
        for row in self.stack.rows():
            if row["PartitionKey"] == "leases":
                self.stack.table.delete_entity(row["PartitionKey"], row["RowKey"])

    def redelivered(self) -> None:
        """Have every message taken that waits in the queue, as the host delivers again what nobody finished."""
        for message in self.stack.messages("rare-audit-runs"):
            run_id = json.loads(base64.b64decode(message))["run"]
            self.zygote.run(self.stack.environment, "take", run_id)

    def runs(self) -> list[dict[str, Any]]:
        """Return the runs that are kept, the latest first."""
        return [json.loads(str(values["body"])) for partition, _, values in self._rows() if partition == "runs"]

    def state(self) -> State:
        """Return what must not depend on what went wrong: each row, incident, comment, bookmark, relation by its key.

        Rows of the workspace's table that have one id and one revision are one. Run ids are left out, and so are runs,
        leases, progress, and markers of deliveries that are seen through.
        """
        state: State = {}
        for partition, row, values in self._rows():
            if partition.startswith("pending."):
                continue
            if partition.startswith(_LASTING):
                told = {name: RUN_ID.sub("RUN", one) if isinstance(one, str) else one for name, one in values.items()}
                state["row", partition, row] = told
        for kind, those in self.stack.sentinel.contents().items():
            for name, one in those.items():
                if kind in {"comments", "relations"}:
                    state |= {(kind, name, inner): each for inner, each in one.items()}
                else:
                    state[kind, name] = one
        for uploaded in self.stack.ingestion.rows:
            content = {name: value for name, value in uploaded.items() if name not in {"TimeGenerated", "RunId"}}
            state["table", uploaded["FindingId"], uploaded["Revision"]] = content
        return state

    def _rows(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        for found in self.stack.rows():
            partition, row = found["PartitionKey"], found["RowKey"]
            values = {name: value for name, value in found.items() if name not in {"PartitionKey", "RowKey", MARK}}
            yield partition, row, decode(values)
