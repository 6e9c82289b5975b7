"""Validation of JSON in which no number loses a digit on its way into a Decimal.

Pydantic reads a number with a fraction as a double, into a Decimal as well. Where a body holds a number that no double
does, its text takes the number's place: a Decimal takes a text too. A field of float gets the double after all; a field
of no type (`Any`) keeps the text.
"""

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from pydantic import ValidationError

from .strict_json import parse_strict

__all__ = ["validate_json"]

T = TypeVar("T")

_SHAPE = bytes.maketrans(b"123456789.E", b"0000000000e")
_LONG, _TINY = b"0" * 16, b"0e-000"


def validate_json(validate: Callable[[bytes | str], T], body: bytes) -> T:
    """What pydantic's `validate`, of a model or an adapter, makes of a body.

    Raises
    ------
    ValidationError
        As `validate` finds it.
    MalformedJson
        It isn't the JSON that is taken here, and holds what may be a long number.
    """
    shape = body.translate(_SHAPE)
    if _LONG not in shape and _TINY not in shape:  # no number here has more digits than a double
        return validate(body)
    parsed = parse_strict(body)
    found: list[Decimal] = []

    def text(number: Decimal) -> str:
        found.append(number)
        return str(number)

    quoted = json.dumps(parsed, default=text)
    if not found:
        return validate(body)
    try:
        return validate(quoted)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_context=False, include_input=False)
        if not sum(_as_double(parsed, one["loc"]) for one in wrong):
            raise
    return validate(json.dumps(parsed, default=str))


def _as_double(parsed: Any, location: Sequence[str | int]) -> bool:
    """Whether a Decimal is at this place; it is a float then. Parts that name a branch of a union lead nowhere."""
    holder: Any = None
    name: Any = None
    node: Any = parsed
    for part in location:
        here = part in node if isinstance(node, dict) else isinstance(node, list) and part in range(len(node))
        if here:
            holder, name, node = node, part, node[part]
    if isinstance(node, Decimal):
        holder[name] = float(node)
        return True
    return False
