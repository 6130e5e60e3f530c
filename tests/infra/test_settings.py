"""App settings: what Bicep sets, and what the code knows."""

import re
from typing import Final

from tests.infra.bicep import INFRA, file, properties, text, walk
from tests.project import code, own_settings

PLATFORM: Final = {
    "AzureWebJobsStorage__blobServiceUri": "the host's leases, keys and timers; the job itself has no blob",
    "AzureWebJobsStorage__credential": "the host is to use an identity",
    "APPLICATIONINSIGHTS_CONNECTION_STRING": "where host and worker send telemetry",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING": "they do so by the identity: Application Insights takes no key",
    "PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY": "the worker sets up OpenTelemetry, which alerts go by",
}
"""What the Functions host reads: https://learn.microsoft.com/azure/azure-functions/functions-app-settings."""
ELSEWHERE: Final = {
    "RARE_AUDIT_STORAGE": "an account of one's own for findings is set by hand: this deployment has one account",
}


def _set() -> dict[str, str]:
    """Return the app settings that Bicep sets, each with the expression of its value."""
    found = {}
    for path in (INFRA / "main.bicep", INFRA / "app/job.bicep"):
        for node in walk(file(path).root):
            pair = properties(node) if node.type == "object" else {}
            if pair.keys() == {"name", "value"} and re.fullmatch(r"'\w+'", text(pair["name"])):
                found[text(pair["name"]).strip("'")] = text(pair["value"])
    return found


def _known() -> set[str]:
    """Return the settings that the code names."""
    every = code()
    others = {"LOG_ANALYTICS_WORKSPACE_ID", "SENTINEL_WORKSPACE_RESOURCE_ID", "AZURE_CLIENT_ID"}
    assert all(f'"{name}"' in every for name in others)
    storage = {f"AzureWebJobsStorage__{name}" for name in ("queueServiceUri", "tableServiceUri", "clientId")}
    return own_settings() | others | storage


def test_every_app_setting_is_known() -> None:
    """Bicep sets what the code reads and what the platform reads, and nothing else."""
    assert _set().keys() - _known() - PLATFORM.keys() == set()


def test_every_setting_can_be_deployed() -> None:
    """What the code reads, Bicep sets, but for what is set elsewhere."""
    assert _known() - _set().keys() - ELSEWHERE.keys() == set()
    assert PLATFORM.keys() <= _set().keys()


def test_no_setting_is_fixed_that_is_an_option() -> None:
    """The job's own settings come from parameters: none has a value written down."""
    for name, value in _set().items():
        if name.startswith("RARE_AUDIT"):
            assert not value.startswith("'"), name


def test_no_setting_holds_a_secret() -> None:
    """Neither a key nor a connection string of storage is among them."""
    assert "AzureWebJobsStorage" not in _set()
    assert not [name for name in _set() if re.search(r"key|secret|password", name, re.IGNORECASE)]
