"""Reads an entity's properties: each field of a description under the name it has in the management API."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar, get_type_hints

from local_azure.broker.config.document import ConfigError, Node
from local_azure.broker.entities import EntityStatus, InvalidEntityError, entity_key, property_name

__all__ = ["Names", "Readers", "build", "property_readers", "read_fields", "read_properties"]

_Entity = TypeVar("_Entity")
Readers: TypeAlias = Mapping[str, tuple[str, Callable[[Node], object]]]
"""JSON key -> the field it fills, and how its value is read."""

_READERS: Mapping[Any, Callable[[Node], object]] = {
    str: Node.text,
    str | None: Node.optional_text,
    int: Node.whole_number,
    int | None: Node.optional_whole_number,
    bool: Node.flag,
    timedelta: Node.duration,
    EntityStatus: Node.status,
}


def property_readers(entity_type: type[Any], *without: str) -> dict[str, tuple[str, Callable[[Node], object]]]:
    """JSON key -> (field, reader) for each scalar field of an entity type."""
    hints = get_type_hints(entity_type)
    names = (f.name for f in fields(entity_type) if f.name not in without)
    return {property_name(name): (name, _READERS[hints[name]]) for name in names}


def read_properties(parts: Mapping[str, Node], readers: Readers) -> dict[str, object]:
    """The fields given by an entity's `Properties`. Raises `ConfigError`."""
    if "Properties" not in parts or parts["Properties"].value is None:
        return {}
    return read_fields(parts["Properties"].children(readers), readers)


def read_fields(parts: Mapping[str, Node], readers: Readers) -> dict[str, object]:
    """The fields given by these members. Raises `ConfigError`."""
    return {readers[key][0]: readers[key][1](node) for key, node in parts.items()}


def build(entity_type: type[_Entity], node: Node, values: Mapping[str, object], **more: object) -> _Entity:
    """Make an entity; what it refuses becomes a `ConfigError` with the place of the JSON key."""
    try:
        return entity_type(**values, **more)
    except InvalidEntityError as error:
        raise ConfigError(node.source, _place(node, error.field), error.value, error.expected) from None


def _place(node: Node, field_name: str) -> str:
    """The path of the JSON key that a field of an entity was read from."""
    if field_name == "filter":
        return node.path
    key = "SqlExpression" if field_name == "expression" else property_name(field_name)
    properties = node.value.get("Properties")
    inside = isinstance(properties, dict) and key in properties
    return f"{node.path}.Properties.{key}" if inside else f"{node.path}.{key}"


class Names:
    """Names taken so far, compared as the service does."""

    def __init__(self) -> None:
        self._taken: dict[str, Node] = {}

    def take(self, node: Node, name: str) -> None:
        first = self._taken.setdefault(entity_key(name), node)
        if first is not node:
            raise node.wrong(f"a name of its own; {first.source}: {first.path} has it already, whatever the case")
