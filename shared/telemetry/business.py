"""Counters of the business: what an integration counts beside what the app counts of itself."""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .instruments import LONGEST_VALUE, Counter
from .metrics import business
from .redaction import redact

__all__ = ["BusinessCounter", "business_counter"]

_NAME = re.compile(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9]*)*")
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]{0,31}")
_UNIT = re.compile(r"s|By|1|\{[a-z]+\}|[A-Z]{3}")


@dataclass(frozen=True)
class BusinessCounter:
    """A counter with the attributes that its values have.

    What a message holds of a person is never an attribute: a protected value is left out as it is of logs, and whatever
    grows without end is counted under `other`.
    """

    counter: Counter
    by: tuple[str, ...]

    def value(self, amount: float, attributes: Mapping[str, object]) -> tuple[Counter, float, dict[str, str]]:
        """What is to be added, checked.

        Raises
        ------
        ValueError
            The amount is negative or no number, or the attributes aren't those of the counter.
        """
        if not (math.isfinite(amount) and amount >= 0):
            raise ValueError(f"{self.counter.name} can't count {amount!r}: use a number of 0 or more")
        if attributes.keys() != set(self.by):
            raise ValueError(f"{self.counter.name} is counted by {', '.join(self.by) or 'nothing'}")
        texts = {name: redact(str(attributes[name]))[:LONGEST_VALUE] for name in self.by}
        return self.counter, float(amount), texts


def business_counter(
    integration: str, name: str, *, by: Iterable[str] = (), unit: str = "{message}", description: str = ""
) -> BusinessCounter:
    """A counter of an integration.

    Raises
    ------
    ValueError
        A name or the unit isn't well-formed, or the metric is there already with another unit or description.
    """
    wanted = tuple(by)
    if not _NAME.fullmatch(name):
        raise ValueError(f"{integration} counts {name!r}: use words of lower-case letters and digits, with dots")
    if wrong := [one for one in wanted if not _ATTRIBUTE.fullmatch(one)]:
        raise ValueError(f"{integration} counts {name} by {wrong[0]!r}: use lower-case letters, digits and _")
    if not _UNIT.fullmatch(unit):
        raise ValueError(f"{integration} counts {name} in {unit!r}: use {{order}}, s, By, 1 or a currency such as EUR")
    full, says = f"{integration.replace('-', '.')}.{name}", description or f"Counted by {integration}"
    return BusinessCounter(business(full, unit=unit, description=says), wanted)
