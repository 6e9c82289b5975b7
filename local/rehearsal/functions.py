"""The functions that a condition may call. Those over the whole plan come first, then those over values alone."""

from __future__ import annotations

import ipaddress
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from local.bicep import Symbolic

from .conditions import UNKNOWN, Fields, is_unknown

__all__ = ["FUNCTIONS", "OF_PLAN", "Element"]

OF_PLAN = frozenset(
    {
        "resources",
        "children",
        "target",
        "waits",
        "together",
        "subnet",
        "service",
        "policy_elements",
        "policy_scope",
        "table",
        "region",
        "earlier",
    }
)
"""Functions that look at the plan; `Plan` provides them."""

_DURATION = re.compile(r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")
_SECONDS = (365 * 86400, 30 * 86400, 7 * 86400, 86400, 3600, 60, 1)
_KQL_NAME = re.compile(r"(?:\blet\s+|\b(?:extend|project|summarize|print)\s+|,\s*)([A-Za-z_]\w*)\s*=(?![=~])")
_KQL_TEXT = re.compile(r'//.*|"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')


class Element(Fields):
    """An element of a policy: its `tag`, its `text`, the `section` it stands in (inbound), and its attributes."""

    def __init__(self, element: ElementTree.Element, section: str, above: tuple[str, ...]) -> None:
        self._element = element
        self._section = section
        self._above = above

    def field(self, name: str) -> Any:
        """A field; an attribute by its name, with `_` for `-`."""
        if name == "tag":
            return self._element.tag
        if name == "section":
            return self._section
        if name == "above":
            return list(self._above)
        if name == "text":
            return "".join(self._element.itertext())
        return self._element.get(name, self._element.get(name.replace("_", "-")))


def _elements(text: Any) -> Any:
    """Every element of an XML text, as far as it is known; None where it isn't XML."""
    if text is None or text is UNKNOWN:
        return [] if text is None else UNKNOWN
    found = _read_elements(str(text))
    return UNKNOWN if found is None and is_unknown(text) else found


@lru_cache(maxsize=256)
def _read_elements(text: str) -> list[Element] | None:
    try:
        root = ElementTree.fromstring(text)  # noqa: S314  # the project's own policies
    except ElementTree.ParseError:
        return None
    return list(_walked(root, "", ()))


def _walked(element: ElementTree.Element, section: str, above: tuple[str, ...]) -> Iterator[Element]:
    for child in element:
        here = child.tag if element.tag == "policies" else section
        yield Element(child, here, above)
        yield from _walked(child, here, (*above, child.tag))


def _known(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, unknown where an argument is, and None where the first one isn't there."""

    def called(*values: Any) -> Any:
        if any(is_unknown(value) for value in values):
            return UNKNOWN
        return None if values and values[0] is None else function(*values)

    return called


def _has(text: Any, pattern: str) -> Any:
    """Whether a pattern is somewhere in the text; what is known of an unknown text may be enough."""
    if text is None:
        return False
    if re.search(pattern, str(text)):
        return True
    return UNKNOWN if is_unknown(text) else False


def _part(text: Any, number: int, between: str = "/") -> Any:
    if text is None or text is UNKNOWN:
        return text
    parts = str(text).split(between)
    found = parts[number] if -len(parts) <= number < len(parts) else None
    return Symbolic(found) if isinstance(text, Symbolic) and found and "[" in found else found


def _seconds(text: Any) -> float:
    found = _DURATION.fullmatch(str(text))
    if found is None or str(text) in ("P", "PT"):
        raise ValueError(f"{text!r} is no duration")
    return float(sum(int(count or 0) * seconds for count, seconds in zip(found.groups(), _SECONDS, strict=True)))


def _settings(site: Any) -> Any:
    """The app settings of a site, name → value."""
    config = site.field("properties") if isinstance(site, Fields) else None
    given = ((config or {}).get("siteConfig") or {}).get("appSettings") or []
    return {str(one["name"]): one["value"] for one in given}


def _network(text: Any) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(str(text))


def _kql_names(query: Any) -> list[str]:
    """The names that a query gives to columns and values."""
    return _KQL_NAME.findall(_KQL_TEXT.sub("", str(query)))


def _distinct(values: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys(map(str, values)))


def _length(value: Any) -> Any:
    if value is None:
        return 0
    return UNKNOWN if is_unknown(value) else len(value)


def _reduced(reduce: Callable[[Sequence[Any]], Any]) -> Callable[..., Any]:
    def called(*values: Any) -> Any:
        given = values[0] if len(values) == 1 and not isinstance(values[0], int | float) else values
        if given is UNKNOWN or any(is_unknown(value) for value in given or ()):
            return UNKNOWN
        known = [value for value in given or () if value is not None]
        return reduce(known) if known or reduce is sum else None

    return called


def _keys(value: Any) -> Any:
    return list(value) if isinstance(value, Mapping) else [] if value is None else UNKNOWN


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "len": _length,
    "sum": _reduced(sum),
    "min": _reduced(min),
    "max": _reduced(max),
    "lower": _known(lambda text: str(text).lower()),
    "text": lambda value: None if value is None else value if is_unknown(value) else str(value),
    "number": _known(lambda value: float(value)),
    "matches": _known(lambda text, pattern: re.fullmatch(pattern, str(text)) is not None),
    "has": _has,
    "occurrences": _known(lambda text, pattern: re.findall(pattern, str(text))),
    "left": _known(lambda text, count: str(text)[:count]),
    "power": _known(lambda base, exponent: base**exponent),
    "last_step": _known(lambda query: _KQL_TEXT.sub("", str(query)).rpartition("|")[2]),
    "starts": _known(lambda text, start: str(text).lower().startswith(str(start).lower())),
    "ends": _known(lambda text, end: str(text).lower().endswith(str(end).lower())),
    "part": _part,
    "last": lambda text: _part(text, -1),
    "seconds": _known(_seconds),
    "keys": _keys,
    "values": lambda value: list(value.values()) if isinstance(value, Mapping) else [],
    "items": lambda value: list(value.items()) if isinstance(value, Mapping) else [],
    "known": lambda value: value is not None and not is_unknown(value),
    "json": _known(lambda text: json.loads(text)),
    "elements": _elements,
    "settings": _settings,
    "prefix": _known(lambda cidr: _network(cidr).prefixlen),
    "inside": _known(lambda cidr, whole: _network(cidr).subnet_of(_network(whole))),
    "overlaps": _known(lambda cidr, other: _network(cidr).overlaps(_network(other))),
    "distinct": _distinct,
    "kql_names": _known(_kql_names),
    **dict.fromkeys(OF_PLAN, lambda *_: UNKNOWN),
}
"""Name → function."""
