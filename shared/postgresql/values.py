"""Values of PostgreSQL as JSON has them, from the text that output functions write, by the type's OID.

They are what Debezium writes with decimals as strings, binary values in base64 and times in ISO 8601: numbers that JSON
readers may round are strings, documents stay text. What isn't known stays the text that it is.
"""

import base64
import re
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Convert", "array", "converter"]

Convert = Callable[[str], Any]

_FLOAT_WORDS = frozenset({"NaN", "Infinity", "-Infinity"})
_HOURS = re.compile(r"[+-]\d\d$")


def _float(text: str) -> float | str:
    """JSON has no word for what isn't a number."""
    return text if text in _FLOAT_WORDS else float(text)


def _boolean(text: str) -> bool:
    return text == "t"


def _bytes(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text[2:])).decode()


def _timestamp(text: str) -> str:
    """RFC 3339, without a zone as UTC; `infinity` and years before Christ, which it can't say, stay as they are."""
    return text if text[-1] in "yC" else text.replace(" ", "T", 1) + "Z"


def _timestamp_with_zone(text: str) -> str:
    return text if text[-1] in "yC" else _time_with_zone(text.replace(" ", "T", 1))


def _time_with_zone(text: str) -> str:
    """An offset of whole hours is written without minutes."""
    if text.endswith("+00"):
        return text[:-3] + "Z"
    return text + ":00" if _HOURS.search(text) else text


def array(text: str, convert: Convert) -> Any:
    """A list of the elements, lists in it for more dimensions.

    Bounds that don't begin with 1 (`[0:1]={1,2}`) are left out.

    Raises
    ------
    ValueError
        It is no array.
    """
    try:
        return _array(text, convert)
    except (IndexError, TypeError) as error:
        raise ValueError(f"an array of {len(text)} characters isn't whole: {error}") from None


def _array(text: str, convert: Convert) -> Any:
    at = text.index("{")
    stack: list[list[Any]] = []
    while at < len(text):
        sign = text[at]
        if sign == "{":
            stack.append([])
            at += 1
        elif sign == "}":
            whole = stack.pop()
            if not stack:
                if at != len(text) - 1:
                    break
                return whole
            stack[-1].append(whole)
            at += 1
        elif sign == ",":
            at += 1
        elif sign == '"':
            found, at = _quoted(text, at + 1)
            stack[-1].append(convert(found))
        else:
            found = _BARE.match(text, at)[0]  # type: ignore[index]
            stack[-1].append(None if found == "NULL" else convert(found))
            at += len(found)
    raise ValueError(f"an array of {len(text)} characters isn't whole")


_BARE = re.compile(r"[^,{}\"]+")


def _quoted(text: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    while text[at] != '"':
        if text[at] == "\\":
            at += 1
        parts.append(text[at])
        at += 1
    return "".join(parts), at + 1


_SCALARS: Mapping[int, Convert] = {
    16: _boolean,
    17: _bytes,
    20: int,
    21: int,
    23: int,
    26: int,
    28: int,
    700: _float,
    701: _float,
    1114: _timestamp,
    1184: _timestamp_with_zone,
    1266: _time_with_zone,
}
_TEXTS = frozenset(
    {18, 19, 25, 114, 142, 650, 790, 829, 869, 1042, 1043, 1082, 1083, 1186, 1560, 1562, 1700, 2950, 3220, 3802}
)
"""Types whose text is their JSON value: characters, documents, addresses, dates, times, intervals, numerics, UUIDs."""
_ARRAYS: Mapping[int, int] = {
    1000: 16, 1001: 17, 1016: 20, 1005: 21, 1007: 23, 1028: 26, 1021: 700, 1022: 701,
    1115: 1114, 1185: 1184, 1270: 1266,
    1002: 18, 1003: 19, 1009: 25, 199: 114, 143: 142, 651: 650, 791: 790, 1040: 829, 1041: 869, 1014: 1042, 1015: 1043,
    1182: 1082, 1183: 1083, 1187: 1186, 1561: 1560, 1563: 1562, 1231: 1700, 2951: 2950, 3221: 3220, 3807: 3802,
}  # fmt: skip


def converter(oid: int, own: Mapping[int, "tuple[str, int]"] | None = None) -> Convert | None:
    """How values of a type become JSON; None where they stay text.

    Parameters
    ----------
    own:
        Types of the database by OID: (`array`, element), (`domain`, base) or (`enum`, 0).

    Raises
    ------
    LookupError
        The type isn't known: its values stay text, and whoever asked says so.
    """
    if oid in _SCALARS:
        return _SCALARS[oid]
    if oid in _TEXTS:
        return None
    kind, other = ("array", _ARRAYS[oid]) if oid in _ARRAYS else (own or {}).get(oid, ("", 0))
    if kind == "enum":
        return None
    if kind == "domain":
        return converter(other, own)
    if kind == "array":
        element = converter(other, own) or str
        return lambda text: array(text, element)
    raise LookupError(oid)
