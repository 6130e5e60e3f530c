"""A server that answers every connection with bytes as they are, and then keeps it waiting."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

DRIP: Final = 0.05
"""Seconds between two drops."""


@contextmanager
def dripping(*parts: bytes, drip: bytes = b"", close: bool = False) -> Iterator[str]:
    """Answer each connection with `parts`, then a byte of `drip` every now and then for ever, or nothing more."""
    over = threading.Event()
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while not over.is_set():
            try:
                client, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=[client], daemon=True).start()

    def answer(client: socket.socket) -> None:
        with client:
            try:
                client.recv(65_536)
                for part in parts:
                    client.sendall(part)
                while not over.wait(DRIP) and not close:
                    client.sendall(drip)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        over.set()
        listening.close()
