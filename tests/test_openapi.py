"""The API as others see it: its description is whole, and the running app keeps to it."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from rare_audit.api import get_openapi
from tests.azure.asking import ask, posted
from tests.azure.local_stack import Stack

CHECKS: Final = ",".join(
    "not_a_server_error status_code_conformance content_type_conformance response_headers_conformance "
    "response_schema_conformance negative_data_rejection ignored_auth".split()
)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (str(each) for name, each in value.items() if name == "$ref")
        for each in value.values():
            yield from _references(each)
    elif isinstance(value, list):
        for each in value:
            yield from _references(each)


def test_description_is_whole() -> None:
    """Every reference leads somewhere, and every route of the app is told with its methods."""
    document = json.loads(get_openapi().body)
    for reference in _references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]
    assert {path: set(methods) for path, methods in document["paths"].items()} == {
        "/api/runs": {"get", "post"},
        "/api/runs/{id}": {"get"},
        "/api/runs/{id}/findings": {"get"},
        "/api/runs/{id}/report": {"get"},
        "/api/health": {"get"},
        "/api/openapi.json": {"get"},
    }


def test_the_report_is_told_as_html() -> None:
    """Alone of all answers: the others are JSON."""
    paths = json.loads(get_openapi().body)["paths"]
    kinds = {path: set(methods["get"]["responses"]["200"]["content"]) for path, methods in paths.items()}
    assert {path for path, told in kinds.items() if told != {"application/json"}} == {"/api/runs/{id}/report"}
    assert kinds["/api/runs/{id}/report"] == {"text/html"}


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Microsoft's Python worker is for Python 3.13 and later only")
def test_the_running_app_keeps_to_it(tmp_path: Path) -> None:
    """Schemathesis asks the app in the real worker what the description allows, and what it does not: no failure."""
    with Stack() as stack:
        run = posted(stack, date="2026-03-16")
        described = ask(stack, "GET", "/api/openapi.json")
        assert described.status == 200
        document = described.told
        for path in ("", "/findings", "/report"):
            document["paths"][f"/api/runs/{{id}}{path}"]["get"]["parameters"][0]["example"] = run["id"]
        file = tmp_path / "openapi.json"
        file.write_text(json.dumps(document), encoding="utf-8")
        ran = subprocess.run(
            [
                Path(sys.executable).with_name("st"), "run", file, "--url", stack.host.url,
                "-H", f"x-functions-key: {stack.host.keys.function}", "--checks", CHECKS,
                "--max-examples", "25", "--seed", "7", "--workers", "2", "--no-color", "--suppress-health-check", "all",
            ],
            capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout[-6_000:]
        assert "Tested: 7" in ran.stdout
