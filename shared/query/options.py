"""The options of a query, `$select` to `$expand`, and the shape that they give a row."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .filters import Filter, InvalidQuery, parse_filter
from .indexes import Field
from .properties import Kind, Property

__all__ = ["NAMES", "Expanded", "Options", "parse_options"]

NAMES = frozenset({"$filter", "$select", "fields", "$orderby", "$top", "$skip", "$count", "$expand"})
MAX_TOP, MAX_SKIP, MAX_ORDER = 1_000, 10_000, 5
_MAX_LENGTH = 1_024


@dataclass(frozen=True, kw_only=True, slots=True)
class Expanded:
    """Objects within a row: which of their fields are shown, all where none is named, and how many of them."""

    select: tuple[str, ...] = ()
    top: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """A query as it was asked; without `select` every field is shown, without `top` a page has its usual size."""

    filter: Filter | None = None
    order: tuple[Field, ...] = ()
    select: tuple[str, ...] = ()
    expand: Mapping[str, Expanded] = field(default_factory=dict)
    top: int | None = None
    skip: int = 0
    count: bool = False

    def shape(self, row: Mapping[str, Any], properties: Mapping[str, Property], *, whole: bool) -> dict[str, Any]:
        """A row with what was asked for; lists of objects unasked only where the row is wanted whole."""
        shown = set(self.select) or {name for name, one in properties.items() if whole or one.kind is not Kind.OBJECTS}
        shaped: dict[str, Any] = {}
        for name, value in row.items():
            if name in self.expand:
                shaped[name] = _expanded(value, self.expand[name])
            elif name in shown or name.startswith("$"):
                shaped[name] = value
        return shaped


def _expanded(value: Any, expand: Expanded) -> Any:
    if not isinstance(value, list):
        return value
    return [
        {name: one[name] for name in expand.select if name in one} if expand.select and isinstance(one, dict) else one
        for one in value[: expand.top]
    ]


def parse_options(given: Mapping[str, str], properties: Mapping[str, Property]) -> Options:
    """The options of a query; names that aren't options are left to others.

    Raises
    ------
    InvalidQuery
        One isn't well-formed, or names what isn't there; the message begins with its name.
    """
    long = next((name for name in sorted(NAMES - {"$filter"}) if len(given.get(name, "")) > _MAX_LENGTH), None)
    if long is not None:
        raise InvalidQuery(f"{long[:64]}: has more than {_MAX_LENGTH} characters")
    if "$select" in given and "fields" in given:
        raise InvalidQuery("fields: is another name of $select, give one of them")
    selected = "fields" if "fields" in given else "$select"
    return Options(
        filter=parse_filter(given["$filter"], properties) if "$filter" in given else None,
        order=_order(given["$orderby"], properties) if "$orderby" in given else (),
        select=_select(given[selected], selected, properties) if selected in given else (),
        expand=dict(_expand(given["$expand"], properties)) if "$expand" in given else {},
        top=_number(given["$top"], "$top", MAX_TOP) if "$top" in given else None,
        skip=_number(given["$skip"], "$skip", MAX_SKIP) if "$skip" in given else 0,
        count=_flag(given["$count"]) if "$count" in given else False,
    )


def _number(text: str, name: str, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) > most:
        raise InvalidQuery(f"{name}: must be 0 to {most}")
    return int(text)


def _flag(text: str) -> bool:
    if text not in ("true", "false"):
        raise InvalidQuery("$count: must be true or false")
    return text == "true"


def _select(text: str, option: str, properties: Mapping[str, Property]) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",")]
    if names == ["*"]:
        return ()
    for name in names:
        if name not in properties:
            raise InvalidQuery(f"{option}: there is no field {name[:64]}")
    return tuple(dict.fromkeys(names))


def _order(text: str, properties: Mapping[str, Property]) -> tuple[Field, ...]:
    fields: list[Field] = []
    for one in text.split(","):
        found = re.fullmatch(r"\s*([A-Za-z_][A-Za-z0-9_]*)(?:\s+(asc|desc))?\s*", one)
        if found is None or found[1] not in properties or not properties[found[1]].kind.comparable:
            raise InvalidQuery(f"$orderby: {one.strip()[:64]!r} is no field, with asc or desc after it or nothing")
        if found[1] not in {known.name for known in fields}:
            fields.append(Field(found[1], found[2] == "desc"))
    if len(fields) > MAX_ORDER:
        raise InvalidQuery(f"$orderby: has more than {MAX_ORDER} fields")
    return tuple(fields)


def _expand(text: str, properties: Mapping[str, Property]) -> Iterator[tuple[str, Expanded]]:
    rest, seen = text, set[str]()
    while rest or not seen:
        found = re.match(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\(([^()]*)\))?\s*(?:,(?=.)|$)", rest)
        if found is None:
            raise InvalidQuery(f"$expand: can't be read from {rest[:40]!r} on")
        name, inner, rest = found[1], found[2], rest[found.end() :]
        prop = properties.get(name)
        if prop is None or prop.kind is not Kind.OBJECTS or name in seen:
            raise InvalidQuery(f"$expand: {name[:64]} is no list of objects in a row, or is there twice")
        seen.add(name)
        yield name, _within(inner, prop) if inner is not None else Expanded()


def _within(text: str, prop: Property) -> Expanded:
    given: dict[str, str] = {}
    for one in text.split(";"):
        option, equals, value = one.strip().partition("=")
        if not equals or option not in ("$select", "$top") or option in given:
            raise InvalidQuery(f"$expand: {prop.name} takes $select and $top, each once, not {one.strip()[:40]!r}")
        given[option] = value.strip()
    return Expanded(
        select=_select(given["$select"], "$select", prop.fields) if "$select" in given else (),
        top=_number(given["$top"], "$top", MAX_TOP) if "$top" in given else None,
    )
