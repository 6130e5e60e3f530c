"""What a look at one thing came to."""

from enum import StrEnum

import msgspec


class Verdict(StrEnum):
    """How something stands. What warns does not keep the job from working."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"

    @property
    def fails(self) -> bool:
        """Whether the job can't work so."""
        return self is Verdict.FAIL


class Check(msgspec.Struct, frozen=True):
    """`what` was looked at, and what was found: of a failure what is missing, and the remedy."""

    verdict: Verdict
    what: str
    found: str


def ok(what: str, found: str) -> Check:
    """Return that something is as it should be."""
    return Check(Verdict.OK, what, found)


def warn(what: str, found: str) -> Check:
    """Return that something should be known."""
    return Check(Verdict.WARN, what, found)


def fail(what: str, found: str) -> Check:
    """Return that something keeps the job from working."""
    return Check(Verdict.FAIL, what, found)
