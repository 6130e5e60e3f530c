"""What tests ask of the project as a whole: its code as text, and what a piece of it imports."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]


def code() -> str:
    """Return all that is deployed of Python, as one text."""
    files = [ROOT / "function_app.py", *sorted((ROOT / "rare_audit").rglob("*.py"))]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def own_settings() -> set[str]:
    """Return the settings of this project that its code names."""
    return set(re.findall(r"\bRARE_AUDIT_[A-Z_]+", code()))


def azure_imported_by(program: str) -> list[str]:
    """Return the modules of Azure's clients, and of what they stand on, that a new process has after a program."""
    found = "[name for name in sys.modules if name.partition('.')[0] in ('azure', 'requests', 'msal')]"
    ran = subprocess.run(
        [sys.executable, "-c", f"{program}\nimport sys\nprint(*{found})"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return ran.stdout.split()
