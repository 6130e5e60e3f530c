"""The tables that our queries outside the rule read, for Microsoft's parser, and how to ask it."""

import json
from functools import lru_cache
from typing import Final

from tests.infra.bicep import INFRA
from tests.kusto.kusto import Checked, check

COLUMNS: Final[list[dict[str, str]]] = json.loads((INFRA / "findings-columns.json").read_text(encoding="utf-8"))
_LIST: Final = ", ".join(f"{each['name']}: {each['type']}" for each in COLUMNS)
_TELEMETRY: Final = (
    "timestamp: datetime, customDimensions: dynamic, customMeasurements: dynamic, operation_Name: string, "
    "operation_Id: string, cloud_RoleName: string, cloud_RoleInstance: string, itemType: string, itemCount: int"
)
TABLES: Final = {
    "traces": f"({_TELEMETRY}, message: string, severityLevel: int)",
    "requests": f"({_TELEMETRY}, id: string, name: string, success: bool, resultCode: string, duration: real)",
    "customMetrics": (
        f"({_TELEMETRY}, name: string, value: real, valueCount: int, valueSum: real, valueMin: real, valueMax: real, "
        "valueStdDev: real)"
    ),
    "SecurityIncident": (
        "(TenantId: string, TimeGenerated: datetime, IncidentName: string, Title: string, Description: string, "
        "Severity: string, Status: string, Classification: string, ClassificationComment: string, "
        "ClassificationReason: string, Owner: dynamic, FirstActivityTime: datetime, LastActivityTime: datetime, "
        "FirstModifiedTime: datetime, LastModifiedTime: datetime, CreatedTime: datetime, ClosedTime: datetime, "
        "Labels: dynamic, AlertIds: dynamic, BookmarkIds: dynamic, Comments: dynamic, Tasks: dynamic, "
        "AdditionalData: dynamic, ModifiedBy: string, IncidentNumber: int, IncidentUrl: string, "
        "ProviderName: string, ProviderIncidentId: string, RelatedAnalyticRuleIds: dynamic, SourceSystem: string, "
        "Type: string)"
    ),
    "RareAuditFindings_CL": f"(TenantId: string, {_LIST}, Type: string)",
}
"""https://learn.microsoft.com/azure/azure-monitor/app/data-model-complete and .../reference/tables/securityincident."""


@lru_cache
def _answers() -> dict[str, Checked]:
    """Return what the parser makes of every query in infra/: it takes two seconds to load, whatever it is asked."""
    files = [path.read_text(encoding="utf-8") for path in sorted(INFRA.rglob("*.kql"))]
    items = json.loads((INFRA / "workbook.json").read_text(encoding="utf-8"))["items"]
    queries = [*files, *(item["content"]["query"] for item in items if item["type"] == 3)]
    return dict(zip(queries, check(queries, tables=TABLES), strict=True))


def checked(query: str) -> Checked:
    """Return what Microsoft's parser makes of a query of infra/; fail where it has anything against it."""
    answer = _answers()[query]
    assert not answer.diagnostics, (query, answer.diagnostics)
    return answer
