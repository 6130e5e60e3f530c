"""Azure Resource Manager, as far as Sentinel's incidents need it: single attempts, and one way to repeat them.

What is repeated is the caller's choice: a write together with the read it rests on, never a write alone whose answer
was lost. That is why azure-core's own RetryPolicy, which repeats single requests, is not in the pipeline.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from rare_audit.errors import RefusedError
from rare_audit.places import Workspace
from rare_audit.reporting.secrets import cause_of, error_line, unforeseen
from rare_audit.reporting.text import one_line
from rare_audit.sinks.patience import Patience, UnsettledError, again, reason, retry_after

if TYPE_CHECKING:
    from azure.core import PipelineClient
    from azure.core.credentials import TokenCredential
    from azure.core.pipeline.transport import HttpTransport
    from azure.core.rest import HttpRequest, HttpResponse

PUBLIC_CLOUD: Final = "https://management.azure.com"
STABLE: Final = "2025-09-01"
"""The newest stable version: Azure/azure-rest-api-specs, specification/securityinsights, its readme's tag."""
PREVIEW: Final = "2025-07-01-preview"
"""The version whose bookmarks have entities and tactics: its example CreateBookmark, at the same place."""
AUTHORIZATION: Final = "2022-04-01"
"""Of Microsoft.Authorization/permissions: https://learn.microsoft.com/rest/api/authorization/permissions."""

_MOST_PAGES: Final = 100

T = TypeVar("T")


class Resource(msgspec.Struct, frozen=True):
    """A resource as it was read, its version being `etag`."""

    name: str
    properties: dict[str, Any]
    etag: str | None = None


class Permission(msgspec.Struct, frozen=True, rename="camel"):
    """What one assignment of a role gives: these actions but for those; `*` stands for any text."""

    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()


class _Page(msgspec.Struct, Generic[T], frozen=True, rename={"next_link": "nextLink"}):
    value: tuple[T, ...]
    next_link: str | None = None


_LINK: Final = ":/?&=%$!'()*,;@~"
"""What stands in a next page's link for what it is; all else is of its token, which the service writes as it is."""


def _encoded(link: str) -> str:
    """Return a next page's link as it can be asked for: Sentinel's tokens are JSON, with `#` and quotation marks.

    Source: https://github.com/Azure/azure-powershell/issues/20853.
    """
    return quote(link, safe=_LINK)


def _host(url: str) -> tuple[str, str, int]:
    """Return where a URL leads; Sentinel's own links name the port."""
    parts = urlsplit(url)
    port = 443 if parts.scheme == "https" else 80
    return parts.scheme, parts.hostname or "", parts.port or port


class Arm:
    """The SecurityInsights API of one workspace. Paths are relative to it, and made by this package alone."""

    def __init__(
        self,
        workspace: Workspace,
        credential: Callable[[], "TokenCredential"],
        *,
        endpoint: str = PUBLIC_CLOUD,
        patience: Patience | None = None,
        transport: "HttpTransport[HttpRequest, HttpResponse] | None" = None,
    ) -> None:
        """Take the `credential` to make when first used; nothing is asked of the service yet."""
        self.workspace = workspace
        self.base = f"{workspace.path}/providers/Microsoft.SecurityInsights"
        self._credential = credential
        self._endpoint = endpoint.rstrip("/")
        self._patience = patience or Patience()
        self._transport = transport

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        client = self.__dict__.pop("_client", None)
        if client is not None:
            client.close()

    def again(self, attempt: Callable[[], T]) -> T:
        """Return what `attempt` returns, repeated while it raises UnsettledError and patience lasts.

        Waits at least as long as the service asks, growing and with jitter. Raises the last error.
        """
        return again(attempt, self._patience)

    def get(self, path: str, version: str = STABLE) -> Resource | None:
        """Read a resource, None where there is none. Raises UnsettledError or RefusedError."""
        answer = self._answer("GET", self._url(path, version))
        return None if answer.status_code == 404 else self._read(answer, Resource)

    def put(self, path: str, body: dict[str, Any], version: str = STABLE) -> Resource:
        """Write a resource and return it as it is now. Raises UnsettledError or RefusedError.

        An UnsettledError leaves open whether it was written.
        """
        answer = self._answer("PUT", self._url(path, version), msgspec.json.encode(body))
        if answer.status_code == 404:
            raise self._refused(answer)
        return self._read(answer, Resource)

    def list(self, path: str) -> Iterator[Resource]:
        """Yield the resources of a collection, page by page. Raises UnsettledError or RefusedError."""
        yield from self._pages(self._url(path, STABLE), _Page[Resource])

    def permissions(self) -> tuple[Permission, ...]:
        """Return what the identity's roles let it do with the workspace. Raises UnsettledError or RefusedError."""
        where = f"{self.workspace.path}/providers/Microsoft.Authorization/permissions"
        return tuple(self._pages(f"{self._endpoint}{where}?api-version={AUTHORIZATION}", _Page[Permission]))

    def check(self) -> None:
        """Return if the workspace answers; raise UnsettledError or RefusedError otherwise."""
        answer = self._answer("GET", f"{self._url('incidents', STABLE)}&$top=1")
        if answer.status_code == 404:
            raise self._refused(answer)

    @property
    def scope(self) -> str:
        """What the identity's token is asked for."""
        return f"{self._endpoint}/.default"

    def _pages(self, url: str, kind: type[_Page[T]]) -> Iterator[T]:
        for _ in range(_MOST_PAGES):
            answer = self._answer("GET", url)
            if answer.status_code == 404:
                raise self._refused(answer)
            page = self._read(answer, kind)
            yield from page.value
            if not page.next_link:
                return
            url = _encoded(page.next_link)
            if _host(url) != _host(self._endpoint):
                raise RefusedError(f"{self._endpoint} names another host for a list's next page; it is not asked")

    @cached_property
    def _client(self) -> "PipelineClient[HttpRequest, HttpResponse]":
        from azure.core import PipelineClient  # noqa: PLC0415 - azure is imported when first used
        from azure.core.pipeline import policies  # noqa: PLC0415 - as above

        from rare_audit.bounded_http import BoundedTransport  # noqa: PLC0415 - imports azure

        return PipelineClient(
            self._endpoint,
            policies=[
                policies.RequestIdPolicy(),
                policies.UserAgentPolicy("rare-audit"),
                policies.BearerTokenCredentialPolicy(self._credential(), self.scope),
            ],
            transport=self._transport or BoundedTransport(connect=10, whole=60),
        )

    def _url(self, path: str, version: str) -> str:
        return f"{self._endpoint}{self.base}/{path}?api-version={version}"

    def _answer(self, method: str, url: str, body: bytes | None = None) -> "HttpResponse":
        """Ask once; return what succeeded, or a 404."""
        from azure.core.exceptions import AzureError, ClientAuthenticationError  # noqa: PLC0415 - as above
        from azure.core.rest import HttpRequest  # noqa: PLC0415 - as above

        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if body else {})
        try:
            answer = self._client.send_request(HttpRequest(method, url, content=body, headers=headers))
        except ClientAuthenticationError as error:
            raise RefusedError(f"no token for {self._endpoint}: {error_line(str(error))}") from cause_of(error)
        except AzureError as error:
            raise UnsettledError(f"{self._endpoint} can't be reached: {error_line(str(error))}") from cause_of(error)
        except Exception as error:  # noqa: BLE001 - the libraries raise what an identity or a proxy makes them
            raise UnsettledError(f"{self._endpoint} could not be asked: {unforeseen(error)}") from cause_of(error)
        status = answer.status_code
        if status in (200, 201, 404):
            return answer
        if status in (408, 409, 412, 429) or status >= 500:
            raise UnsettledError(self._said(answer), retry_after(answer.headers.get("Retry-After", "")))
        raise self._refused(answer)

    def _read(self, answer: "HttpResponse", kind: type[T]) -> T:
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnsettledError(f"{self._asked(answer)} was answered with what is no resource: {error}") from error

    def _refused(self, answer: "HttpResponse") -> RefusedError:
        advice = self._advice(answer.status_code, answer.request.url)
        return RefusedError(f"{advice}{self._said(answer)}", answer.status_code)

    def _advice(self, status: int, url: str) -> str:
        """Say what to do. Roles: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/security."""
        where = f"the resource group {self.workspace.group} (subscription {self.workspace.subscription})"
        if status in (401, 403):
            role = "Microsoft Sentinel Contributor" if "/bookmarks/" in url else "Microsoft Sentinel Responder"
            return f"the identity needs the role {role} on {where}: "
        if status == 404:
            return (
                f"SENTINEL_WORKSPACE_RESOURCE_ID: in {where} there is no workspace {self.workspace.name} with "
                "Microsoft Sentinel, or what was written to it is gone: "
            )
        return ""

    def _said(self, answer: "HttpResponse") -> str:
        return f"{self._asked(answer)} was answered {answer.status_code} {reason(answer.content)}".rstrip()

    def _asked(self, answer: "HttpResponse") -> str:
        path = urlsplit(answer.request.url).path.removeprefix(f"{self.base}/")
        return f"{answer.request.method} {one_line(path, 200)}"
