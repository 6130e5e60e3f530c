"""The contract on Azurite by token (by key the fixture `table` has it), and what only Azure's tables can get wrong."""

import random
import string
from collections.abc import Iterator
from typing import Final

import pytest
from azure.data.tables import TableClient
from hypothesis import given, settings
from hypothesis import strategies as st

from rare_audit.errors import ServiceError
from rare_audit.ports import Entity, Table
from rare_audit.stores.properties import UnpackError, decode, encode
from rare_audit.stores.tables import AzureTable, by_connection_string, by_identity
from tests.azure.azurite import Azurite, TokenInHand, token
from tests.project import azure_imported_by
from tests.stores.table_contract import TableContract

_LETTERS: Final = string.ascii_letters + string.digits + string.punctuation
_ANY_TEXT: Final = st.text(st.characters(exclude_categories=()), max_size=50)


def _noise(length: int) -> str:
    """Return text that packing can't make much smaller."""
    return "".join(random.Random(length).choices(_LETTERS, k=length))


@pytest.fixture
def stored(azurite: Azurite, name: str) -> Iterator[AzureTable]:
    """Give an empty table by the account's key."""
    with by_connection_string(azurite.connection_string, name) as table:
        yield table


class TestByToken(TableContract):
    """The contract over HTTPS with a token."""

    @pytest.fixture
    def table(self, secure_azurite: Azurite, name: str) -> Iterator[Table]:
        """Give an empty table."""
        with by_identity(secure_azurite.table, lambda: TokenInHand(token()), name) as reached:
            yield reached


def test_importing_costs_nothing() -> None:
    """Importing the module, and naming a table, imports nothing of Azure."""
    script = (
        "from rare_audit.stores.tables import by_connection_string, by_identity\n"
        "by_connection_string('UseDevelopmentStorage=true').close()\n"
        "by_identity('https://x.example', lambda: 1 / 0).close()\n"
    )
    assert azure_imported_by(script) == []


@pytest.mark.parametrize("table", ["", "ab", "1abc", "a-b-c", "a" * 64, "Tab\n"])
def test_no_name_for_a_table(table: str) -> None:
    """A table's name that the service refuses is refused at once."""
    with pytest.raises(ValueError, match="not a table's name"):
        by_connection_string("UseDevelopmentStorage=true", table)
    with pytest.raises(ValueError, match="not a table's name"):
        by_identity("https://x.example", lambda: TokenInHand(""), table)


@pytest.mark.parametrize("length", [4_096, 4_097, 32_766, 32_767, 65_536, 300_000, 900_000])
def test_long_texts(stored: AzureTable, length: int) -> None:
    """Text longer than a property holds comes back whole, beside other values."""
    text = _noise(length)
    written = stored.put(Entity("p", "r", {"before": "a", "text": text, "yes": True}))
    assert stored.get("p", "r") == written
    assert list(stored.query("p")) == [written]
    stored.put(Entity("p", "r", {"text": "short"}))
    found = stored.get("p", "r")
    assert found is not None
    assert found.values == {"text": "short"}


def test_repetitive_text_is_packed(stored: AzureTable) -> None:
    """Ten megabytes of the same are no problem."""
    written = stored.put(Entity("p", "r", {"text": "0123456789" * 1_000_000}))
    assert stored.get("p", "r") == written


def test_too_large(stored: AzureTable) -> None:
    """A row that does not fit says which it is and how large; nothing is written, nor cut."""
    before = stored.put(Entity("p", "r", {"text": "a"}))
    # Azurite would take 1.2 MB, Azure would not: so the refusal is the table's own.
    with pytest.raises(ServiceError, match=r"^the row p r is too large to be stored: 1,1\d\d,\d\d\d bytes in 2\d prop"):
        stored.put(Entity("p", "r", {"text": _noise(1_350_000)}))
    with pytest.raises(ServiceError, match=r"^the row p r is too large .* in 303 properties"):
        stored.put(Entity("p", "r", {f"n{number}": number for number in range(300)}))
    assert stored.get("p", "r") == before


def test_size_is_the_services() -> None:
    """The size is counted as the service's documentation has it, from the letter on."""
    marked = 4 + 2 * 2 + 20 + 4 + (8 + 2 * 5 + 4 + 64)
    with pytest.raises(ServiceError) as caught:
        encode(Entity("p", "r", {f"t{number:03}": "é" * 4_000 for number in range(240)}), "f" * 32)
    told = int(str(caught.value).split(" stored: ")[1].split(" ")[0].replace(",", ""))
    assert 0 <= told - (marked + 240 * (8 + 2 * 6 + 4 + 8_000)) < 100


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63)])
def test_largest_numbers(stored: AzureTable, number: int) -> None:
    """64 bits are kept."""
    written = stored.put(Entity("p", "r", {"n": number}))
    assert stored.get("p", "r") == written


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_number_too_large(stored: AzureTable, number: int) -> None:
    """More than 64 bits are refused."""
    with pytest.raises(ValueError, match="more than 63 bits"):
        stored.put(Entity("p", "r", {"n": number}))


def test_names_that_are_the_systems(stored: AzureTable) -> None:
    """Values may be named as the service's and the table's own properties are, in any case."""
    names = "PartitionKey RowKey Timestamp timestamp etag ETag odata write v v_ v_x z0_x z0_write odata_type".split()
    long = {f"z1_{name}": "\0" for name in names}
    written = stored.put(Entity("p", "r", {name: name for name in names} | long))
    assert stored.get("p", "r") == written
    assert list(stored.query("p")) == [written]


@pytest.mark.parametrize("bad", ["", "a b", "a.b", "a@odata.type", "1a", "_a", "é", "a" * 101, "a\n"])
def test_bad_names(stored: AzureTable, bad: str) -> None:
    """A value's name that no property can have is refused."""
    with pytest.raises(ValueError, match="not a name"):
        stored.put(Entity("p", "r", {bad: 1}))


@given(
    st.dictionaries(st.sampled_from(["a", "b", "z0_a"]), _ANY_TEXT | st.booleans() | st.integers(-(2**63), 2**63 - 1))
)
@settings(max_examples=60, deadline=None)
def test_any_value(azurite: Azurite, values: dict[str, str | int | bool]) -> None:
    """Whatever the values are, they come back, of the same types."""
    with by_connection_string(azurite.connection_string, "AnyValue") as table:
        table.put(Entity("p", "r", values))
        found = table.get("p", "r")
    assert found is not None
    assert found.values == values
    assert {name: type(value) for name, value in found.values.items()} == {
        name: type(value) for name, value in values.items()
    }


def test_bounds_that_no_key_has(stored: AzureTable) -> None:
    """A query's bounds may be any text; they mean what they mean for texts."""
    rows = ["a", "a b", "a~", "a" + "~" * 255, "b", "~"]
    for row in rows:
        stored.put(Entity("p", row, {}))
    for bound in ("", "\0", "a\0", "a\x7f", "a é", "a'", "é", "a'' or RowKey gt ''", "a" * 300, "~\x7f", "\n"):
        assert [found.row for found in stored.query("p", first=bound)] == [row for row in rows if row >= bound], bound
        assert [found.row for found in stored.query("p", last=bound)] == [row for row in rows if row <= bound], bound


def test_what_others_wrote(azurite: Azurite, name: str, stored: AzureTable) -> None:
    """A property that somebody added is left alone; packed text that is not whole leaves the row unreadable."""
    stored.put(Entity("p", "r", {"text": "\0" * 9}))
    with TableClient.from_connection_string(azurite.connection_string, name) as raw:
        raw.upsert_entity({"PartitionKey": "p", "RowKey": "r", "Remark": "checked", "zeta_a": b"?"})
        found = stored.get("p", "r")
        assert found is not None
        assert found.values == {"text": "\0" * 9}
        for wrong in ({"z0_text": b"?"}, {"z1_text": b"?"}, {"z0_text": "text"}):
            raw.upsert_entity({"PartitionKey": "p", "RowKey": "r", **wrong})
            expected = "has no readable text"
            assert [one.unreadable for one in (stored.get("p", "r"), *stored.query("p")) if one] == [expected] * 2


def test_packed_text_that_lost_a_piece() -> None:
    """A missing property of a packed text is noticed, whichever it is."""
    whole = encode(Entity("p", "r", {"text": _noise(200_000)}), "mark")
    pieces = [name for name in whole if name.startswith("z")]
    assert len(pieces) == 3
    for piece in pieces:
        with pytest.raises(UnpackError, match="no readable text"):
            decode({name: value for name, value in whole.items() if name != piece})


def test_closed_table_opens_again(stored: AzureTable) -> None:
    """Closing ends connections, not the table."""
    written = stored.put(Entity("p", "r", {}))
    stored.close()
    stored.close()
    assert stored.get("p", "r") == written
