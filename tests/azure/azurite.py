"""Microsoft's storage emulator, the real program, in memory and on ports of its own.

It is installed by `npm ci --prefix tests/azure --ignore-scripts --no-audit --no-fund`. Version 3.35.0 is the last line
that runs on Node.js 20. Its own faults, where tests lean on none of them: an Int32 and an Int64 under one name can't be
filtered by (500), an entity of more than 1 MiB is accepted, keys end at 512 characters, tokens are not verified.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trustme
from azure.core.credentials import AccessToken

ACCOUNT: Final = "devstoreaccount1"
KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The emulator's account and key, the same everywhere: https://learn.microsoft.com/azure/storage/common/storage-use-azurite."""
_PROGRAM: Final = Path(__file__).parent / "node_modules/.bin/azurite"
_LISTENING: Final = re.compile(r"Azurite (Blob|Queue|Table) service is successfully listening at (\S+)")
_PATIENCE: Final = 30


@dataclass(frozen=True, slots=True)
class Azurite:
    """A running emulator. `authority` is the file of the certificate authority to trust, "" where it speaks http."""

    blob: str
    queue: str
    table: str
    authority: str = ""

    @property
    def connection_string(self) -> str:
        """The way in by the account's key."""
        return connection_string(blob=self.blob, queue=self.queue, table=self.table)


def connection_string(**endpoints: str) -> str:
    """Return a connection string with the emulator's key for account URLs by service."""
    told = ";".join(f"{service.capitalize()}Endpoint={url}" for service, url in endpoints.items())
    scheme = next(iter(endpoints.values())).partition(":")[0]
    return f"DefaultEndpointsProtocol={scheme};AccountName={ACCOUNT};AccountKey={KEY};{told};"


@contextmanager
def over_http() -> Iterator[Azurite]:
    """Start the emulator for the account's key, and end it."""
    with _started() as urls:
        yield Azurite(**urls)


@contextmanager
def over_https() -> Iterator[Azurite]:
    """Start the emulator on TLS for tokens as well, and end it. REQUESTS_CA_BUNDLE makes its authority trusted."""
    with tempfile.TemporaryDirectory() as folder:
        authority, certificate, key = (Path(folder, name) for name in ("ca.pem", "cert.pem", "key.pem"))
        issuer = trustme.CA()
        issued = issuer.issue_cert("127.0.0.1")
        issuer.cert_pem.write_to_path(authority)
        issued.private_key_pem.write_to_path(key)
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        with _started("--oauth", "basic", "--cert", str(certificate), "--key", str(key)) as urls:
            yield Azurite(**urls, authority=str(authority))


@contextmanager
def _started(*options: str) -> Iterator[dict[str, str]]:
    if not _PROGRAM.exists():
        raise RuntimeError("Azurite is missing: npm ci --prefix tests/azure --ignore-scripts --no-audit --no-fund")
    fixed = "--silent --inMemoryPersistence --disableTelemetry --skipApiVersionCheck".split()
    ports = "--blobPort 0 --queuePort 0 --tablePort 0".split()
    # Its working folder is not the project's: some versions leave files there.
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(
            [_PROGRAM, *fixed, *ports, *options],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "NODE_OPTIONS": ""},
        ) as process,
    ):
        try:
            yield _urls(process)
        finally:
            process.terminate()
            try:
                process.communicate(timeout=_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def _urls(process: "subprocess.Popen[str]") -> dict[str, str]:
    """Read where the three services listen, which each says once it does."""
    assert process.stdout
    urls: dict[str, str] = {}
    said = []
    for line in process.stdout:
        said.append(line)
        if found := _LISTENING.search(line):
            urls[found[1].lower()] = f"{found[2]}/{ACCOUNT}"
        if len(urls) == 3:
            return urls
    raise RuntimeError(f"Azurite ended at once: {''.join(said)[-500:]}")


def token(*, audience: str = "https://storage.azure.com", lasts: float = 3600) -> str:
    """Return a token that Azurite's `--oauth basic` takes: issuer, audience and times are looked at."""
    now = int(time.time())
    claims = {
        "aud": audience,
        "iss": f"https://sts.windows.net/{uuid.UUID(int=1)}/",
        "iat": now,
        "nbf": now,
        "exp": now + int(lasts),
    }
    signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{signed}.{_base64(hmac.digest(b'any key', signed.encode(), hashlib.sha256))}"


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class TokenInHand:
    """A credential that has its token, as azure-identity's have theirs once they asked for it."""

    def __init__(self, text: str) -> None:
        self._text = text

    def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        """Return the token."""
        return AccessToken(self._text, int(time.time()) + 3600)
