"""What the permissions API of Azure Resource Manager tells a caller about itself, for the stand-in for Sentinel.

GET {scope}/providers/Microsoft.Authorization/permissions, 2022-04-01: Azure/azure-rest-api-specs,
specification/authorization. The roles' actions: https://learn.microsoft.com/azure/role-based-access-control/
built-in-roles/security and …/monitor.
"""

from typing import Any, Final

from tests.azure.sentinel_rules import RefusalError, need

VERSION: Final = "2022-04-01"
Permission = dict[str, list[str]]
_SUFFIX: Final = "/providers/microsoft.authorization/permissions"


def permission(*actions: str, no: tuple[str, ...] = ()) -> Permission:
    """Return what one role gives: its actions, without those in `no`."""
    return {"actions": list(actions), "notActions": list(no), "dataActions": [], "notDataActions": []}


SENTINEL_CONTRIBUTOR: Final = permission(
    "Microsoft.SecurityInsights/*",
    "Microsoft.OperationalInsights/workspaces/analytics/query/action",
    "Microsoft.OperationalInsights/workspaces/*/read",
    "Microsoft.OperationalInsights/workspaces/savedSearches/*",
    "Microsoft.OperationsManagement/solutions/read",
    "Microsoft.OperationalInsights/workspaces/query/read",
    "Microsoft.OperationalInsights/workspaces/query/*/read",
    "Microsoft.OperationalInsights/workspaces/dataSources/read",
    "Microsoft.OperationalInsights/querypacks/*/read",
    "Microsoft.Insights/workbooks/*",
    "Microsoft.Insights/myworkbooks/read",
    "Microsoft.Authorization/*/read",
    "Microsoft.Insights/alertRules/*",
    "Microsoft.Resources/deployments/*",
    "Microsoft.Resources/subscriptions/resourceGroups/read",
    "Microsoft.Support/*",
    no=(
        "Microsoft.SecurityInsights/ConfidentialWatchlists/*",
        "Microsoft.OperationalInsights/workspaces/query/ConfidentialWatchlist/*",
    ),
)
LOG_ANALYTICS_READER: Final = permission(
    "*/read",
    "Microsoft.OperationalInsights/workspaces/analytics/query/action",
    "Microsoft.OperationalInsights/workspaces/search/action",
    "Microsoft.Support/*",
    no=("Microsoft.OperationalInsights/workspaces/sharedKeys/read",),
)
CONTRIBUTOR_AND_READER: Final = (SENTINEL_CONTRIBUTOR, LOG_ANALYTICS_READER)


def permissions(
    method: str, path: str, query: dict[str, str], workspace: str, given: tuple[Permission, ...]
) -> dict[str, Any] | None:
    """Answer if the path is the permissions of the workspace or of its resource group; None where it is neither."""
    scopes = (workspace, workspace.partition("/providers/")[0])
    if path.casefold() not in {f"{scope.casefold()}{_SUFFIX}" for scope in scopes}:
        return None
    if method != "GET":
        raise RefusalError(405, "UnsupportedApiVersion", f"does not support HTTP method '{method}'")
    version = query.get("api-version", "")
    need(version, "The api-version query parameter (?api-version=) is required", "MissingApiVersionParameter")
    need(version == VERSION, f"unknown api-version {version}", "InvalidApiVersionParameter")
    return {"value": list(given)}
