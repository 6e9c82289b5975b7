"""JSON as strict as a contract needs: what one reader accepts, every later reader accepts too."""

import json
import math
from decimal import Decimal
from typing import Any, NoReturn

from .errors import MalformedJson

__all__ = ["MAX_DEPTH", "check_depth", "parse_strict", "write_json"]

MAX_DEPTH = 64
"""Deepest nesting taken. Far below the recursion limits of the parsers that read the message later."""


MAX_CONTAINERS = 250_000
"""Most objects and lists taken: each costs the parser some fifty times its two bytes."""
MAX_ELEMENTS = 20_000_000
"""Most commas taken, which bounds the numbers in flat lists."""
MAX_DIGITS = 4_300
"""Longest number in characters: as long as Python lets an integer be."""
_SURE = 16
"""A number of at most 15 digits (and a point) is the shortest that means its float (DBL_DIG of C)."""


def parse_strict(body: bytes) -> Any:
    """Parse UTF-8 JSON, refusing duplicate names, NaN, infinities, lone surrogates and deep nesting.

    No number loses a digit: one with a fraction or an exponent is a float where that means the same number (as the
    shortest decimal that is read back as this float), and else a Decimal.

    Raises
    ------
    MalformedJson
        Says what is wrong and, where it is known, on which line and column.
    """
    if not body.strip():
        raise MalformedJson("The body is empty; send a JSON object.")
    if body.startswith(b"\xef\xbb\xbf"):
        raise MalformedJson("The body is not valid JSON: it begins with a byte order mark (BOM).")
    if body.count(b"{") + body.count(b"[") > MAX_CONTAINERS or body.count(b",") > MAX_ELEMENTS:
        raise MalformedJson(
            f"The body holds more than {MAX_CONTAINERS} objects and lists; split it into several messages."
        )
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedJson(f"The body is not valid UTF-8: byte {error.start} can't be decoded.") from None
    try:
        parsed = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise MalformedJson(
            f"The body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}.",
            details={"line": error.lineno, "column": error.colno},
        ) from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:  # an integer with thousands of digits
        raise MalformedJson(f"The body is not valid JSON: {str(error).split(';')[0]}.") from None
    if text.count("[") + text.count("{") > MAX_DEPTH:
        check_depth(parsed)
    if "\\u" in text:
        _check_surrogates(text)
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise MalformedJson(f"The name {name[:80]!r} appears twice in one object.")
    return result


def _number(digits: str) -> float | Decimal:
    """A number that lies outside a double's range is one that some later reader doesn't take."""
    number = float(digits)
    if len(digits) <= _SURE and 1e-300 < abs(number) < 1e300:
        return number
    if math.isinf(number):
        _not_finite(digits[:80])
    if number == 0.0:
        if digits.lower().partition("e")[0].strip("-0."):
            raise MalformedJson(f"{digits[:80]} is too close to zero.")
        return number
    if len(digits) > MAX_DIGITS:
        raise MalformedJson(f"A number has {len(digits)} characters, at most {MAX_DIGITS} are taken.")
    exact = Decimal(digits)
    return number if exact == Decimal(repr(number)) else exact


def _not_finite(constant: str) -> NoReturn:
    raise MalformedJson(f"{constant} is not a finite number.")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_not_finite, parse_float=_number)


def write_json(value: Any, *, indent: int | None = None) -> str:
    """What `parse_strict` returns as JSON again; a Decimal is written as a number, with every digit."""
    separators = (",", ":") if indent is None else None
    try:
        return json.dumps(value, ensure_ascii=False, separators=separators, indent=indent)
    except TypeError:
        step = None if indent is None else " " * indent
        return _written(value, step, "" if step is None else "\n")


def _written(value: Any, step: str | None, line: str) -> str:
    if isinstance(value, Decimal):
        return str(value)
    if not isinstance(value, dict | list) or not value:
        return json.dumps(value, ensure_ascii=False)
    inner = line + (step or "")
    colon = ":" if step is None else ": "
    if isinstance(value, list):
        parts, (opening, closing) = [_written(one, step, inner) for one in value], "[]"
    else:
        pairs = value.items()
        parts = [json.dumps(name, ensure_ascii=False) + colon + _written(one, step, inner) for name, one in pairs]
        opening, closing = "{}"
    return opening + inner + ("," + inner).join(parts) + line + closing


def _too_deep() -> MalformedJson:
    return MalformedJson(f"The body is nested deeper than {MAX_DEPTH} levels.")


def check_depth(parsed: Any) -> None:
    """Raise MalformedJson where lists and objects are nested deeper than MAX_DEPTH."""
    level = [parsed] if isinstance(parsed, dict | list) else []
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    raise _too_deep()


def _check_surrogates(text: str) -> None:
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedJson("The body holds half of a surrogate pair, which is not a character.") from None
