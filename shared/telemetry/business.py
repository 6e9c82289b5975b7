"""Counters of the business: what an integration counts beside what the app counts of itself."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .instruments import Counter
from .metrics import business

__all__ = ["BusinessCounter", "business_counter"]

_NAME = re.compile(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)*")
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]{0,31}")
_TAKEN = frozenset({"self", "counter", "amount"})
"""Parameters of `work.count` and `Counter.add`, which take attributes by their names too."""
_UNIT = re.compile(r"s|By|1|\{[a-z]+\}|[A-Z]{3}")


@dataclass(frozen=True)
class BusinessCounter:
    """A counter with the attributes that its values have.

    What a message holds of a person is never an attribute: a protected value is left out as it is of logs, and whatever
    grows without end is counted under `other`.
    """

    counter: Counter
    by: tuple[str, ...]


def business_counter(
    integration: str, name: str, *, by: Iterable[str] = (), unit: str = "{message}", description: str = ""
) -> BusinessCounter:
    """A counter of an integration.

    Raises
    ------
    ValueError
        A name or the unit isn't well-formed, an attribute has the name of a parameter of `work.count`, or the metric is
        there already with another unit or description.
    """
    wanted = tuple(by)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{integration} counts {name!r}: use words of lower-case letters and digits, with dots")
    if wrong := [one for one in wanted if not _ATTRIBUTE.fullmatch(one)]:
        raise ValueError(f"{integration} counts {name} by {wrong[0]!r}: use lower-case letters, digits and _")
    if taken := _TAKEN.intersection(wanted):
        raise ValueError(f"{integration} counts {name} by {min(taken)!r}: choose another name, work.count has that one")
    if not _UNIT.fullmatch(unit):
        raise ValueError(f"{integration} counts {name} in {unit!r}: use {{order}}, s, By, 1 or a currency such as EUR")
    full, says = f"{integration.replace('-', '.')}.{name}", description or f"Counted by {integration}"
    return BusinessCounter(business(full, unit=unit, description=says), wanted)
