"""What a message holds beyond its contract: refused where a sender still hears of it, counted where nobody does."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from .envelope import finding
from .errors import InvalidMessage

__all__ = ["refuse_unknown", "unknown_fields"]

_MOST = 20
_LONGEST = 80


def unknown_fields(model: BaseModel, data: Any) -> Iterator[tuple[str | int, ...]]:
    """The place of each field of `data` that its model doesn't know, also in models within it.

    Parameters
    ----------
    model:
        What was read from `data`: it tells which model was taken where there are several.
    """
    if not isinstance(data, Mapping):
        return
    known: set[str] = set()
    for name, info in type(model).model_fields.items():
        spellings = {name, info.alias or name}
        known |= spellings
        for given in spellings & data.keys():
            for place in _within(getattr(model, name), data[given]):
                yield (given, *place)
    if type(model).model_config.get("extra") != "allow":
        yield from ((str(name)[:_LONGEST],) for name in data if name not in known)


def _within(value: Any, data: Any) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, BaseModel):
        yield from unknown_fields(value, data)
    elif isinstance(value, list | tuple) and isinstance(data, Sequence) and len(value) == len(data):
        if value and isinstance(value[0], BaseModel | list | tuple | dict):
            for number, (one, given) in enumerate(zip(value, data, strict=True)):
                for place in _within(one, given):
                    yield (number, *place)
    elif isinstance(value, Mapping) and isinstance(data, Mapping):
        for name in value.keys() & data.keys():
            for place in _within(value[name], data[name]):
                yield (str(name), *place)


def refuse_unknown(places: Sequence[tuple[str | int, ...]]) -> None:
    """Raise InvalidMessage that names the fields, unless there are none."""
    if not places:
        return
    found = [finding(place, "the contract has no such field") for place in places[:_MOST]]
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    raise InvalidMessage(
        f"{found[0]['field']}: {found[0]['message']}{more}", details={"errors": found, "count": len(places)}
    )
