"""JSON as strict as a contract needs: what one reader accepts, every later reader accepts too."""

import hashlib
import json
import math
from typing import Any, NoReturn

from .errors import MalformedJson

__all__ = ["MAX_DEPTH", "check_depth", "parse_strict", "payload_hash"]

MAX_DEPTH = 64
"""Deepest nesting taken. Far below the recursion limits of the parsers that read the message later."""


MAX_CONTAINERS = 250_000
"""Most objects and lists taken: each costs the parser some fifty times its two bytes."""
MAX_ELEMENTS = 20_000_000
"""Most commas taken, which bounds the numbers in flat lists."""


def parse_strict(body: bytes) -> Any:
    """Parse UTF-8 JSON, refusing duplicate names, NaN, infinities, lone surrogates and deep nesting.

    Raises
    ------
    MalformedJson
        Says what is wrong and, where it is known, on which line and column.
    """
    if not body.strip():
        raise MalformedJson("The body is empty; send a JSON object.")
    if body.count(b"{") + body.count(b"[") > MAX_CONTAINERS or body.count(b",") > MAX_ELEMENTS:
        raise MalformedJson(
            f"The body holds more than {MAX_CONTAINERS} objects and lists; split it into several messages."
        )
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedJson(f"The body is not valid UTF-8: byte {error.start} can't be decoded.") from None
    try:
        parsed = json.loads(text, object_pairs_hook=_unique, parse_constant=_not_finite, parse_float=_finite)
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


def payload_hash(event_type: str, version: str, data: Any) -> str:
    """Hex SHA-256 of what a message says, whatever its white space, name order or time stamp."""
    canonical = json.dumps([event_type, version, data], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        name = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise MalformedJson(f"The name {name[:80]!r} appears twice in one object.")
    return result


def _finite(digits: str) -> float:
    """A number beyond a double's range becomes infinite, which no later reader takes."""
    number = float(digits)
    if math.isinf(number):
        _not_finite(digits[:80])
    return number


def _not_finite(constant: str) -> NoReturn:
    raise MalformedJson(f"{constant} is not a finite number.")


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
