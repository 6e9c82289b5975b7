"""The subscription that a deployment meets: who calls, what is registered, free and allowed, and what is there already.

Without a file it is the one that everything is ready in. A file (TOML) says what differs; docs/rehearsal.md lists the
fields.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from .conditions import Fields

__all__ = ["BadState", "Kept", "Region", "State", "plain", "read_state"]


class BadState(ValueError):
    """A description of a subscription that can't be read; the text says where."""


@dataclass(frozen=True)
class Region(Fields):
    """What a region has. `flex_cores` is what Flex Consumption may use there at a time, all apps together.

    `more` are abilities that only rules of a user's own ask for.
    """

    flex: bool = True
    flex_zones: bool = True
    rolling_updates: bool = True
    flex_cores: float = 250
    more: Mapping[str, Any] = field(default_factory=dict)

    def field(self, name: str) -> Any:
        """One of its abilities; None where nobody has said."""
        return self.more.get(name, getattr(self, name, None))


@dataclass(frozen=True)
class Kept(Fields):
    """A resource that is there, or (in `State.deleted`) that can be brought back; `body` is as in a template."""

    type: str
    name: str
    body: Mapping[str, Any] = field(default_factory=dict)

    def field(self, name: str) -> Any:
        """A field of it."""
        if name in ("type", "name"):
            return getattr(self, name)
        return self.body.get(name)


@dataclass(frozen=True)
class State(Fields):
    """A subscription.

    `inside_network` says whether what is private is reached from where is deployed. `taken` are names that somebody
    else in the world has; `role_delay_seconds` is how long a role that was granted takes to be known everywhere;
    `resources` is what an earlier deployment has left, `deleted` what was deleted and can be brought back; `quotas`
    are for rules of a user's own.
    """

    caller: str = "deployer@example.com"
    signed_in: bool = True
    inside_network: bool = True
    roles: tuple[str, ...] = ("Owner",)
    unregistered: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    role_delay_seconds: float = 120
    regions: Mapping[str, Region] = field(default_factory=dict)
    deleted: tuple[Kept, ...] = ()
    resources: tuple[Kept, ...] = ()
    quotas: Mapping[str, Any] = field(default_factory=dict)

    def field(self, name: str) -> Any:
        """A field of it."""
        return getattr(self, name)

    def region(self, name: str) -> Region:
        """What a region has; one that isn't described has everything."""
        return self.regions.get(plain(name), Region())

    def before(self, kind: str, name: str) -> Kept | None:
        """What is there under a type and name."""
        return self._by_name.get((kind.lower(), name.lower()))

    @cached_property
    def _by_name(self) -> Mapping[tuple[str, str], Kept]:
        return {(one.type.lower(), one.name.lower()): one for one in self.resources}

    def with_(self, **changed: Any) -> State:
        """The same with some fields changed."""
        return replace(self, **changed)


def plain(region: str) -> str:
    """A region's name as Azure compares it: `West Europe` is `westeurope`."""
    return region.replace(" ", "").lower()


def read_state(file: Path) -> State:
    """Read a description of a subscription.

    Raises
    ------
    BadState
        It isn't TOML, or has a field that there isn't, or one of another type.
    """
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadState(f"{file} can't be read: {error}") from None
    found = {name: _checked(file, name, value) for name, value in given.items()}
    return State(**found)


_TYPES: dict[str, type | tuple[type, ...]] = {
    "caller": str,
    "signed_in": bool,
    "inside_network": bool,
    "role_delay_seconds": (int, float),
}


def _checked(file: Path, name: str, value: Any) -> Any:
    if name in _TYPES:
        if not isinstance(value, _TYPES[name]):
            raise BadState(f"{file}: {name} is {value!r}")
        return value
    if name in ("roles", "unregistered", "taken"):
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise BadState(f"{file}: {name} is a list of texts")
        return tuple(value)
    if name == "regions" and isinstance(value, dict):
        return {plain(region): _region(file, region, one) for region, one in value.items()}
    if name == "quotas" and isinstance(value, dict):
        return value
    if name in ("deleted", "resources") and isinstance(value, list):
        return tuple(_kept(file, name, one) for one in value)
    raise BadState(f"{file}: there is no field {name}; there are {', '.join(one.name for one in fields(State))}")


def _region(file: Path, name: str, given: Any) -> Region:
    if not isinstance(given, dict):
        raise BadState(f"{file}: regions.{name} is a table")
    known = {one.name for one in fields(Region)} - {"more"}
    for ability, value in given.items():
        number = ability == "flex_cores"
        if ability in known and (isinstance(value, bool) is number or not isinstance(value, bool | int | float)):
            raise BadState(f"{file}: regions.{name}.{ability} is {value!r}")
    own = {ability: value for ability, value in given.items() if ability in known}
    return Region(**own, more={ability: value for ability, value in given.items() if ability not in known})


def _kept(file: Path, where: str, given: Any) -> Kept:
    if not isinstance(given, dict) or not isinstance(given.get("type"), str) or not isinstance(given.get("name"), str):
        raise BadState(f"{file}: each of {where} has a type and a name")
    return Kept(given["type"], given["name"], {key: one for key, one in given.items() if key not in ("type", "name")})
