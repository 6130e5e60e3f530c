"""A run in a few lines: what was read, and what became of it."""

from collections.abc import Iterator, Mapping

from rare_audit.detection.funnel import Funnel
from rare_audit.reporting.text import one_line

_MOST = 200


def funnel_lines(funnel: Funnel, places: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines of a funnel; `places` says where the first record was that could not be read for each reason."""
    reading, baseline, current = funnel.reading, funnel.baseline, funnel.current
    yield f"read {_count(reading.events, 'event')}, {funnel.outside:,} of them outside all windows"
    for reason, count in reading.unreadable.items():
        yield one_line(f"  not read: {_count(count, 'record')}, {reason}, first at {places.get(reason, '?')}", _MOST)
    for reason, count in reading.skipped.items():
        yield one_line(f"  skipped: {_count(count, 'record')}, {reason}", _MOST)
    yield (
        f"baseline: {_count(baseline.events, 'event')}, {baseline.app_initiated:,} by apps, "
        f"{_count(baseline.combinations, 'distinct combination')}"
    )
    yield f"current: {_count(current.events, 'event')}, {current.app_initiated:,} by apps; of these"
    dropped = ", ".join(f"{drop} {count:,}" for drop, count in current.dropped.items() if count)
    yield f"  dropped by the rule: {sum(current.dropped.values()):,}" + (f" ({dropped})" if dropped else "")
    yield f"  on the window's first tick, which the rule counts as known: {current.on_first_tick:,}"
    yield f"  known: {current.known:,}"
    yield f"  rare: {current.rare:,}"
    for name, count in current.excluded.items():
        yield one_line(f"    excluded by {name}: {count:,}", _MOST)
    yield f"findings: {funnel.findings:,}, from {_count(current.reported, 'event')}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
