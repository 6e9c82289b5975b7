"""What `@orders.gold` refuses, as soon as it is imported."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from shared.jobs import WrongSchedule
from shared.lake.gold.refreshing import _code
from shared.messages import Contract, Integration, Registry, Source
from tests.unit.shared.lake.gold.lakes import SOURCES, DailySales


def declared(**changes: Any) -> Integration:
    shop = Integration("shop")
    given = {"every": "5m", "keys": ["day", "country"], "row": DailySales, "reads": SOURCES, **changes}
    name = given.pop("name", "daily_sales")
    call = given.pop("call", lambda: "select 1")
    shop.gold(name, **given)(call)
    return shop


class Bare(Contract):
    day: date
    country: str
    revenue: Decimal


class Odd(Contract):
    day: date
    country: list[str]


async def asynchronous() -> str:
    return ""


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"name": "Daily"}, "lower-case"),
        ({"name": "a/../b"}, "lower-case"),
        ({"every": "soon"}, "shop.daily_sales"),
        ({"keys": ["shop"]}, "no field 'shop'"),
        ({"keys": []}, "name the columns"),
        ({"row": Bare}, "max_digits"),
        ({"row": Odd}, "a column is no"),
        ({"reads": []}, "silver tables"),
        ({"reads": [*SOURCES, SOURCES[0]]}, "each once"),
        ({"call": asynchronous}, "plain function"),
        ({"call": lambda nothing: nothing}, "'nothing', which isn't read"),
    ],
)
def test_a_wrong_declaration_is_named(changes: dict[str, Any], what: str) -> None:
    with pytest.raises((TypeError, ValueError, WrongSchedule), match=what):
        declared(**changes)


@pytest.mark.parametrize(
    "given",
    [("a/b", ["c"]), ("a", []), ("a", "c"), ("a", ["day"], "placedAt")],
)
def test_a_wrong_source_is_named(given: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="silver table"):
        Source(*given)


def test_two_tables_of_one_name_are_refused() -> None:
    other = Integration("other")
    other.golds.extend(declared().golds)
    with pytest.raises(ValueError, match=r"gold.daily_sales is declared twice"):
        Registry([declared(), other])


def test_a_table_says_its_columns_and_its_job() -> None:
    (gold,) = Registry([declared()]).golds
    assert gold.job == "shop.gold-daily-sales"
    assert gold.by_day
    assert dict(gold.columns())["revenue"] == "DECIMAL(38,6)"
    (whole,) = declared(keys=["country", "day"]).golds
    assert not whole.by_day


def test_a_function_with_another_constant_is_another_declaration() -> None:
    """Also within a function of its own."""
    of = [_code(eval(f"lambda t: t.scale({rate})").__code__) for rate in ("0.19", "0.25", "0.19")]
    assert of[0] == of[2] != of[1]
    inner = [_code(eval(f"lambda t: [t.at(lambda: {rate})]").__code__) for rate in ("1", "2", "1")]
    assert inner[0] == inner[2] != inner[1]
