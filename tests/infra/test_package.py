"""What is deployed: the files that .funcignore leaves, with the dependencies that Azure's build adds."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pathspec

from tests.infra.bicep import INFRA

ROOT: Final = INFRA.parent
MOST: Final = 60_000_000
_HOST: Final = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
# https://learn.microsoft.com/azure/azure-functions/functions-host-json and .../functions-bindings-storage-queue.
_KEYS: Final = {
    "": {"version", "functionTimeout", "extensionBundle", "extensions", "logging", "telemetryMode", "concurrency"},
    "extensionBundle": {"id", "version"},
    "extensions": {"queues", "http"},
    "extensions.http": {"routePrefix", "maxOutstandingRequests", "maxConcurrentRequests", "dynamicThrottlesEnabled"},
    "extensions.queues": {
        "batchSize", "maxDequeueCount", "maxPollingInterval", "messageEncoding", "newBatchThreshold",
        "visibilityTimeout",
    },
    "logging": {"fileLoggingMode", "logLevel", "console", "applicationInsights"},
}  # fmt: skip


def _deployed() -> list[Path]:
    """Return the files of the repository that a deployment takes along, by git's own list of them."""
    lines = (ROOT / ".funcignore").read_text(encoding="utf-8").splitlines()
    ignored = pathspec.GitIgnoreSpec.from_lines(lines)
    known = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    return [ROOT / name for name in known.stdout.decode().splitlines() if not ignored.match_file(name)]


def test_only_what_runs_is_taken_along() -> None:
    """Python and the package's own data, host.json and the requirements; no test, no document, no infrastructure."""
    names = {path.relative_to(ROOT).as_posix() for path in _deployed() if path.name != "node_modules"}
    assert {"function_app.py", "host.json", "requirements.txt", "rare_audit/rules/exclusions.yaml"} <= names
    for name in names:
        assert re.fullmatch(r"function_app\.py|host\.json|requirements\.txt|rare_audit/[\w/.-]+", name), name
    assert sum(path.stat().st_size for path in _deployed() if path.is_file()) < 2_000_000


def test_requirements_are_such_as_the_build_takes() -> None:
    """Each is pinned, and none is the worker, which the platform brings."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    assert all(re.match(r"[\w-]+==[\d.]+(; .+)?$", line) for line in pinned)
    assert not [line for line in pinned if line.startswith(("azure-functions-worker", "azure-functions-runtime"))]


def test_the_package_is_small(tmp_path: Path) -> None:
    """Everything installs from wheels for Linux and Python 3.13, and weighs less than 60 MB with our own files."""
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-compile",
        "--only-binary=:all:", "--python-version=3.13", "--implementation=cp", "--platform=manylinux2014_x86_64",
        "--platform=manylinux_2_28_x86_64", f"--target={tmp_path}", "-r", str(ROOT / "requirements.txt"),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    files = [path for path in (*tmp_path.rglob("*"), *_deployed()) if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST
    assert (tmp_path / "azure/functions").is_dir()


def test_host_json_says_what_the_host_knows() -> None:
    """No key is misspelt, and the values are of the kinds that the documentation gives."""
    for where, known in _KEYS.items():
        part = _HOST
        for key in filter(None, where.split(".")):
            part = part.get(key, {})
        assert part.keys() <= known, where
    assert _HOST["version"] == "2.0"
    assert re.fullmatch(r"\d\d:\d\d:\d\d", _HOST["functionTimeout"])
    queues = _HOST["extensions"]["queues"]
    assert 1 <= queues["batchSize"] <= 32
    assert re.fullmatch(r"\d\d:\d\d:\d\d", queues["visibilityTimeout"])
    assert queues["messageEncoding"] in {"base64", "none"}


def test_the_extension_bundle_is_pinned() -> None:
    """To the one major version that Flex Consumption takes."""
    assert _HOST["extensionBundle"] == {"id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)"}


def test_python_is_the_one_that_is_deployed() -> None:
    """Bicep asks for the Python that the package is made for."""
    assert "version: '3.13'" in (INFRA / "app/job.bicep").read_text(encoding="utf-8")
