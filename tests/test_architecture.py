"""What import-linter can't hold: files that are no package, and what detection may need at all."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", sorted((ROOT / "rare_audit/detection").glob("*.py")), ids=lambda path: path.stem)
def test_detection_needs_the_standard_library_and_msgspec_alone(path: Path) -> None:
    """No module of detection imports anything else."""
    allowed = sys.stdlib_module_names | {"msgspec"}
    for name in _imports(path):
        assert name.split(".")[0] in allowed or name.startswith(("rare_audit.detection", "rare_audit.errors")), name


def test_function_app_hands_over_to_the_wiring() -> None:
    """The triggers know the Functions library, the API, the wiring and the settings; nothing else of the package."""
    ours = {name for name in _imports(ROOT / "function_app.py") if name.startswith("rare_audit")}
    assert ours <= {
        f"rare_audit{name}" for name in ("", ".api", ".api.messages", ".app", ".dispatch", ".errors", ".settings")
    }


def test_only_what_runs_is_deployed() -> None:
    """Of what lies at the top, .funcignore leaves the app, the package, host.json and the requirements."""
    ignored = [line for line in (ROOT / ".funcignore").read_text().splitlines() if line and not line.startswith("#")]
    kept = {
        path.name
        for path in ROOT.iterdir()
        if not any(path.match(pattern.rstrip("/")) for pattern in ignored) and path.name != "__pycache__"
    }
    assert kept - {"node_modules"} == {"function_app.py", "host.json", "rare_audit", "requirements.txt"}


def test_files_and_functions_stay_small() -> None:
    """No file of the package passes 320 lines, no function 60."""
    for path in [ROOT / "function_app.py", *(ROOT / "rare_audit").rglob("*.py")]:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 320, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 60, f"{path}: {node.name}"
