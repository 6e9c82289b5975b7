"""Goes through JSON along a plan and replaces what is protected, in one pass and in place."""

from collections.abc import Callable
from typing import Any

from .plan import Leaf, Plan

__all__ = ["Visit", "pointer", "walk"]

Visit = Callable[[Leaf, Any, str, Any], Any]
"""Given a protected field, its value, its path (a JSON pointer, RFC 6901) and its object's subject: the new value."""


def walk(plan: Plan, value: Any, visit: Visit, *, path: str = "", subject: Any = None, spellings: bool = False) -> Any:
    """Replace every protected value but None; what doesn't have the form of its plan is left as it is.

    Parameters
    ----------
    spellings:
        Also look at fields under the other names that their model takes.
    """
    if value is None:
        return None
    if plan.leaf is not None:
        return visit(plan.leaf, value, path, subject)
    if isinstance(value, dict):
        if plan.subject is not None:
            subject = value.get(plan.subject[0])
        for name, child in plan.fields.items():
            held = value.get(name)
            if held is not None:
                value[name] = walk(child, held, visit, path=f"{path}/{name}", subject=subject, spellings=spellings)
        if spellings:
            for name, child in plan.spellings.items():
                if name in value and name not in plan.fields:
                    value[name] = walk(child, value[name], visit, path=f"{path}/{name}", spellings=True)
        if plan.values is not None:
            for name, held in value.items():
                below = f"{path}/{pointer(name)}"
                value[name] = walk(plan.values, held, visit, path=below, subject=subject, spellings=spellings)
    elif isinstance(value, list) and plan.items is not None:
        for number, held in enumerate(value):
            below = f"{path}/{number}"
            value[number] = walk(plan.items, held, visit, path=below, subject=subject, spellings=spellings)
    return value


def pointer(name: str) -> str:
    """A name as a segment of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")
