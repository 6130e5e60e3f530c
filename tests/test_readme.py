"""The README's claims that a machine can check."""

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from rare_audit.api.openapi import document
from rare_audit.cli import hunt, main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_option_of_hunt_is_told() -> None:
    """The table of options has them all."""
    told = set(re.findall(r"(?<=`)--?[a-z-]+", README))
    for parameter in hunt.params:
        assert set(parameter.opts) & told or parameter.name == "files", parameter.name


def test_every_format_command_and_route_is_told() -> None:
    """Of hunt, of the terminal, and of the API with its methods."""
    (form,) = (parameter for parameter in hunt.params if parameter.name == "form")
    assert isinstance(form.type, click.Choice)
    (row,) = re.findall(r"^\| `--format` \| (.*) \|$", README, re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == set(form.type.choices)
    assert set(re.findall(r"python -m rare_audit (\w+)", README)) | {"demo"} == set(main.commands)
    routes = {(method.upper(), path) for path, methods in document()["paths"].items() for method in methods}
    assert set(re.findall(r"^\| `(\w+) (/api/[^`]+)`", README, re.MULTILINE)) == routes


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_dependency_earns_its_line(file: str) -> None:
    """Each pinned package stands in a table with its reason."""
    rows = re.findall(r"^\| ([\w, @/-]+) \| .+\.", README, re.MULTILINE)
    told = {name.strip().lower() for row in rows for name in row.split(",")}
    pinned = re.findall(r"^([\w-]+)==", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    assert {name.lower() for name in pinned} <= told


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    """Line by line; only the run's id, and the folder, may differ."""
    shown = re.search(r"The demo on the bundled sample:\n\n```\n(.*?)\n```", README, re.DOTALL)
    assert shown is not None
    ran = subprocess.run(
        [sys.executable, "-m", "rare_audit", "demo", "--into", tmp_path / "demo-results"],
        capture_output=True, text=True, check=True, cwd=ROOT, encoding="utf-8",
    )  # fmt: skip
    printed = {_plain(line) for line in (ran.stdout + ran.stderr).splitlines()}
    for line in shown[1].splitlines():
        assert _plain(line) in printed or line.strip() == "…", line


def _plain(line: str) -> str:
    line = re.sub(r"run \d{8}T\d{6}-[0-9a-f]{12}", "run ID", line.rstrip())
    return re.sub(r"\S*(samples|demo-results)/", r"\1/", line)
