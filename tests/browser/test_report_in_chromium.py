"""The report as people see it: in a real browser, light, dark, narrow, on paper, by keyboard."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from playwright.sync_api import Browser

from rare_audit.detection.finding import TargetResource
from rare_audit.reporting.coverage import Coverage
from rare_audit.reporting.report import Delivered, Fate, Told
from rare_audit.reporting.report.activity import EVERYONE, app_key
from tests.azure.asking import posted
from tests.azure.local_stack import Stack
from tests.browser.chromium import Opened, chromium, opened
from tests.builders import finding
from tests.reporting.report_world import (
    HOSTILE,
    evidence,
    history,
    numbered,
    of_run,
    page,
    report,
    run_facts,
    told,
    windows,
)
from tests.terminal import BOTH_DAYS, LAST_HUNTED, hunted

WITHIN: Final = "document.documentElement.scrollWidth <= window.innerWidth"
_IDS: Final = "[...document.querySelectorAll('summary')].length"
_STOPS: Final = """() => { const it = document.activeElement;
    return it === document.body ? '' : it.tagName + [...document.querySelectorAll(it.tagName)].indexOf(it) }"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Chromium."""
    with chromium() as started:
        yield started


def _named(number: int, name: str, **more: Any) -> Told:
    return told(
        numbered(
            number,
            initiated_by_app=name,
            operation_name=name,
            target_user_principal_name=name if number % 2 else "",
            target_resource_name=name,
            initiated_by_ip_address=name,
            property_names=(name,),
            targets=(TargetResource(name, name, name, name),),
            app_ids=(name,),
            evidence=evidence(2, name, name),
            history=history(number % 4, number % 3),
        ),
        change="new",
        incident_id="incident",
        **more,
    )


def _everything() -> str:
    """Return a page with every section in it, over 31 days, and hostile names all over."""
    names = list(HOSTILE.values())
    findings = [_named(n, name, fate=Fate.WAITING) for n, name in enumerate(names)]
    gone = [msgspec.structs.replace(one, held=False) for one in findings]
    days = [f"2026-03-{day:02}" for day in range(2, 32)]
    coverage = {day: Coverage(12, 14, ("2026-02-20", "2026-02-21")) for day in days}
    return page(
        of_run(
            [*findings, *gone, told(finding())],
            windows=windows(days=30),
            coverage=coverage,
            degraded=(days[0],),
            silent=(days[3],),
            attendance={EVERYONE: "1" * 44, app_key("Backup Agent"): "10" * 22},
            notes=tuple(names),
            run=run_facts(state="failed", error=names[0], reason=names[4]),
            delivered=Delivered(("a", "b"), ("a", "x"), ("b", "c"), 12, (days[3],)),
        )
    ).html


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Give pages as files: of the sample, with everything, with nothing, and cut to fit."""
    folder = tmp_path_factory.mktemp("pages")
    many = [told(numbered(n, initiated_by_app=f"app {n:04}")) for n in range(3_000)]
    contents = {
        "sample": hunted(*BOTH_DAYS, "--exclusions", "--format", "html").stdout,
        "everything": _everything(),
        "nothing": page(report()).html,
        "cut": page(report(many)).html,
    }
    for name, html in contents.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in contents}


def _quiet(one: Opened, where: str) -> None:
    assert one.messages == []
    assert one.requests == [where]
    assert one.dialogs == []


def test_the_checks_can_fail(browser: Browser, tmp_path: Path) -> None:
    """A page that has what ours must not have is told of: or the checks below would prove nothing."""
    file = tmp_path / "page.html"
    told_of = "<title>x</title><img src=missing.png><p style='color:#999'>faint</p><script>alert(1)</script>"
    file.write_text(told_of, encoding="utf-8")
    with opened(browser, file.as_uri()) as one:
        assert one.messages
        assert len(one.requests) == 2
        assert one.dialogs == ["1"]
        assert {"image-alt", "color-contrast", "html-has-lang"} <= {rule for rule, _, _ in one.barriers()}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["sample", "everything", "nothing"])
def test_no_barriers(browser: Browser, pages: dict[str, Path], name: str, dark: bool) -> None:
    """axe-core finds none with all evidence open; the console is silent, and the page asks for nothing but itself."""
    where = pages[name].as_uri()
    with opened(browser, where, dark=dark) as one:
        _quiet(one, where)
        one.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert one.barriers() == []


@pytest.mark.parametrize("name", ["sample", "everything", "nothing", "cut"])
def test_no_sideways_scrolling(browser: Browser, pages: dict[str, Path], name: str) -> None:
    """At 360 pixels, with all evidence open; the map of many days scrolls within itself."""
    with opened(browser, pages[name].as_uri(), width=360) as one:
        assert one.page.evaluate(WITHIN)
        one.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert one.page.evaluate(WITHIN)
        if name == "everything":
            assert one.page.evaluate("(it => it.scrollWidth > it.clientWidth)(document.querySelector('.scroll'))")


def test_the_sample_fits_a_phone_whole(browser: Browser, pages: dict[str, Path]) -> None:
    """A day's map with its lookback needs no scrolling at all: the rare days are at its right end."""
    with opened(browser, pages["sample"].as_uri(), width=360) as one:
        assert one.page.evaluate("(it => it.scrollWidth <= it.clientWidth)(document.querySelector('.scroll'))")


def test_the_keyboard_reaches_all(browser: Browser, pages: dict[str, Path]) -> None:
    """Tab comes by every summary, in their order, and shows where it is."""
    with opened(browser, pages["sample"].as_uri()) as one:
        wanted = [f"SUMMARY{n}" for n in range(one.page.evaluate(_IDS))]
        assert len(wanted) == 13
        stops: list[str] = []
        for _ in range(60):
            one.page.keyboard.press("Tab")
            stop = one.page.evaluate(_STOPS)
            if not stop or stop in stops:
                break
            stops.append(stop)
            if stop.startswith("SUMMARY"):
                style = "getComputedStyle(document.activeElement).outlineStyle"
                assert one.page.evaluate(style) == "solid"
        assert [stop for stop in stops if stop.startswith("SUMMARY")] == wanted
        assert stops[0] == "A0"
        assert any(stop.startswith("DIV") for stop in stops)


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_enter_unfolds(browser: Browser, pages: dict[str, Path], script: bool) -> None:
    """The evidence of a finding, where scripts may run and where they may not."""
    with opened(browser, pages["sample"].as_uri(), script=script) as one:
        summary = one.page.locator("summary").first
        table = one.page.locator("details table").first
        assert not table.is_visible()
        summary.focus()
        one.page.keyboard.press("Enter")
        assert table.is_visible()


def test_hostile_names_are_inert(browser: Browser, pages: dict[str, Path]) -> None:
    """They make no element, no dialog, no style; what is shown of one is its letters."""
    where = pages["everything"].as_uri()
    with opened(browser, where) as one:
        one.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        one.page.mouse.move(200, 400)
        _quiet(one, where)
        for tag in ("script", "img", "iframe", "base", "link", "form", "object", "embed", "b"):
            assert one.page.locator(tag).count() == 0, tag
        assert one.page.locator("style").count() == 1
        assert one.page.locator("h1").count() == 1
        assert one.page.locator("[onmouseover],[onerror],[style]").count() == 0
        assert one.page.locator("a:not([href^='#'])").count() == 0
        assert one.page.locator("h4 strong bdi", has_text=HOSTILE["html"][:40]).first.is_visible()


def test_a_name_that_runs_from_right_to_left_turns_nothing_else(browser: Browser, tmp_path: Path) -> None:
    """What follows it in the sentence stays to its right."""
    file = tmp_path / "page.html"
    name = "\u05d0\u05d1\u05d2"
    one_finding = told(finding(initiated_by_app=name, target_user_principal_name=name))
    file.write_text(page(report([one_finding])).html, encoding="utf-8")
    with opened(browser, file.as_uri()) as one:
        first, last = (one.page.locator("h4 bdi").nth(n).bounding_box() for n in (0, 1))
        assert first
        assert last
        assert first["x"] < last["x"]


def test_on_paper(browser: Browser, pages: dict[str, Path]) -> None:
    """All evidence is open, the colours are those of paper in a dark room too, and what is for screens is gone."""
    with opened(browser, pages["sample"].as_uri(), dark=True) as one:
        assert not one.page.locator("details table").first.is_visible()
        one.page.emulate_media(media="print", color_scheme="dark")
        for table in one.page.locator("details table").all():
            box = table.bounding_box()
            assert table.is_visible()
            assert box
            assert box["height"] > 20
        assert one.page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
        assert not one.page.locator("nav").is_visible()
        assert one.page.pdf(format="A4").startswith(b"%PDF-")


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Microsoft's Python worker is for Python 3.13 and later")
def test_as_the_app_serves_it(browser: Browser) -> None:
    """Over HTTP from Microsoft's own worker: both policies hold, and the browser asks for nothing more."""
    with Stack() as stack:
        run = posted(stack, date=LAST_HUNTED)
        where = f"{stack.host.url}/api/runs/{run['id']}/report?code={stack.host.keys.function}"
        with opened(browser, where) as one:
            _quiet(one, where)
            assert one.page.locator("h4").count() == 8
            assert one.page.evaluate("document.referrer") == ""
        with opened(browser, where, script=False) as one:
            response = one.page.reload()
            assert response
            assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
            assert response.headers["content-type"] == "text/html; charset=utf-8"
