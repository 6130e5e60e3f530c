"""Incidents as files: one JSON document each, in a folder for each day."""

from pathlib import Path

import msgspec

from rare_audit.errors import ServiceError
from rare_audit.reporting.incident import Incident
from rare_audit.reporting.text import json_safe


class Outbox:
    """ports.IncidentSink into a folder: `<folder>/<day>/<incident id>.json`."""

    notes: tuple[str, ...] = ()
    """Nothing is ever left out."""
    refused = 0
    """Nor refused."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path_of(self, incident_id: str, day: str) -> Path:
        """Return where an incident lies; both parts are made by this package, neither is free text."""
        return self._folder / day / f"{incident_id}.json"

    def deliver(self, incident: Incident, memo: str) -> str:  # noqa: ARG002 - a file tells all there is to know
        """Write an incident whole or not at all; one that is there and equal is left untouched.

        Raises ServiceError where the folder can't be written.
        """
        path = self.path_of(incident.id, incident.day)
        content = json_safe(msgspec.json.format(msgspec.json.encode(incident)).decode()).encode() + b"\n"
        try:
            if path.exists() and path.read_bytes() == content:
                return ""
            path.parent.mkdir(parents=True, exist_ok=True)
            half = path.with_suffix(".tmp")
            half.write_bytes(content)
            half.replace(path)
        except OSError as error:
            raise ServiceError(f"can't write {path}: {error.strerror}") from error
        return ""
