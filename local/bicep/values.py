"""What an expression comes to: plain Python values, resources, and what only Azure knows."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Known", "Members", "Resource", "Symbolic", "member"]


class Symbolic(str):
    """A value that is known only while the deployment runs, as readable text.

    `[Microsoft.KeyVault/vaults:kv-a].properties.vaultUri` is a property of a resource, `parameters.location` a
    parameter that has no value. It behaves as text, so that it can be part of a longer text; that is symbolic too.
    """

    __slots__ = ()


@dataclass(frozen=True, eq=False, repr=False)
class Resource:
    """One resource that would be deployed, or (`existing`) that is referred to.

    `name` holds the names of all its parents, joined by `/`, as Azure does. `body` is the resource as written, worked
    out; where it says `parent` or `scope`, the value is the `Resource` itself. `certain` is False where only Azure
    can tell whether its condition holds. `module` is the path of module symbols that leads to it, empty in the
    template itself. `needs` are the symbols of its file that ARM waits for, `name[n]` for one round of a loop.
    """

    symbol: str
    type: str
    api_version: str
    name: str
    body: dict[str, Any]
    existing: bool
    certain: bool
    module: str
    file: Path
    line: int
    parent: "Resource | None" = None
    scope: "Resource | Symbolic | None" = None
    needs: frozenset[str] = frozenset()

    @property
    def properties(self) -> dict[str, Any]:
        """The resource's `properties`; empty where it has none."""
        found = self.body.get("properties")
        return found if isinstance(found, dict) else {}

    def get(self, path: str, default: Any = None) -> Any:
        """The value at a dotted path of the body, or the default."""
        value: Any = self.body
        for part in path.split("."):
            if not isinstance(value, dict) or part not in value:
                return default
            value = value[part]
        return value

    def __str__(self) -> str:
        return f"[{self.type}:{self.name}]"

    __repr__ = __str__


class Members(ABC):
    """A value that knows its members itself, as a module its outputs."""

    @abstractmethod
    def member(self, name: str) -> Any:
        """What `value.name` comes to; LookupError where there is no such member."""


def member(value: Any, name: str) -> Any:
    """What `value.name` comes to.

    Raises
    ------
    LookupError
        A plain object has no such property.
    """
    if isinstance(value, Resource):
        return _of_resource(value, name)
    if isinstance(value, Symbolic):
        return Symbolic(f"{value}.{name}")
    if isinstance(value, Members):
        return value.member(name)
    if isinstance(value, Mapping):
        if name not in value:
            raise LookupError(f"there is no property {name}")
        return value[name]
    if value is None:
        return Symbolic(f"null.{name}")  # of a resource or module whose condition doesn't hold; Azure never asks
    raise LookupError(f"{type(value).__name__} has no property {name}")


def _of_resource(resource: Resource, name: str) -> Any:
    if name == "name":
        return resource.name.rsplit("/", 1)[-1]
    if name == "type":
        return resource.type
    if name == "apiVersion":
        return resource.api_version
    if name == "properties":
        return Known(f"{resource}.properties", resource.properties)
    if name in resource.body and name not in ("id", "identity"):
        return resource.body[name]
    return Symbolic(f"{resource}.{name}")


class Known(dict[str, Any]):
    """What is known of something in Azure, such as the properties as written; the rest is what Azure fills in."""

    def __init__(self, what: str, known: Mapping[str, Any]) -> None:
        super().__init__(known)
        self._what = what

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Symbolic:
        return Symbolic(f"{self._what}.{name}")
