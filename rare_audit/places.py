"""Where things lie in Azure: values that check themselves."""

import re
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec

_WORKSPACE: Final = re.compile(
    r"/?subscriptions/(?P<subscription>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"/resourcegroups/(?P<group>[\w.()-]{0,89}[\w()-])"
    r"/providers/microsoft\.operationalinsights/workspaces/(?P<name>[a-z0-9][a-z0-9-]{1,88}[a-z0-9])/?",
    re.IGNORECASE | re.ASCII,
)
"""Names as the SecurityInsights API, 2025-09-01, takes them; groups as ARM's resource-name-rules have them."""

_COLLECTION_RULE: Final = re.compile(r"dcr-[0-9a-f]{32}")


class Workspace(msgspec.Struct, frozen=True):
    """A Log Analytics workspace with Sentinel on it, by its place in Azure Resource Manager."""

    subscription: str
    group: str
    name: str

    @property
    def path(self) -> str:
        """The workspace's resource id, percent-encoded."""
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{quote(self.group)}"
            f"/providers/Microsoft.OperationalInsights/workspaces/{self.name}"
        )


class Ingestion(msgspec.Struct, frozen=True):
    """The way into a workspace's table: where the Logs Ingestion API answers, and a collection rule's immutable id."""

    endpoint: str
    rule_id: str


def parse_collection_rule(text: str) -> str:
    """Read a data collection rule's immutable id, which is no resource id. Raises ValueError for anything else."""
    if not _COLLECTION_RULE.fullmatch(text.strip().lower()):
        raise ValueError("expected a data collection rule's immutable id, dcr-<32 digits>")
    return text.strip().lower()


def parse_workspace(text: str) -> Workspace:
    """Read a workspace's resource id, whatever the case of its letters. Raises ValueError for anything else."""
    found = _WORKSPACE.fullmatch(text.strip())
    if found is None:
        # What it is instead is not told: it may be a secret that was put into the wrong setting.
        path = "resourceGroups/<group>/providers/Microsoft.OperationalInsights/workspaces/<name>"
        raise ValueError(f"expected /subscriptions/<id>/{path}")
    return Workspace(**found.groupdict())


def logs_endpoint(text: str) -> str:
    """Return scheme, host and port of a Log Analytics endpoint; a path `/v1` is taken off, as queries have it already.

    ValueError for any other.
    """
    parts = urlsplit(https_origin(text))
    if parts.path not in {"", "/v1"}:
        raise ValueError("expected https://host, without a path")
    return f"https://{parts.netloc}"


def https_origin(text: str) -> str:
    """Return an endpoint without a slash at its end; ValueError where it is no https://host[:port][/path]."""
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment or parts.username:
        raise ValueError("expected https://host")  # without the text, as above
    return text.rstrip("/")
