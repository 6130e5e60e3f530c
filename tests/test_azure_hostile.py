"""What an attacker can name: from the log over the wire to rows, incidents, comments, bookmarks, harmless."""

import json
import unicodedata
from collections.abc import Iterator
from typing import Any, Final

import pytest
from markdown_it import MarkdownIt

from rare_audit import api
from rare_audit.app import azure
from rare_audit.detection.bounds import NAME_CAP, capped
from rare_audit.settings import read_settings
from tests.azure.small_tenant import DAY, SmallTenant
from tests.kusto.kusto import check
from tests.terminal import OBEYED

HOSTILE: Final = {
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "markdown": "[sign in](https://evil.invalid) ![x](https://evil.invalid/x.png) **bold** `code` | cell | # head",
    "kql": "'; AuditLogs | where true or '1' == '1' // \" @'",
    "key": "a/b\\c#d?e%f\t\n\r\x00\x1f\x7f\x85'",
    "long": "x" * 60_000,
    "wide": "\U0001f600" * 20_000,
    "turned": "\u202egpj.exe \u2066isolated\u2069 \u200bzero\ufeff",
    "formula": "=cmd|' /C calc'!A0",
    "terminal": "\x1b[31mred\x1b[0m \x1b]0;title\x07",
    "template": "{{7*7}} ${7*7} %s {0}",
    "odata": "x' or PartitionKey ne '",
}
"""Lone surrogates are missing here: JSON that has them is no JSON to the engine, nor to the one behind the stand-in.

Rows, incidents and answers that hold them are met in tests of the stores, of the bodies and of the API.
"""
KEPT: Final = {capped(name, NAME_CAP) for name in HOSTILE.values()}
"""The names as findings are kept."""


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallTenant]:
    """Give a tenant in which each of these names is an app's, and what it sets; it has been run."""
    apps = {value: value for value in HOSTILE.values()}
    with SmallTenant(tmp_path_factory.mktemp("hostile"), apps) as running:
        assert running.run() == "done: "
        yield running


def _contents(tenant: SmallTenant, kind: str) -> list[Any]:
    found = tenant.stack.sentinel.contents()[kind]
    return [each for one in found.values() for each in (one.values() if kind in {"comments", "relations"} else [one])]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value


def test_each_is_found(tenant: SmallTenant) -> None:
    """No name keeps an app from being seen: each has its finding, its incident, its comment and its bookmark."""
    (run,) = tenant.runs()
    assert len(run["changes"]["new"]) == len(HOSTILE)
    for kind in ("incidents", "comments", "bookmarks", "relations"):
        assert len(_contents(tenant, kind)) == len(HOSTILE), kind


def test_run_again_nothing_is_written(tenant: SmallTenant) -> None:
    """What was stored reads back as what is found again: all confirmed, nothing delivered."""
    before = tenant.stack.sentinel.contents()
    assert tenant.run() == "done: "
    latest = tenant.runs()[0]
    assert (len(latest["changes"]["confirmed"]), latest["delivered"]) == (len(HOSTILE), [])
    assert tenant.stack.sentinel.contents() == before


def test_no_character_is_obeyed(tenant: SmallTenant) -> None:
    """In nothing that analysts see stands a character that drives a terminal, turns text around or can't be seen."""
    for kind in ("incidents", "comments", "bookmarks"):
        for one in _contents(tenant, kind):
            for text in _texts(one):
                obeyed = {letter for letter in text if unicodedata.category(letter) in OBEYED} - {"\n"}
                assert not obeyed, (kind, text[:200])


def test_markdown_shows_letters(tenant: SmallTenant) -> None:
    """Descriptions and comments have no link, image, HTML, code or heading."""
    parser = MarkdownIt("commonmark").enable("table")
    texts = [one["description"] for one in _contents(tenant, "incidents")]
    texts += [one["message"] for one in _contents(tenant, "comments")]
    assert len(texts) == 2 * len(HOSTILE)
    for text in texts:
        tokens = parser.parse(text)
        kinds = {inner.type for token in tokens for inner in (token, *(token.children or ()))}
        assert not kinds & {"link_open", "image", "html_inline", "html_block", "code_inline", "heading_open", "fence"}


def test_limits_hold(tenant: SmallTenant) -> None:
    """However long the names, everything fits what the service takes; the stand-in has refused nothing."""
    for one in _contents(tenant, "incidents"):
        assert len(one["description"].encode("utf-16-le")) // 2 <= 5_000
        assert len(one["title"]) <= 200
    for one in _contents(tenant, "comments"):
        assert len(one["message"].encode("utf-16-le")) // 2 <= 30_000


def test_queries_stay_queries(tenant: SmallTenant) -> None:
    """Each bookmark's query passes Microsoft's own parser, and is one statement on AuditLogs."""
    queries = [one["query"] for one in _contents(tenant, "bookmarks")]
    assert [each.diagnostics for each in check(queries)] == [()] * len(queries)
    assert all(query.startswith("AuditLogs\n| where TimeGenerated between") for query in queries)


def test_keys_hold_no_name(tenant: SmallTenant) -> None:
    """Partition and row keys are plain, and no property is lost: rows read back whole."""
    for row in tenant.stack.rows():
        for key in (row["PartitionKey"], row["RowKey"]):
            assert key.isascii()
            assert not set(key) & set("/\\#?%'\t\n\r")
            assert len(key) <= 256
    state = tenant.state()
    kept = [values["body"] for key, values in state.items() if key[0] == "row" and key[1].startswith("findings.")]
    names = {json.loads(body)["finding"]["InitiatedByApp"] for body in kept}
    assert names == KEPT


def test_answers_are_ascii(tenant: SmallTenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API tells all of it, in ASCII."""
    for name, value in tenant.stack.environment.items():
        monkeypatch.setenv(name, value)
    run_id = tenant.runs()[-1]["id"]
    with azure(read_settings(tenant.stack.environment)) as dispatch:
        answer = api.get_findings(dispatch, run_id)
    assert answer.status == 200
    assert answer.body.isascii()
    told = json.loads(answer.body)["findings"]
    assert {one["kept"]["finding"]["InitiatedByApp"] for one in told} == KEPT
    assert {one["kept"]["finding"]["day"] for one in told} == {DAY}
