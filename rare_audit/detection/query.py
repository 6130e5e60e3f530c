"""The rule as KQL text, for the portal or a workspace: its template filled from its own parameters."""

import re
from collections.abc import Callable, Iterable
from typing import Final

from rare_audit.detection import kql
from rare_audit.detection.rule import Parameters, Rule
from rare_audit.detection.ticks import format_ticks

_PLACEHOLDER: Final = re.compile(r"\{\{(\w+)\}\}")


def render(rule: Rule, start: int, end: int | None = None, *, by_property: bool = False) -> str:
    """Return the rule's query for one window in ticks; with no `end` it is open, as the published text is.

    With the shipped parameters and no end this is the published text, letter for letter, its two times filled in.
    Raises ValueError for a placeholder that stands for nothing.
    """
    values = {
        "StartTimeISO": format_ticks(start),
        "EndTimeISO": format_ticks(start if end is None else end),
        "endBound": "" if end is None else " and TimeGenerated < endtime",
        "key": ", ".join(rule.key(by_property=by_property)),
        **_constants(rule.parameters),
    }

    def value_of(placeholder: re.Match[str]) -> str:
        try:
            return values[placeholder[1]]
        except KeyError:
            raise ValueError(f"the query holds {placeholder[0]}, which stands for nothing") from None

    return _PLACEHOLDER.sub(value_of, rule.query)


def _constants(parameters: Parameters) -> dict[str, str]:
    literal = kql.string_literal
    return {
        "lookback": parameters.lookback,
        "propertyIgnoreList": _listed(parameters.property_ignore_list),
        "appIgnoreList": _listed(parameters.app_ignore_list),
        "ignoredPairs": "".join(
            f" and (PropertyName !~ {literal(pair.property_name)} and newValue !~ {literal(pair.new_value)})"
            for pair in parameters.ignored_pairs
        ),
        "operationIgnoreList": "".join(
            f" and OperationName !~ {literal(operation)}" for operation in parameters.operation_ignore_list
        ),
        "hostProperties": _listed(parameters.host_properties, lambda text: literal(text, "'")),
    }


def _listed(texts: Iterable[str], literal: Callable[[str], str] = kql.string_literal) -> str:
    return ", ".join(map(literal, texts))
