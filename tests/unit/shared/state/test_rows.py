"""Rows: any text fits or is refused, and no two keys share a row."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.state import TooLarge, bucket_of, pack, partition_key, row_safe, state_key, unpack
from shared.state.store import MAX_VALUE_BYTES

ANY = st.text(st.characters(codec="utf-8"))
ASTRAL = "😀"
COLUMN = 65_536


def utf16(text: str) -> int:
    """Bytes that the table counts for a text."""
    return len(text.encode("utf-16-le"))


@given(ANY)
def test_any_text_is_unpacked_as_it_was_packed(text: str) -> None:
    """Through columns that each fit the table's limit."""
    columns = pack(text)
    assert unpack(columns) == text


@pytest.mark.parametrize("character", ["a", "é", "€", ASTRAL])
@pytest.mark.parametrize(
    "length",
    [0, 1, 15_999, 16_000, 16_001, 31_999, 32_000, 32_001, 32_768, 65_535, 65_536, 65_537, 131_072, 196_608],
)
def test_texts_at_the_edges_of_columns_fit_and_come_back(character: str, length: int) -> None:
    """A character of two, three or four bytes may lie across two pieces."""
    text = character * length
    columns = pack(text)
    assert unpack(columns) == text
    for value in columns.values():
        assert (utf16(value) if isinstance(value, str) else len(value)) <= COLUMN
    assert sum(utf16(value) if isinstance(value, str) else len(value) for value in columns.values()) < 1_000_000


def test_a_value_that_no_entity_holds_is_refused() -> None:
    """At one byte over, not at the service."""
    assert unpack(pack("a" * MAX_VALUE_BYTES)) == "a" * MAX_VALUE_BYTES
    with pytest.raises(TooLarge, match=str(MAX_VALUE_BYTES + 1)):
        pack("a" * (MAX_VALUE_BYTES + 1))
    with pytest.raises(TooLarge):
        pack(ASTRAL * (MAX_VALUE_BYTES // 4 + 1))


@given(st.lists(ANY, unique=True, min_size=2, max_size=6))
@example(["a/b", "a%2Fb", "a%252Fb"])
@example(["%", "%25"])
@example(["\x00", "%00"])
def test_different_texts_make_different_keys(texts: list[str]) -> None:
    """Two aggregates never share a row."""
    assert len({row_safe(text) for text in texts}) == len(texts)


@given(ANY)
def test_a_key_holds_nothing_that_the_table_forbids(text: str) -> None:
    """And is at most three times as long."""
    safe = row_safe(text)
    assert not set(safe) & set("/\\#?")
    assert all(ord(character) >= 0x20 and not 0x7F <= ord(character) <= 0x9F for character in safe)
    assert len(safe) <= 3 * len(text)


def test_the_longest_key_fits_the_tables_limit() -> None:
    """One KiB of UTF-16, with room for the kind."""
    for character in ("/", ASTRAL, "é"):
        assert utf16(state_key("k" * 100, character * 128)) <= 1_024


@given(ANY, st.integers(1, 4096))
def test_a_key_has_one_bucket_below_the_count(key: str, buckets: int) -> None:
    """Partition keys sort as their numbers."""
    bucket = bucket_of(key, buckets)
    assert 0 <= bucket < buckets
    assert len(partition_key(bucket)) == 4
    assert bucket_of(key, buckets) == bucket


def test_buckets_are_the_same_for_good() -> None:
    """A changed formula would lose every row that is there already."""
    assert [bucket_of(key, 16) for key in ("536365", "C536379", "Größe", "")] == [11, 13, 5, 4]
