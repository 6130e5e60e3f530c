"""What the HTTP API takes and answers, as types: they serve, and the API's description is made of them."""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from rare_audit.job.planning import LONGEST_REASON
from rare_audit.records import RunFinding, State

LISTED: Final = 20
MOST_LISTED: Final = 100
MOST_FINDINGS: Final = 500
"""Findings of one answer: some megabytes, with evidence."""
HealthStatus = Literal["never-run", "ok", "stale", "unknown"]
Day = Annotated[str, Meta(description="A UTC day, YYYY-MM-DD, that is over.", examples=["2026-03-15"])]
Instant = Annotated[
    str, Meta(description="A UTC day or an instant in ISO 8601, not to come.", examples=["2026-03-15T08:00:00Z"])
]
Reason = Annotated[str, Meta(max_length=LONGEST_REASON, description="Why, in your words.")]


class RunRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What POST /api/runs takes: a date, or from and to, or of a dry run also start and end."""

    date: Day | None = None
    from_: Day | None = msgspec.field(default=None, name="from")
    to: Day | None = None
    start: Instant | None = None
    end: Instant | None = None
    dry_run: bool = False
    reason: Reason = ""


class Accepted(msgspec.Struct, frozen=True, rename="camel"):
    """A run that waits: its id, how it stands, and where to look for it."""

    id: str
    state: State
    location: str


class RunSummary(msgspec.Struct, frozen=True, rename="camel"):
    """A run in a list: ids of findings and incidents are counted, not named."""

    id: str
    first_day: str
    last_day: str
    dry_run: bool
    asked_by: str
    reason: str
    state: State
    started: str
    ended: str
    error: str
    new: int
    confirmed: int
    changed: int
    withdrawn: int
    incidents: int
    delivered: int


class RunList(msgspec.Struct, frozen=True, rename="camel"):
    """Runs, the latest first."""

    runs: tuple[RunSummary, ...]


class FindingList(msgspec.Struct, frozen=True, rename="camel"):
    """What a run found, confirmed, changed and withdrew, as it is kept now, by day and id.

    `total` counts all of them; `next` is what to ask for next, as `?after=`, null at the end.
    """

    run: str
    state: State
    total: int
    next: str | None
    findings: tuple[RunFinding, ...]


class Health(msgspec.Struct, frozen=True, rename="camel"):
    """Whether the job is alive."""

    status: HealthStatus


class Problem(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """An error as RFC 9457 has it; `field` names what is wrong of a request."""

    title: str
    status: int
    detail: str
    field: str = ""
    type: str = "about:blank"
