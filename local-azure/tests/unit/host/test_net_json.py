"""Texts as .NET and Newtonsoft.Json write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from local_azure.host.trigger_data import net_json
from local_azure.host.trigger_data.net_json import Single


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (-0.0, "-0"), (1.5, "1.5"), (2.0, "2"), (1e14, "100000000000000"), (1e15, "1E+15"),
        (123456789012345.6, "123456789012345.6"), (1.25e20, "1.25E+20"), (0.0001, "0.0001"), (0.00001, "1E-05"),
        (-1.5e-7, "-1.5E-07"), (float("nan"), "NaN"), (float("-inf"), "-Infinity"),
        (Single(0.10000000149011612), "0.1"),
        (Single(16777216.0), "16777216"), (Single(1e7), "1E+07"),
    ],
)  # fmt: skip
def test_numbers(value: float, text: str) -> None:
    assert net_json.number_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 2.0, "b": [1, None, True]}, '{"a":2.0,"b":[1,null,true]}'),
        ({"a": Decimal("12.50")}, '{"a":12.50}'),
        (float("nan"), '"NaN"'),
        (b"\x00\x01", '"AAE="'),
        (timedelta(days=1, hours=2, milliseconds=5), '"1.02:00:00.0050000"'),
        (timedelta(seconds=-5), '"-00:00:05"'),
        (datetime(2026, 1, 2, 3, 4, 5, 120_000, tzinfo=UTC), '"2026-01-02T03:04:05.12Z"'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        ("é\u2028\x85", '"é\\u2028\\u0085"'),
    ],
)
def test_json(value: Any, text: str) -> None:
    assert net_json.json_text(value) == text


@pytest.mark.parametrize(
    ("text", "written", "shown"),
    [
        ("2024-05-06T07:08:09Z", "2024-05-06T07:08:09Z", "05/06/2024 07:08:09"),
        ("2024-05-06T07:08:09.1234567Z", "2024-05-06T07:08:09.1234567Z", "05/06/2024 07:08:09"),
        ("2024-05-06T07:08:09.500", "2024-05-06T07:08:09.5", "05/06/2024 07:08:09"),
        ("2024-05-06T01:08:09+02:00", "2024-05-05T23:08:09+00:00", "05/05/2024 23:08:09"),
        ("0001-01-01T00:00:00+23:00", "0001-01-01T00:00:00+23:00", None),
        ("2024-13-06T07:08:09Z", "2024-13-06T07:08:09Z", None),
        ("2024-05-06 07:08:09", "2024-05-06 07:08:09", None),
        ("x" * 25, "x" * 25, None),
    ],
)
def test_times_in_texts(text: str, written: str, shown: str | None) -> None:
    """Newtonsoft.Json takes a text of that form for a time."""
    assert net_json.rewritten(text) == written
    if shown is not None:
        assert net_json.date_text(text) == shown


@pytest.mark.parametrize("text", ["", "{", "x", "[" * 65 + "]" * 65, "[" * 200_000])
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        net_json.parsed(text)


def test_indented() -> None:
    assert net_json.indented({"a": [], "b": {"c": [1, "x"]}}) == (
        '{\n  "a": [],\n  "b": {\n    "c": [\n      1,\n      "x"\n    ]\n  }\n}'
    )
