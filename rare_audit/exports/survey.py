"""What a first pass over an export shows: what each of its days has."""

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

import msgspec

from rare_audit.detection.event import DAY, AuditEvent, initiator_of, json_text

_REMEMBERED: Final = 512
"""Characters of the longest initiator that is remembered: the cache stays under 16,384 times that."""


class Survey(msgspec.Struct, frozen=True):
    """How many events each UTC day (`YYYY-MM-DD`) that has any has, and how many of them an app started."""

    events: dict[str, int]
    by_apps: dict[str, int]


def survey_of(events: Iterable[AuditEvent]) -> Survey:
    """Return what events show, read once."""
    all_events: Counter[str] = Counter()
    by_apps: Counter[str] = Counter()
    for event in events:
        day = event.time_generated[DAY]
        all_events[day] += 1
        initiated_by = json_text(event.initiated_by)
        if _is_app_remembered(initiated_by) if len(initiated_by) <= _REMEMBERED else _is_app(initiated_by):
            by_apps[day] += 1
    return Survey(dict(sorted(all_events.items())), dict(sorted(by_apps.items())))


def _is_app(initiated_by: str) -> bool:
    return initiator_of(initiated_by) is not None


_is_app_remembered: Final = lru_cache(maxsize=1 << 14)(_is_app)
