"""Column types follow from the model; a value fits exactly, or not at all."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from arro3.core import Field, Schema
from arro3.io import read_json
from hypothesis import given
from hypothesis import strategies as st

from shared.lake.silver import Misfit, Type, lines_of
from tests.unit.shared.lake.silver.parcels import SILVER

PRICE = Type("decimal", 18, 6)


def test_columns_have_the_types_of_the_fields() -> None:
    (line,) = lines_of([SILVER])
    root, items = (table.schema() for table in line.tables)
    types = {name: spelled(root.field(name)) for name in root.names}
    assert types == {
        "event_id": "Utf8", "event_time": "Timestamp(µs, \"UTC\")", "event_day": "Date32", "event_version": "Utf8",
        "key": "Utf8", "sequence": "Int64", "log_partition": "Utf8", "log_sequence": "Int64",
        "parcel_id": "Utf8", "customer_id": "Utf8", "name": "Utf8", "scanned_at": "Timestamp(µs, \"UTC\")",
        "due": "Date32", "size": "Utf8", "state": "Utf8", "weight": "Float64", "total": "Decimal128(38, 9)",
        "fragile": "Boolean", "depot_city": "Utf8", "depot_floor": "Int64", "stops": types["stops"], "extra": "Utf8",
        "customer_id_token": "Utf8", "subject_key": "Utf8",
    }  # fmt: skip
    assert types["stops"].startswith("List(")
    assert '"city"' in types["stops"]
    assert spelled(items.field("price")) == "Decimal128(18, 6)"
    assert spelled(items.field("number")) == "Int64"
    assert all(schema.field(name).nullable for schema in (root, items) for name in schema.names)


def spelled(field: Field) -> str:
    """A column's type as the Arrow library writes it."""
    return str(field.type).strip().removeprefix("arro3.core.DataType<").removesuffix(">")


def stored(kind: Type, value: Any) -> Any:
    """What a column gives back."""
    schema = Schema([Field("v", kind.arrow(), nullable=True)])
    text = json.dumps({"v": kind.fit(value)}, ensure_ascii=False)
    return read_json(io.BytesIO(text.encode()), schema).read_all()["v"].to_pylist()[0]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12))
def test_a_decimal_keeps_every_digit(value: Decimal) -> None:
    if abs(value) < 10**12:
        assert stored(PRICE, str(value)) == value


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_a_decimal_that_doesnt_fit_is_refused_and_never_rounded(value: Decimal) -> None:
    try:
        found = stored(PRICE, str(value))
    except Misfit:
        assert abs(value) >= 10**12 or value != round(value, 6) or len(str(value)) > 64
    else:
        assert found == value


@pytest.mark.parametrize("value", [2, 2.5, Decimal("2.500000"), "2.5", "25e-1"])
def test_a_decimal_may_be_a_number_or_a_text(value: Any) -> None:
    assert stored(PRICE, value) == Decimal(str(value))


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])))
def test_a_time_keeps_its_microseconds(value: datetime) -> None:
    try:
        moment = value.astimezone(UTC)
    except OverflowError:
        return
    if moment.year >= 2:
        assert stored(Type("timestamp"), value.isoformat()) == moment


@given(st.text())
def test_a_text_stays_as_it_is(value: str) -> None:
    if not any("\ud800" <= one <= "\udfff" for one in value):
        assert stored(Type("string"), value) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("string", 1), ("string", None.__class__), ("long", True), ("long", 2**63), ("long", "1"), ("long", 1.0),
        ("double", "1"), ("double", True), ("double", 10**400), ("boolean", 1), ("boolean", "true"),
        ("timestamp", "yesterday"), ("timestamp", 5), ("timestamp", "0001-01-01T00:00:00+14:00"),
        ("date", "2026-13-01"), ("date", "2026-01-05T00:00:00Z"), ("decimal", "1_000"), ("decimal", "NaN"),
        ("decimal", True), ("decimal", "1" * 65), ("decimal", "1e999"), ("decimal", "1e-999"), ("decimal", []),
        ("decimal", "٣"),
    ],
    ids=repr,
)  # fmt: skip
def test_a_value_of_another_type_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(Misfit):
        Type(kind, 38, 9).fit(value)


def test_null_is_null_everywhere() -> None:
    assert all(Type(name, 38, 9).fit(None) is None for name in ("string", "long", "decimal", "json", "list", "struct"))
