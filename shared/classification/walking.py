"""Finds what is protected in JSON, along the plan of its model."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from .plan import Leaf, Plan

__all__ = ["Found", "leaves"]

Person = tuple[str, str]


class Found(NamedTuple):
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


def leaves(plan: Plan, parsed: Any, *, spellings: bool = False) -> list[Found]:
    """Every protected value in parsed JSON; what doesn't have the form of its plan is passed over.

    Parameters
    ----------
    spellings:
        Also look at fields under the other names that their model takes.
    """
    return list(_below(plan, parsed, "", None, spellings))


def _below(plan: Plan, value: Any, path: str, person: Person | None, spellings: bool) -> Iterator[Found]:
    if isinstance(value, dict):
        if plan.subject is not None:
            named = value.get(plan.subject[0])
            person = None if named is None else (plan.subject[1].kind, str(named))
        for name, child in plan.fields.items():
            yield from _at(child, value, name, f"{path}/{name}", person, spellings)
        if spellings:
            for name, child in plan.spellings.items():
                if name not in plan.fields:
                    yield from _at(child, value, name, f"{path}/{name}", person, spellings)
        if plan.values is not None:
            for name in value:
                yield from _at(plan.values, value, name, f"{path}/{_segment(name)}", person, spellings)
    elif isinstance(value, list) and plan.items is not None:
        for number in range(len(value)):
            yield from _at(plan.items, value, number, f"{path}/{number}", person, spellings)


def _at(plan: Plan, holder: Any, name: Any, path: str, person: Person | None, spellings: bool) -> Iterator[Found]:
    value = holder.get(name) if isinstance(holder, dict) else holder[name]
    if value is None:
        return
    if plan.leaf is not None:
        yield Found(holder, name, plan.leaf, path, person)
    else:
        yield from _below(plan, value, path, person, spellings)


def _segment(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
