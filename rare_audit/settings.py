"""The environment's settings; every problem is reported at once."""

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from rare_audit.errors import SettingsError
from rare_audit.places import Ingestion, Workspace, https_origin, logs_endpoint, parse_collection_rule, parse_workspace
from rare_audit.reporting.coverage import MIN_DAYS
from rare_audit.rules import DEFAULT_EXCLUSIONS, DEFAULT_RULE

HOST_STORAGE: Final = "AzureWebJobsStorage"
OWN_STORAGE: Final = "RARE_AUDIT_STORAGE"
WORKSPACE: Final = "LOG_ANALYTICS_WORKSPACE_ID"
WORKSPACE_OPTION: Final = "--workspace"
_EMULATOR: Final = "UseDevelopmentStorage=true"
_EMULATED: Final = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "QueueEndpoint=http://127.0.0.1:10001/devstoreaccount1;TableEndpoint=http://127.0.0.1:10002/devstoreaccount1;"
)
"""The emulator's account, the same everywhere: https://learn.microsoft.com/azure/storage/common/storage-use-azurite."""
_BOOLEANS: Final = {"true": True, "false": False}
_MOST_DAYS: Final = 31
T = TypeVar("T")


class Secret:
    """A text that is shown to nobody by accident."""

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, for the client that needs it."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)" if self._text else "Secret()"

    def __bool__(self) -> bool:
        return bool(self._text)


class Account(msgspec.Struct, frozen=True):
    """A storage account: by its connection string, or by the URLs of its services and an identity."""

    connection_string: Secret
    table_url: str = ""
    queue_url: str = ""


class WorkspaceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What it takes to read a workspace, and what its events are compared by.

    `workspace_id` is the workspace's GUID, `logs_endpoint` is "" for the public one. `client_id` names a user-assigned
    identity, "" where there is none. With fewer than `min_days` days of data a baseline is degraded.
    """

    workspace_id: str
    logs_endpoint: str = ""
    client_id: str = ""
    rule: Path = DEFAULT_RULE
    exclusions: Path = DEFAULT_EXCLUSIONS
    min_days: int = MIN_DAYS


class DryRunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a dry run needs. `tables` is where it is stored, None where no storage account is named."""

    workspace: WorkspaceSettings
    tables: Account | None
    store_values: bool = True


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says. `sentinel` is None where nothing is raised, `arm_endpoint` is "" for the public one.

    `ingestion` is None where findings go to no table of the workspace.

    `queues` holds the messages, `tables` all that is kept. The identity of `workspace` is used everywhere.
    """

    workspace: WorkspaceSettings
    sentinel: Workspace | None
    ingestion: Ingestion | None = None
    queues: Account
    tables: Account
    arm_endpoint: str = ""
    catch_up_days: int = 14
    late_days: int = 2
    max_incidents: int = 50
    retention_days: int = 180
    bookmarks: bool = True
    store_values: bool = True


def read_workspace_settings(environment: Mapping[str, str], workspace: str | None = None) -> WorkspaceSettings:
    """Read from environment variables what it takes to read a workspace; settings of storage and Sentinel don't count.

    `workspace` is a GUID from the command line, which is used in place of the one in LOG_ANALYTICS_WORKSPACE_ID; None
    where none was given. Raises SettingsError that names each setting that is wrong, a wrong `workspace` by its option.
    """
    if workspace is None:
        reader, name = _Reader(environment), WORKSPACE
    else:
        reader, name = _Reader({**environment, WORKSPACE_OPTION: workspace}), WORKSPACE_OPTION
    settings = reader.workspace(name)
    reader.finish()
    return settings


def read_dry_run_settings(environment: Mapping[str, str]) -> DryRunSettings:
    """Read from environment variables what a dry run needs: the workspace, and a storage account only where one is set.

    Settings of Sentinel and of the findings table don't count. Raises SettingsError that names each setting that is
    wrong; an account that is named in part is.
    """
    reader = _Reader(environment)
    named = next((prefix for prefix in (OWN_STORAGE, HOST_STORAGE) if reader.names(prefix)), "")
    settings = DryRunSettings(
        tables=reader.account(named, ("table",)) if named else None,
        workspace=reader.workspace(),
        store_values=reader.store_values(),
    )
    reader.finish()
    return settings


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings from environment variables. Raises SettingsError that names each one that is wrong."""
    reader = _Reader(environment)
    sinks = reader.choices("RARE_AUDIT_SINKS", ("incidents", "table"), default="incidents")
    raises = reader.choice("RARE_AUDIT_INCIDENTS", {"raise": True, "observe": False}, default="raise")
    sentinel_hint = "the workspace's resource id; or RARE_AUDIT_INCIDENTS=observe, to raise nothing"
    incidents = raises and "incidents" in sinks
    own = reader.names(OWN_STORAGE)
    queues = reader.account(HOST_STORAGE, ("queue",) if own else ("queue", "table"))
    settings = Settings(
        workspace=reader.workspace(),
        sentinel=reader.needed("SENTINEL_WORKSPACE_RESOURCE_ID", parse_workspace, sentinel_hint) if incidents else None,
        ingestion=reader.ingestion() if "table" in sinks else None,
        queues=queues,
        tables=reader.account(OWN_STORAGE, ("table",)) if own else queues,
        arm_endpoint=reader.optional("RARE_AUDIT_ARM_ENDPOINT", https_origin) or "",
        catch_up_days=reader.number("RARE_AUDIT_CATCH_UP_DAYS", 14, least=1, most=_MOST_DAYS),
        late_days=reader.number("RARE_AUDIT_LATE_DAYS", 2, least=0, most=_MOST_DAYS - 1),
        max_incidents=reader.number("RARE_AUDIT_MAX_INCIDENTS", 50, least=1, most=1_000),
        retention_days=reader.number("RARE_AUDIT_RETENTION_DAYS", 180, least=_MOST_DAYS, most=3_650),
        bookmarks=reader.choice("RARE_AUDIT_BOOKMARKS", _BOOLEANS, default="true"),
        store_values=reader.store_values(),
    )
    reader.finish()
    return settings


class _Reader:
    """Reads variables, of which an empty one is as good as none, and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.problems: list[str] = []

    def finish(self) -> None:
        """Raise SettingsError with all that was wrong, if anything was."""
        if self.problems:
            raise SettingsError(*self.problems)

    def text(self, name: str) -> str:
        return self._environment.get(name, "").strip()

    def names(self, prefix: str) -> bool:
        return any(name == prefix or name.startswith(f"{prefix}__") for name in self._environment if self.text(name))

    def optional(self, name: str, parse: Callable[[str], T]) -> T | None:
        text = self.text(name)
        try:
            return parse(text) if text else None
        except ValueError as error:
            self.problems.append(f"{name}: {error}")
            return None

    def needed(self, name: str, parse: Callable[[str], T], expected: str) -> T | None:
        if not self.text(name):
            self.problems.append(f"{name} is not set: expected {expected}")
        return self.optional(name, parse)

    def number(self, name: str, default: int, *, least: int, most: int) -> int:
        text = self.text(name)
        if not text:
            return default
        if text.isascii() and text.isdigit() and len(text) <= len(str(most)) and least <= int(text) <= most:
            return int(text)
        self.problems.append(f"{name}: expected a number from {least} to {most}")
        return default

    def choice(self, name: str, values: Mapping[str, T], *, default: str) -> T:
        text = self.text(name).lower() or default
        if text not in values:
            self.problems.append(f"{name}: expected {' or '.join(values)}")
        return values.get(text, values[default])

    def choices(self, name: str, values: Sequence[str], *, default: str) -> set[str]:
        chosen = {each.strip() for each in (self.text(name).lower() or default).split(",")}
        if not chosen <= set(values):
            self.problems.append(f"{name}: expected {' or '.join(values)}, or both with a comma")
        return chosen

    def workspace(self, name: str = WORKSPACE) -> WorkspaceSettings:
        """Read what it takes to read a workspace, whose GUID stands under `name`."""
        return WorkspaceSettings(
            workspace_id=self.needed(name, _guid, "the workspace's GUID") or "",
            logs_endpoint=self.optional("RARE_AUDIT_LOGS_ENDPOINT", logs_endpoint) or "",
            # The host's setting says nothing about an account here: it names the identity that the whole app has.
            client_id=self.text("AZURE_CLIENT_ID") or self.text(f"{HOST_STORAGE}__clientId"),
            rule=self.optional("RARE_AUDIT_RULE", _file) or DEFAULT_RULE,
            exclusions=self.optional("RARE_AUDIT_EXCLUSIONS", _file) or DEFAULT_EXCLUSIONS,
            min_days=self.number("RARE_AUDIT_MIN_DAYS", MIN_DAYS, least=0, most=366),
        )

    def store_values(self) -> bool:
        return self.choice("RARE_AUDIT_STORE_VALUES", _BOOLEANS, default="true")

    def ingestion(self) -> Ingestion:
        hint = "the data collection rule's {}; or leave table out of RARE_AUDIT_SINKS"
        endpoint = self.needed("RARE_AUDIT_INGESTION_ENDPOINT", https_origin, hint.format("logs ingestion endpoint"))
        rule = self.needed("RARE_AUDIT_INGESTION_RULE_ID", parse_collection_rule, hint.format("immutable id, dcr-…"))
        return Ingestion(endpoint or "", rule or "")

    def account(self, prefix: str, needed: tuple[str, ...]) -> Account:
        """Read a storage connection as Functions has it: a connection string, service URIs, or an account's name.

        `needed` are the services that are used.

        Source: https://learn.microsoft.com/azure/azure-functions/functions-reference, "Configure an identity-based
        connection".
        """
        text, name = self.text(prefix), self.text(f"{prefix}__accountName")
        if text:
            return Account(Secret(_EMULATED if text.rstrip(";") == _EMULATOR else text))
        urls = [
            self.optional(f"{prefix}__{service}ServiceUri", https_origin)
            or (f"https://{name}.{service}.core.windows.net" if name else "")
            for service in ("table", "queue")
        ]
        missing = [service for service, url in zip(("table", "queue"), urls, strict=True) if not url]
        missing = [service for service in missing if service in needed]
        if missing:
            wanted = " and ".join(f"{prefix}__{service}ServiceUri" for service in missing)
            self.problems.append(f"{prefix} is not set: expected {wanted} for an identity, or a connection string")
        return Account(Secret(""), *urls)


def _guid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise ValueError("expected the workspace's GUID, which its overview page shows as Workspace ID") from None


def _file(text: str) -> Path:
    if not os.path.isfile(text):  # noqa: PTH113 - Path.is_file raises for a name that no file can have
        raise ValueError(f"{text[:200]} is no file")
    return Path(text)
