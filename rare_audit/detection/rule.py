"""A rule and its exclusions: values that check themselves. Reading their files is `rare_audit.rules`' part."""

import re
from collections.abc import Iterable
from typing import Annotated, Final

import msgspec

from rare_audit.detection import kql

Text = Annotated[str, msgspec.Meta(min_length=1)]

ROW_COLUMNS: Final = (
    "OperationName",
    "InitiatedByApp",
    "InitiatedByIpAddress",
    "TargetUserPrincipalName",
    "TargetResourceName",
    "PropertyName",
)
"""The columns of the rule's AuditTrail: what a key can be made of."""

MATCHABLE: Final = (
    "OperationName",
    "Category",
    "Result",
    "ResourceGroup",
    "InitiatedByApp",
    "InitiatedByIpAddress",
    "TargetUserPrincipalName",
    "TargetResourceName",
)
"""What a condition of an exclusion can be about: columns of the event, and those the rule derives from it."""

UNREAD: Final = frozenset(
    "AADOperationType AADTenantId ActivityDateTime ActivityDisplayName AdditionalDetails CorrelationId DurationMs Id "
    "Identity InitiatedBy Level Location LoggedByService OperationVersion Resource ResourceId ResourceProvider "
    "ResultDescription ResultReason ResultSignature ResultType SourceSystem TargetResources TenantId TimeGenerated "
    "Type".split()
)
"""Columns of AuditLogs that a condition can't be about, since the engine does not compare them."""

TACTICS: Final = frozenset(
    "Reconnaissance ResourceDevelopment InitialAccess Execution Persistence PrivilegeEscalation DefenseEvasion "
    "CredentialAccess Discovery LateralMovement Collection Exfiltration CommandAndControl Impact PreAttack "
    "ImpairProcessControl InhibitResponseFunction".split()
)
"""AttackTactic of the SecurityInsights API, 2025-09-01."""


class IgnoredPair(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A property name and a value that the rule's text writes side by side; each is a condition of its own."""

    property_name: Text
    new_value: Text


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """Every constant of the query."""

    lookback: Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]?d\Z")]
    key: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]
    by_property_key: tuple[Text, ...]
    property_ignore_list: tuple[str, ...]
    app_ignore_list: tuple[str, ...]
    operation_ignore_list: tuple[str, ...]
    ignored_pairs: tuple[IgnoredPair, ...]
    host_properties: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1)]

    def __post_init__(self) -> None:
        for column in (*self.key, *self.by_property_key):
            if column not in ROW_COLUMNS:
                raise ValueError(f"a key can hold {', '.join(ROW_COLUMNS)}; {column!r} is none of them")
        if not {"OperationName", "InitiatedByApp"} <= set(self.key):
            raise ValueError("a key needs OperationName and InitiatedByApp: a finding says what an app did")


class DataConnector(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A Sentinel data connector the rule needs, and the tables it fills."""

    connector_id: Text
    data_types: tuple[Text, ...]


class FieldMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """An identifier of an entity, and the column of the finding it comes from."""

    identifier: Text
    column_name: Text


class EntityMapping(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """How a finding's columns make a Sentinel entity."""

    entity_type: Text
    field_mappings: tuple[FieldMapping, ...]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A hunting rule in the shape of a Sentinel hunting-query YAML, with the query's parameters beside it."""

    id: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
    name: Text
    description: Text
    description_detailed: str = msgspec.field(default="", name="description_detailed")
    required_data_connectors: tuple[DataConnector, ...] = ()
    tactics: tuple[str, ...] = ()
    relevant_techniques: tuple[Annotated[str, msgspec.Meta(pattern=r"^T\d{4}(\.\d{3})?\Z")], ...] = ()
    severity: Annotated[str, msgspec.Meta(pattern=r"^(High|Medium|Low|Informational)\Z")] = "Medium"
    entity_mappings: tuple[EntityMapping, ...] = ()
    parameters: Parameters
    query: Text

    def __post_init__(self) -> None:
        for tactic in self.tactics:
            if tactic not in TACTICS:
                raise ValueError(f"tactics: expected those that Sentinel knows, got {tactic!r}")

    @property
    def lookback_days(self) -> int:
        """The length of the baseline, in days."""
        return int(self.parameters.lookback[:-1])

    def key(self, *, by_property: bool) -> tuple[str, ...]:
        """Return the columns by which an activity is known; `by_property` is the variant the text comments out."""
        return self.parameters.key + (self.parameters.by_property_key if by_property else ())


class Condition(msgspec.Struct, frozen=True):
    """`Field = "value"`: exact, case and all."""

    field: str
    value: str


_CONDITION: Final = re.compile(r'\s*(\w+)\s*==?\s*"((?:[^"\\]|\\.)*)"\s*', re.ASCII)

_OR: Final = re.compile(r"or\s", re.IGNORECASE)


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """Read `Field = "value" or Field = "value" …`, as the source document words its exclusions.

    Raises ValueError for any other form, and for a column of AuditLogs that the engine does not compare.
    """
    conditions, at = [], 0
    while True:
        found = _CONDITION.match(text, at)
        if found is None:
            raise ValueError(f'expected Field = "value", joined by or, at {text[at:][:40]!r}')
        if found[1] in UNREAD:
            raise ValueError(f"{found[1]} can't be compared; use one of {', '.join(MATCHABLE)}")
        conditions.append(Condition(found[1], re.sub(r"\\(.)", r"\1", found[2])))
        at = found.end()
        if at == len(text):
            return tuple(conditions)
        joined = _OR.match(text, at)
        if joined is None:
            raise ValueError(f"expected or, at {text[at:][:40]!r}")
        at = joined.end()


class Exclusion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="camel"):
    """A known false positive: what it is, and the events it hides once they are found rare."""

    name: Text
    description: Text
    condition: Text
    enabled: bool = True

    def __post_init__(self) -> None:
        try:
            parse_conditions(self.condition)
        except ValueError as error:
            raise ValueError(f"condition of {self.name!r}: {error}") from error

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The condition's alternatives, those on columns that AuditLogs lacks included."""
        return parse_conditions(self.condition)

    @property
    def unmatchable(self) -> tuple[str, ...]:
        """The fields it asks for that no AuditLogs row has: such a condition never matches."""
        return tuple(condition.field for condition in self.conditions if condition.field not in MATCHABLE)


class Ignored:
    """A rule's ignore lists, folded once: what `in~` and `!~` compare with."""

    def __init__(self, parameters: Parameters) -> None:
        """Fold the lists of `parameters`."""
        pairs = parameters.ignored_pairs
        self.properties = Folded([*parameters.property_ignore_list, *(pair.property_name for pair in pairs)])
        self.values = Folded([pair.new_value for pair in pairs])
        self.apps = Folded(parameters.app_ignore_list)
        self.operations = Folded(parameters.operation_ignore_list)


class Folded:
    """Texts to look others up in, as `in~` does."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Fold `texts`."""
        self._texts = frozenset(map(kql.fold, texts))
        self._lengths = frozenset(map(len, self._texts))

    def __contains__(self, text: str) -> bool:
        # Few texts have a length that one of these has, and folding leaves it.
        return len(text) in self._lengths and kql.fold(text) in self._texts
