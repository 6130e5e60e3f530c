"""How the stand-in for the Functions host finds the function of a request, and whether its key is good.

Sources: https://learn.microsoft.com/azure/azure-functions/functions-bindings-http-webhook-trigger; a method that no
route takes is answered 404 as well: Azure/azure-functions-host#10098. Constraints in templates ({id:int}) are not held.
"""

import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.azure.functions_worker_client import Ended
from tests.azure.gate import Answer
from tests.azure.loopback import Request

_PARAMETER: Final = re.compile(r"\{(?P<star>\*{0,2})(?P<name>\w+)(?::[^}]*)?(?P<optional>\??)\}")


@dataclass(frozen=True, slots=True)
class Keys:
    """The app's keys: made up anew for every host."""

    function: str = field(default_factory=lambda: secrets.token_urlsafe(40))
    master: str = field(default_factory=lambda: secrets.token_urlsafe(40))

    def open(self, level: str, given: str) -> bool:
        """Tell whether a key is good for an authorization level."""
        if level == "anonymous":
            return True
        return given in ({self.master} if level == "admin" else {self.function, self.master})


@dataclass(frozen=True, slots=True)
class Route:
    """A function's route. `rank` says which of several that match is taken: literal parts go first."""

    function: str
    pattern: re.Pattern[str]
    methods: frozenset[str]
    level: str
    rank: tuple[int, ...]

    def parameters(self, method: str, path: str) -> dict[str, str] | None:
        """Return the parameters in a path, None where the route is another's."""
        found = self.pattern.fullmatch(path)
        if found is None or (self.methods and method not in self.methods):
            return None
        return {name: unquote(value) for name, value in found.groupdict().items() if value is not None}


def route(function: str, binding: Mapping[str, Any], prefix: str) -> Route:
    """Read the route of an HTTP trigger."""
    parts = [part for part in (binding.get("route") or function).strip("/").split("/") if part]
    pattern, rank = re.escape(f"/{prefix}" if prefix else ""), []
    for part in parts:
        found = _PARAMETER.fullmatch(part)
        if found is None:
            pattern += "/" + re.escape(part)
        else:
            value = f"/(?P<{found['name']}>{'.+' if found['star'] else '[^/]+'})"
            pattern += f"(?:{value})?" if found["optional"] or found["star"] else value
        rank.append(0 if found is None else 2 if found["star"] else 1)
    methods = frozenset(method.upper() for method in binding.get("methods") or ())
    level = str(binding.get("authLevel") or "function").lower()
    return Route(function, re.compile(f"{pattern}/?", re.IGNORECASE), methods, level, tuple(rank))


def find(routes: Iterable[Route], request: Request) -> tuple[Route, dict[str, str]] | None:
    """Return the route of a request and the parameters in it."""
    for each in sorted(routes, key=lambda each: each.rank):
        if (parameters := each.parameters(request.method, request.path)) is not None:
            return each, parameters
    return None


def key_of(request: Request) -> str:
    """Return the key that a request brings, "" where there is none."""
    query = dict(parse_qsl(urlsplit(request.target).query))
    return str(request.headers.get("x-functions-key") or query.get("code", ""))


def datum_of(request: Request, parameters: Mapping[str, str], body: str) -> list[Any]:
    """Word a request as the host does for its worker; `body` in base64."""
    query: dict[str, str] = {}
    for name, value in parse_qsl(urlsplit(request.target).query, keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in query else value
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name.lower()] = f"{headers[name.lower()]},{value}" if name.lower() in headers else value
    url = f"http://{headers.get('host', '')}{request.target}"
    maps = {"headers": headers, "params": dict(parameters), "query": query}
    return ["http", {"method": request.method, "url": url, "body": body, **maps}]


def answer_of(ended: Ended) -> Answer:
    """Return what the caller of an HTTP function gets; of a failure, nothing but the status."""
    if not ended.ok:
        return Answer(500)
    if ended.returned is None:
        return Answer(204)
    return Answer(ended.returned.status, ended.returned.body, ended.returned.headers)
