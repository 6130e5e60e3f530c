"""The environment's settings: what they give, and all that is wrong with them at once."""

from pathlib import Path
from typing import Any, Final

import pytest

from rare_audit.errors import SettingsError
from rare_audit.places import Ingestion, Workspace
from rare_audit.rules import DEFAULT_EXCLUSIONS, DEFAULT_RULE
from rare_audit.settings import read_settings

GUID: Final = "5f0d7b1e-3d5c-4b8e-9a53-2f6a1c0e7d42"
RESOURCE: Final = (
    f"/subscriptions/{GUID}/resourceGroups/soc/providers/Microsoft.OperationalInsights/workspaces/soc-logs"
)
KEY: Final = "DefaultEndpointsProtocol=https;AccountName=a;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net"
LEAST: Final = {
    "AzureWebJobsStorage": KEY,
    "LOG_ANALYTICS_WORKSPACE_ID": GUID,
    "SENTINEL_WORKSPACE_RESOURCE_ID": RESOURCE,
}
RULE_ID: Final = f"dcr-{'0a' * 16}"
TABLE: Final = {
    "RARE_AUDIT_SINKS": "table",
    "RARE_AUDIT_INGESTION_ENDPOINT": "https://soc-abcd.westeurope-1.ingest.monitor.azure.com/",
    "RARE_AUDIT_INGESTION_RULE_ID": RULE_ID,
}
BY_IDENTITY: Final = {
    "AzureWebJobsStorage__queueServiceUri": "https://a.queue.core.windows.net/",
    "AzureWebJobsStorage__tableServiceUri": "https://a.table.core.windows.net",
    "AzureWebJobsStorage__credential": "managedidentity",
    "AzureWebJobsStorage__clientId": "client",
}
_OTHERS: Final = (
    "RARE_AUDIT_STORAGE RARE_AUDIT_LOGS_ENDPOINT RARE_AUDIT_ARM_ENDPOINT AZURE_CLIENT_ID RARE_AUDIT_RULE "
    "RARE_AUDIT_EXCLUSIONS RARE_AUDIT_MIN_DAYS RARE_AUDIT_CATCH_UP_DAYS RARE_AUDIT_LATE_DAYS RARE_AUDIT_MAX_INCIDENTS "
    "RARE_AUDIT_RETENTION_DAYS RARE_AUDIT_BOOKMARKS RARE_AUDIT_STORE_VALUES RARE_AUDIT_INCIDENTS RARE_AUDIT_SINKS "
    "RARE_AUDIT_INGESTION_ENDPOINT RARE_AUDIT_INGESTION_RULE_ID"
).split()


def _errors(environment: dict[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        read_settings(environment)
    return str(raised.value).split("; ")


def test_least() -> None:
    """Three settings are enough; all else has a default."""
    settings = read_settings({**LEAST, "PATH": "/"})
    assert settings.workspace_id == GUID
    assert settings.sentinel == Workspace(GUID, "soc", "soc-logs")
    assert settings.tables is settings.queues
    assert settings.queues.connection_string.reveal() == KEY
    assert (settings.rule, settings.exclusions) == (DEFAULT_RULE, DEFAULT_EXCLUSIONS)
    assert (settings.min_days, settings.catch_up_days, settings.late_days) == (7, 14, 2)
    assert (settings.max_incidents, settings.retention_days) == (50, 180)
    assert (settings.bookmarks, settings.store_values) == (True, True)
    assert (settings.logs_endpoint, settings.arm_endpoint, settings.client_id) == ("", "", "")


def test_all(tmp_path: Path) -> None:
    """Every setting is read."""
    rule, exclusions = tmp_path / "rule.yaml", tmp_path / "exclusions.yaml"
    rule.touch()
    exclusions.touch()
    settings = read_settings({
        **LEAST,
        "RARE_AUDIT_STORAGE": "own",
        "RARE_AUDIT_LOGS_ENDPOINT": "https://api.loganalytics.us/",
        "RARE_AUDIT_ARM_ENDPOINT": "https://management.usgovcloudapi.net",
        "AZURE_CLIENT_ID": "mine",
        "RARE_AUDIT_RULE": str(rule),
        "RARE_AUDIT_EXCLUSIONS": str(exclusions),
        "RARE_AUDIT_MIN_DAYS": "3",
        "RARE_AUDIT_CATCH_UP_DAYS": "31",
        "RARE_AUDIT_LATE_DAYS": "0",
        "RARE_AUDIT_MAX_INCIDENTS": "5",
        "RARE_AUDIT_RETENTION_DAYS": "365",
        "RARE_AUDIT_BOOKMARKS": "False",
        "RARE_AUDIT_STORE_VALUES": "false",
    })  # fmt: skip
    assert (settings.tables.connection_string.reveal(), settings.queues.connection_string.reveal()) == ("own", KEY)
    assert settings.logs_endpoint == "https://api.loganalytics.us"
    assert settings.arm_endpoint == "https://management.usgovcloudapi.net"
    assert (settings.client_id, settings.rule, settings.exclusions) == ("mine", rule, exclusions)
    assert (settings.min_days, settings.catch_up_days, settings.late_days) == (3, 31, 0)
    assert (settings.max_incidents, settings.retention_days) == (5, 365)
    assert (settings.bookmarks, settings.store_values) == (False, False)


def test_empty_is_unset() -> None:
    """A setting that is there but empty, as a portal leaves it, is one that is not there."""
    empty, least = read_settings(dict.fromkeys(_OTHERS, " ") | LEAST), read_settings(LEAST)
    for name in ("rule", "tables", "min_days", "bookmarks", "sentinel", "client_id", "arm_endpoint"):
        assert repr(getattr(empty, name)) == repr(getattr(least, name))
    assert _errors(dict.fromkeys((*_OTHERS, *LEAST), "")) == _errors({})


def test_by_identity() -> None:
    """Service URIs stand for an account without a key; its identity may be named with it."""
    settings = read_settings({**BY_IDENTITY, **{name: LEAST[name] for name in LEAST if name != "AzureWebJobsStorage"}})
    assert not settings.tables.connection_string
    assert settings.tables.table_url == "https://a.table.core.windows.net"
    assert settings.queues.queue_url == "https://a.queue.core.windows.net"
    assert settings.client_id == "client"


def test_by_account_name() -> None:
    """An account's name stands for its public endpoints."""
    settings = read_settings({**LEAST, "AzureWebJobsStorage": "", "AzureWebJobsStorage__accountName": "acme"})
    assert settings.tables.table_url == "https://acme.table.core.windows.net"
    assert settings.queues.queue_url == "https://acme.queue.core.windows.net"


def test_account_of_its_own_by_identity() -> None:
    """Findings may lie in another account, of which no queue is needed."""
    settings = read_settings({**LEAST, "RARE_AUDIT_STORAGE__tableServiceUri": "https://own.table.core.windows.net"})
    assert settings.tables.table_url == "https://own.table.core.windows.net"
    assert settings.queues.connection_string.reveal() == KEY


def test_emulator() -> None:
    """The emulator's short form is spelt out, which the clients don't do."""
    settings = read_settings({**LEAST, "AzureWebJobsStorage": "UseDevelopmentStorage=true"})
    assert "TableEndpoint=http://127.0.0.1:10002/devstoreaccount1" in settings.tables.connection_string.reveal()


def test_observing_needs_no_sentinel() -> None:
    """Who only observes need not say where incidents would go."""
    environment = {**LEAST, "RARE_AUDIT_INCIDENTS": "observe"}
    assert read_settings(environment).sentinel is None
    del environment["SENTINEL_WORKSPACE_RESOURCE_ID"]
    assert read_settings(environment).sentinel is None


@pytest.mark.parametrize(
    ("sinks", "incidents", "table"),
    [
        ("", True, False),
        ("incidents", True, False),
        ("table", False, True),
        ("incidents,table", True, True),
        (" Table , INCIDENTS ", True, True),
        ("table,table", False, True),
    ],
)
def test_sinks(sinks: str, incidents: bool, table: bool) -> None:
    """Either or both, in any order; what one does not need is not asked for."""
    needed = {"AzureWebJobsStorage": KEY, "LOG_ANALYTICS_WORKSPACE_ID": GUID}
    needed |= {"SENTINEL_WORKSPACE_RESOURCE_ID": RESOURCE} if incidents else {}
    needed |= TABLE if table else {}
    settings = read_settings({**needed, "RARE_AUDIT_SINKS": sinks})
    assert settings.sentinel == (Workspace(GUID, "soc", "soc-logs") if incidents else None)
    endpoint = TABLE["RARE_AUDIT_INGESTION_ENDPOINT"].rstrip("/")
    assert settings.ingestion == (Ingestion(endpoint, RULE_ID) if table else None)


def test_observing_leaves_the_table() -> None:
    """No incident is raised; rows still go to a table that is asked for."""
    observing = {**LEAST, **TABLE, "RARE_AUDIT_SINKS": "incidents,table", "RARE_AUDIT_INCIDENTS": "observe"}
    settings = read_settings(observing)
    assert (settings.sentinel, settings.ingestion is not None) == (None, True)


def test_table_without_a_place() -> None:
    """Both settings that the table needs are named at once, with the way to do without."""
    told = _errors({**LEAST, "RARE_AUDIT_SINKS": "incidents,table"})
    assert [line.partition(" ")[0] for line in told if " is not set" in line] == [
        "RARE_AUDIT_INGESTION_ENDPOINT",
        "RARE_AUDIT_INGESTION_RULE_ID",
    ]
    assert told.count("or leave table out of RARE_AUDIT_SINKS") == 2


def test_everything_missing() -> None:
    """Each setting that is missing is named, with what was expected."""
    told = _errors({})
    assert [line.partition(" ")[0] for line in told if " is not set" in line] == [
        "AzureWebJobsStorage",
        "LOG_ANALYTICS_WORKSPACE_ID",
        "SENTINEL_WORKSPACE_RESOURCE_ID",
    ]


WRONG: Final[list[tuple[str, str]]] = [
    ("LOG_ANALYTICS_WORKSPACE_ID", "soc-logs"),
    ("SENTINEL_WORKSPACE_RESOURCE_ID", "soc-logs"),
    ("RARE_AUDIT_LOGS_ENDPOINT", "http://api.loganalytics.io"),
    ("RARE_AUDIT_ARM_ENDPOINT", "management.azure.com"),
    ("RARE_AUDIT_RULE", "no-rule"),
    ("RARE_AUDIT_EXCLUSIONS", "/"),
    ("RARE_AUDIT_MIN_DAYS", "-1"),
    ("RARE_AUDIT_CATCH_UP_DAYS", "32"),
    ("RARE_AUDIT_LATE_DAYS", "two"),
    ("RARE_AUDIT_MAX_INCIDENTS", "0"),
    ("RARE_AUDIT_RETENTION_DAYS", "1"),
    ("RARE_AUDIT_BOOKMARKS", "yes"),
    ("RARE_AUDIT_STORE_VALUES", "1"),
    ("RARE_AUDIT_INCIDENTS", "both"),
    ("RARE_AUDIT_SINKS", "incidents,"),
    ("RARE_AUDIT_SINKS", "tables"),
    ("RARE_AUDIT_INGESTION_ENDPOINT", "http://x.ingest.monitor.azure.com"),
    ("RARE_AUDIT_INGESTION_RULE_ID", "/subscriptions/s/dataCollectionRules/r"),
    ("AzureWebJobsStorage__tableServiceUri", "http://a.table.core.windows.net"),
]


@pytest.mark.parametrize(("name", "text"), WRONG)
def test_each_problem(name: str, text: str) -> None:
    """Each wrong value is named by its setting, alone."""
    environment = {**LEAST, **(TABLE if "INGESTION" in name else {}), name: text}
    if name.startswith("AzureWebJobsStorage__"):
        environment = {**LEAST, **BY_IDENTITY, name: text, "AzureWebJobsStorage": ""}
    told = _errors(environment)
    assert told[0].startswith(f"{name}: ")
    assert len([line for line in told if line.startswith(tuple(LEAST) + tuple(_OTHERS))]) <= 2


def test_every_problem_at_once() -> None:
    """One line names every setting that is wrong."""
    wrong = [*WRONG[:-1], ("RARE_AUDIT_SINKS", "incidents,table,both")]
    told = "; ".join(_errors({**LEAST, **dict(wrong)}))
    for name, _ in wrong:
        assert f"{name}: " in told


@pytest.mark.parametrize("name", ["x" * 5_000, "a\0b", "\udcff"])
def test_names_that_no_file_has(name: str) -> None:
    """A name that no file can have is not there either."""
    (told,) = _errors({**LEAST, "RARE_AUDIT_RULE": name})
    assert told.endswith("is no file")


@pytest.mark.parametrize("number", ["9" * 400, "１４", "1e1", " ", "0x7", "7.0", "+7"])
def test_numbers(number: str) -> None:
    """A number is ASCII digits within its limits."""
    environment: dict[str, Any] = {**LEAST, "RARE_AUDIT_MIN_DAYS": number}
    if number.strip():
        assert _errors(environment) == ["RARE_AUDIT_MIN_DAYS: expected a number from 0 to 366"]
    else:
        assert read_settings(environment).min_days == 7


def test_secrets_are_not_shown() -> None:
    """Neither settings as text nor any error holds a connection string."""
    assert "c2VjcmV0" not in repr(read_settings(LEAST))
    assert "c2VjcmV0" not in "; ".join(_errors({**LEAST, **dict(WRONG)}))
