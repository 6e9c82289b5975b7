"""Checks worked-out resources against Azure's resource type definitions.

The definitions are the packed table of bicepcheck, which checks the templates as they are written; what comes out of
the declarations file, it can't know.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local.bicep import Resource, Symbolic

__all__ = ["ResourceTypes"]

_REQUIRED, _READ_ONLY = 1, 2
_OF_BICEP = {"parent", "scope", "dependsOn"}
_OF_ARM = {"id", "type", "apiVersion", "name"}


class ResourceTypes:
    """Resource types by name and version."""

    def __init__(self, file: Path) -> None:
        data = json.loads(gzip.decompress(file.read_bytes()))
        self._resources: dict[str, dict[str, list[int]]] = data["resources"]
        self._nodes: list[list[Any]] = data["nodes"]

    def knows(self, resource: Resource) -> bool:
        """Whether there is a definition of its type and version."""
        return resource.api_version.lower() in self._resources.get(resource.type.lower(), {})

    def problems(self, resource: Resource) -> list[str]:
        """What doesn't fit the definition: path and reason."""
        body = {name: value for name, value in resource.body.items() if name not in _OF_BICEP}
        body["name"] = resource.name.rpartition("/")[2]
        at = self._resources[resource.type.lower()][resource.api_version.lower()][0]
        return list(self._value(body, self._nodes[at], ""))

    def _value(self, value: Any, node: list[Any], path: str) -> Iterator[str]:
        kind = node[0]
        if value is None or isinstance(value, Symbolic | Resource) or kind not in "sibnluAod":
            return
        if kind == "u":
            choices = [list(self._value(value, self._nodes[one], path)) for one in node[1]]
            if all(choices):
                yield from min(choices, key=len)
        elif kind == "l":
            if not isinstance(value, str) or value.lower() != str(node[1]).lower():
                yield f"{path} is {value!r}, not {node[1]}"
        elif kind == "b":
            if not isinstance(value, bool):
                yield f"{path} is {value!r}, no boolean"
        elif kind in "si":
            yield from _simple(value, kind, node[1], path)
        elif kind == "A":
            yield from self._array(value, node, path)
        elif kind in "od":
            yield from self._object(value, node, path)

    def _array(self, value: Any, node: list[Any], path: str) -> Iterator[str]:
        if not isinstance(value, list):
            yield f"{path} is {value!r}, no list"
            return
        if not node[2].get("min", 0) <= len(value) <= node[2].get("max", len(value)):
            yield f"{path} has {len(value)} items"
        for number, one in enumerate(value):
            yield from self._value(one, self._nodes[node[1]], f"{path}[{number}]")

    def _object(self, value: Any, node: list[Any], path: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{path} is {value!r}, no object"
            return
        known: dict[str, list[int]] = dict(node[2] if node[0] == "o" else node[3])
        extra = node[3] if node[0] == "o" else None
        if node[0] == "d":
            chosen = next((one for name, one in node[4].items() if name == value.get(node[2])), None)
            if chosen is None:
                yield f"{path}.{node[2]} is {value.get(node[2])!r}, not one of {', '.join(node[4])}"
                return
            known |= self._nodes[chosen][2]
        for name, one in value.items():
            here = f"{path}.{name}".lstrip(".")
            if name in known:
                if known[name][1] & _READ_ONLY:
                    yield f"{here} is read-only"
                yield from self._value(one, self._nodes[known[name][0]], here)
            elif extra is None:
                yield f"{here} is unknown"
            else:
                yield from self._value(one, self._nodes[extra], here)
        for name, (_, flags) in known.items():
            lacking = name not in value and name not in (_OF_ARM if not path else ())
            if flags & _REQUIRED and not flags & _READ_ONLY and lacking:
                yield f"{path}.{name} is missing".lstrip(".")


def _simple(value: Any, kind: str, limits: dict[str, Any], path: str) -> Iterator[str]:
    if kind == "i":
        if not isinstance(value, int) or isinstance(value, bool):
            yield f"{path} is {value!r}, no whole number"
        elif not limits.get("min", value) <= value <= limits.get("max", value):
            yield f"{path} is {value}, out of range"
        return
    if not isinstance(value, str):
        yield f"{path} is {value!r}, no text"
    elif "[" not in value and not limits.get("min", 0) <= len(value) <= limits.get("max", len(value)):
        yield f"{path} has {len(value)} characters"
    elif "[" not in value and "re" in limits and not re.search(limits["re"], value):
        yield f"{path} is {value!r}, which isn't {limits['re']}"
