"""Three events in every shape: the rule reports the third alone.

The first makes a combination known, the second repeats it in the window, the third is another operation of the app.
"""

import csv
import io
import json
from typing import Any, Final

from tests.exports.export_shapes import Json, directory_audit, lines, native_row, record, row

START: Final = "2026-03-16"
END: Final = "2026-03-17"
RARE: Final = "Add owner to application"
TIMES: Final = ("2026-03-10T08:00:00.1234567Z", "2026-03-16T09:00:00.1234567Z", "2026-03-16T10:00:00.1234567Z")


def _event(number: int, operation: str, value: str) -> Json:
    return {
        "time": TIMES[number - 1],
        "operation": operation,
        "category": "ApplicationManagement",
        "id": f"Directory_{number}",
        "correlation": f"c-{number}",
        "result": "success",
        "initiated_by": {
            "user": None,
            "app": {"appId": "a-1", "displayName": "Backup Agent", "servicePrincipalId": "s"},
        },
        "targets": [
            {
                "id": f"t-{number}",
                "displayName": "Payroll",
                "type": "Application",
                "modifiedProperties": [
                    {"displayName": "KeyDescription", "oldValue": "[]", "newValue": json.dumps([value])}
                ],
            }
        ],
    }


TRIO: Final = [
    _event(1, "Update application", "x"),
    _event(2, "Update application", "y"),
    _event(3, RARE, "ann"),
]
ROWS: Final = [row(event) for event in TRIO]
NATIVE: Final = [native_row(event) for event in TRIO]
RECORDS: Final = [record(event) for event in TRIO]
AUDITS: Final = [directory_audit(event) for event in TRIO]


def timed(values: list[Json], member: str, times: list[Any]) -> list[Json]:
    """Return copies with other times."""
    return [value | {member: time} for value, time in zip(values, times, strict=True)]


def changed(values: list[Json], number: int, **members: Any) -> list[Json]:
    """Return copies, one of them with other members."""
    return [value | members if at == number else value for at, value in enumerate(values)]


def without(values: list[Json], member: str) -> list[Json]:
    """Return copies that lack a member."""
    return [{name: inner for name, inner in value.items() if name != member} for value in values]


def document(value: Any) -> bytes:
    """Return JSON in one line."""
    return json.dumps(value, ensure_ascii=False).encode()


def ndjson(values: list[Json]) -> bytes:
    """Return JSON, a value a line."""
    return lines(values)


def table(rows: list[Json], separator: str = ",", *, quoted: bool = False) -> bytes:
    """Return rows as CSV with CRLF."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(
        text, list(rows[0]), delimiter=separator, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def renamed(rows: list[Json], old: str, new: str) -> list[Json]:
    """Return rows with a column under another name, in its place."""
    return [{new if name == old else name: value for name, value in each.items()} for each in rows]


def capitalised(value: Any) -> Any:
    """Return Graph's names with capital initials, as PowerShell's Get-Mg commands write them."""
    if isinstance(value, dict):
        return {name[:1].upper() + name[1:]: capitalised(inner) for name, inner in value.items()}
    return [capitalised(element) for element in value] if isinstance(value, list) else value
