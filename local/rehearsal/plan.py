"""What is deployed, in its order, as conditions see it."""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

from local.bicep import Resource

from .conditions import UNKNOWN, Fields
from .functions import FUNCTIONS
from .order import Order
from .state import Kept, Region, State

__all__ = ["Plan", "Subject"]

_NAMED = re.compile(r"\[([\w.]+/[\w./]+):([^\]]+)\]\.id(?P<below>(?:/[\w.-]+/[\w.-]+)*)\Z")
_BY_ID = re.compile(r".*/providers/([\w.]+)/([\w./-]+)\Z")
_POLICY_SCOPES = {"products": "product", "apis": "api", "operations": "operation", "workspaces": "workspace"}
_BY_FUNCTION = re.compile(r"resourceId\(([\w.]+/[\w./]+), (.+)\)\Z")


class Subject(Fields):
    """One resource of a plan: its fields are those of its body, and `name`, `type`, `parent`, `scope`, `wave`."""

    def __init__(self, plan: Plan, number: int) -> None:
        self.plan = plan
        self.number = number
        self.resource: Resource = plan.order.resources[number]

    def field(self, name: str) -> Any:
        """A field of it; None where it has none."""
        own = _OWN.get(name)
        if own is not None:
            return own(self)
        found = self.resource.body.get(name)
        if found is None:
            small = name.lower()
            found = next((value for key, value in self.resource.body.items() if key.lower() == small), None)
        return self.plan.seen(found)

    @property
    def parent(self) -> Subject | None:
        """The resource that it is a part of, where that is deployed too."""
        kind, name = self.resource.type.rpartition("/")[0], self.resource.name.rpartition("/")[0]
        return self.plan.find(kind, name) if name else None

    def __str__(self) -> str:
        return self.resource.name


_OWN: dict[str, Callable[[Subject], Any]] = {
    "name": lambda one: one.resource.name,
    "type": lambda one: one.resource.type,
    "apiVersion": lambda one: one.resource.api_version,
    "parent": lambda one: one.parent,
    "scope": lambda one: one.plan.seen(one.resource.scope),
    "wave": lambda one: one.plan.order.waves[one.number],
    "file": lambda one: one.resource.file.name,
}


class Plan:
    """The resources of a deployment and the subscription that it meets."""

    def __init__(self, resources: Order, state: State, tables: Mapping[str, Any], **given: Any) -> None:
        self.order: Order = resources
        self.state = state
        self.tables = tables
        self.given = given
        """What conditions may name besides: `stage`."""
        self._found: dict[tuple[str, ...], list[Subject]] = {}

    @cached_property
    def subjects(self) -> tuple[Subject, ...]:
        """Every resource, in order."""
        return tuple(Subject(self, number) for number in range(len(self.order.resources)))

    @cached_property
    def _by_name(self) -> dict[tuple[str, str], Subject]:
        return {(one.resource.type.lower(), one.resource.name.lower()): one for one in self.subjects}

    def find(self, kind: str, name: str) -> Subject | None:
        """The resource of a type and (whole) name."""
        return self._by_name.get((kind.lower(), name.lower()))

    def seen(self, value: Any) -> Any:
        """A value of a body as conditions see it: a resource as a subject."""
        return (
            self.find(value.type, value.name) or Kept(value.type, value.name) if isinstance(value, Resource) else value
        )

    def resources(self, *patterns: str) -> list[Subject]:
        """The resources of types, for reading; `*` stands for any part of a name."""
        if patterns not in self._found:
            small = [one.lower() for one in patterns]
            kinds = {one.resource.type for one in self.subjects}
            fit = {kind for kind in kinds if any(fnmatchcase(kind.lower(), each) for each in small)}
            self._found[patterns] = [one for one in self.subjects if one.resource.type in fit]
        return self._found[patterns]

    def children(self, whole: Any, kind: str = "*") -> list[Subject]:
        """What is part of a resource, or scoped to it."""
        if not isinstance(whole, Subject):
            return []
        found = self.resources(kind if "/" in kind or kind == "*" else f"{whole.resource.type}/{kind}")
        return [one for one in found if one.parent is whole or self.seen(one.resource.scope) is whole]

    def target(self, reference: Any) -> Any:
        """The resource whose id this is; None where it isn't deployed here, unknown where the id is no readable one."""
        if reference is None:
            return None
        if isinstance(reference, Subject):
            return reference
        text = str(reference)
        if found := _NAMED.match(text):
            below = found["below"].strip("/").split("/") if found["below"] else []
            if below[:1] != ["providers"]:
                kind = "/".join([found[1], *below[::2]])
                return self.find(kind, "/".join([found[2], *below[1::2]]))
        if found := _BY_ID.match(text):
            parts = found[2].split("/")
            return self.find("/".join([found[1], *parts[::2]]), "/".join(parts[1::2]))
        if found := _BY_FUNCTION.match(text):
            return self.find(found[1], "/".join(found[2].split(", ")))
        return UNKNOWN

    def names(self, this: Subject, rest: Mapping[str, Any] | None = None) -> ChainMap[str, Any]:
        """Everything that a condition about a resource may name."""
        was = self.state.before(this.resource.type, this.resource.name)
        return ChainMap({"this": this, "was": was, **(rest or {})}, self._functions)

    @cached_property
    def _functions(self) -> dict[str, Any]:
        return {
            **FUNCTIONS,
            **self.given,
            "state": self.state,
            "resources": self.resources,
            "children": self.children,
            "target": self.target,
            "waits": self._waits,
            "together": self._together,
            "subnet": self._subnet,
            "service": self._service,
            "policy_elements": self._policy_elements,
            "policy_scope": lambda one: _POLICY_SCOPES.get(one.resource.type.split("/")[-2].lower(), "global"),
            "table": self._table,
            "region": self._region,
            "earlier": lambda one: self.state.before(one.resource.type, one.resource.name) if one else None,
        }

    def _waits(self, later: Subject, earlier: Any) -> bool:
        return isinstance(earlier, Subject) and self.order.waits(later.number, earlier.number)

    def _together(self, one: Subject, other: Any) -> bool:
        return isinstance(other, Subject) and self.order.together(one.number, other.number)

    def _subnet(self, reference: Any) -> Any:
        """The subnet of a network whose id this is, as the network says it."""
        found = _NAMED.match(str(reference or ""))
        network = self.find(found[1], found[2]) if found else None
        below = found["below"].strip("/").split("/") if found else []
        if network is None or below[:1] != ["subnets"]:
            return None if reference is None else UNKNOWN
        own = self.find("Microsoft.Network/virtualNetworks/subnets", f"{network.resource.name}/{below[1]}")
        inline = network.resource.get("properties.subnets", [])
        return own or next((one for one in inline if one["name"] == below[1]), None)

    def _service(self, one: Subject) -> Subject | None:
        """The outermost resource that something is a part of."""
        kind = "/".join(one.resource.type.split("/")[:2])
        return self.find(kind, one.resource.name.partition("/")[0])

    def _policy_elements(self, one: Subject) -> Any:
        """The elements of a policy, those of the fragments that it includes too."""
        elements = FUNCTIONS["elements"]
        found = elements(one.resource.properties.get("value"))
        if found is UNKNOWN or found is None:
            return found
        included = {each.field("fragment_id") for each in found if each.field("tag") == "include-fragment"}
        for fragment in self.resources("Microsoft.ApiManagement/service/policyFragments"):
            if fragment.resource.name.rpartition("/")[2] in included:
                more = elements(fragment.resource.properties.get("value"))
                found = found + more if isinstance(more, list) else found
        return found

    def _table(self, name: str) -> Any:
        if name not in self.tables:
            raise LookupError(f"there is no table {name}")
        return self.tables[name]

    def _region(self, name: Any) -> Region | None:
        return None if name is None else self.state.region(str(name))
