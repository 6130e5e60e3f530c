"""Times: every way in which exports write them, and every value that is refused."""

import re
from typing import Final

import pytest

from rare_audit.exports.times import AmbiguousDateError, DateOrder, UnreadableTimeError, order_of, utc
from tests.exports.time_values import COUNTED, ISO, NAMED, NUMBERED, ORDERED, REFUSED, TEN

DMY: Final = DateOrder.DAY_FIRST
MDY: Final = DateOrder.MONTH_FIRST


@pytest.mark.parametrize(
    ("value", "order", "expected"),
    [
        *[(text, order, expected) for text, expected in ISO + NAMED + COUNTED for order in (None, DMY, MDY)],
        *[(text, None, expected) for text, expected in NUMBERED],
        *[("4.3.2026", order, "2026-03-04T00:00:00.0000000Z") for order in DateOrder],
        *[("3/3/2026", order, "2026-03-03T00:00:00.0000000Z") for order in DateOrder],
        *ORDERED,
    ],
)
def test_read(value: object, order: DateOrder | None, expected: str) -> None:
    """Each form gives its instant, in any order where the form fixes its own; reading the result changes nothing."""
    assert utc(value, order) == expected
    assert utc(expected, order) == expected


def short(value: object) -> str:
    """Return a test's name for a value; integers may be too long to print."""
    return ascii(value)[:30] if isinstance(value, str | float) else type(value).__name__  # an address would differ


@pytest.mark.parametrize("order", [None, DMY, MDY])
@pytest.mark.parametrize("value", REFUSED, ids=short)
def test_refused(value: object, order: DateOrder | None) -> None:
    """What names no instant is unreadable in any order, proves no order, and the error is one printable line."""
    with pytest.raises(UnreadableTimeError) as caught:
        utc(value, order)
    assert str(caught.value).isprintable()
    assert "accepted: ISO 8601 (" in str(caught.value)
    assert order_of(value) is None


def test_longest_text() -> None:
    """A hundred characters are read, and one more is not."""
    text = "2026-03-16T10:00:00."
    assert utc(text.ljust(100, "0")) == TEN
    with pytest.raises(UnreadableTimeError):
        utc(text.ljust(101, "0"))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 90, f"'{'x' * 40}' can't be read"),
        ("a\x1b[31m\n\u202e\ufe0f", r"'a\x1b[31m\n\u202e\ufe0f' can't be read"),
        (True, "True can't be read"),
        (float("nan"), "nan can't be read"),
        (5, "5 can't be read"),
        pytest.param(10**5000, "a number of more than 40 digits can't be read", id="long"),
        (["secret"] * 1000, "a value of type list can't be read"),
        ("3/16/26", "years have four digits"),
    ],
)
def test_what_a_refusal_shows(value: object, shown: str) -> None:
    """The error shows the value, short and with its invisible characters escaped, and what years look like."""
    with pytest.raises(UnreadableTimeError, match=re.escape(shown)):
        utc(value)


@pytest.mark.parametrize("text", ["3/4/2026", "03-04-2026", "12/1/2026 10:00:00 PM", '" 3/4/2026, 10:00 +02:00"'])
def test_ambiguous(text: str) -> None:
    """Where both orders name an instant and they differ, none is chosen; the error shows the text."""
    with pytest.raises(AmbiguousDateError, match=re.escape(repr(text))):
        utc(text)
    assert order_of(text) is None
    assert utc(text, DMY) != utc(text, MDY)


@pytest.mark.parametrize(
    ("text", "order", "reason"),
    [("13/1/2026", MDY, "with its month first"), ("1-13-2026 10:00 AM", DMY, "with its day first")],
)
def test_contradicted_order(text: str, order: DateOrder, reason: str) -> None:
    """A value that the order makes impossible is unreadable, and the error names the order."""
    with pytest.raises(UnreadableTimeError, match=reason):
        utc(text, order)


@pytest.mark.parametrize(
    ("value", "order"),
    [
        *[(text, DMY) for text in ("16/3/2026", "16-03-2026 10:00", '"31/12/2026, 11:59:59 PM"', "29/2/2028")],
        *[(text, MDY) for text in ("3/16/2026", "03-16-2026 10:00", "12/31/2026, 11:59:59\u202fPM", "2/29/2028")],
        *[(text, None) for text in ("3/4/2026", "3/3/2026", "12/12/2026", "31/2/2026", "2/29/2026", "16/3/2026 25:00")],
        *[(value, None) for value in ("2026-03-16", "16.03.2026", "16 Mar 2026", "1773655200", 1773655200, "", None)],
    ],
)
def test_order_of(value: object, order: DateOrder | None) -> None:
    """Only a day over 12 in a date that could have either order proves one."""
    assert order_of(value) is order
