"""Values by their types: exact numbers, times of ISO 8601, arrays of any depth, and text where nothing is known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.postgresql.values import array, converter

CASES = [
    ("boolean", 16, "t", True),
    ("boolean-false", 16, "f", False),
    ("bigint", 20, "-9223372036854775808", -(2**63)),
    ("smallint", 21, "-7", -7),
    ("oid", 26, "4294967295", 2**32 - 1),
    ("real", 700, "1.5", 1.5),
    ("double-nan", 701, "NaN", "NaN"),
    ("double-infinite", 701, "-Infinity", "-Infinity"),
    ("bytea", 17, "\\x00ff", "AP8="),
    ("bytea-empty", 17, "\\x", ""),
    ("timestamp", 1114, "2026-11-30 10:00:00.25", "2026-11-30T10:00:00.25Z"),
    ("timestamp-infinite", 1114, "-infinity", "-infinity"),
    ("timestamp-before-christ", 1114, "0044-03-15 00:00:00 BC", "0044-03-15 00:00:00 BC"),
    ("timestamptz", 1184, "2026-11-30 08:00:00.25+00", "2026-11-30T08:00:00.25Z"),
    ("timestamptz-infinite", 1184, "infinity", "infinity"),
    ("timetz", 1266, "10:00:00+02", "10:00:00+02:00"),
    ("timetz-minutes", 1266, "10:00:00-03:30", "10:00:00-03:30"),
    ("timetz-utc", 1266, "10:00:00+00", "10:00:00Z"),
    ("integers", 1007, "{1,NULL,-3}", [1, None, -3]),
    ("texts", 1009, '{a,"b,\\"c\\\\","NULL",NULL,""}', ["a", 'b,"c\\', "NULL", None, ""]),
    ("nested", 1007, "{{1,2},{3,NULL}}", [[1, 2], [3, None]]),
    ("empty", 1007, "{}", []),
    ("bounds", 1007, "[0:1]={1,2}", [1, 2]),
    ("times", 1115, '{"2026-11-30 10:00:00"}', ["2026-11-30T10:00:00Z"]),
    ("numerics", 1231, "{1.10,NaN}", ["1.10", "NaN"]),
]


@pytest.mark.parametrize(("oid", "text", "value"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_value_becomes_what_json_has(oid: int, text: str, value: Any) -> None:
    """By the type's OID."""
    convert = converter(oid)
    assert convert is not None
    assert convert(text) == value


@pytest.mark.parametrize("oid", [25, 1042, 1043, 1082, 1083, 1186, 1700, 2950, 114, 3802, 869], ids=str)
def test_some_types_have_their_text(oid: int) -> None:
    """Texts, dates, exact numbers, UUIDs, documents."""
    assert converter(oid) is None


def test_types_of_the_database_are_read_by_what_they_are_made_of() -> None:
    """Enums are texts, domains are their base, arrays their elements; others aren't known."""
    own = {20_001: ("enum", 0), 20_002: ("array", 20_001), 20_003: ("domain", 23), 20_004: ("array", 20_003)}
    assert converter(20_001, own) is None
    assert (converter(20_002, own) or str)("{sad,NULL}") == ["sad", None]
    assert (converter(20_003, own) or str)("5") == 5
    assert (converter(20_004, own) or str)("{5}") == [5]
    with pytest.raises(LookupError):
        converter(20_009, own)


def written(value: Any) -> str:
    """An array as the server writes it, every text quoted."""
    if value is None:
        return "NULL"
    if isinstance(value, list):
        return "{" + ",".join(written(one) for one in value) + "}"
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


nested = st.recursive(
    st.lists(st.none() | st.text(max_size=5), max_size=4), lambda inner: st.lists(inner, min_size=1, max_size=3)
)


@given(nested)
def test_any_array_is_read(value: list[Any]) -> None:
    """Of any depth and any text."""
    assert array(written(value), str) == value


@given(st.text('{},"\\aNUL[]=', max_size=12))
def test_what_is_no_array_is_refused(text: str) -> None:
    """By one error, and never by a hang."""
    try:
        array(text, str)
    except ValueError:
        return
