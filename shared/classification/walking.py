"""Finds what is protected in JSON, along the plan of its model."""

from typing import Any, NamedTuple

from .plan import Leaf, Plan

__all__ = ["ProtectedValue", "leaves"]

Person = tuple[str, str]


class ProtectedValue(NamedTuple):
    """A protected value that isn't None, and where it is.

    Attributes
    ----------
    holder, name:
        `holder[name]` is the value.
    path:
        A JSON pointer (RFC 6901).
    person:
        Kind and value of the subject that it is about, where the model says so.
    """

    holder: Any
    name: Any
    leaf: Leaf
    path: str
    person: Person | None


def leaves(plan: Plan, parsed: Any, *, spellings: bool = False) -> list[ProtectedValue]:
    """Every protected value in parsed JSON; what doesn't have the form of its plan is passed over.

    Parameters
    ----------
    spellings:
        Also look at fields under the other names that their model takes.
    """
    found: list[ProtectedValue] = []
    _gather(plan, parsed, "", None, spellings, found)
    return found


def _gather(
    plan: Plan, value: Any, path: str, person: Person | None, spellings: bool, found: list[ProtectedValue]
) -> None:
    if isinstance(value, dict):
        if plan.subject is not None:
            named = value.get(plan.subject[0])
            person = None if named is None else (plan.subject[1].kind, str(named))
        for name, child in plan.fields.items():
            if name in value:
                _at(child, value, name, f"{path}/{name}", person, spellings, found)
        if spellings:
            for name in plan.spellings.keys() & value.keys() - plan.fields.keys():
                _at(plan.spellings[name], value, name, f"{path}/{name}", person, spellings, found)
        if plan.values is not None:
            for name in value:
                _at(plan.values, value, name, f"{path}/{_segment(name)}", person, spellings, found)
    elif isinstance(value, list) and plan.items is not None:
        for number in range(len(value)):
            _at(plan.items, value, number, f"{path}/{number}", person, spellings, found)


def _at(
    plan: Plan, holder: Any, name: Any, path: str, person: Person | None, spellings: bool, found: list[ProtectedValue]
) -> None:
    value = holder[name]
    if value is None:
        return
    if plan.leaf is not None:
        found.append(ProtectedValue(holder, name, plan.leaf, path, person))
    else:
        _gather(plan, value, path, person, spellings, found)


def _segment(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
