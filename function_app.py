"""Azure Functions entry: triggers only. Parse, hand over, answer; all else is in the package."""

import atexit
import functools
import logging
import os
import threading
import time
from typing import TYPE_CHECKING

import azure.functions as func

if TYPE_CHECKING:
    from collections.abc import Callable

    from rare_audit.api import Answer, Cached
    from rare_audit.api.messages import HealthStatus
    from rare_audit.app import Deployed
    from rare_audit.dispatch import Dispatch

# Start-up counts: the package is imported where it is used, and the clients of Azure by it when they first are.
app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
_log = logging.getLogger(__name__)
logging.getLogger("azure").setLevel(logging.WARNING)  # else Azure's clients log each of their requests, over many lines
_QUEUE = "rare-audit-runs"
_making = threading.Lock()


# The schedule is read here with a default: an unset %SETTING% would keep the whole app from being indexed.
@app.timer_trigger(arg_name="timer", schedule=os.environ.get("RARE_AUDIT_SCHEDULE") or "0 30 1 * * *")
def daily(timer: func.TimerRequest) -> None:
    """Have the days done that are due."""
    run = _dispatch().daily(past_due=timer.past_due)
    _log.info("run %s: %s to %s is due", run.id, run.first_day, run.last_day)


@app.queue_trigger(arg_name="message", queue_name=_QUEUE, connection="AzureWebJobsStorage")
def run_days(message: func.QueueMessage) -> None:
    """Do one run."""
    _dispatch().take(_text(message))


@app.queue_trigger(arg_name="message", queue_name=f"{_QUEUE}-poison", connection="AzureWebJobsStorage")
def poison(message: func.QueueMessage) -> None:
    """Close a run that was tried too often."""
    _dispatch().poisoned(_text(message))


@app.route(route="runs", methods=["GET", "POST"])
def runs(req: func.HttpRequest) -> func.HttpResponse:
    """List runs, or have one done."""
    from rare_audit import api  # noqa: PLC0415

    if req.method == "POST":
        return _answered(lambda dispatch: api.post_run(dispatch, req.get_body()))
    return _answered(lambda dispatch: api.get_runs(dispatch, req.params.get("count", "")))


@app.route(route="runs/{id}", methods=["GET"])
def run(req: func.HttpRequest) -> func.HttpResponse:
    """Show a run."""
    from rare_audit import api  # noqa: PLC0415

    return _answered(lambda dispatch: api.get_run(dispatch, req.route_params["id"]))


@app.route(route="runs/{id}/findings", methods=["GET"])
def findings(req: func.HttpRequest) -> func.HttpResponse:
    """Show what a run found."""
    from rare_audit import api  # noqa: PLC0415

    return _answered(lambda dispatch: api.get_findings(dispatch, req.route_params["id"], req.params.get("after", "")))


@app.route(route="openapi.json", methods=["GET"])
def openapi(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - nothing is asked but that
    """Describe the API."""
    from rare_audit import api  # noqa: PLC0415

    return _response(api.get_openapi())


@app.route(route="runs/{id}/report", methods=["GET"])
def report(req: func.HttpRequest) -> func.HttpResponse:
    """Show a run as a page."""
    from rare_audit import api  # noqa: PLC0415

    return _answered(lambda dispatch: api.get_report(dispatch, req.route_params["id"]))


@app.route(route="health", methods=["GET", "HEAD"], auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> func.HttpResponse:  # noqa: ARG001 - nothing is asked but that
    """Tell whether the job is alive."""
    from rare_audit import api  # noqa: PLC0415

    return _response(api.health_answer(_known_health().get(_health_now)))


@functools.cache
def _known_health() -> "Cached[HealthStatus]":
    """Return what remembers the health for a minute: anybody may ask, and storage is not to be asked each time."""
    from rare_audit.api import Cached  # noqa: PLC0415

    return Cached("unknown", 60, time.monotonic)


def _health_now() -> "HealthStatus":
    from rare_audit import api  # noqa: PLC0415

    try:
        return _dispatch().health()
    except Exception as error:  # noqa: BLE001 - whatever it is, anybody may ask
        _log.error("no health can be told: %s", api.reason(error))
        return "unknown"


def _dispatch() -> "Dispatch":
    """Return what takes one invocation's requests, on the clients of this process."""
    with _making:
        deployed = _deployed()
    return deployed.dispatch()


@functools.cache
def _deployed() -> "Deployed":
    """Return what all invocations share; settings that are wrong are read again by the next one."""
    from rare_audit.app import Deployed  # noqa: PLC0415
    from rare_audit.settings import read_settings  # noqa: PLC0415

    deployed = Deployed(read_settings(os.environ))
    atexit.register(deployed.close)
    return deployed


def _text(message: func.QueueMessage) -> str:
    return message.get_body().decode("utf-8", "replace")


def _answered(ask: "Callable[[Dispatch], Answer]") -> func.HttpResponse:
    """Return what the package answers; of what fails outside, the caller learns no detail, and the log all."""
    from rare_audit import api  # noqa: PLC0415

    try:
        return _response(ask(_dispatch()))
    except Exception as error:  # noqa: BLE001 - whatever it is, who asks gets a document
        _log.error("a request could not be answered: %s", api.reason(error))
        return _response(api.problem(503, "Not available", "The app can't answer now; its log says why."))


def _response(answer: "Answer") -> func.HttpResponse:
    return func.HttpResponse(
        answer.body, status_code=answer.status, headers=answer.headers, mimetype=answer.kind, charset="utf-8"
    )
