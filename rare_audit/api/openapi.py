"""The API's description, OpenAPI 3.1, made of the types that serve."""

from typing import Any, Final

import msgspec

from rare_audit.api.messages import (
    LISTED,
    MOST_LISTED,
    Accepted,
    FindingList,
    Health,
    Problem,
    RunList,
    RunRequest,
)
from rare_audit.records import Run

_TYPES: Final = (Accepted, FindingList, Health, Problem, Run, RunList, RunRequest)
_NO_KEY: Final = {"description": "The function key is missing or wrong"}
_KEY: Final = {"functionKey": {"type": "apiKey", "in": "header", "name": "x-functions-key"}}
_ID: Final = {
    "name": "id",
    "in": "path",
    "required": True,
    "description": "A run's id, as POST /api/runs returns it.",
    "schema": {"type": "string", "minLength": 1},
}
_COUNT: Final = {
    "name": "count",
    "in": "query",
    "description": "How many runs.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MOST_LISTED, "default": LISTED},
}
_AFTER: Final = {
    "name": "after",
    "in": "query",
    "description": "Where to go on, as `next` of the last answer has it.",
    "schema": {"type": "string", "pattern": r"^(\d{4}-\d{2}-\d{2}\.[0-9a-f-]{1,64})?$"},
}
_FORMS: Final = [["date"], ["from", "to"], ["start", "end", "dryRun"]]


def document() -> dict[str, Any]:
    """Return the description. Of a request it tells the three forms; that days are over only the service can check."""
    _, components = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    components["RunRequest"]["oneOf"] = [{"required": form} for form in _FORMS]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Rare Audit",
            "version": "1",
            "description": "Runs any past days again, or looks at them in a dry run, and tells what was found.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "security": [{"functionKey": []}],
        "paths": {
            "/api/runs": {
                "get": _operation("listRuns", "The last runs", RunList, parameters=[_COUNT], refused="count"),
                "post": _post(),
            },
            "/api/runs/{id}": {"get": _operation("getRun", "A run", Run, parameters=[_ID], unknown=True)},
            "/api/runs/{id}/findings": {
                "get": _operation(
                    "getFindings",
                    "What a run found",
                    FindingList,
                    parameters=[_ID, _AFTER],
                    refused="after",
                    unknown=True,
                )
            },
            "/api/runs/{id}/report": {"get": _report()},
            "/api/health": {"get": _health()},
            "/api/openapi.json": {
                "get": {
                    "operationId": "getOpenapi",
                    "summary": "This description",
                    "responses": {"200": _content("OpenAPI 3.1", {"type": "object"}), "401": _NO_KEY},
                }
            },
        },
        "components": {"schemas": components, "securitySchemes": _KEY},
    }


def _operation(name: str, summary: str, answer: type, *, parameters: list[Any], **cases: Any) -> dict[str, Any]:
    found = {"200": _content(summary, _ref(answer))}
    if cases.get("refused"):
        found["400"] = _problem(f"The {cases['refused']} can't be")
    if cases.get("unknown"):
        found["404"] = _problem("There is no such run")
    return {"operationId": name, "summary": summary, "parameters": parameters, "responses": _responses(found)}


def _post() -> dict[str, Any]:
    accepted = _content("The run waits", _ref(Accepted))
    accepted["headers"] = {"Location": {"description": "Where to look for it.", "schema": {"type": "string"}}}
    return {
        "operationId": "postRun",
        "summary": "Have days done, or looked at in a dry run",
        "requestBody": {"required": True, "content": {"application/json": {"schema": _ref(RunRequest)}}},
        "responses": _responses(
            {
                "202": accepted,
                "400": _problem("The run can't be done; `field` says why"),
                "429": _problem("Too many runs wait already; ask again later"),
            }
        ),
    }


def _report() -> dict[str, Any]:
    page = _content("One HTML page, under a megabyte, that loads nothing", {"type": "string"}, "text/html")
    page["headers"] = {
        "Content-Security-Policy": {"description": "No script, no request.", "schema": {"type": "string"}}
    }
    return {
        "operationId": "getReport",
        "summary": "What a run found, as a page for people",
        "parameters": [_ID],
        "responses": _responses({"200": page, "404": _problem("There is no such run")}),
    }


def _health() -> dict[str, Any]:
    return {
        "operationId": "getHealth",
        "summary": "Whether the job is alive",
        "security": [],
        "responses": {
            "200": _content("It never ran, or succeeded within 26 hours", _ref(Health)),
            "503": _content("Its last success is older, or can't be told", _ref(Health)),
        },
    }


def _responses(found: dict[str, Any]) -> dict[str, Any]:
    return {
        **found,
        "401": _NO_KEY,
        "503": _problem("The app can't answer now; its log says why"),
    }


def _ref(kind: type) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}


def _content(description: str, schema: dict[str, Any], kind: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {kind: {"schema": schema}}}


def _problem(description: str) -> dict[str, Any]:
    return _content(description, _ref(Problem), "application/problem+json")
