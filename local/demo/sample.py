"""Generates a month of invoices from a seed, with the statistics of a real shop's and none of its rows.

Every figure below was measured on December 2010 of "Online Retail" (Daqing Chen, UCI Machine Learning
Repository, 2015, CC BY 4.0): 42,481 lines, 2,025 invoices. Products, customers and times are invented here.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from local.demo.rows import COLUMNS

__all__ = ["DEFAULT_COUNT", "DEFAULT_SEED", "sample_csv"]

DEFAULT_COUNT = 2_000
DEFAULT_SEED = 20_101_201

# A quantile table is a list of (share of cases, value), read by linear interpolation.
Quantiles = Sequence[tuple[float, float]]

# fmt: off
# Of 2,025 invoices, 326 are credit notes and 70 are stock corrections that no order may contain.
_CREDIT_NOTES = 326 / 2025
_CORRECTIONS = 70 / 2025

# Lines per invoice: mean 25.6 and up to 675 on orders, mean 2.2 and up to 39 on credit notes.
_ORDER_LINES = (
    (0.0, 1), (0.145, 1), (0.195, 2), (0.25, 4), (0.4, 9), (0.5, 12), (0.6, 16), (0.7, 21), (0.75, 25),
    (0.8, 30), (0.85, 38), (0.9, 49), (0.95, 67), (0.97, 89), (0.98, 137), (0.9853, 185), (0.99, 462),
    (0.995, 568), (1.0, 675),
)
_CREDIT_LINES = (
    (0.0, 1), (0.589, 1), (0.59, 2), (0.794, 2), (0.795, 3), (0.905, 3), (0.95, 5), (0.97, 9),
    (0.98, 14), (0.99, 20), (1.0, 39),
)

# Buyers without an account, by kind of invoice; 886 others buy in 1,400 orders.
_ORDER_GUESTS = 229 / 1629
_CREDIT_GUESTS = 18 / 326
_CUSTOMERS = 1_350

# Orders by country, of 1,629.
_COUNTRIES = {
    "United Kingdom": 1517, "Germany": 30, "France": 21, "EIRE": 17, "Portugal": 6, "Belgium": 5,
    "Spain": 4, "Lithuania": 4, "Australia": 3, "Netherlands": 3, "Japan": 3, "Norway": 2,
    "Switzerland": 2, "Italy": 2, "Sweden": 2, "Poland": 1, "Iceland": 1, "Channel Islands": 1,
    "Denmark": 1, "Cyprus": 1, "Finland": 1, "Austria": 1, "Bahrain": 1,
}

# Pieces per line, of 41,683 lines; the rest (0 stands for it) follows the tail.
_QUANTITIES = {
    1: 14770, 2: 6687, 12: 3577, 3: 2981, 6: 2917, 4: 2646, 24: 1644, 5: 1002, 8: 949, 10: 904,
    48: 400, 7: 297, 36: 296, 20: 280, 16: 238, 0: 2095,
}
_QUANTITY_TAIL = ((0.0, 9), (0.5, 25), (0.8, 96), (0.99, 408), (1.0, 2880))
_CREDIT_QUANTITIES = (
    (0.0, 1), (0.4, 1), (0.5, 2), (0.6, 3), (0.75, 6), (0.8, 10), (0.9, 20), (0.95, 36), (0.99, 144),
    (1.0, 9360),
)

# Price per piece in pounds; 203 of 41,683 lines are given away.
_FREE = 203 / 41683
_PRICES = (
    (0.0, 0.04), (0.01, 0.21), (0.05, 0.43), (0.1, 0.85), (0.25, 1.28), (0.5, 2.55), (0.75, 4.25),
    (0.9, 8.47), (0.95, 11.02), (0.99, 21.23), (0.999, 250.83), (1.0, 13541.33),
)

# Products: 2,805 different ones; one code in eight ends in a letter, one line in 660 has no description.
_PRODUCTS = 2_805
_LETTERED = 5112 / 41683
_NO_DESCRIPTION = 63 / 41683
_DESCRIPTION_LENGTHS = ((0.0, 6), (0.05, 18), (0.1, 20), (0.25, 23), (0.5, 27), (0.75, 31), (0.9, 34), (1.0, 35))

# Stock corrections: one line, no customer, price 0, pieces taken away; 62 of 70 say nothing about why.
_CORRECTION_QUANTITIES = (
    (0.0, 1), (0.05, 4), (0.25, 15), (0.5, 28), (0.75, 70), (0.9, 140), (0.95, 177), (1.0, 723),
)
_NO_REASON = 62 / 70
_REASONS = ("?", "check", "damaged", "lost")

# Invoices by hour of the day, of 1,955, on the twenty working days of the month.
_HOURS = {
    7: 2, 8: 29, 9: 124, 10: 215, 11: 238, 12: 277, 13: 258, 14: 232, 15: 301, 16: 149, 17: 90,
    18: 26, 19: 13, 20: 1,
}
_FIRST_DAY = datetime(2024, 12, 1)  # noqa: DTZ001 - the file's own times carry no zone
_DAYS = 23

_ADJECTIVES = ("SMALL", "LARGE", "PAINTED", "WOODEN", "GLASS", "CERAMIC", "KNITTED", "FOLDING", "STRIPED", "ENAMEL")
_COLOURS = ("RED", "BLUE", "GREEN", "IVORY", "PINK", "SILVER", "AMBER", "CHARCOAL")
_THINGS = ("LANTERN", "BASKET", "TEAPOT", "CUSHION", "NAPKIN", "CANDLE HOLDER", "KETTLE", "APRON", "PICTURE FRAME")
_ADDITIONS = ("WITH LID", "SET OF 6", "PACK OF 12", "IN GIFT BOX", "WITH BIRDS", "TRAVEL", "NEW", "No.3")
# fmt: on


@dataclass(frozen=True)
class _Product:
    sku: str
    description: str
    price: str


def sample_csv(count: int = DEFAULT_COUNT, seed: int = DEFAULT_SEED) -> str:
    """A file of `count` invoices, the same for the same seed, in the columns of `rows.COLUMNS`."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable sample is the point
    products = [_product(chance) for _ in range(_PRODUCTS)]
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(COLUMNS)
    for number, (kind, time) in enumerate(zip(_kinds(count, chance), _times(count, chance), strict=True)):
        writer.writerows(_invoice(kind, 900_001 + number, time, products, chance))
    return sink.getvalue()


def _kinds(count: int, chance: random.Random) -> list[str]:
    credit_notes, corrections = round(count * _CREDIT_NOTES), round(count * _CORRECTIONS)
    kinds = ["order"] * (count - credit_notes - corrections)
    kinds += ["credit note"] * credit_notes + ["correction"] * corrections
    chance.shuffle(kinds)
    return kinds


def _times(count: int, chance: random.Random) -> list[datetime]:
    hours, weights = list(_HOURS), list(_HOURS.values())
    days = [day for day in (_FIRST_DAY + timedelta(days=n) for n in range(_DAYS)) if day.weekday() != 5]
    return sorted(
        chance.choice(days) + timedelta(hours=hour, minutes=chance.randrange(60))
        for hour in chance.choices(hours, weights, k=count)
    )


def _invoice(
    kind: str, number: int, time: datetime, products: list[_Product], chance: random.Random
) -> Iterator[tuple[str, ...]]:
    when = time.isoformat(" ")
    if kind == "correction":
        reason = "" if chance.random() < _NO_REASON else chance.choice(_REASONS)
        quantity = -_draw(_CORRECTION_QUANTITIES, chance)
        yield (str(number), chance.choice(products).sku, reason, str(quantity), when, "0.0", "", "United Kingdom")
        return
    is_credit = kind == "credit note"
    guest = chance.random() < (_CREDIT_GUESTS if is_credit else _ORDER_GUESTS)
    customer = "" if guest else f"{12_000 + chance.randrange(_CUSTOMERS)}.0"
    country = chance.choices(list(_COUNTRIES), list(_COUNTRIES.values()))[0]
    for _ in range(_draw(_CREDIT_LINES if is_credit else _ORDER_LINES, chance)):
        product = chance.choice(products)
        quantity = -_draw(_CREDIT_QUANTITIES, chance) if is_credit else _quantity(chance)
        price = "0.0" if not is_credit and chance.random() < _FREE else product.price
        description = "" if chance.random() < _NO_DESCRIPTION else product.description
        name = f"C{number}" if is_credit else str(number)
        yield (name, product.sku, description, str(quantity), when, price, customer, country)


def _product(chance: random.Random) -> _Product:
    letter = chance.choice("ABCDEFGL") if chance.random() < _LETTERED else ""
    price = f"{_interpolate(_PRICES, chance.random()):.2f}"
    return _Product(f"{chance.randrange(20_000, 90_000)}{letter}", _description(chance), _as_exported(price))


def _description(chance: random.Random) -> str:
    wanted = _draw(_DESCRIPTION_LENGTHS, chance)
    words = [chance.choice(_THINGS)]
    for more in (chance.choice(_COLOURS), chance.choice(_ADJECTIVES)):
        if len(" ".join([more, *words])) <= wanted:
            words.insert(0, more)
    additions = chance.sample(_ADDITIONS, k=len(_ADDITIONS))
    for more in additions:
        if len(" ".join([*words, more])) <= wanted:
            words.append(more)
    return " ".join(words)


def _as_exported(price: str) -> str:
    """As the exporting tool writes numbers: 2.10 is 2.1 and 3.00 is 3.0."""
    return price.removesuffix("0")


def _quantity(chance: random.Random) -> int:
    quantity = chance.choices(list(_QUANTITIES), list(_QUANTITIES.values()))[0]
    return quantity or _draw(_QUANTITY_TAIL, chance)


def _draw(quantiles: Quantiles, chance: random.Random) -> int:
    return round(_interpolate(quantiles, chance.random()))


def _interpolate(quantiles: Quantiles, share: float) -> float:
    """The value below which `share` of the cases lie."""
    for (low, start), (high, end) in pairwise(quantiles):
        if share <= high:
            return start + (end - start) * (share - low) / (high - low)
    return quantiles[-1][1]
