"""Expressions with Bicep's own precedence.

The grammar's trees are flat-footed: it reads `a.x + b.y` as `(a.x + b).y`. The order of their leaves is right, so an
expression is taken apart into its operands and operators and put together again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from tree_sitter import Node

from .syntax import named, text_of

__all__ = ["Access", "Atom", "Binary", "Call", "Expression", "Index", "Ternary", "Unary", "elements", "expression"]


@dataclass(frozen=True)
class Atom:
    """A literal, name, object, array, loop, or an expression in parentheses."""

    node: Node


@dataclass(frozen=True)
class Access:
    """`whole.name`, or with `.?` where the property may be missing."""

    whole: "Expression"
    name: str
    optional: bool
    node: Node


@dataclass(frozen=True)
class Index:
    """`whole[index]`."""

    whole: "Expression"
    index: Node
    node: Node


@dataclass(frozen=True)
class Call:
    """`called(arguments)`."""

    called: "Expression"
    arguments: tuple[Node, ...]
    node: Node


@dataclass(frozen=True)
class Unary:
    """`!operand` or `-operand`."""

    sign: str
    operand: "Expression"


@dataclass(frozen=True)
class Binary:
    """`left sign right`."""

    sign: str
    left: "Expression"
    right: "Expression"


@dataclass(frozen=True)
class Ternary:
    """`test ? yes : no`."""

    test: "Expression"
    yes: "Expression"
    no: "Expression"
    node: Node


Expression = Atom | Access | Index | Call | Unary | Binary | Ternary

_LEVELS = (("??",), ("||",), ("&&",), ("==", "!=", "=~", "!~"), ("<", "<=", ">", ">="), ("+", "-"), ("*", "/", "%"))
"""Binary operators, those that bind least first."""

_SPLIT = {"binary_expression", "ternary_expression", "unary_expression"}
_POSTFIX = {"member_expression", "subscript_expression", "call_expression"}


@dataclass(frozen=True)
class _Sign:
    text: str


@dataclass(frozen=True)
class _Suffix:
    node: Node


_Token = Node | _Sign | _Suffix


@lru_cache(maxsize=65536)
def expression(node: Node) -> Expression:
    """The expression that a tree stands for."""
    return _ternary(_Tokens(list(_leaves(node))), node)


def elements(node: Node) -> list[Expression]:
    """The elements of an array. The grammar sometimes reads `[f(a), b[0]]` as `[f (a), b [0]]`: nothing is between."""
    parts: list[list[_Token]] = []
    before: Node | None = None
    for item in named(node):
        leaves = list(_leaves(item))
        if before is not None and before.end_byte == item.start_byte and isinstance(leaves[0], Node):
            parts[-1] += [_Suffix(leaves[0]), *leaves[1:]]
        else:
            parts.append(leaves)
        before = item
    return [_ternary(_Tokens(tokens), node) for tokens in parts]


def _leaves(node: Node) -> Iterator[_Token]:
    if node.type in _SPLIT:
        for child in node.children:
            if child.is_named:
                yield from _leaves(child)
            else:
                yield _Sign(child.type)
    elif node.type in _POSTFIX:
        yield from _leaves(named(node)[0])
        yield _Suffix(node)
    else:
        yield node


class _Tokens:
    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    def sign(self, *texts: str) -> str | None:
        """Take the next operator if it is one of these."""
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        if isinstance(token, _Sign) and token.text in texts:
            self._at += 1
            return token.text
        return None

    def suffix(self) -> Node | None:
        """Take the next accessor or call, if there is one."""
        token = self._tokens[self._at] if self._at < len(self._tokens) else None
        if isinstance(token, _Suffix):
            self._at += 1
            return token.node
        return None

    def operand(self) -> Node:
        """Take the next operand."""
        token = self._tokens[self._at]
        assert not isinstance(token, _Sign | _Suffix)  # the grammar leaves none out
        self._at += 1
        return token


def _ternary(tokens: _Tokens, node: Node) -> Expression:
    test = _binary(tokens, 0)
    if tokens.sign("?") is None:
        return test
    yes = _ternary(tokens, node)
    tokens.sign(":")
    return Ternary(test, yes, _ternary(tokens, node), node)


def _binary(tokens: _Tokens, level: int) -> Expression:
    if level == len(_LEVELS):
        return _unary(tokens)
    left = _binary(tokens, level + 1)
    while (sign := tokens.sign(*_LEVELS[level])) is not None:
        left = Binary(sign, left, _binary(tokens, level + 1))
    return left


def _unary(tokens: _Tokens) -> Expression:
    sign = tokens.sign("!", "-")
    if sign is not None:
        return Unary(sign, _unary(tokens))
    whole: Expression = Atom(tokens.operand())
    while (node := tokens.suffix()) is not None:
        whole = _suffixed(whole, node)
    return whole


def _suffixed(whole: Expression, node: Node) -> Expression:
    if node.type == "parenthesized_expression":
        return Call(whole, tuple(named(node)), node)
    if node.type == "array":
        return Index(whole, named(node)[0], node)
    part = named(node)[1]
    if node.type == "member_expression":
        return Access(whole, text_of(part), any(child.type == ".?" for child in node.children), node)
    if node.type == "subscript_expression":
        return Index(whole, part, node)
    return Call(whole, tuple(named(part)), node)
