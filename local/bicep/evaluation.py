"""Works expressions out, as far as they don't depend on Azure."""

import json
import operator
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tree_sitter import Node

from .errors import BicepError
from .expressions import Access, Atom, Binary, Call, Expression, Index, Ternary, Unary, elements, expression
from .functions import FUNCTIONS, OF_UNKNOWNS
from .syntax import line_of, named, text_of
from .values import Known, Resource, Symbolic, member

__all__ = ["Evaluator", "Look"]

Look = Callable[[str], Any]
"""Finds the value of a name; raises KeyError where there is none."""

_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
    "%": operator.mod,
}
_SOMETHING = re.compile(r"\]\.id\b|^https://")  # the id of a resource, an address: whatever they are, they aren't empty
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "'": "'", "\\": "\\", "$": "$"}


class Evaluator:
    """Works out the expressions of one file; `look` finds names that no loop has bound.

    `group` is the id of the resource group that the file is deployed to, empty where that isn't known.
    """

    def __init__(self, file: Path, look: Look, group: str = "") -> None:
        self._file = file
        self._look = look
        self._group = group

    def value(self, node: Node, bound: Mapping[str, Any] | None = None) -> Any:
        """What an expression comes to, with the loop variables that are bound here.

        Raises
        ------
        BicepError
            A name or property that isn't there, or syntax that isn't supported.
        """
        return self._worth(expression(node), bound or {})

    def loop(self, node: Node, bound: Mapping[str, Any]) -> list[tuple[dict[str, Any], Node]]:
        """The rounds of a `for`: the names bound in each, and the body."""
        variables, source, body = named(node)
        values = self.value(source, bound)
        if not isinstance(values, list):
            raise BicepError(self._file, line_of(node), f"{text_of(source)} is not a list that is known here")
        names = [text_of(name) for name in named(variables)] or [text_of(variables)]
        return [
            ({**bound, **dict(zip(names, (value, index), strict=False))}, body) for index, value in enumerate(values)
        ]

    def condition(self, node: Node, bound: Mapping[str, Any]) -> tuple[bool | None, Node]:
        """Whether an `if` holds (None: only Azure knows), and the body."""
        test, body = named(node)
        value = self.value(test, bound)
        return (None if isinstance(value, Symbolic) else bool(value)), body

    def _worth(self, one: Expression, bound: Mapping[str, Any]) -> Any:
        match one:
            case Atom():
                return self._atom(one.node, bound)
            case Access():
                return self._access(one, bound)
            case Index():
                return self._index(one, bound)
            case Call():
                return self._call(one, bound)
            case Unary():
                return self._unary(one, bound)
            case Binary():
                return self._binary(one, bound)
            case Ternary():
                return self._ternary(one, bound)

    def _atom(self, node: Node, bound: Mapping[str, Any]) -> Any:
        method = getattr(self, f"_{node.type}", None)
        if method is None:
            raise BicepError(self._file, line_of(node), f"{node.type} is not supported")
        return method(node, bound)

    def _identifier(self, node: Node, bound: Mapping[str, Any]) -> Any:
        name = text_of(node)
        if name in bound:
            return bound[name]
        try:
            return self._look(name)
        except KeyError:
            raise BicepError(self._file, line_of(node), f"there is nothing called {name}") from None

    def _number(self, node: Node, _: Mapping[str, Any]) -> int:
        return int(text_of(node))

    def _boolean(self, node: Node, _: Mapping[str, Any]) -> bool:
        return text_of(node) == "true"

    def _null(self, *_: Any) -> None:
        return None

    def _string(self, node: Node, bound: Mapping[str, Any]) -> str:
        source = node.text or b""
        if source.startswith(b"'''"):
            return source.decode()[3:-3].removeprefix("\r").removeprefix("\n")
        pieces: list[str] = []
        symbolic = False
        at = 1
        for child in (child for child in node.children if child.type == "interpolation"):
            start, end = child.start_byte - node.start_byte, child.end_byte - node.start_byte
            value = self.value(named(child)[0], bound)
            symbolic = symbolic or isinstance(value, Symbolic | Resource)
            pieces += [_unescaped(source[at:start].decode()), _shown(value)]
            at = end
        pieces.append(_unescaped(source[at:-1].decode()))
        text = "".join(pieces)
        return Symbolic(text) if symbolic else text

    def _object(self, node: Node, bound: Mapping[str, Any]) -> dict[str, Any]:
        done: dict[str, Any] = {}
        for item in named(node):
            if item.type != "object_property":
                raise BicepError(self._file, line_of(item), f"{item.type} in an object is not supported")
            key, value = named(item)
            name = str(self.value(key, bound)) if key.type == "string" else text_of(key)
            done[name] = self.value(value, bound)
        return done

    def _array(self, node: Node, bound: Mapping[str, Any]) -> list[Any]:
        return [self._worth(one, bound) for one in elements(node)]

    def _for_statement(self, node: Node, bound: Mapping[str, Any]) -> list[Any]:
        return [self.value(body, names) for names, body in self.loop(node, bound)]

    def _parenthesized_expression(self, node: Node, bound: Mapping[str, Any]) -> Any:
        return self.value(named(node)[0], bound)

    def _ternary(self, one: Ternary, bound: Mapping[str, Any]) -> Any:
        test = self._worth(one.test, bound)
        if isinstance(test, Symbolic):
            return Symbolic(text_of(one.node))
        return self._worth(one.yes if test else one.no, bound)

    def _unary(self, one: Unary, bound: Mapping[str, Any]) -> Any:
        value = self._worth(one.operand, bound)
        if isinstance(value, Symbolic):
            return Symbolic(f"{one.sign}{value}")
        return (not value) if one.sign == "!" else -value

    def _binary(self, one: Binary, bound: Mapping[str, Any]) -> Any:
        left = self._worth(one.left, bound)
        if one.sign == "??":
            return self._worth(one.right, bound) if left is None else left
        if one.sign in ("&&", "||"):
            return self._logical(one, left, bound)
        right = self._worth(one.right, bound)
        if isinstance(left, Symbolic) or isinstance(right, Symbolic):
            return Symbolic(f"({left} {one.sign} {right})")
        return _OPERATORS[one.sign](left, right)

    def _logical(self, one: Binary, left: Any, bound: Mapping[str, Any]) -> Any:
        decisive = one.sign == "||"  # one such operand decides, whatever the other is
        if not isinstance(left, Symbolic) and bool(left) is decisive:
            return decisive
        right = self._worth(one.right, bound)
        if not isinstance(right, Symbolic) and bool(right) is decisive:
            return decisive
        if isinstance(left, Symbolic) and isinstance(right, Symbolic):
            return Symbolic(f"({left} {one.sign} {right})")
        return left if isinstance(left, Symbolic) else right

    def _access(self, one: Access, bound: Mapping[str, Any]) -> Any:
        value = self._worth(one.whole, bound)
        if one.optional and (value is None or (isinstance(value, Mapping) and one.name not in value)):
            return None
        try:
            return member(value, one.name)
        except LookupError as error:
            raise BicepError(self._file, line_of(one.node), f"{text_of(one.node)}: {error}") from None

    def _index(self, one: Index, bound: Mapping[str, Any]) -> Any:
        whole, index = self._worth(one.whole, bound), self.value(one.index, bound)
        if isinstance(whole, Symbolic) or isinstance(index, Symbolic):
            return Symbolic(f"{whole}[{index}]")
        try:
            return member(whole, index) if isinstance(index, str) else whole[index]
        except LookupError as error:
            raise BicepError(self._file, line_of(one.node), f"{text_of(one.node)}: {error}") from None

    def _call(self, one: Call, bound: Mapping[str, Any]) -> Any:
        if not isinstance(one.called, Atom):
            return Symbolic(text_of(one.node))  # a method of a resource, or a function of Azure's own
        name = text_of(one.called.node)
        values = [self.value(argument, bound) for argument in one.arguments]
        return self.called(name, values, one.node)

    def called(self, name: str, values: list[Any], node: Node) -> Any:
        """What a function comes to."""
        if name in ("loadJsonContent", "loadTextContent"):
            return self._loaded(node, name, values[0])
        if name == "resourceGroup" and self._group and not values:
            return Known("resourceGroup()", {"id": self._group, "name": self._group.rpartition("/")[2]})
        if name == "empty" and isinstance(values[0], Symbolic) and _SOMETHING.search(values[0]):
            return False
        unknown = any(isinstance(value, Symbolic) for value in values) and name not in OF_UNKNOWNS
        if unknown or name not in FUNCTIONS:
            return Symbolic(f"{name}({', '.join(_shown(value) for value in values)})")
        try:
            return FUNCTIONS[name](*values)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise BicepError(self._file, line_of(node), f"{name}: {error}") from None

    def _loaded(self, node: Node, name: str, path: str) -> Any:
        try:
            text = (self._file.parent / path).read_text(encoding="utf-8")
            return json.loads(text) if name == "loadJsonContent" else text
        except (OSError, ValueError) as error:
            raise BicepError(self._file, line_of(node), f"{path} can't be read: {error}") from None


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _unescaped(text: str) -> str:
    done: list[str] = []
    at = 0
    while at < len(text):
        if text[at] == "\\" and at + 1 < len(text) and text[at + 1] in _ESCAPES:
            done.append(_ESCAPES[text[at + 1]])
            at += 2
        else:
            done.append(text[at])
            at += 1
    return "".join(done)
