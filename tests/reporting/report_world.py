"""Reports to make pages of, and a reader that takes pages apart."""

from collections.abc import Iterable
from html.parser import HTMLParser
from typing import Any, Final

import msgspec

from rare_audit.detection.finding import Evidence, Finding, History, Seen, content_id
from rare_audit.detection.ticks import TICKS_PER_DAY, day_ticks
from rare_audit.detection.windows import Windows
from rare_audit.pages import press
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.report import Delivered, Report, RunFacts, Told
from rare_audit.reporting.report.press import Page
from tests.builders import DAY, RULE_ID, finding, funnel

HOSTILE: Final = {
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)><style>*{display:none}</style>",
    "attribute": '" onmouseover="alert(1)" x=\'',
    "closing": "</bdi></h4></li></ol></section></main></details><h1>Owned</h1><base href=//evil.invalid>",
    "comment": "<!-- --><![CDATA[ ]]> &lt;b&gt; &#x3c;b&#x3e;",
    "template": "{{7*7}} {% raw %} ${7*7} {0} %s",
    "url": "javascript:alert(1) https://evil.invalid/x.png url(https://evil.invalid)",
    "long": "x" * 60_000,
    "wide": "\U0001f600" * 20_000,
    "turned": "\u202egpj.exe \u2066isolated\u2069 \u200bzero\ufeff \u05d0\u05d1\u05d2 1 + 2",
    "terminal": "\x1b[31mred\x1b[0m\x00\r\n\t\x85",
    "surrogate": "\ud800 alone",
    "formula": "=cmd|' /C calc'!A0",
}
"""What an attacker may call an app, a user, a property or a value."""
VOID: Final = frozenset({"meta", "col"})
ALLOWED: Final = {
    "html": {"lang"},
    "head": set(),
    "meta": {"charset", "http-equiv", "content", "name"},
    "title": set(),
    "style": set(),
    "body": set(),
    "colgroup": set(),
    "svg": {"class", "viewbox", "preserveaspectratio", "aria-hidden", "focusable"},
    "rect": {"width", "height"},
    "a": {"class", "href"},
    "section": {"aria-labelledby"},
    "nav": {"aria-label"},
    "ol": {"class", "start"},
    "div": {"class", "role", "aria-label", "tabindex"},
    "th": {"scope", "colspan", "class"},
    "td": {"class"},
    "p": {"class", "aria-hidden"},
    "h2": {"id"},
    **{name: {"class"} for name in ("tr", "table", "caption", "col", "span", "dl", "i")},
    **{
        name: set()
        for name in "header footer main h1 h3 h4 ul li dt dd thead tbody details summary strong bdi code".split()
    },
}
"""Every element a page may have, and its attributes."""


class Reader(HTMLParser):
    """Reads a page; fails where an element, an attribute or a link is there that templates don't make."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.texts: list[str] = []
        self.count: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Check an element."""
        assert tag in ALLOWED, tag
        for name, value in attrs:
            assert name in ALLOWED[tag], (tag, name)
            assert name != "href" or (value or "").startswith("#"), value
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check that elements close in their order."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note a text."""
        if self.open[-1:] != ["style"]:
            self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        """Refuse comments: the templates have none."""
        raise AssertionError(data)

    @property
    def text(self) -> str:
        """All that can be read."""
        return " ".join(" ".join(self.texts).split())


def read(page: Page) -> Reader:
    """Take a page apart."""
    reader = Reader()
    reader.feed(page.html)
    reader.close()
    assert reader.open == []
    return reader


def page(report: Report) -> Page:
    """Return the page of a report, made of the package's own templates."""
    return press().page(report)


def history(app: int = 0, operation: int = 0, combination: int = 0) -> History:
    """Return how familiar something was, in days."""
    return History(*(Seen(days, "2026-03-01" if days else "") for days in (app, operation, combination)))


def told(of: Finding | None = None, **overrides: Any) -> Told:
    """Return a finding as it is reported."""
    return msgspec.structs.replace(Told(finding=of or finding()), **overrides)


def numbered(number: int, **overrides: Any) -> Finding:
    """Return a finding of its own id."""
    return finding(id=content_id("finding", str(number)), **overrides)


def evidence(count: int, value: str, name: str = "KeyDescription") -> tuple[Evidence, ...]:
    """Return so many changes from and to a value."""
    stamp = f"{DAY}T08:15:30.1234567Z"
    return tuple(Evidence(stamp, f"e{number}", name, value, value, f"c{number}", "success") for number in range(count))


def windows(first: str = DAY, days: int = 1) -> Windows:
    """Return daily windows."""
    return Windows.days(day_ticks(first), day_ticks(first) + days * TICKS_PER_DAY, 14)


def report(findings: Iterable[Told] = (), **overrides: Any) -> Report:
    """Return the report of a hunt."""
    first = Report(
        rule_id=RULE_ID,
        rule_name="Rare Audit activity initiated by App",
        windows=windows(),
        findings=tuple(findings),
        funnel=funnel(),
    )
    return msgspec.structs.replace(first, **overrides)


def run_facts(**overrides: Any) -> RunFacts:
    """Return a run that is done."""
    first = RunFacts(
        id="run 1",
        state="done",
        asked_by="timer",
        started="2026-03-03T01:30:00+00:00",
        ended="2026-03-03T01:31:00+00:00",
        covers=DAY,
    )
    return msgspec.structs.replace(first, **overrides)


def of_run(findings: Iterable[Told] = (), **overrides: Any) -> Report:
    """Return the report of a run."""
    own: dict[str, Any] = {"run": run_facts(), "delivered": Delivered(), "coverage": {DAY: Coverage(14, 14)}}
    return report(findings, **own | overrides)
