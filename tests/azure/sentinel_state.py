"""What the stand-in for Sentinel holds, what an analyst may do to it, and how it can be made to fail."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

Resource = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """What happens to a request in place of an answer, `applied` first or not. Status 0 drops the connection.

    With `seconds` the answer is merely late; `cut` ends the true answer early; `garbage` is
    answered in place of JSON, with 200 unless there is a status.
    """

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    applied: bool = False
    seconds: float = 0.0
    cut: bool = False
    garbage: bytes = b""


@dataclass
class Workspace:
    """What a workspace holds. Etags are left out of `contents`, by which two of them are compared."""

    incidents: dict[str, Resource] = field(default_factory=dict)
    bookmarks: dict[str, Resource] = field(default_factory=dict)
    comments: dict[str, dict[str, Resource]] = field(default_factory=dict)
    relations: dict[str, dict[str, Resource]] = field(default_factory=dict)
    versions: Iterator[int] = field(default_factory=lambda: count(1))
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def contents(self) -> dict[str, Any]:
        """Return all that is kept, without etags."""
        return {
            "incidents": {name: each["properties"] for name, each in self.incidents.items()},
            "bookmarks": {name: each["properties"] for name, each in self.bookmarks.items()},
            "comments": {
                name: {inner: each["properties"] for inner, each in those.items()}
                for name, those in self.comments.items()
            },
            "relations": {
                name: {inner: each["properties"] for inner, each in those.items()}
                for name, those in self.relations.items()
            },
        }

    def etag(self) -> str:
        """Return a new version."""
        return f'"{next(self.versions):08x}-0000-0000-0000-5c37296e0000"'

    def edit(self, incident_id: str, **properties: Any) -> None:
        """Change an incident as an analyst does; severity, status, owner or whatever."""
        incident = self.incidents[incident_id]
        incident["properties"] |= properties
        incident["etag"] = self.etag()

    def close(self, incident_id: str) -> None:
        """Close an incident as an analyst does."""
        self.edit(incident_id, status="Closed", classification="BenignPositive")

    def delete(self, incident_id: str) -> None:
        """Delete an incident, its comments and its relations; bookmarks stay."""
        del self.incidents[incident_id]
        self.comments.pop(incident_id, None)
        self.relations.pop(incident_id, None)
