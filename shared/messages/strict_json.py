"""JSON as strict as a contract needs: what one reader accepts, every later reader accepts too, and reads alike.

Pydantic, and readers of ISO 8601, take more: digits alone for a date or for seconds since 1970, a space, an offset
without a colon, `1_000` or Arabic digits for a decimal, and an exponent that makes a few characters a number of a
gigabyte. Two readers then see two values in one text.

No digit is lost. Pydantic reads a number with a fraction as a double, into a Decimal as well. Where a body holds a
number that no double does, its text takes the number's place: a Decimal takes a text too. A field of float gets the
double after all; a field of no type (`Any`) keeps the text.

The payload hash is what a message says in 64 characters that the inbox keeps, so that a repeat differs from a change.
Rows are read by two releases during a rolling deployment, so they carry two hashes. `payloadSha256` is the first form,
which every release can compare; it takes numbers for doubles. `payloadHash` is `2:` and the second form, to which every
number counts by its value: 3 is 3.0 and 300 is 3e2, and 999999999999.123456 isn't 999999999999.1234. A row is compared
by the newest form that it carries.
"""

import hashlib
import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError
from pydantic_core import CoreSchema, core_schema

from .errors import MalformedJson

__all__ = [
    "EVERY_INTEGER",
    "MAX_DEPTH",
    "PayloadHash",
    "check_depth",
    "parse_day",
    "parse_rfc3339",
    "parse_strict",
    "payload_hash",
    "rfc3339",
    "stored_hashes",
    "validate_json",
    "with_one_reading",
    "write_json",
]

T = TypeVar("T")

MAX_DEPTH = 64
"""Deepest nesting taken. Far below the recursion limits of the parsers that read the message later."""
MAX_CONTAINERS = 250_000
"""Most objects and lists taken: each costs the parser some fifty times its two bytes."""
MAX_ELEMENTS = 20_000_000
"""Most commas taken, which bounds the numbers in flat lists."""
MAX_DIGITS = 4_300
"""Longest number in characters: as long as Python lets an integer be."""
EVERY_INTEGER = 2.0**53
"""Below it a double holds every integer."""
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


_SECOND = "2:"
_WHOLE = (".0,", ".0}", ".0]")
"""How JSON text looks wherever it holds a float without a fraction and exponent."""
_AS_IT_IS = frozenset({str, int, bool, type(None)})


@dataclass(frozen=True, slots=True)
class PayloadHash:
    """Both forms: `rounded` takes numbers for doubles, `exact` by their value."""

    rounded: str
    exact: str

    def columns(self) -> dict[str, str]:
        """As a row keeps them."""
        return {"payloadSha256": self.rounded, "payloadHash": _SECOND + self.exact}

    def is_in(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is about this payload."""
        known = str(row.get("payloadHash", ""))
        if known.startswith(_SECOND):
            return known == _SECOND + self.exact
        return row.get("payloadSha256") == self.rounded


def payload_hash(event_type: str, version: str, data: Any) -> PayloadHash:
    """What a message says, whatever its white space, name order or time stamp; `data` as `parse_strict` reads it."""
    content = [event_type, version, data]
    try:
        text = _ENCODER.encode(content)
    except TypeError:  # a Decimal: no double holds it
        text, by_value = _ROUNDING.encode(content), True
    else:
        by_value = "e+" in text or (".0" in text and any(mark in text for mark in _WHOLE))
    rounded = hashlib.sha256(text.encode()).hexdigest()
    if not by_value:
        return PayloadHash(rounded, rounded)
    return PayloadHash(rounded, hashlib.sha256(_ENCODER.encode(_by_value(content)).encode()).hexdigest())


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False)
_ROUNDING = json.JSONEncoder(sort_keys=True, separators=(",", ":"), check_circular=False, default=float)


def _by_value(value: Any) -> Any:
    """The same with each whole number as an integer, and what isn't a double as a text that no JSON holds."""
    kind = type(value)
    if kind is float:
        if not value.is_integer():
            return value
        return int(value) if abs(value) < EVERY_INTEGER else _canonical_number(Decimal(repr(value)))
    if kind is dict:
        return {name: one if type(one) in _AS_IT_IS else _by_value(one) for name, one in value.items()}
    if kind is list:
        return [_by_value(one) for one in value]
    return _canonical_number(value) if kind is Decimal else value


def _canonical_number(value: Decimal) -> int | str:
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        raise TypeError(f"{value} is no number")
    plain = "".join(map(str, digits)).rstrip("0")
    exponent += len(digits) - len(plain)
    text = f"{'-' if sign else ''}{plain}"
    return int(text) * 10**exponent if exponent >= 0 else f"\ud800{text}e{exponent}"


async def stored_hashes(
    payload: PayloadHash, protect: Callable[[str], Awaitable[Sequence[str]]] | None
) -> tuple[PayloadHash, ...]:
    """A payload's hash as rows keep it, then as they kept it under earlier keys; as it is where nothing protects it."""
    if protect is None:
        return (payload,)
    rounded = await protect(payload.rounded)
    exact = rounded if payload.exact == payload.rounded else await protect(payload.exact)
    return tuple(PayloadHash(*forms) for forms in zip(rounded, exact, strict=True))


_NO_SCHEMA = frozenset({"metadata", "default", "serialization", "config", "cls", "function", "expected"})
_DECIMAL = re.compile(r"[+-]?[0-9]{1,4300}(\.[0-9]{1,4300})?([eE][+-]?[0-9]{1,3})?")


def with_one_reading(schema: CoreSchema) -> CoreSchema:
    """A model's schema whose times and days are read as RFC 3339 writes them, and decimals as JSON does; any nesting.

    A time whose field has no rule about offsets may come without one. A decimal may be a text, for readers to whom
    numbers are doubles.
    """
    replaced: CoreSchema = _walk(schema)
    return replaced


def _walk(part: Any) -> Any:
    if isinstance(part, list):
        return [_walk(one) for one in part]
    if isinstance(part, tuple):
        return tuple(_walk(one) for one in part)
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    if not isinstance(kind, str):  # no schema but the fields of one, which may have any names
        return {name: _walk(value) for name, value in part.items()}
    if kind == "function-before" and part["function"].get("function") in _READERS.values():
        return part
    if kind == "datetime" and part.get("tz_constraint") == "aware":
        kind = "aware"
    if kind in _READERS:
        return core_schema.no_info_before_validator_function(_READERS[kind], part)
    return {name: value if name in _NO_SCHEMA else _walk(value) for name, value in part.items()}


def _aware(value: Any) -> Any:
    return parse_rfc3339(value) if isinstance(value, str) else _instance(value, datetime)


def _time(value: Any) -> Any:
    return parse_rfc3339(value, offset=False) if isinstance(value, str) else _instance(value, datetime)


def _day(value: Any) -> Any:
    return parse_day(value) if isinstance(value, str) else _instance(value, date)


def _decimal(value: Any) -> Any:
    if isinstance(value, str):
        if _DECIMAL.fullmatch(value) is None:
            raise ValueError("must be a number as in JSON: 12.50")
        return Decimal(value)
    if isinstance(value, float) and value.is_integer():
        return Decimal(int(value if abs(value) < EVERY_INTEGER else Decimal(repr(value))))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Decimal(repr(value))
    return _instance(value, Decimal)


def _instance(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError("must be a text" if kind is not Decimal else "must be a number or a text")
    return value


_READERS: dict[str, Callable[[Any], Any]] = {"aware": _aware, "datetime": _time, "date": _day, "decimal": _decimal}


_DATE, _HOURS, _MINUTES = r"[0-9]{4}-[0-9]{2}-[0-9]{2}", r"(?:[01][0-9]|2[0-3])", r":[0-5][0-9]"
_MOMENT = re.compile(rf"{_DATE}[Tt]{_HOURS}{_MINUTES}:[0-9]{{2}}(?:\.[0-9]{{1,32}})?([Zz]|[+-]{_HOURS}{_MINUTES})?")
_DAY = re.compile(_DATE)


def rfc3339(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, as every answer and event writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_rfc3339(text: str, *, offset: bool = True) -> datetime:
    """The moment that a text names, to the microsecond.

    Parameters
    ----------
    offset:
        It must have one; else a text without is a naive datetime.

    Raises
    ------
    ValueError
        It isn't in the form of RFC 3339 (5.6), or there is no such moment, a leap second included.
    """
    found = _MOMENT.fullmatch(text)
    if found is None or (offset and found[1] is None):
        raise ValueError("must be a time as in RFC 3339, with an offset: 2026-01-31T12:00:00Z")
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError:
        raise ValueError("must be a time that exists") from None


def parse_day(text: str) -> date:
    """The day that a text names as RFC 3339 writes it; raises ValueError."""
    if _DAY.fullmatch(text) is None:
        raise ValueError("must be a day as in RFC 3339: 2026-01-31")
    return date.fromisoformat(text)
