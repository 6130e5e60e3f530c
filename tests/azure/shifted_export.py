"""An export moved in time by whole days, for what only ever looks at yesterday."""

import gzip
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec

_TIMES: Final = ("TimeGenerated", "ActivityDateTime")


def yesterday() -> date:
    """Return the last day that is over, in UTC."""
    return datetime.now(UTC).date() - timedelta(days=1)


def last_day(export: Path) -> date:
    """Return the day of an export's last event. Raises ValueError where it has none, or is no JSON object a line."""
    return max((date.fromisoformat(row["TimeGenerated"][:10]) for row in _rows(export)), default=None) or _none(export)


def shifted(export: Path, last: date, folder: Path) -> Path:
    """Write an export whose last event is on the day `last`; return its path. Raises ValueError as `last_day` does."""
    days = last - last_day(export)
    path = folder / f"{export.name.partition('.')[0]}-until-{last}.ndjson"
    with path.open("wb") as file:
        for row in _rows(export):
            for name in _TIMES:
                if text := row.get(name):
                    row[name] = f"{date.fromisoformat(text[:10]) + days}{text[10:]}"
            file.write(msgspec.json.encode(row) + b"\n")
    return path


def _rows(export: Path) -> Iterator[dict[str, Any]]:
    decoder = msgspec.json.Decoder(dict[str, Any])
    try:
        with gzip.open(export) if export.suffix == ".gz" else export.open("rb") as lines:
            for line in lines:
                row = decoder.decode(line)
                date.fromisoformat(row["TimeGenerated"][:10])
                yield row
    except (OSError, EOFError, msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{export}: expected one JSON object a line, each with its TimeGenerated ({error!r})"
        ) from error


def _none(export: Path) -> date:
    raise ValueError(f"{export} has no event")
