"""Reads rules and exclusions from their YAML files; a mistake in one is a single error that says where."""

from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

from rare_audit.detection import query
from rare_audit.detection.finding import COLUMNS
from rare_audit.detection.rule import Exclusion, Rule
from rare_audit.errors import RuleError

FOLDER: Final = Path(__file__).parent
DEFAULT_RULE: Final = FOLDER / "rare-audit-activity-by-app.yaml"
DEFAULT_EXCLUSIONS: Final = FOLDER / "exclusions.yaml"

TABLE: Final = "AuditLogs"
"""The table that rules are about."""
MOST_BYTES: Final = 1_000_000
"""Of a file of rules or exclusions, of which the bundled ones have some thousands."""

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
    _check_columns(path, rule)
    return rule


def _check_columns(path: Path, rule: Rule) -> None:
    """Raise RuleError where a rule maps a column that no finding has, or needs a table that is not read."""
    fields = (each for mapping in rule.entity_mappings for each in mapping.field_mappings)
    unknown = [each.column_name for each in fields if each.column_name not in COLUMNS]
    if unknown:
        raise RuleError(f"{path}: entityMappings: a finding has no column {unknown[0]!r}; it has {', '.join(COLUMNS)}")
    tables = (each for connector in rule.required_data_connectors for each in connector.data_types)
    others = [table for table in tables if table != TABLE]
    if others:
        raise RuleError(f"{path}: requiredDataConnectors: {others[0]!r} is not read; {TABLE} alone is")


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
        content: Any = yaml.load(_text(path), yaml.BaseLoader)  # noqa: S506 - makes no objects
        return msgspec.convert(content, kind, strict=False)
    except OSError as error:
        raise RuleError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise RuleError(f"{path}: is not UTF-8 text") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise RuleError(f"{path}: is not YAML: {_one_line(error)}") from error
    except msgspec.ValidationError as error:
        raise RuleError(f"{path}: {_one_line(error)}") from error


def _text(path: Path) -> str:
    """Return what a file holds; RuleError where that is more than any rule, as of /dev/zero."""
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise RuleError(f"{path}: is larger than {MOST_BYTES:,} bytes: no rule and no list of exclusions is")
    return content.decode("utf-8")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
