"""The funnel as a table whose numbers add up before the reader's eyes."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from rare_audit.detection.funnel import Funnel
from rare_audit.reporting.report.words import counted
from rare_audit.reporting.text import one_line

_MOST_REASONS: Final = 40
_LONGEST: Final = 160


class Step(msgspec.Struct, frozen=True):
    """A line: what, how many, of how many (for its bar), how far it is indented, and what it says beside."""

    what: str
    count: int
    of: int
    depth: int = 0
    aside: str = ""
    strong: bool = False

    @property
    def share(self) -> float:
        """How much of the whole this is, in percent."""
        return round(100 * self.count / self.of, 2) if self.of else 0.0


def steps(funnel: Funnel) -> tuple[Step, ...]:
    """Return the funnel from what was read to what is reported; each sum is told beside what it is the sum of."""
    return tuple(_steps(funnel))


def _steps(funnel: Funnel) -> Iterator[Step]:
    reading, baseline, current = funnel.reading, funnel.baseline, funnel.current
    whole = reading.events
    parts = (funnel.outside, baseline.events, current.events)
    yield Step("Events read", whole, whole, aside=_sum(whole, parts), strong=True)
    yield Step("outside all windows", funnel.outside, whole, 1)
    learned = f"{baseline.app_initiated:,} by apps, {baseline.combinations:,} distinct combinations"
    yield Step("in the baseline", baseline.events, whole, 1, learned)
    people = current.events - current.app_initiated
    yield Step("in the days looked at", current.events, whole, 1, _sum(current.events, (people, current.app_initiated)))
    apps, dropped = current.app_initiated, sum(current.dropped.values())
    yield Step("not by an app", people, whole, 2)
    repeated = (current.repeated,) if current.repeated else ()
    fates = (*repeated, dropped, current.on_first_tick, current.known, current.rare)
    yield Step("By apps, in the days looked at", apps, apps, aside=_sum(apps, fates), strong=True)
    if current.repeated:
        yield Step("repeated", current.repeated, apps, 1, "the same Id and content as one before")
    reasons = ", ".join(f"{drop} {count:,}" for drop, count in current.dropped.items() if count)
    yield Step("dropped by the rule", dropped, apps, 1, one_line(reasons, 3 * _LONGEST))
    yield Step("on a window's first tick", current.on_first_tick, apps, 1, "the rule counts these as known")
    yield Step("known", current.known, apps, 1, "the same app did the same before")
    excluded = (*current.excluded.values(), current.reported)
    yield Step("Rare", current.rare, apps, aside=_sum(current.rare, excluded), strong=True)
    for name, count in list(current.excluded.items())[:_MOST_REASONS]:
        yield Step(f"excluded: {one_line(name, _LONGEST)}", count, apps, 1)
    if len(current.excluded) > _MOST_REASONS:
        rest = sum(list(current.excluded.values())[_MOST_REASONS:])
        yield Step(f"by {len(current.excluded) - _MOST_REASONS} more exclusions", rest, apps, 1)
    yield Step("reported", current.reported, apps, 1, f"grouped into {counted(funnel.findings, 'finding')}")


def unread(funnel: Funnel, places: Mapping[str, str]) -> tuple[str, ...]:
    """Return a sentence for each reason why records were not read; `places` has the first of each, where known."""
    reading = funnel.reading
    lines = [*_not_read(reading.unreadable, "record", places), *_not_read(reading.files, "file", places)]
    lines += [
        f"{counted(count, 'event')} not read: {reason}, first {funnel.first_odd.get(reason, '?')}"
        for reason, count in funnel.odd.items()
    ]
    lines += [f"{counted(count, 'record')} skipped: {reason}" for reason, count in reading.skipped.items()]
    more = [f"and {len(lines) - _MOST_REASONS} more reasons"] if len(lines) > _MOST_REASONS else []
    return (*(one_line(line, 2 * _LONGEST) for line in lines[:_MOST_REASONS]), *more)


def _not_read(reasons: Mapping[str, int], what: str, places: Mapping[str, str]) -> Iterator[str]:
    for reason, count in reasons.items():
        where = f", first at {places[reason]}" if reason in places else ""
        yield f"{counted(count, what)} not read: {reason}{where}"


def _sum(whole: int, parts: tuple[int, ...]) -> str:
    """Return an equation; of parts that are more or less than the whole it says so, and not that they are equal."""
    told = " + ".join(f"{part:,}" for part in parts)
    return f"= {told}" if sum(parts) == whole else f"but the parts are {told} = {sum(parts):,}"
