"""Reads rules and exclusions from their YAML files; a mistake in one is a single error that says where."""

from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

from rare_audit.detection import query
from rare_audit.detection.rule import Exclusion, Rule
from rare_audit.errors import RuleError

FOLDER: Final = Path(__file__).parent
DEFAULT_RULE: Final = FOLDER / "rare-audit-activity-by-app.yaml"
DEFAULT_EXCLUSIONS: Final = FOLDER / "exclusions.yaml"

T = TypeVar("T")


class _ExclusionsFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    exclusions: tuple[Exclusion, ...]


def load_rule(path: Path = DEFAULT_RULE) -> Rule:
    """Read a rule. Raises RuleError that names the file, the field and what was expected."""
    rule = _convert(path, Rule)
    try:
        query.render(rule, 0)
    except ValueError as error:
        raise RuleError(f"{path}: query: {error}") from error
    return rule


def load_exclusions(path: Path = DEFAULT_EXCLUSIONS) -> tuple[Exclusion, ...]:
    """Read named exclusions. Raises RuleError as `load_rule` does."""
    exclusions = _convert(path, _ExclusionsFile).exclusions
    names = [exclusion.name for exclusion in exclusions]
    for name in names:
        if names.count(name) > 1:
            raise RuleError(f"{path}: exclusions: two are named {name!r}")
    return exclusions


def unmatchable(exclusions: tuple[Exclusion, ...]) -> tuple[str, ...]:
    """Return one sentence for each enabled exclusion that asks for fields no AuditLogs row has."""
    return tuple(
        f"exclusion {exclusion.name!r}: AuditLogs has no {' or '.join(exclusion.unmatchable)}, that part never matches"
        for exclusion in exclusions
        if exclusion.enabled and exclusion.unmatchable
    )


def _convert(path: Path, kind: type[T]) -> T:
    try:
        # The base loader leaves every value text, tagged ones too, and msgspec makes of it what the field needs.
        content: Any = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # noqa: S506 - makes no objects
        return msgspec.convert(content, kind, strict=False)
    except OSError as error:
        raise RuleError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RuleError(f"{path}: is not UTF-8 text") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise RuleError(f"{path}: is not YAML: {_one_line(error)}") from error
    except msgspec.ValidationError as error:
        raise RuleError(f"{path}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
