"""The environment's settings; every problem is reported at once."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from rare_audit.errors import SettingsError
from rare_audit.rules import DEFAULT_EXCLUSIONS, DEFAULT_RULE


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the environment says. `exports` are the files events come from, `home` the folder results go to."""

    exports: tuple[Path, ...]
    home: Path
    rule: Path = DEFAULT_RULE
    exclusions: Path = DEFAULT_EXCLUSIONS


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the settings from environment variables. Raises SettingsError that names each one that is wrong."""
    problems: list[str] = []
    exports = tuple(Path(text) for text in environment.get("RARE_AUDIT_EXPORTS", "").split(os.pathsep) if text)
    if not exports:
        problems.append(f"RARE_AUDIT_EXPORTS is not set: expected export files, joined by {os.pathsep!r}")
    problems += [f"RARE_AUDIT_EXPORTS: {path} is not there" for path in exports if not _is_there(path)]
    home = environment.get("RARE_AUDIT_HOME", "")
    if not home:
        problems.append("RARE_AUDIT_HOME is not set: expected the folder for findings and incidents")
    files = {name: environment.get(name, "") for name in ("RARE_AUDIT_RULE", "RARE_AUDIT_EXCLUSIONS")}
    problems += [f"{name}: {text} is no file" for name, text in files.items() if text and not _is_file(Path(text))]
    if problems:
        raise SettingsError("; ".join(problems))
    return Settings(
        exports=exports,
        home=Path(home),
        rule=Path(files["RARE_AUDIT_RULE"] or DEFAULT_RULE),
        exclusions=Path(files["RARE_AUDIT_EXCLUSIONS"] or DEFAULT_EXCLUSIONS),
    )


def _is_there(path: Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - Path.exists raises for a name that no file can have


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 - likewise
