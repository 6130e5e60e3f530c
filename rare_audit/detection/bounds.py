"""A finding small enough to be stored, sent and shown, whatever is in the log: what is left out is counted on it."""

from collections.abc import Callable, Iterable
from typing import Final, TypeVar

import msgspec

from rare_audit.detection.finding import Activity, Evidence, Finding, LeftOut, TargetResource
from rare_audit.detection.sensitive import is_sensitive

MOST_ACTIVITIES: Final = 50
MOST_NAMES: Final = 100
"""How many names of properties, and of categories, a finding has."""
VALUE_CAP: Final = 2_000
"""Characters of an old or new value."""
NAME_CAP: Final = 500
"""Characters of a name or an id. Display names and ids in Entra have at most 256."""

T = TypeVar("T")


def bounded(finding: Finding) -> Finding:
    """Return `finding` with long texts and long lists cut, the same object where nothing is.

    Of activities and names of properties those of sensitive properties stay before others, then the first; their order
    stays. `left_out` counts what is gone, so that whoever shows the finding can say so. Its `id` is that of the whole
    finding. A bounded finding takes three quarters of a million characters at most.
    """
    cut = _Cut()
    activities = _most(finding.activities, MOST_ACTIVITIES, lambda one: is_sensitive(one.property_name))
    names = _most(finding.property_names, MOST_NAMES, is_sensitive)
    categories = finding.categories[:MOST_NAMES]
    smaller = msgspec.structs.replace(
        finding,
        initiated_by_app=cut.name(finding.initiated_by_app),
        operation_name=cut.name(finding.operation_name),
        target_user_principal_name=cut.name(finding.target_user_principal_name),
        initiated_by_ip_address=cut.name(finding.initiated_by_ip_address),
        target_resource_name=cut.name(finding.target_resource_name),
        host=cut.name(finding.host),
        activities=tuple(map(cut.activity, activities)),
        property_names=tuple(map(cut.name, names)),
        categories=tuple(map(cut.name, categories)),
        app_ids=tuple(map(cut.name, finding.app_ids)),
        service_principal_ids=tuple(map(cut.name, finding.service_principal_ids)),
        targets=tuple(map(cut.target, finding.targets)),
        evidence=tuple(map(cut.evidence, finding.evidence)),
    )
    left_out = LeftOut(
        activities=len(finding.activities) - len(activities),
        property_names=len(finding.property_names) - len(names),
        categories=len(finding.categories) - len(categories),
        texts=cut.texts,
    )
    return finding if left_out == LeftOut() else msgspec.structs.replace(smaller, left_out=left_out)


def capped(text: str, most: int) -> str:
    """Return `text`, cut to `most` characters where it is longer, with how many more there are."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most} characters more)"


def _most(items: tuple[T, ...], most: int, is_first: Callable[[T], bool]) -> tuple[T, ...]:
    """Return at most `most` of some items in their order, those before others for which `is_first` holds."""
    if len(items) <= most:
        return items
    ranked = sorted(range(len(items)), key=lambda place: not is_first(items[place]))
    return tuple(items[place] for place in sorted(ranked[:most]))


class _Cut:
    """Cuts texts, and counts those that were too long."""

    def __init__(self) -> None:
        self.texts = 0

    def name(self, text: str) -> str:
        return self._cut(text, NAME_CAP)

    def activity(self, one: Activity) -> Activity:
        name, id_, correlation_id = self._names((one.property_name, one.id, one.correlation_id))
        return Activity(name, self._cut(one.new_value, VALUE_CAP), id_, correlation_id)

    def evidence(self, one: Evidence) -> Evidence:
        name, id_, correlation_id, result = self._names((one.property_name, one.id, one.correlation_id, one.result))
        old, new = (self._cut(value, VALUE_CAP) for value in (one.old_value, one.new_value))
        return Evidence(one.time_generated, id_, name, old, new, correlation_id, result)

    def target(self, one: TargetResource) -> TargetResource:
        return TargetResource(*self._names((one.id, one.type, one.display_name, one.user_principal_name)))

    def _names(self, texts: Iterable[str]) -> list[str]:
        return [self.name(text) for text in texts]

    def _cut(self, text: str, most: int) -> str:
        # What a finding was made with is cut already, and says so itself in some more characters.
        if len(text) <= most or _was_capped(text, most):
            return text
        self.texts += 1
        return capped(text, most)


def _was_capped(text: str, most: int) -> bool:
    return text[most : most + 3] == "… (" and len(text) <= most + 40 and text.endswith(" characters more)")
