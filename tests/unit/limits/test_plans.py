"""Plans: what is read from the setting, and everything that can't be."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.limits import Period, Plans, Rate, WrongPlans

GOOD: dict[str, Any] = {
    "default": "standard",
    "clients": {"acme": "gold"},
    "plans": {
        "standard": {
            "rate": 50,
            "burst": 100,
            "routes": {"POST /orders": {"rate": 20}},
            "quotas": {"day": 1_000, "month": 20_000},
            "prices": {"currency": "EUR", "request": "0.0001", "message": 0.01, "gigabyte": 2},
        },
        "gold": {"rate": 500, "priority": "high"},
    },
}


def changed(path: str, value: Any) -> str:
    """The good plans with another value somewhere."""
    document = json.loads(json.dumps(GOOD))
    place = document
    *parents, last = path.split(".")
    for name in parents:
        place = place[name]
    place[last] = value
    return json.dumps(document)


def test_plans_are_read() -> None:
    plans = Plans.parse(json.dumps(GOOD))
    assert plans.of("acme").rate == Rate(rate=500, burst=500)
    assert plans.of("acme").is_high
    standard = plans.of("somebody else")
    assert standard.rate == Rate(rate=50, burst=100)
    assert standard.routes == {"POST /orders": Rate(rate=20, burst=20)}
    assert standard.quotas == {Period.DAY: 1_000, Period.MONTH: 20_000}
    assert standard.prices.amount(requests=3, messages=2, size=500_000_000) == Decimal("1.0203")


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("default", "silver", "default"),
        ("default", None, "default"),
        ("clients", {"acme": "silver"}, "isn't there"),
        ("clients", {"a\r\nX-Evil: 1": "gold"}, "printable"),
        ("clients", [], "clients"),
        ("plans", {}, "plans"),
        ("plans.gold", [], "plans.gold must be an object"),
        ("plans.gold.rate", 0, "rate"),
        ("plans.gold.rate", -1, "rate"),
        ("plans.gold.rate", True, "rate"),
        ("plans.gold.rate", 1e9, "rate"),
        ("plans.gold.rate", "5", "rate"),
        ("plans.gold.burst", 10, "burst"),
        ("plans.gold.burst", 1.5, "burst"),
        ("plans.gold.burst", 10**12, "burst"),
        ("plans.gold.priority", "highest", "priority"),
        ("plans.gold.speed", 1, "speed"),
        ("plans.gold.quotas", {"week": 1}, "quotas"),
        ("plans.gold.quotas", {"day": 100, "month": 10}, "month"),
        ("plans.gold.quotas", {"day": 0}, "quotas"),
        ("plans.gold.prices", {"request": "free"}, "prices.request"),
        ("plans.gold.prices", {"request": "NaN"}, "prices.request"),
        ("plans.gold.prices", {"request": -1}, "prices.request"),
        ("plans.gold.prices", {"request": True}, "prices.request"),
        ("plans.gold.prices", {"currency": "€"}, "currency"),
        ("plans.gold.routes", {"orders": {"rate": 1}}, "POST /orders"),
        ("plans.gold.routes", {"POST /orders": {"rate": 501}}, "above the plan's own"),
        ('plans.a"; evil', {"rate": 1}, "name"),
    ],
)
def test_what_cannot_be_is_refused_by_name(path: str, value: Any, says: str) -> None:
    with pytest.raises(WrongPlans, match=re.escape(says)):
        Plans.parse(changed(path, value))


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "[" * 100_000, '{"default": "a", "default": "a", "plans": {"a": {}}}', "NaN"]
)
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(WrongPlans, match=r"must|twice|deep|JSON"):
        Plans.parse(text)


@settings(max_examples=30)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["default", "clients", "plans", "rate", "burst", "routes", "quotas", "prices", "day"])
                | st.text(),
                inner,
            )
        ),
    )
)
def test_any_document_is_read_or_refused(document: Any) -> None:
    with suppress(WrongPlans):
        Plans.parse(json.dumps(document))
