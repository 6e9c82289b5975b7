"""Whether a value fits the type and the limits that a parameter has: what Resource Manager looks at before anything."""

from collections.abc import Iterator, Mapping
from typing import Any

from tree_sitter import Node

from .syntax import Document, decorator, named, read, text_of
from .values import Known, Members, Resource, Symbolic

__all__ = ["violations"]

_PRIMITIVE: dict[str, type] = {"string": str, "int": int, "bool": bool, "object": dict, "array": list}
_WRAPPED = ("type", "parenthesized_expression", "parenthesized_type")
_LITERAL = ("string", "number", "boolean", "null")


def violations(
    value: Any, kind: Node | None, decorators: Mapping[str, Node | None], document: Document, path: str
) -> Iterator[str]:
    """What doesn't fit, a sentence each; `document` is the file that the type is written in.

    What only Azure knows fits.
    """
    if kind is None or isinstance(value, Symbolic | Resource | Known | Members):
        return
    found = list(_typed(value, kind, document, path))
    yield from found or ([] if value is None else _limits(value, decorators, path))


def _typed(value: Any, kind: Node, document: Document, path: str) -> Iterator[str]:
    while (optional := any(child.type == "?" for child in kind.children)) or kind.type in _WRAPPED:
        if optional and value is None:
            return
        kind = named(kind)[0]
    if kind.type in ("union_type", "binary_expression", *_LITERAL):
        yield from _one_of(value, kind, path)
    elif kind.type == "array_type":
        if not isinstance(value, list):
            yield f"{path} is {value!r}, no array"
            return
        for number, one in enumerate(value):
            yield from violations(one, named(kind)[0], {}, document, f"{path}[{number}]")
    elif kind.type == "object":
        yield from _object(value, kind, document, path)
    else:
        yield from _named(value, text_of(kind), document, path)


def _named(value: Any, name: str, document: Document, path: str) -> Iterator[str]:
    if name in _PRIMITIVE:
        wanted = _PRIMITIVE[name]
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            yield f"{path} is {value!r}, no {name}"
        return
    if name in document.imports:
        file, there = document.imports[name]
        yield from _named(value, there, read(file), path)
    elif name in document.declarations:
        one = document.declarations[name]
        yield from violations(value, one.value, one.decorators, document, path)


def _object(value: Any, kind: Node, document: Document, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{path} is {value!r}, no object"
        return
    decorators: dict[str, Node | None] = {}
    for item in named(kind):
        if item.type == "decorators":
            decorators = dict(decorator(one) for one in named(item))
        elif item.type == "object_property":
            *keys, member = named(item)
            name = text_of(keys[0]).strip("'") if keys else "*"
            optional = any(child.type == "?" for child in member.children)
            if name == "*":  # of every member
                for each in value:
                    yield from violations(value[each], member, decorators, document, f"{path}.{each}")
            elif name in value:
                yield from violations(value[name], member, decorators, document, f"{path}.{name}")
            elif not optional:
                yield f"{path}.{name} is missing"
            decorators = {}


def _one_of(value: Any, kind: Node, path: str) -> Iterator[str]:
    choices = list(_literals(kind))
    if None not in choices and value not in choices:
        yield f"{path} is {value!r}, not one of {', '.join(map(str, choices))}"


def _literals(kind: Node) -> Iterator[Any]:
    """The literals of a union; None for another type among them, which may be anything."""
    if kind.type == "string":
        yield text_of(kind).strip("'")
    elif kind.type == "number":
        yield int(text_of(kind))
    elif kind.type == "boolean":
        yield text_of(kind) == "true"
    elif kind.type in ("union_type", "binary_expression", "type"):
        for child in named(kind):
            yield from _literals(child)
    else:
        yield None


def _limits(value: Any, decorators: Mapping[str, Node | None], path: str) -> Iterator[str]:
    for name, node in decorators.items():
        if node is None:
            continue
        if name == "allowed":
            choices = [one for child in named(node) for one in _literals(child)]
            if value not in choices:
                yield f"{path} is {value!r}, not one of {', '.join(map(str, choices))}"
        elif name in ("minValue", "maxValue", "minLength", "maxLength"):
            size = value if name.endswith("Value") else len(value)
            limit = int(text_of(node))
            if (size < limit) if name.startswith("min") else (size > limit):
                yield f"{path} is {value!r}: {name} is {limit}"
