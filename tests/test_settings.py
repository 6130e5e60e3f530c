"""The environment's settings: what they give, and all that is wrong with them at once."""

import os
from pathlib import Path
from typing import Final

import pytest

from rare_audit.errors import SettingsError
from rare_audit.rules import DEFAULT_EXCLUSIONS, DEFAULT_RULE
from rare_audit.settings import Settings, read_settings

_NAMES: Final = ("RARE_AUDIT_EXPORTS", "RARE_AUDIT_HOME", "RARE_AUDIT_RULE", "RARE_AUDIT_EXCLUSIONS")


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A file that is there."""
    file = tmp_path / "export.ndjson"
    file.touch()
    return file


def _error(environment: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as raised:
        read_settings(environment)
    return str(raised.value)


def test_least(export: Path, tmp_path: Path) -> None:
    """Exports and a home are enough; the rule and the exclusions are the shipped ones."""
    environment = {"RARE_AUDIT_EXPORTS": str(export), "RARE_AUDIT_HOME": str(tmp_path / "home"), "PATH": "/"}
    assert read_settings(environment) == Settings(
        exports=(export,), home=tmp_path / "home", rule=DEFAULT_RULE, exclusions=DEFAULT_EXCLUSIONS
    )
    assert not (tmp_path / "home").exists()


def test_all(export: Path, tmp_path: Path) -> None:
    """Several exports are joined as in PATH; a rule and exclusions may be others."""
    other = tmp_path / "other.ndjson"
    other.touch()
    environment = {
        "RARE_AUDIT_EXPORTS": os.pathsep.join([str(other), "", str(export)]),
        "RARE_AUDIT_HOME": str(tmp_path),
        "RARE_AUDIT_RULE": str(export),
        "RARE_AUDIT_EXCLUSIONS": str(other),
    }
    assert read_settings(environment) == Settings(exports=(other, export), home=tmp_path, rule=export, exclusions=other)


def test_empty_is_unset(export: Path, tmp_path: Path) -> None:
    """A setting that is there but empty, as a portal leaves it, is one that is not there."""
    least = {"RARE_AUDIT_EXPORTS": str(export), "RARE_AUDIT_HOME": str(tmp_path)}
    assert read_settings(dict.fromkeys(_NAMES, "") | least) == read_settings(least)
    assert _error(dict.fromkeys(_NAMES, "")) == _error({})


def test_everything_missing() -> None:
    """One line names every setting that is missing and says what was expected."""
    assert _error({}) == (
        f"RARE_AUDIT_EXPORTS is not set: expected export files, joined by {os.pathsep!r}; "
        "RARE_AUDIT_HOME is not set: expected the folder for findings and incidents"
    )
    assert _error({"RARE_AUDIT_EXPORTS": os.pathsep}) == _error({})


def test_every_problem_at_once(export: Path, tmp_path: Path) -> None:
    """One line names every setting that is wrong, and none that is right."""
    environment = {
        "RARE_AUDIT_EXPORTS": os.pathsep.join(["no-export", str(export), "none-either"]),
        "RARE_AUDIT_RULE": "no-rule",
        "RARE_AUDIT_EXCLUSIONS": str(tmp_path),
    }
    assert _error(environment).split("; ") == [
        "RARE_AUDIT_EXPORTS: no-export is not there",
        "RARE_AUDIT_EXPORTS: none-either is not there",
        "RARE_AUDIT_HOME is not set: expected the folder for findings and incidents",
        "RARE_AUDIT_RULE: no-rule is no file",
        f"RARE_AUDIT_EXCLUSIONS: {tmp_path} is no file",
    ]


_LONG_NAME: Final = pytest.param("x" * 5_000, id="long")


@pytest.mark.parametrize("name", [_LONG_NAME, "a\0b", "\udcff"])
def test_names_that_no_file_has(name: str, tmp_path: Path) -> None:
    """A name that no file can have is not there either."""
    assert _error({"RARE_AUDIT_EXPORTS": name, "RARE_AUDIT_HOME": str(tmp_path)}).endswith("is not there")
    assert _error({"RARE_AUDIT_RULE": name}).endswith("is no file")
