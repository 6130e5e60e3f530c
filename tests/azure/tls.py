"""Certificates for the loopback servers that stand in for Azure."""

import ssl
from pathlib import Path
from typing import Final

import trustme

HOST: Final = "127.0.0.1"


class Authority:
    """A certificate authority of the tests' own, with a certificate for the loopback address.

    Clients trust it by `REQUESTS_CA_BUNDLE=<bundle>`, which requests reads and so all Azure clients obey;
    `certificate` and `key` are files for servers that want files.
    """

    def __init__(self, folder: Path) -> None:
        """Write `bundle`, `certificate` and `key`, all PEM, into a folder."""
        authority = trustme.CA()
        issued = authority.issue_cert(HOST, "localhost")
        self.bundle = folder / "authority.pem"
        self.certificate = folder / "server.pem"
        self.key = folder / "server-key.pem"
        authority.cert_pem.write_to_path(str(self.bundle))
        issued.private_key_pem.write_to_path(str(self.key))
        for each in issued.cert_chain_pems:
            each.write_to_path(str(self.certificate), append=True)

    def context(self) -> ssl.SSLContext:
        """Return a server's context."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context
