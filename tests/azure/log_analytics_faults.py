"""What can go wrong with one answer of the Log Analytics stand-in."""

import time

import msgspec

from tests.azure.log_analytics_server import Exchange, Fault, error_body, partial_error


def status(code: int, *, retry_after: str = "", message: str = "") -> Fault:
    """Answer with an error."""
    body = error_body(str(code), message or f"status {code}")
    return lambda exchange: exchange.send(code, body, retry=retry_after)


def html(code: int) -> Fault:
    """Answer as a gateway in front of the service does."""
    return lambda exchange: exchange.send(code, b"<html><h1>Gateway Timeout</h1></html>", kind="text/html")


def empty(code: int) -> Fault:
    """Answer without a body."""
    return lambda exchange: exchange.send(code, b"")


def short_body(exchange: Exchange) -> None:
    """Claim the whole length, send half, and close the connection."""
    _, body = exchange.answer()
    exchange.send(200, body[: len(body) // 2], length=len(body))


def short_chunks(exchange: Exchange) -> None:
    """Send half of the answer in a chunk and close the connection before the last one."""
    _, body = exchange.answer()
    exchange.send_chunk(body[: len(body) // 2])


def short_json(exchange: Exchange) -> None:
    """Send the first half of the answer as if it were all."""
    _, body = exchange.answer()
    exchange.send(200, body[: len(body) // 2])


def partial(exchange: Exchange) -> None:
    """Send the whole answer with an error beside it, as for a result that was cut off."""
    _, body = exchange.answer()
    exchange.send(200, body[:-1] + b',"error":' + msgspec.json.encode(partial_error("cut off")) + b"}")


def drop(exchange: Exchange) -> None:
    """Close the connection without a word."""
    exchange.hang_up()


def slow(seconds: float) -> Fault:
    """Answer late."""

    def answer(exchange: Exchange) -> None:
        time.sleep(seconds)
        exchange.send(*exchange.answer())

    return answer


def stalled(seconds: float) -> Fault:
    """Send half of the answer, and no more for a while."""

    def answer(exchange: Exchange) -> None:
        _, body = exchange.answer()
        exchange.send(200, body[: len(body) // 2], length=len(body))
        time.sleep(seconds)

    return answer


def redirect(code: int, to: str) -> Fault:
    """Send whoever asks elsewhere."""
    return lambda exchange: exchange.redirect(code, to)


def dripping(seconds: float, times: int) -> Fault:
    """Claim the whole length, and send a byte every so many seconds, so many times."""

    def answer(exchange: Exchange) -> None:
        _, body = exchange.answer()
        exchange.drip(body[:times], len(body), seconds)

    return answer


def echo(code: int) -> Fault:
    """Answer with an error that repeats the request's token, as a careless proxy might."""
    return lambda exchange: exchange.send(code, error_body("Echo", f"got {exchange.authorization()}"))
