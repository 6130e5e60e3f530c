"""Azure Functions entry: triggers only. Parse, hand over, answer; all else is in the package."""

import logging
import os

import azure.functions as func

app = func.FunctionApp()
_log = logging.getLogger(__name__)


# The schedule is read here with a default: an unset %SETTING% would keep the whole app from being indexed.
@app.timer_trigger(arg_name="timer", schedule=os.environ.get("RARE_AUDIT_SCHEDULE") or "0 30 1 * * *")
def daily(timer: func.TimerRequest) -> None:
    """Run the job for yesterday, the last UTC day that is over."""
    from rare_audit.app import embedded_job  # noqa: PLC0415  (start-up counts: loaded when first used)
    from rare_audit.settings import read_settings  # noqa: PLC0415

    with embedded_job(read_settings(os.environ)) as job:
        day = job.yesterday()
        run = job.run(day, day, asked_by="timer", reason="past due" if timer.past_due else "")
    _log.info("run %s: %d findings, %d incidents", run.id, len(run.changes.new), len(run.delivered))
