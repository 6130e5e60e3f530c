"""A function app to try the stand-in for the Functions host on: its functions do as their messages and requests say.

What they did is in files of the folder that the setting SCRATCH names.
"""

import json
from pathlib import Path
from typing import Any, Final

_SOURCE: Final = '''
import json
import logging
import os
import time
from pathlib import Path

import azure.functions as func

app = func.FunctionApp()
here = Path(os.environ["SCRATCH"])


def note(file, text):
    with (here / file).open("a") as opened:
        opened.write(text + "\\n")


@app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%")
def daily(timer: func.TimerRequest) -> None:
    print("printed, and in nobody's way")
    logging.getLogger("scratch").info("past due: %s", timer.past_due)
    note("daily", str(timer.past_due))


@app.timer_trigger(arg_name="timer", schedule="0 0 0 * * *")
def failing(timer: func.TimerRequest) -> None:
    raise ValueError("it had to fail")


@app.queue_trigger(arg_name="message", queue_name="%QUEUE%", connection="AzureWebJobsStorage")
def work(message: func.QueueMessage) -> None:
    """The text is what to do, at each time it is taken: fail, hang, slow or anything else."""
    text = message.get_body().decode()
    each = text.split()
    note("work", f"{text} | {message.dequeue_count}")
    match each[min(message.dequeue_count, len(each)) - 1]:
        case "fail":
            raise ValueError("the message says so")
        case "hang":
            time.sleep(600)
        case "slow":
            time.sleep(2.5)
    note("done", text)


@app.queue_trigger(arg_name="message", queue_name="%QUEUE%-poison", connection="AzureWebJobsStorage")
def poison(message: func.QueueMessage) -> None:
    note("poison", message.get_body().decode())
    if message.get_body().endswith(b"worse"):
        raise ValueError("not even that")


@app.route(route="things/{id}", methods=["GET", "POST"])
def thing(req: func.HttpRequest) -> func.HttpResponse:
    told = {
        "method": req.method, "url": req.url, "query": dict(req.params), "route": dict(req.route_params),
        "body": req.get_body().hex(), "agent": req.headers.get("User-Agent"), "two": req.headers.get("x-two"),
    }
    body, headers = json.dumps(told), {"Location": "/here"}
    return func.HttpResponse(body, status_code=202, headers=headers, mimetype="application/json")


@app.route(route="things/latest", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
def latest(req: func.HttpRequest) -> str:
    return "the latest"


@app.route(auth_level=func.AuthLevel.ANONYMOUS)
def fails(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("a secret of the app")


@app.route(route="hangs/{*rest}", auth_level=func.AuthLevel.ANONYMOUS)
def hangs(req: func.HttpRequest) -> func.HttpResponse:
    note("hangs", req.route_params["rest"])
    time.sleep(600)


@app.route(auth_level=func.AuthLevel.ADMIN)
def keys(req: func.HttpRequest) -> str:
    return "for administrators"
'''
FUNCTIONS: Final = {"daily", "failing", "work", "poison", "thing", "latest", "fails", "hangs", "keys"}


def write(folder: Path, source: str = _SOURCE, **host: Any) -> Path:
    """Write the app into a folder, with what host.json has besides its version; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "function_app.py").write_text(source)
    (folder / "host.json").write_text(json.dumps({"version": "2.0", **host}))
    return folder


def noted(folder: Path, file: str) -> list[str]:
    """Return what functions wrote into a file."""
    path = folder / file
    return path.read_text().splitlines() if path.exists() else []
