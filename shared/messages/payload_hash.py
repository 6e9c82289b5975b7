"""The payload hash: what a message says, in 64 characters that the inbox keeps, so that a repeat differs from a change.

Rows are read by two releases during a rolling deployment, so they carry two hashes. `payloadSha256` is the first form,
which every release can compare; it takes numbers for doubles. `payloadHash` is `2:` and the second form, to which every
number counts by its value: 3 is 3.0 and 300 is 3e2, and 999999999999.123456 isn't 999999999999.1234. A row is compared
by the newest form that it carries.
"""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

__all__ = ["PayloadHash", "payload_hash", "stored_hashes"]

_SECOND = "2:"
_WHOLE = (".0,", ".0}", ".0]")
"""How JSON text looks wherever it holds a float without a fraction and exponent."""
_ALL_HELD = 2.0**53
"""Below it a double holds every integer."""
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
        return int(value) if abs(value) < _ALL_HELD else _number(Decimal(repr(value)))
    if kind is dict:
        return {name: one if type(one) in _AS_IT_IS else _by_value(one) for name, one in value.items()}
    if kind is list:
        return [_by_value(one) for one in value]
    return _number(value) if kind is Decimal else value


def _number(value: Decimal) -> int | str:
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
