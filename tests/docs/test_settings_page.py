"""docs/settings.md: every setting that the code reads, and its default."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
import pytest

from rare_audit.cli import main
from rare_audit.errors import SettingsError
from rare_audit.rules import DEFAULT_EXCLUSIONS, DEFAULT_RULE
from rare_audit.settings import read_dry_run_settings, read_settings, read_workspace_settings
from rare_audit.sinks.arm import PUBLIC_CLOUD
from rare_audit.sources.log_analytics_client import DEFAULT_ENDPOINT
from tests.docs.pages import ROOT, code, page
from tests.project import own_settings

GUID: Final = "5f0d7b1e-3d5c-4b8e-9a53-2f6a1c0e7d42"
LEAST: Final = {
    "LOG_ANALYTICS_WORKSPACE_ID": GUID,
    "SENTINEL_WORKSPACE_RESOURCE_ID": f"/subscriptions/{GUID}/resourceGroups/soc/providers/"
    "Microsoft.OperationalInsights/workspaces/soc-logs",
    "AzureWebJobsStorage__accountName": "account",
}
# Those that more is read for: every table, an account of its own.
FORMS: Final = (LEAST, LEAST | {"RARE_AUDIT_SINKS": "incidents,table", "RARE_AUDIT_STORAGE__accountName": "other"})
ELSEWHERE: Final = {
    "RARE_AUDIT_SCHEDULE": re.search(
        r'environ\.get\("RARE_AUDIT_SCHEDULE"\) or "([^"]+)"', (ROOT / "function_app.py").read_text(encoding="utf-8")
    )[1],  # type: ignore[index]  # a test that finds none may fail here
    "RARE_AUDIT_LOGS_ENDPOINT": DEFAULT_ENDPOINT,
    "RARE_AUDIT_ARM_ENDPOINT": PUBLIC_CLOUD,
    "RARE_AUDIT_RULE": DEFAULT_RULE.relative_to(ROOT).as_posix(),
    "RARE_AUDIT_EXCLUSIONS": DEFAULT_EXCLUSIONS.relative_to(ROOT).as_posix(),
}
"""Defaults that read_settings leaves to others."""
PAGE: Final = page("docs/settings.md")
ROWS: Final = [row for table in PAGE.tables if "setting" in table.columns for row in table.rows]
NEEDS: Final = {row["command"]: row for row in PAGE.table("Which command needs which settings").rows}
STORAGE: Final = ("AzureWebJobsStorage", "RARE_AUDIT_STORAGE")
TOLD: Final = {code(row["setting"]): row for row in ROWS}
DEFAULTS: Final = {name: code(row["default"]) for name, row in TOLD.items() if code(row["default"])}


class Recorded(Mapping[str, str]):
    """An environment that notes what is asked of it."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _read() -> set[str]:
    """Return the names of all settings that are read, whatever the others say."""
    asked = {"RARE_AUDIT_SCHEDULE"}
    for form in FORMS:
        recorded = Recorded(form)
        with suppress(SettingsError):  # what `table` needs is not there, and was asked for all the same
            read_settings(recorded)
        asked |= recorded.asked
    return asked


def _settings(**more: str) -> dict[str, Any]:
    """Return the settings but for the accounts, whose secrets equal nothing."""
    found = msgspec.structs.asdict(read_settings(LEAST | more))
    return {name: value for name, value in found.items() if name not in {"queues", "tables"}}


def test_every_setting_has_its_row() -> None:
    """What the code asks the environment for, and nothing else, each once."""
    assert len(ROWS) == len(TOLD)
    assert set(TOLD) == _read()


def test_every_name_in_the_code_has_its_row() -> None:
    """No file names a setting of this project that the page does not know."""
    assert own_settings() <= set(TOLD)


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_default_is_what_the_code_takes(name: str) -> None:
    """Setting it to the stated default changes nothing."""
    if name in ELSEWHERE:
        assert DEFAULTS[name] == ELSEWHERE[name]
    else:
        assert _settings(**{name: DEFAULTS[name]}) == _settings()


@pytest.mark.parametrize("name", sorted(name for name, default in DEFAULTS.items() if default.isdecimal()))
def test_number_counts_and_has_the_stated_bounds(name: str) -> None:
    """Another number is another setting; the ends of the range in the row are taken, and what lies beyond is not."""
    assert _settings(**{name: str(int(DEFAULTS[name]) + 1)}) != _settings()
    bounds = re.search(r"(\d+) to (\d+)", TOLD[name]["meaning"])
    assert bounds
    least, most = map(int, bounds.groups())
    assert _settings(**{name: str(least)}) != _settings(**{name: str(most)})
    for number in (least - 1, most + 1):
        with pytest.raises(SettingsError):
            _settings(**{name: str(number)})


def test_required_is_what_is_missed() -> None:
    """The settings that the page calls required are those that an empty environment, and one with a table, lack."""
    with pytest.raises(SettingsError) as raised:
        read_settings({"RARE_AUDIT_SINKS": "incidents,table"})
    missed = {problem.partition(" ")[0] for problem in raised.value.problems}
    assert missed == {name for name, row in TOLD.items() if row["default"].startswith("required")}


def _asked(read: Callable[[Mapping[str, str]], object], *forms: Mapping[str, str]) -> set[str]:
    """Return the names of all settings that are read in any of these environments."""
    recorded = [Recorded(form) for form in forms]
    for each in recorded:
        read(each)
    return {name for each in recorded for name in each.asked}


def _codes(command: str, column: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", NEEDS[command][column]))


@pytest.mark.parametrize(
    ("command", "read"), [("`verify`", read_workspace_settings), ("`run --dry-run`", read_dry_run_settings)]
)
def test_what_fewer_settings_are_enough_for(command: str, read: Callable[[Mapping[str, str]], object]) -> None:
    """What the page says that a command requires is what an empty environment lacks."""
    with pytest.raises(SettingsError) as raised:
        read({})
    assert {problem.partition(" ")[0] for problem in raised.value.problems} == _codes(command, "requires")


def test_what_fewer_settings_are_read() -> None:
    """All that `verify` reads is named; a dry run adds whether values are stored, and storage only where it is set."""
    alone = {"LOG_ANALYTICS_WORKSPACE_ID": GUID}
    workspace = _asked(read_workspace_settings, alone)
    assert workspace - set(alone) == _codes("`verify`", "reads as well")
    dry = _asked(read_dry_run_settings, alone)
    assert dry - workspace == {"RARE_AUDIT_STORE_VALUES"} == _codes("`run --dry-run`", "reads as well") - {"verify"}
    stored = _asked(read_dry_run_settings, *(alone | {f"{prefix}__accountName": "account"} for prefix in STORAGE))
    assert stored - dry == {name for name in TOLD if name.startswith(STORAGE)} - workspace


def test_every_command_has_its_needs() -> None:
    """Each command stands in the table of what it needs."""
    named = {words.split()[0] for command in NEEDS for words in re.findall(r"`([^`]+)`", command)}
    assert named == set(main.commands)


def test_every_cell_says_something() -> None:
    """No setting is left without its meaning, a reason to change it, and what then goes wrong."""
    assert [row["setting"] for row in ROWS if not all(row.values())] == []


def test_readme_tells_the_same() -> None:
    """Each setting in the README's short table is one of these, and has the default that stands here."""
    rows = page("README.md").table("Settings").rows
    assert len(rows) == 5
    for row in rows:
        told = TOLD[code(row["setting"])]["default"]
        assert "Required" in row["meaning"] if told.startswith("required") else f"Default {told}" in row["meaning"]
