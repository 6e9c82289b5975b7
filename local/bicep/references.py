"""What an expression refers to, in every branch, as the compiler looks at it when it orders resources."""

from collections.abc import Iterator

from tree_sitter import Node

from .expressions import Access, Atom, Binary, Call, Expression, Index, Ternary, Unary, elements, expression
from .syntax import named, text_of

__all__ = ["references"]


def references(node: Node) -> Iterator[tuple[str, Node | None]]:
    """Each name that stands in an expression, with its index where it has one (`apps[0]`)."""
    yield from _of(expression(node))


def _of(one: Expression) -> Iterator[tuple[str, Node | None]]:
    match one:
        case Atom():
            yield from _of_atom(one.node)
        case Access():
            yield from _of(one.whole)
        case Index():
            if isinstance(one.whole, Atom) and one.whole.node.type == "identifier":
                yield text_of(one.whole.node), one.index
            else:
                yield from _of(one.whole)
            yield from references(one.index)
        case Call():
            if not (isinstance(one.called, Atom) and one.called.node.type == "identifier"):
                yield from _of(one.called)
            for argument in one.arguments:
                yield from references(argument)
        case Unary():
            yield from _of(one.operand)
        case Binary():
            yield from _of(one.left)
            yield from _of(one.right)
        case Ternary():
            for part in (one.test, one.yes, one.no):
                yield from _of(part)


def _of_atom(node: Node) -> Iterator[tuple[str, Node | None]]:
    if node.type == "identifier":
        yield text_of(node), None
    elif node.type == "object":
        for item in named(node):
            key, value = named(item)
            if key.type == "string":
                yield from references(key)
            yield from references(value)
    elif node.type == "array":
        for element in elements(node):
            yield from _of(element)
    elif node.type == "for_statement":
        _, source, body = named(node)
        yield from references(source)
        yield from references(body)
    elif node.type in ("if_statement", "parenthesized_expression", "string", "interpolation"):
        for child in named(node):
            if child.type not in ("string_content", "escape_sequence"):
                yield from references(child)
