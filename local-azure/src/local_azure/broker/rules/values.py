"""Compares and computes property values: C#'s promotions of numbers, SQL's unknown (None).

Values of different kinds (text and number, say) are never equal and have no order: `=` is false, `<>` true,
`<` unknown. Whole numbers are 64 bits wide, as in the service; leaving that range is an error.
"""

import math
import operator
import re
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from local_azure.broker.amqp.types import Described, Symbol, Timestamp
from local_azure.broker.rules.errors import RuleEvaluationError

__all__ = [
    "ARITHMETIC",
    "COMPARISONS",
    "Like",
    "arithmetic",
    "comparison",
    "equal",
    "milliseconds_of",
    "negate",
    "text_of",
    "to_amqp",
]

_TIME_SPAN = Symbol("com.microsoft:timespan")
_DATE_TIME_OFFSET = Symbol("com.microsoft:datetime-offset")
_TICKS_PER_MILLISECOND = 10_000
_EPOCH_TICKS = 621_355_968_000_000_000
"""1970 on .NET's clock, which began with the year 1."""

_MAX_LONG = 2**63 - 1
_MAX_TEXT = 32_767

_ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
COMPARISONS = frozenset({"=", "<>", "!=", *_ORDERS})
ARITHMETIC = frozenset("+-*/%")


def _comparable(value: Any) -> tuple[str, Any]:
    """The kind of a value, and a form of it that compares with others of that kind."""
    if isinstance(value, bool):
        return "boolean", value
    if isinstance(value, int | float):
        return "number", value
    if isinstance(value, str):
        return "text", str(value)
    if isinstance(value, datetime):
        utc = value.replace(tzinfo=UTC) if value.tzinfo is None else value
        return "number", round(utc.timestamp() * 1000)
    if isinstance(value, timedelta):
        return "number", value / timedelta(milliseconds=1)
    if isinstance(value, Described) and isinstance(value.value, int):
        if value.descriptor == _TIME_SPAN:
            return "number", value.value / _TICKS_PER_MILLISECOND
        if value.descriptor == _DATE_TIME_OFFSET:
            return "number", (value.value - _EPOCH_TICKS) // _TICKS_PER_MILLISECOND
    return type(value).__name__, value


def _are_numbers(left: Any, right: Any) -> bool:
    return (
        isinstance(left, int | float)
        and isinstance(right, int | float)
        and left.__class__ is not bool
        and right.__class__ is not bool
    )


def equal(left: Any, right: Any) -> bool:
    """Whether two known values are of one kind and the same."""
    if (isinstance(left, str) and isinstance(right, str)) or _are_numbers(left, right):
        return bool(left == right)
    left_kind, left = _comparable(left)
    right_kind, right = _comparable(right)
    return left_kind == right_kind and bool(left == right)


def comparison(symbol: str) -> Callable[[Any, Any], bool | None]:
    """The function of one of `COMPARISONS`; it gives None if a side is unknown, or if the two have no order."""
    if symbol == "=":
        return lambda left, right: None if left is None or right is None else equal(left, right)
    if symbol in ("<>", "!="):
        return lambda left, right: None if left is None or right is None else not equal(left, right)
    order = _ORDERS[symbol]

    def compare(left: Any, right: Any) -> bool | None:
        if left is None or right is None:
            return None
        if (isinstance(left, str) and isinstance(right, str)) or _are_numbers(left, right):
            return order(left, right)
        left_kind, left = _comparable(left)
        right_kind, right = _comparable(right)
        return order(left, right) if left_kind == right_kind == "number" else None

    return compare


def negate(value: Any) -> Any:
    """Unary minus."""
    if value is None:
        return None
    return _in_range(-_number(value, "-"))


def arithmetic(symbol: str, left: Any, right: Any) -> Any:
    """Apply one of `ARITHMETIC`; `+` joins text. None if a side is unknown.

    Raises
    ------
    RuleEvaluationError
        The operator does not know these values, a whole number is divided by zero or leaves 64 bits.
    """
    if left is None or right is None:
        return None
    if left.__class__ is int and right.__class__ is int:
        return _in_range(_whole(symbol, left, right))
    if symbol == "+" and (isinstance(left, str) or isinstance(right, str)):
        return _joined(left, right)
    left, right = _number(left, symbol), _number(right, symbol)
    if isinstance(left, int) and isinstance(right, int):
        return _in_range(_whole(symbol, left, right))
    return _real(symbol, float(left), float(right))


def _joined(left: Any, right: Any) -> str:
    text = text_of(left) + text_of(right)
    if len(text) > _MAX_TEXT:
        raise RuleEvaluationError(f"text of {len(text)} characters is longer than a property may be ({_MAX_TEXT})")
    return text


def text_of(value: Any) -> str:
    """A value as text, the way C# writes it. Raises `RuleEvaluationError` for what has no text."""
    if isinstance(value, bool):
        return "True" if value else "False"
    if not isinstance(value, str | int | float | uuid.UUID | datetime | timedelta):
        raise RuleEvaluationError(f"{type(value).__name__} cannot be joined to text")
    return str(value)


def _number(value: Any, symbol: str) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RuleEvaluationError(f"operator {symbol} cannot be applied to {_comparable(value)[0]}")
    return int(value) if isinstance(value, int) else float(value)


def _in_range(number: int | float) -> int | float:
    if isinstance(number, int) and not -_MAX_LONG - 1 <= number <= _MAX_LONG:
        raise RuleEvaluationError("a whole number leaves the range of 64 bits")
    return number


def _whole(symbol: str, left: int, right: int) -> int:
    if symbol in "/%":
        if right == 0:
            raise RuleEvaluationError("a whole number is divided by zero")
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        return quotient if symbol == "/" else left - quotient * right
    return int(_EXACT[symbol](left, right))


_EXACT: dict[str, Callable[[Any, Any], Any]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}


def _real(symbol: str, left: float, right: float) -> float:
    """IEEE 754 all the way: what Python refuses to compute is an infinity or not a number."""
    try:
        if symbol == "/":
            return left / right
        return math.fmod(left, right) if symbol == "%" else float(_EXACT[symbol](left, right))
    except ZeroDivisionError:
        if left == 0 or math.isnan(left):
            return math.nan
        return math.copysign(math.inf, left) * math.copysign(1.0, right)
    except ValueError:
        return math.nan


def milliseconds_of(value: Any) -> int | None:
    """A number, a time since 1970 or a duration in whole milliseconds; None for anything else."""
    kind, number = _comparable(value)
    return int(number) if kind == "number" and math.isfinite(number) else None


def to_amqp(value: Any) -> Any:
    """A value in a form that a message can carry: times and durations as SDKs write them."""
    kind, number = _comparable(value)
    if isinstance(value, datetime) and kind == "number":
        return Timestamp(number)
    if isinstance(value, timedelta):
        return Described(_TIME_SPAN, int(number * _TICKS_PER_MILLISECOND))
    return value


class Like:
    """A LIKE pattern, compiled: `%` is any text, `_` any character, `escape` takes either literally.

    Works through the text once per piece between two `%`, so no pattern can make it slow.
    """

    __slots__ = ("_first", "_last", "_least", "_middle")

    def __init__(self, pattern: str, escape: str | None = None) -> None:
        """Raises ValueError if `escape` is not one character, or ends the pattern."""
        if escape is not None and len(escape) != 1:
            raise ValueError("ESCAPE takes exactly one character")
        pieces = _pieces(pattern, escape)
        compiled = [re.compile(piece, re.DOTALL) for piece, _ in pieces]
        self._first = compiled[0]
        self._middle = [piece for piece, (source, _) in zip(compiled[1:-1], pieces[1:-1], strict=True) if source]
        self._last = (compiled[-1], pieces[-1][1]) if len(pieces) > 1 else None
        self._least = sum(length for _, length in pieces)

    def matches(self, text: str) -> bool:
        """Whether all of `text` fits the pattern, case counting."""
        if len(text) < self._least:
            return False
        if self._last is None:
            return self._first.fullmatch(text) is not None
        last, last_length = self._last
        end = len(text) - last_length
        found = self._first.match(text)
        if found is None or last.fullmatch(text, end) is None:
            return False
        position = found.end()
        for piece in self._middle:
            found = piece.search(text, position, end)
            if found is None:
                return False
            position = found.end()
        return position <= end


def _pieces(pattern: str, escape: str | None) -> list[tuple[str, int]]:
    """The pattern between its `%`, each piece as a regular expression with the length that it matches."""
    pieces = [("", 0)]
    characters = iter(pattern)
    for character in characters:
        source, length = pieces[-1]
        if character == escape:
            following = next(characters, None)
            if following is None:
                raise ValueError("the pattern ends with its escape character")
            pieces[-1] = (source + re.escape(following), length + 1)
        elif character == "%":
            pieces.append(("", 0))
        else:
            pieces[-1] = (source + ("." if character == "_" else re.escape(character)), length + 1)
    return pieces
