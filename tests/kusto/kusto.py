"""Microsoft's own KQL parser, run by node: it checks a query's text against a table's names and types.

It is no Kusto: it runs nothing. One node process serves all queries of a call; nearly all of its two seconds are spent
on loading the parser, so ask for many queries at once.
"""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pytest

HERE: Final = Path(__file__).parent
PACKAGE: Final = "@kusto/language-service-next"

AUDIT_LOGS: Final = (
    "(AADOperationType: string, AADTenantId: string, ActivityDateTime: datetime, ActivityDisplayName: string, "
    "AdditionalDetails: dynamic, _BilledSize: real, Category: string, CorrelationId: string, DurationMs: long, "
    "Id: string, Identity: string, InitiatedBy: dynamic, _IsBillable: string, Level: string, Location: string, "
    "LoggedByService: string, OperationName: string, OperationVersion: string, Resource: string, "
    "ResourceGroup: string, ResourceId: string, ResourceProvider: string, Result: string, ResultDescription: string, "
    "ResultReason: string, ResultSignature: string, ResultType: string, SourceSystem: string, "
    "TargetResources: dynamic, TenantId: string, TimeGenerated: datetime, Type: string)"
)
"""The table's schema: https://learn.microsoft.com/azure/azure-monitor/reference/tables/auditlogs as of 2026-07-27.

TenantId is not on that page, but in every export.
"""
TABLES: Final = {"AuditLogs": AUDIT_LOGS}


class Diagnostic(msgspec.Struct, frozen=True):
    """What the parser has against a query; `start` counts UTF-16 units, `text` is the part it is about."""

    severity: str
    code: str
    message: str
    start: int
    text: str


class Column(msgspec.Struct, frozen=True):
    """A column of a query's result."""

    name: str
    type: str


class Checked(msgspec.Struct, frozen=True):
    """What the parser made of a query; `literals` are the values of its string literals, in order."""

    diagnostics: tuple[Diagnostic, ...]
    columns: tuple[Column, ...]
    literals: tuple[str, ...]


def check(queries: Sequence[str], *, tables: Mapping[str, str] = TABLES) -> list[Checked]:
    """Check queries against tables, each a name and its schema; fail the test where node or the parser is missing."""
    request = {
        "tables": [{"name": name, "schema": schema} for name, schema in tables.items()],
        "queries": list(queries),
    }
    command = [_node(), str(HERE / "check.js")]
    done = subprocess.run(command, input=json.dumps(request).encode(), capture_output=True, timeout=120, check=False)
    if done.returncode:
        pytest.fail(f"check.js failed:\n{done.stderr.decode(errors='replace')}", pytrace=False)
    return msgspec.convert(json.loads(done.stdout), list[Checked])


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        pytest.fail("node is missing: install Node 18 or later, then run ./scripts/test", pytrace=False)
    if not (HERE / "node_modules" / PACKAGE).is_dir():
        pytest.fail(f"{PACKAGE} is missing: run npm ci --prefix tests/kusto, or ./scripts/test", pytrace=False)
    return node
