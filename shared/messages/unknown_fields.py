"""What a message holds beyond its contract: refused where a sender still hears of it, counted where nobody does."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from .envelope import finding
from .errors import InvalidMessage

__all__ = ["refuse_named_twice", "refuse_unknown", "unknown_fields"]

Place = tuple[str | int, ...]

_MOST = 20
_LONGEST = 80
_SCALARS = frozenset({str, int, float, bool, type(None), bytes, Decimal, datetime, date, UUID})
"""Hold no model: most fields of every message, so they are passed over first."""


def unknown_fields(model: BaseModel, data: Any) -> Iterator[Place]:
    """The place of each field of `data` that its model doesn't know, also in models within it.

    Parameters
    ----------
    model:
        What was read from `data`: it tells which model was taken where there are several.
    """
    for place, one, given in _models(model, data, ()):
        if not (given.keys() <= (known := _known(type(one)))) and type(one).model_config.get("extra") != "allow":
            yield from ((*place, str(name)[:_LONGEST]) for name in given if name not in known)


def refuse_named_twice(model: BaseModel, data: Any) -> None:
    """Raise InvalidMessage where an object has a field under both of its names: one of the two would be lost."""
    for place, one, given in _models(model, data, ()):
        for name, info in type(one).model_fields.items():
            if info.alias not in (None, name) and name in given and info.alias in given:
                found = finding((*place, str(info.alias)), f"is given twice, also as {name}")
                raise InvalidMessage(f"{found['field']}: {found['message']}", details={"errors": [found], "count": 1})


def _models(value: Any, data: Any, place: Place) -> Iterator[tuple[Place, BaseModel, Mapping[str, Any]]]:
    """Each model in a value, where it is, and the object that it was read from."""
    if isinstance(value, BaseModel):
        if not isinstance(data, Mapping):
            return
        yield place, value, data
        for name, spellings in _spellings(type(value)):
            child = getattr(value, name)
            if type(child) not in _SCALARS:
                for given in spellings & data.keys():
                    yield from _models(child, data[given], (*place, given))
    elif isinstance(value, list | tuple) and isinstance(data, Sequence) and len(value) == len(data):
        if value and isinstance(value[0], BaseModel | list | tuple | dict):
            for number, (one, given) in enumerate(zip(value, data, strict=True)):
                yield from _models(one, given, (*place, number))
    elif isinstance(value, Mapping) and isinstance(data, Mapping):
        for name in value.keys() & data.keys():
            yield from _models(value[name], data[name], (*place, str(name)))


@cache
def _spellings(model: type[BaseModel]) -> tuple[tuple[str, frozenset[str]], ...]:
    """Each field with the names that it may have in JSON."""
    return tuple((name, frozenset({name, info.alias or name})) for name, info in model.model_fields.items())


@cache
def _known(model: type[BaseModel]) -> frozenset[str]:
    return frozenset().union(*(spellings for _, spellings in _spellings(model)))


def refuse_unknown(places: Sequence[Place]) -> None:
    """Raise InvalidMessage that names the fields, unless there are none."""
    if not places:
        return
    found = [finding(place, "the contract has no such field") for place in places[:_MOST]]
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    raise InvalidMessage(
        f"{found[0]['field']}: {found[0]['message']}{more}", details={"errors": found, "count": len(places)}
    )
