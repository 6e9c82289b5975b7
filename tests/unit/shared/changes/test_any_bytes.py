"""Whatever JSON comes is a change, no change, or refused by name."""

from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.changes import UnreadableChange, position_text, read_changes

from .documented import ANNE, postgresql

_NAMES = [
    "op",
    "source",
    "before",
    "after",
    "schema",
    "payload",
    "metadata",
    "current",
    "_rid",
    "data",
    "fields",
    "lsn",
]
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_NAMES) | st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    _JSON, st.dictionaries(st.sampled_from(["id", "eventType", "table", "__table", "ce_type"]), st.binary(max_size=9))
)
def test_any_json_is_read_or_refused(document: Any, properties: dict[str, Any]) -> None:
    with suppress(UnreadableChange):
        read_changes(document, properties, lambda _: {})


@given(st.sampled_from(["source", "before", "after", "op", "transaction", "ts_ms"]), _JSON)
def test_any_part_of_an_envelope_may_be_anything(part: str, value: Any) -> None:
    document = postgresql("u", before=ANNE, after=ANNE)
    document["payload"][part] = value
    with suppress(UnreadableChange):
        read_changes(document, {}, lambda _: {})


@given(st.sampled_from(["lsn", "ts_ns", "db", "table", "name", "txId", "file", "commit_lsn", "scn"]), _JSON)
def test_any_part_of_a_source_may_be_anything(part: str, value: Any) -> None:
    document = postgresql("u", before=ANNE, after=ANNE)
    document["payload"]["source"].pop("lsn")
    document["payload"]["source"][part] = value
    with suppress(UnreadableChange):
        (change,) = read_changes(document, {}, lambda _: {})
        assert change.message_id.version == 5


@given(
    st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2),
    st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2),
)
def test_positions_are_ordered_as_their_numbers(one: list[int], other: list[int]) -> None:
    assert (position_text(*one) < position_text(*other)) == (one < other)
