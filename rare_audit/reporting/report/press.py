"""A report as one HTML page that stands alone: no script, no request, under a megabyte whatever was found."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from itertools import groupby
from operator import itemgetter
from typing import Final

import msgspec
from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup

from rare_audit.reporting.report import Report, Told
from rare_audit.reporting.report.finding import LEVELS, FindingView, Setting, at_least, brief, whole
from rare_audit.reporting.report.ranking import novelty, ranked
from rare_audit.reporting.report.view import TIERS, view

MOST_BYTES: Final = 1_000_000
_FOR_EVIDENCE: Final = 0.65
"""The part of the room for findings that those with evidence may take; the rest names more of them."""
_FOR_ONE: Final = 48_000
"""More than a glimpse of any finding takes."""
_FOR_HEADINGS: Final = 8_000


class Page(msgspec.Struct, frozen=True):
    """An HTML page, and the Content-Security-Policy to serve it with."""

    html: str
    policy: str


class Tier(msgspec.Struct, frozen=True):
    """Findings that are equally new, as HTML, the first of them being number `first`."""

    title: str
    first: int
    count: int
    items: tuple[Markup, ...]


class Cut(msgspec.Struct, frozen=True):
    """How many findings stand there without evidence, and how many don't at all."""

    without_evidence: int = 0
    unlisted: int = 0


class Press:
    """Makes pages of reports from templates: `report.html`, `finding.html` and `report.css`, by their names."""

    def __init__(self, templates: Mapping[str, str]) -> None:
        """Compile the templates."""
        self._style = templates["report.css"]
        self._environment = Environment(
            loader=DictLoader(dict(templates)),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._finding = self._environment.get_template("finding.html")
        self._report = self._environment.get_template("report.html")

    @cached_property
    def _policy(self) -> str:
        digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"

    def page(self, report: Report) -> Page:
        """Return a report's page, in UTF-8 no longer than MOST_BYTES; what is cut for that is told on it."""
        held = ranked(told for told in report.findings if told.held)
        render = partial(
            self._report.render,
            view=view(report),
            # The style is ours, and its hash is of these very letters: nothing may be escaped in it.
            style=Markup(self._style),  # noqa: S704 - a constant of this package
            policy=self._policy,
        )
        most = Cut(without_evidence=len(held), unlisted=len(held))
        room = MOST_BYTES - len(render(tiers=(), cut=most).encode()) - _FOR_HEADINGS
        items, cut = self._items(held, report, room)
        # A frame can't be forbidden from within: in a meta element the browser would complain about it.
        return Page(render(tiers=tuple(_tiers(held, items)), cut=cut), f"{self._policy}; frame-ancestors 'none'")

    def _items(self, held: tuple[Told, ...], report: Report, room: int) -> tuple[list[Markup], Cut]:
        """Return findings as HTML, the worst first, as many and with as much evidence as `room` bytes hold.

        From the first on whose evidence finds no room, none has any.
        """
        setting = Setting(
            lookback_days=report.windows.lookback_days,
            dated=len({told.finding.day for told in held}) > 1,
            coverage=dict(report.coverage),
            degraded=frozenset(report.degraded),
        )
        items: list[Markup] = []
        evidence, bare = int(room * _FOR_EVIDENCE), 0
        for told in held:
            item = None if bare else self._with_evidence(told, setting, min(evidence, _FOR_ONE))
            if item is None:
                item = self._html(brief(told, setting))
                bare += 1
            evidence -= _size(item)
            room -= _size(item)
            if room < 0:
                return items, Cut(bare - 1, len(held) - len(items))
            items.append(item)
        return items, Cut(bare)

    def _with_evidence(self, told: Told, setting: Setting, room: int) -> Markup | None:
        """Return a finding with as much of its evidence as fits into `room` bytes, None where not even a glimpse does.

        What is hopeless isn't tried: to make five thousand large findings harmless, to no end, would take minutes.
        """
        glimpse = self._html(whole(told, setting, LEVELS[-1]))
        if _size(glimpse) > room:
            return None
        hopeful = (level for level in LEVELS[:-1] if at_least(told, level) <= room)
        better = (self._html(whole(told, setting, level)) for level in hopeful)
        return next((item for item in better if _size(item) <= room), glimpse)

    def _html(self, finding: FindingView) -> Markup:
        return Markup(self._finding.render(finding=finding))  # noqa: S704 - our template has escaped all in it


def _size(item: Markup) -> int:
    return len(item.encode())


def _tiers(held: tuple[Told, ...], items: list[Markup]) -> Iterator[Tier]:
    """Yield what is listed in its order, divided where novelty changes; `count` has the unlisted too."""
    levels = [novelty(told.finding.history) for told in held]
    counts, number = Counter(levels), 1
    for level, those in groupby(zip(levels, items, strict=False), key=itemgetter(0)):
        listed = tuple(item for _, item in those)
        yield Tier(TIERS[level], number, counts[level], listed)
        number += len(listed)
