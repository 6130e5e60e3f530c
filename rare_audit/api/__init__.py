"""The HTTP API: requests to runs and back, free of the Functions library."""

import json
import re
import threading
from collections.abc import Callable
from itertools import islice
from typing import Any, Final, Generic, TypeVar

import msgspec

from rare_audit.api.messages import (
    LISTED,
    MOST_FINDINGS,
    MOST_LISTED,
    Accepted,
    FindingList,
    Health,
    HealthStatus,
    Problem,
    RunList,
    RunRequest,
    RunSummary,
)
from rare_audit.api.openapi import document
from rare_audit.dispatch import BusyError, Dispatch
from rare_audit.errors import InputError, RareAuditError
from rare_audit.job.planning import FieldError, Wanted, wanted_of
from rare_audit.records import Run
from rare_audit.reporting.secrets import unforeseen

_MOST_BYTES: Final = 10_000
_MOST_DIGITS: Final = 7
_SAFE: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_PLACE: Final = re.compile(r"(?:(?P<day>\d{4}-\d{2}-\d{2})\.(?P<id>[0-9a-f-]{1,64}))?", re.ASCII)
PROBLEM: Final = "application/problem+json"
_MARKS: Final = {
    b"\xef\xbb\xbf": "a byte-order mark of UTF-8",
    b"\xff\xfe": "a byte-order mark of UTF-16",
    b"\xfe\xff": "a byte-order mark of UTF-16",
}
T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True):
    """An HTTP response; the body is ASCII JSON, but for a report's, which is HTML in UTF-8."""

    status: int
    body: bytes
    kind: str
    headers: dict[str, str]


def post_run(dispatch: Dispatch, body: bytes) -> Answer:
    """Have a run done: 202 with where to look for it, 400 where it can't be."""
    try:
        request = _read(body)
        wanted = _wanted(dispatch, request)
    except FieldError as error:
        return problem(400, "The run can't be done", str(error), field=error.field)
    except InputError as error:
        return problem(400, "The request can't be read", str(error))
    try:
        run = dispatch.ask(wanted, asked_by="http", reason=request.reason, dry_run=request.dry_run)
    except BusyError as error:
        return problem(429, "Too many runs wait", str(error), **{"Retry-After": "300"})
    where = f"/api/runs/{run.id}"
    return _json(202, Accepted(run.id, run.state, where), Location=where, **{"Retry-After": "5"})


def get_runs(dispatch: Dispatch, count: str = "") -> Answer:
    """Return the last `count` runs, 20 where none is asked for, the latest first."""
    number = _number(count, LISTED)
    if not 1 <= number <= MOST_LISTED:
        return problem(400, "No such number of runs", f"count: expected 1 to {MOST_LISTED}", field="count")
    return _json(200, RunList(tuple(map(_summary, dispatch.stores.runs.latest(number)))))


def get_run(dispatch: Dispatch, run_id: str) -> Answer:
    """Return a run, or 404."""
    run = dispatch.stores.runs.get(run_id)
    if run is None:
        return _unknown()
    return _json(200, run, **({} if run.state.ended else {"Retry-After": "5"}))


def get_findings(dispatch: Dispatch, run_id: str, after: str = "") -> Answer:
    """Return what a run found, confirmed, changed and withdrew, after what was returned before; or 404."""
    place = _PLACE.fullmatch(after)
    if place is None:
        return problem(400, "No such place", "after: expected the `next` of an earlier answer", field="after")
    run = dispatch.stores.runs.get(run_id)
    if run is None:
        return _unknown()
    found = tuple(islice(dispatch.findings(run, place["day"] or "", place["id"] or ""), MOST_FINDINGS + 1))
    page = found[:MOST_FINDINGS]
    more = len(found) > MOST_FINDINGS
    following = f"{page[-1].kept.finding.day}.{page[-1].kept.finding.id}" if more else None
    total = len(run.changes.by_id())
    return _json(200, FindingList(run.id, run.state, total, following, page))


def get_report(dispatch: Dispatch, run_id: str) -> Answer:
    """Return a run's report as a page for people, or 404."""
    from rare_audit.pages import run_page  # noqa: PLC0415 - start-up counts, and templates are slow to load

    run = dispatch.stores.runs.get(run_id)
    if run is None:
        return _unknown()
    page = run_page(dispatch.stores, dispatch.job.rule, run)
    headers = {"Content-Security-Policy": page.policy, "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"}
    return Answer(200, page.html.encode(), "text/html", {**_SAFE, **headers})


def health_answer(status: HealthStatus) -> Answer:
    """Return what the world may know: 200 for never-run and ok, else 503."""
    return _json(200 if status in {"never-run", "ok"} else 503, Health(status))


def get_openapi() -> Answer:
    """Return the description of all this, made of the types that serve."""
    return _json(200, document())


class Cached(Generic[T]):
    """A value that is made anew once it is `seconds` old, by one caller at a time; `clock` tells seconds."""

    def __init__(self, first: T, seconds: float, clock: Callable[[], float]) -> None:
        """Take what callers get who ask while the first value is being made."""
        self._value = first
        self._seconds = seconds
        self._clock = clock
        self._until: float | None = None
        self._making = threading.Lock()

    def get(self, make: Callable[[], T]) -> T:
        """Return the value, made by `make` where it is not fresh; the last one where another caller makes it.

        However long that takes, nobody else waits.
        """
        if self._is_fresh() or not self._making.acquire(blocking=False):
            return self._value
        try:
            if not self._is_fresh():
                self._value = make()
                self._until = self._clock() + self._seconds
            return self._value
        finally:
            self._making.release()

    def _is_fresh(self) -> bool:
        return self._until is not None and self._clock() < self._until


def problem(status: int, title: str, detail: str, field: str = "", **headers: str) -> Answer:
    """Return an error as RFC 9457 has it; `field` names the one that is wrong."""
    return _json(status, Problem(title, status, detail, field), PROBLEM, **headers)


def reason(error: Exception) -> str:
    """Return what the log is told of an error that was met while answering: one line, without secrets."""
    return str(error) if isinstance(error, RareAuditError) else unforeseen(error)


def _number(text: str, default: int) -> int:
    """Return a number of a query, -1 where it is none, or has more digits than any that makes sense."""
    if not text:
        return default
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else -1


def _summary(run: Run) -> RunSummary:
    told: dict[str, Any] = {name: getattr(run, name) for name in RunSummary.__struct_fields__ if hasattr(run, name)}
    told |= {name: len(getattr(run.changes, name)) for name in run.changes.__struct_fields__}
    told |= {"incidents": len(run.incidents), "delivered": len(run.delivered)}
    return RunSummary(**told)


def _unknown() -> Answer:
    return problem(404, "No such run", "There is no run of this id; it may have been removed by retention.")


def _read(body: bytes) -> RunRequest:
    if len(body) > _MOST_BYTES:
        raise InputError(f"more than {_MOST_BYTES:,} bytes")
    if not body.strip():
        raise InputError(
            'the body is empty: expected JSON such as {"date": "2026-03-15"}. One that was sent in chunks, without a '
            "Content-Length, may not have come through"
        )
    for mark, what in _MARKS.items():
        if body.startswith(mark):
            raise InputError(f"the body begins with {what}: send JSON in UTF-8, without a byte-order mark")
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"the body is no UTF-8, perhaps it is Latin-1 or Windows-1252: byte {error.start + 1} is "
            f"0x{body[error.start]:02X}; send JSON in UTF-8"
        ) from error
    try:
        request = msgspec.json.decode(body, type=RunRequest)
    except msgspec.ValidationError as error:
        text = str(error)
        field = text.partition("`$.")[2].partition("`")[0] or text.partition("unknown field `")[2].partition("`")[0]
        raise FieldError(field or "body", text) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(f"the body is no JSON: {error}") from error
    return request


def _wanted(dispatch: Dispatch, request: RunRequest) -> Wanted:
    """Return the days or bounds of a request, of which exactly one form has to be there, whole."""
    forms = (("date",), ("from", "to"), ("start", "end"))
    values = {"date": request.date, "from": request.from_, "to": request.to, "start": request.start, "end": request.end}
    named = [form for form in forms if any(values[name] is not None for name in form)]
    if len(named) != 1:
        raise FieldError("date", 'expected {"date"}, {"from","to"}, or {"start","end","dryRun":true}, and one of them')
    (form,) = named
    missing = [name for name in form if values[name] is None]
    if missing:
        raise FieldError(missing[0], f"is missing: expected {' and '.join(form)}")
    if form == ("start", "end") and not request.dry_run:
        raise FieldError("dryRun", "only a dry run may have bounds of its own; a run covers whole UTC days")
    return wanted_of({name: str(values[name]) for name in form}, dispatch.now())


def _json(status: int, value: Any, kind: str = "application/json", **headers: str) -> Answer:
    # ASCII alone: what stands in names of a tenant can't be obeyed by whatever shows this, and any text can be told.
    body = json.dumps(msgspec.to_builtins(value), separators=(",", ":")).encode()
    return Answer(status, body, kind, {**_SAFE, **headers})
