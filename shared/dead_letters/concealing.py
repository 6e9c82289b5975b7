"""A payload that can be changed by who may not see all of it: placeholders stand for its protected values.

A placeholder names its value, so that it may be moved or copied; it becomes the value again where a value as protected,
or more, belongs, and nowhere else: what is hidden can't be brought to a field that everybody sees.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from shared.classification import Classification, Plan, leaves

from .json_patch import PatchError

__all__ = ["Concealed", "conceal", "restored"]


@dataclass(frozen=True, slots=True)
class Concealed:
    """A parsed envelope with placeholders, and what they stand for with its class; none where everything is shown."""

    document: Any
    values: Mapping[str, tuple[Any, Classification]]
    mark: str
    """What every placeholder of this dead letter ends with."""


def conceal(document: Any, plan: Plan, identity: str) -> Concealed:
    """A parsed envelope with every protected value of its data replaced by a placeholder of its own.

    Parameters
    ----------
    identity:
        The dead letter's id, of which placeholders carry a part: no message can hold one beforehand, since its id
        follows from what it says.
    """
    result, mark = deepcopy(document), f" of {identity[:12]}]"
    values: dict[str, tuple[Any, Classification]] = {}
    if isinstance(result, dict):
        for number, found in enumerate(leaves(plan, result.get("data"), spellings=True), start=1):
            name = f"[protected {number}{mark}"
            values[name] = (found.holder[found.name], found.leaf.level)
            found.holder[found.name] = name
    return Concealed(result, values, mark)


def restored(concealed: Concealed, changed: Any, plan: Plan) -> Any:
    """A changed document with the values in place of their placeholders.

    Raises
    ------
    PatchError
        A placeholder stands where its value doesn't belong, or inside other text.
    """
    result = deepcopy(changed)
    if isinstance(result, dict):
        for found in leaves(plan, result.get("data"), spellings=True):
            name = found.holder[found.name]
            value, level = concealed.values.get(name, (None, None)) if isinstance(name, str) else (None, None)
            if level is not None and level <= found.leaf.level:
                found.holder[found.name] = deepcopy(value)
    if _holds(result, concealed):
        raise PatchError(
            "a placeholder of a protected value stands where everybody would see the value, or is no longer whole: "
            "leave placeholders as they are, or add --reveal to write the values yourself"
        )
    return result


def _holds(value: Any, concealed: Concealed) -> bool:
    """Whether a placeholder is left; values that were put back aren't looked into, since none can hold one."""
    if isinstance(value, dict):
        return any(_holds(name, concealed) or _holds(inner, concealed) for name, inner in value.items())
    if isinstance(value, list):
        return any(_holds(inner, concealed) for inner in value)
    return isinstance(value, str) and concealed.mark in value
