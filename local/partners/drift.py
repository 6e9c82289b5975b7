"""Whether a partner still answers as it did: by status and by the shape of JSON, not by its values. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["drift"]


def drift(recorded: Any, today: Any, place: str = "") -> Iterator[str]:
    """How the shape of an answer differs; a list is what its first element is.

    A field that was null, or is, says nothing of its type.
    """
    if recorded is None or today is None:
        return
    if isinstance(recorded, Mapping) and isinstance(today, Mapping):
        for name in sorted({*recorded, *today}, key=str):
            inner = f"{place}.{name}" if place else str(name)
            if name not in today:
                yield f"{inner} is gone"
            elif name not in recorded:
                yield f"{inner} is new ({_kind(today[name])})"
            else:
                yield from drift(recorded[name], today[name], inner)
    elif isinstance(recorded, list) and isinstance(today, list):
        if recorded and today:
            yield from drift(recorded[0], today[0], f"{place}[]")
    elif _kind(recorded) != _kind(today):
        yield f"{place or 'the answer'} was {_kind(recorded)}, is {_kind(today)}"


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case Mapping():
            return "an object"
        case _:
            return "null"
