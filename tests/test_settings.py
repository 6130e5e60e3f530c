"""The environment's settings: what they give, and all that is wrong with them at once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from rare_audit.errors import SettingsError
from rare_audit.places import Ingestion, Workspace
from rare_audit.rules import DEFAULT_EXCLUSIONS, DEFAULT_RULE
from rare_audit.settings import read_dry_run_settings, read_settings, read_workspace_settings

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


def _errors(environment: dict[str, str], read: Callable[[dict[str, str]], object] = read_settings) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        read(environment)
    return str(raised.value).split("; ")


def test_least() -> None:
    """Three settings are enough; all else has a default."""
    settings = read_settings({**LEAST, "PATH": "/"})
    assert settings.workspace.workspace_id == GUID
    assert settings.sentinel == Workspace(GUID, "soc", "soc-logs")
    assert settings.tables is settings.queues
    assert settings.queues.connection_string.reveal() == KEY
    assert (settings.workspace.rule, settings.workspace.exclusions) == (DEFAULT_RULE, DEFAULT_EXCLUSIONS)
    assert (settings.workspace.min_days, settings.catch_up_days, settings.late_days) == (7, 14, 2)
    assert (settings.max_incidents, settings.retention_days) == (50, 180)
    assert (settings.bookmarks, settings.store_values) == (True, True)
    assert (settings.workspace.logs_endpoint, settings.arm_endpoint, settings.workspace.client_id) == ("", "", "")


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
    assert settings.workspace.logs_endpoint == "https://api.loganalytics.us"
    assert settings.arm_endpoint == "https://management.usgovcloudapi.net"
    workspace = settings.workspace
    assert (workspace.client_id, workspace.rule, workspace.exclusions) == ("mine", rule, exclusions)
    assert (workspace.min_days, settings.catch_up_days, settings.late_days) == (3, 31, 0)
    assert (settings.max_incidents, settings.retention_days) == (5, 365)
    assert (settings.bookmarks, settings.store_values) == (False, False)


def test_empty_is_unset() -> None:
    """A setting that is there but empty, as a portal leaves it, is one that is not there."""
    empty, least = read_settings(dict.fromkeys(_OTHERS, " ") | LEAST), read_settings(LEAST)
    for name in ("workspace", "tables", "bookmarks", "sentinel", "arm_endpoint"):
        assert repr(getattr(empty, name)) == repr(getattr(least, name))
    assert _errors(dict.fromkeys((*_OTHERS, *LEAST), "")) == _errors({})


def test_by_identity() -> None:
    """Service URIs stand for an account without a key; its identity may be named with it."""
    settings = read_settings({**BY_IDENTITY, **{name: LEAST[name] for name in LEAST if name != "AzureWebJobsStorage"}})
    assert not settings.tables.connection_string
    assert settings.tables.table_url == "https://a.table.core.windows.net"
    assert settings.queues.queue_url == "https://a.queue.core.windows.net"
    assert settings.workspace.client_id == "client"


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
        assert read_settings(environment).workspace.min_days == 7


# Fewer of them: what it takes to read a workspace, and what a dry run needs

ALONE: Final = {"LOG_ANALYTICS_WORKSPACE_ID": GUID}
OF_THE_WORKSPACE: Final = (
    "LOG_ANALYTICS_WORKSPACE_ID RARE_AUDIT_LOGS_ENDPOINT RARE_AUDIT_RULE RARE_AUDIT_EXCLUSIONS RARE_AUDIT_MIN_DAYS"
).split()
NOT_OF_THE_WORKSPACE: Final = [(name, text) for name, text in WRONG if name not in OF_THE_WORKSPACE]
NOT_OF_A_DRY_RUN: Final = [
    (name, text)
    for name, text in NOT_OF_THE_WORKSPACE
    if name != "RARE_AUDIT_STORE_VALUES" and not name.startswith("AzureWebJobsStorage")
]


def test_the_workspace_alone() -> None:
    """Its GUID is enough to read it, and for a dry run that is not stored."""
    workspace = read_workspace_settings(ALONE)
    assert workspace == read_settings(LEAST).workspace
    dry = read_dry_run_settings(ALONE)
    assert (dry.workspace, dry.tables, dry.store_values) == (workspace, None, True)


@pytest.mark.parametrize("read", [read_workspace_settings, read_dry_run_settings])
def test_the_workspace_is_missing(read: Callable[[dict[str, str]], object]) -> None:
    """The GUID is all that an empty environment lacks."""
    assert _errors({}, read) == ["LOG_ANALYTICS_WORKSPACE_ID is not set: expected the workspace's GUID"]


def test_everything_of_the_workspace(tmp_path: Path) -> None:
    """Each setting of the workspace is read, and is the same as among all settings."""
    rule, exclusions = tmp_path / "rule.yaml", tmp_path / "exclusions.yaml"
    rule.touch()
    exclusions.touch()
    environment = ALONE | {
        "RARE_AUDIT_LOGS_ENDPOINT": "https://api.loganalytics.us/",
        "AZURE_CLIENT_ID": "mine",
        "RARE_AUDIT_RULE": str(rule),
        "RARE_AUDIT_EXCLUSIONS": str(exclusions),
        "RARE_AUDIT_MIN_DAYS": "3",
    }
    workspace = read_workspace_settings(environment)
    assert (workspace.logs_endpoint, workspace.client_id) == ("https://api.loganalytics.us", "mine")
    assert (workspace.rule, workspace.exclusions, workspace.min_days) == (rule, exclusions, 3)
    assert workspace == read_dry_run_settings(environment).workspace == read_settings(LEAST | environment).workspace


def test_one_identity_for_all() -> None:
    """An identity that is named with the host's storage alone is the app's, so it reads the workspace as well."""
    environment = ALONE | {"AzureWebJobsStorage__clientId": "client"}
    assert read_workspace_settings(environment).client_id == "client"
    assert read_workspace_settings(environment | {"AZURE_CLIENT_ID": "mine"}).client_id == "mine"


def test_settings_that_the_workspace_does_not_need() -> None:
    """Wrong settings of storage, Sentinel, the findings table and the deployed app make no difference to reading."""
    assert len(NOT_OF_THE_WORKSPACE) > 10
    assert read_workspace_settings(ALONE | dict(NOT_OF_THE_WORKSPACE)) == read_workspace_settings(ALONE)


def test_settings_that_a_dry_run_does_not_need() -> None:
    """Wrong settings of Sentinel, the findings table and the deployed app make no difference to a dry run."""
    assert len(NOT_OF_A_DRY_RUN) > 10
    assert read_dry_run_settings(ALONE | dict(NOT_OF_A_DRY_RUN)) == read_dry_run_settings(ALONE)


@pytest.mark.parametrize("read", [read_workspace_settings, read_dry_run_settings])
def test_every_problem_of_the_workspace_at_once(read: Callable[[dict[str, str]], object]) -> None:
    """Each wrong value is named by its setting, all in one line, and no other."""
    wrong = {name: text for name, text in WRONG if name in OF_THE_WORKSPACE}
    told = _errors(wrong, read)
    assert [line.partition(":")[0] for line in told] == OF_THE_WORKSPACE


def test_workspace_of_the_command_line() -> None:
    """A GUID from the command line is used in place of the setting, which then need not even be one."""
    other = "11111111-2222-3333-4444-555555555555"
    for environment in ({}, ALONE, {"LOG_ANALYTICS_WORKSPACE_ID": "soc-logs"}):
        assert read_workspace_settings(environment, other).workspace_id == other
    assert read_workspace_settings(ALONE, None).workspace_id == GUID
    assert read_workspace_settings({}, other.upper()).workspace_id == other


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("soc-logs", "--workspace: "),
        (RESOURCE, "--workspace: "),
        ("", "--workspace is not set: "),
        (" ", "--workspace is not set: "),
    ],
)
def test_wrong_workspace_of_the_command_line(text: str, told: str) -> None:
    """A text that is not a GUID is refused under the option's name, with all other problems; no setting replaces it."""
    environment = ALONE | {"RARE_AUDIT_LOGS_ENDPOINT": "http://x"}
    first, second = _errors(environment, lambda given: read_workspace_settings(given, text))
    assert first.startswith(f"{told}expected the workspace's GUID")
    assert second.startswith("RARE_AUDIT_LOGS_ENDPOINT: ")


def test_dry_run_is_stored_where_the_deployed_app_stores() -> None:
    """In the host's account, or in the one that findings have of their own; no queue is needed for it."""
    by_identity = {name: text for name, text in BY_IDENTITY.items() if "queue" not in name}
    own = {"RARE_AUDIT_STORAGE__tableServiceUri": "https://own.table.core.windows.net"}
    for storage in ({"AzureWebJobsStorage": KEY}, BY_IDENTITY, {"AzureWebJobsStorage": KEY, **own}):
        dry, deployed = (
            read_dry_run_settings(ALONE | storage),
            read_settings({**LEAST, "AzureWebJobsStorage": "", **storage}),
        )
        assert dry.tables is not None
        assert repr(dry.tables) == repr(deployed.tables)
        assert dry.tables.connection_string.reveal() == deployed.tables.connection_string.reveal()
    for storage, url in (
        (by_identity, "https://a.table.core.windows.net"),
        (own, "https://own.table.core.windows.net"),
    ):
        tables = read_dry_run_settings(ALONE | storage).tables
        assert tables is not None
        assert tables.table_url == url


def test_dry_run_keeps_values_as_the_deployed_app_does() -> None:
    """Hashes in place of values are asked for by the same setting."""
    assert read_dry_run_settings(ALONE | {"RARE_AUDIT_STORE_VALUES": "false"}).store_values is False
    (told,) = _errors(ALONE | {"RARE_AUDIT_STORE_VALUES": "1"}, read_dry_run_settings)
    assert told.startswith("RARE_AUDIT_STORE_VALUES: ")


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("AzureWebJobsStorage__queueServiceUri", "https://a.queue.core.windows.net", "AzureWebJobsStorage is not set"),
        ("AzureWebJobsStorage__tableServiceUri", "http://a.table.core.windows.net", "AzureWebJobsStorage__tableServ"),
        ("RARE_AUDIT_STORAGE__queueServiceUri", "https://a.queue.core.windows.net", "RARE_AUDIT_STORAGE is not set"),
    ],
)
def test_storage_of_a_dry_run_that_is_set_in_part(name: str, text: str, told: str) -> None:
    """Storage that is half set is an error, since the dry run should be stored; other problems are named with it."""
    problems = _errors({name: text, "RARE_AUDIT_MIN_DAYS": "x"}, read_dry_run_settings)
    assert any(problem.startswith(told) for problem in problems)
    assert {problem.partition(" ")[0].rstrip(":") for problem in problems} >= {
        "LOG_ANALYTICS_WORKSPACE_ID",
        "RARE_AUDIT_MIN_DAYS",
    }


def test_secrets_are_not_shown() -> None:
    """Neither settings as text nor any error holds a connection string."""
    assert "c2VjcmV0" not in repr((read_settings(LEAST), read_dry_run_settings(LEAST)))
    assert "c2VjcmV0" not in "; ".join(_errors({**LEAST, **dict(WRONG)}))
