"""Checkov's policies for Bicep. It lives in .venv-checkov, which ./scripts/test makes: its pins are not ours."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.infra.bicep import FILES, INFRA

_CHECKOV: Final = INFRA.parent / ".venv-checkov/bin/checkov"
_NETWORK: Final = "no virtual network is made: who gets in is a matter of identity, and keys are off"
SETTLED: Final = {
    "CKV_AZURE_35": _NETWORK,
    "CKV_AZURE_59": _NETWORK,
    "CKV_AZURE_222": _NETWORK,
    "CKV_AZURE_206": "a lost region is made up for by running the days again; replication would cost twice as much",
    "CKV_AZURE_43": "the name is an expression, which it can't evaluate: strare and 13 letters or digits",
    "CKV_AZURE_225": "a job of some minutes a day waits for its zone; what it missed it catches up with",
    "CKV_AZURE_212": "likewise: one instance works at a time, by a lease",
    "CKV_AZURE_213": "health checks are for apps that always run; this one has an alert, and GET /api/health",
    "CKV_AZURE_17": "callers have a function's key, and no certificate",
    "CKV_AZURE_18": "Flex Consumption has no such setting",
    "CKV_AZURE_67": "likewise",
    "CKV_AZURE_78": "Flex Consumption has no FTP, and passwords for it are off",
}
"""What fails and is meant so."""


def _readable(bicep: str) -> str:
    """Return a file without what checkov's own parser does not know: types of objects, `!`, calls over many lines."""
    types = re.sub(
        r"^(param \w+) \{[^}]*\}(\[\])?",
        lambda it: f"{it[1]} {'array' if it[2] else 'object'}",
        bicep,
        flags=re.MULTILINE,
    )
    calls = re.sub(
        r"(\w\()\n\s+(.*?)\n\s+\)", lambda it: it[1] + re.sub(r"\s*\n\s*", " ", it[2]) + ")", types, flags=re.DOTALL
    )
    return calls.replace("!.", ".")


def test_what_fails_is_meant_so(tmp_path: Path) -> None:
    """It reads every file, and each policy that fails is one we settled; none is settled that no longer fails."""
    if not _CHECKOV.exists():
        pytest.fail(".venv-checkov is missing: run ./scripts/test, which makes it", pytrace=False)
    shutil.copytree(INFRA, tmp_path / "infra")
    for path in FILES:
        copy = tmp_path / "infra" / path.relative_to(INFRA)
        copy.write_text(_readable(path.read_text(encoding="utf-8")), encoding="utf-8")
    command = [str(_CHECKOV), "-d", "infra", "--framework", "bicep", "--skip-download", "--output", "json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0, report["results"]["parsing_errors"]
    assert report["summary"]["passed"] > 10
    assert {each["check_id"] for each in report["results"]["failed_checks"]} == SETTLED.keys()
