"""The small language of conditions: expressions over a resource, in Python's syntax, without Python's powers.

A condition is a comparison, an arithmetic or logical expression, a call of one of the functions that it is given, or
a comprehension. Names are the fields of what is looked at; a field that isn't there is None, and so is everything
below it. Spelling of fields is compared as Resource Manager does, without case. What only Azure knows is `UNKNOWN`:
whatever depends on it is unknown too, unless another operand decides.
"""

from __future__ import annotations

import ast
import operator
import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from local.bicep import Symbolic

__all__ = ["UNKNOWN", "BadCondition", "BadValue", "Condition", "Fields"]


class BadCondition(ValueError):
    """A condition that isn't one; the text says where and why."""


class BadValue(BadCondition):
    """A value that the condition can't be asked about: of another type than it compares with, or out of its range."""


class _Unknown:
    def __repr__(self) -> str:
        return "unknown"

    def __bool__(self) -> bool:
        return False


UNKNOWN: Final = _Unknown()
"""What only Azure knows."""


class Fields:
    """Something whose fields a condition may name."""

    def field(self, name: str) -> Any:
        """The field's value; None where there is none."""
        raise NotImplementedError


_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.eq,
    ast.IsNot: operator.ne,
}
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}
_CONSTANTS = {"true": True, "false": False, "null": None, "unknown": UNKNOWN}
_MOST_NODES = 400
_ID = re.compile(r"\[[\w./]+:[^\]]+\]\.id(?:/[\w.-]+)*")

Names = ChainMap[str, Any]


class Condition:
    """One expression, read once and evaluated often.

    Raises
    ------
    BadCondition
        It can't be read, or uses what the language doesn't have.
    """

    def __init__(self, text: str, functions: frozenset[str] = frozenset()) -> None:
        self.text = text
        try:
            self._tree = ast.parse(" ".join(text.split()), mode="eval").body
        except SyntaxError as error:
            raise BadCondition(f"{text!r} is no expression: {error.msg}") from None
        nodes = list(ast.walk(self._tree))
        if len(nodes) > _MOST_NODES:
            raise BadCondition(f"{text!r} is too long")
        for node in nodes:
            if isinstance(node, ast.expr) and not hasattr(self, f"_{type(node).__name__.lower()}"):
                raise BadCondition(f"{text!r} uses {type(node).__name__}, which conditions don't have")
            if isinstance(node, ast.Call):
                if not isinstance(node.func, ast.Name):
                    raise BadCondition(f"{text!r} calls something that isn't a function's name")
                if functions and node.func.id not in functions and node.func.id not in _LAZY:
                    raise BadCondition(f"{text!r} calls {node.func.id}, which there isn't")
                if node.keywords:
                    raise BadCondition(f"{text!r} names an argument")

    def value(self, names: Names) -> Any:
        """What it comes to; `names` are tried before the fields of `names["this"]`.

        Raises
        ------
        BadCondition
            Values that an operator or function doesn't take.
        """
        try:
            return self._of(self._tree, names)
        except BadCondition:
            raise
        except (TypeError, ValueError, ArithmeticError) as error:
            raise BadValue(f"{self.text!r}: {error}") from error
        except (LookupError, AttributeError) as error:
            raise BadCondition(f"{self.text!r}: {error}") from error

    def _of(self, node: ast.expr, names: Names) -> Any:
        return getattr(self, f"_{type(node).__name__.lower()}")(node, names)

    def _constant(self, node: ast.Constant, _: Names) -> Any:
        return node.value

    def _name(self, node: ast.Name, names: Names) -> Any:
        if node.id in names and not callable(names[node.id]):  # a field may be called as a function is
            return names[node.id]
        if node.id in _CONSTANTS:
            return _CONSTANTS[node.id]
        this = names.get("this")
        return _field(this, node.id)

    def _attribute(self, node: ast.Attribute, names: Names) -> Any:
        return _field(self._of(node.value, names), node.attr)

    def _subscript(self, node: ast.Subscript, names: Names) -> Any:
        whole = self._of(node.value, names)
        if isinstance(node.slice, ast.Slice):
            raise BadCondition(f"{self.text!r} takes a slice")
        at = self._of(node.slice, names)
        if whole is None or at is None:
            return None
        if whole is UNKNOWN or at is UNKNOWN:
            return UNKNOWN
        if isinstance(whole, list | tuple):
            return whole[at] if isinstance(at, int) and -len(whole) <= at < len(whole) else None
        return _field(whole, str(at))

    def _list(self, node: ast.List | ast.Tuple, names: Names) -> list[Any]:
        return [self._of(one, names) for one in node.elts]

    _tuple = _list

    def _dict(self, node: ast.Dict, names: Names) -> dict[Any, Any]:
        pairs = zip(node.keys, node.values, strict=True)
        return {self._of(key, names): self._of(value, names) for key, value in pairs if key is not None}

    def _ifexp(self, node: ast.IfExp, names: Names) -> Any:
        test = truth(self._of(node.test, names))
        if test is UNKNOWN:
            return UNKNOWN
        return self._of(node.body if test else node.orelse, names)

    def _boolop(self, node: ast.BoolOp, names: Names) -> Any:
        decisive = isinstance(node.op, ast.Or)
        unknown = False
        value: Any = not decisive
        for one in node.values:
            value = self._of(one, names)
            known = truth(value)
            if known is UNKNOWN:
                unknown = True
            elif known is decisive:
                return value
        return UNKNOWN if unknown else value

    def _unaryop(self, node: ast.UnaryOp, names: Names) -> Any:
        value = self._of(node.operand, names)
        if isinstance(node.op, ast.Not):
            known = truth(value)
            return UNKNOWN if known is UNKNOWN else not known
        if value is UNKNOWN or isinstance(value, Symbolic):
            return UNKNOWN
        return -value

    def _binop(self, node: ast.BinOp, names: Names) -> Any:
        left, right = self._of(node.left, names), self._of(node.right, names)
        if is_unknown(left) or is_unknown(right):
            return UNKNOWN
        if left is None or right is None:
            return None
        return _OPERATORS[type(node.op)](left, right)

    def _compare(self, node: ast.Compare, names: Names) -> Any:
        left = self._of(node.left, names)
        found: Any = True
        for sign, right_node in zip(node.ops, node.comparators, strict=True):
            right = self._of(right_node, names)
            one = _compared(sign, left, right)
            if one is False:
                return False
            if one is UNKNOWN:
                found = UNKNOWN
            left = right
        return found

    def _call(self, node: ast.Call, names: Names) -> Any:
        assert isinstance(node.func, ast.Name)
        name = node.func.id
        if name in _LAZY and len(node.args) == 1:
            return _LAZY[name](self._of(node.args[0], names))
        return names[name](*[self._of(one, names) for one in node.args])

    def _generatorexp(self, node: ast.GeneratorExp | ast.ListComp, names: Names) -> Any:
        if self._of(node.generators[0].iter, names) is UNKNOWN:
            return UNKNOWN
        return [self._of(node.elt, inner) for inner in self._rounds(node.generators, names)]

    _listcomp = _generatorexp

    def _rounds(self, loops: list[ast.comprehension], names: Names) -> Iterator[Names]:
        first, *others = loops
        values = self._of(first.iter, names)
        if values is UNKNOWN:
            return  # nothing is known to be in it
        for value in values.values() if isinstance(values, Mapping) else values or ():
            inner = names.new_child(_bound(first.target, value))
            if all(truth(self._of(test, inner)) is True for test in first.ifs):
                yield from self._rounds(others, inner) if others else [inner]


def truth(value: Any) -> Any:
    """True, False or UNKNOWN. A value that Azure fills in is there, so it is true."""
    return UNKNOWN if value is UNKNOWN else bool(value)


def is_unknown(value: Any) -> bool:
    """Whether only Azure knows the value."""
    return value is UNKNOWN or isinstance(value, Symbolic)


def _field(value: Any, name: str) -> Any:
    if value is None:
        return None
    if value is UNKNOWN:
        return UNKNOWN
    if isinstance(value, Fields):
        return value.field(name)
    if isinstance(value, Symbolic):
        return Symbolic(f"{value}.{name}")
    if isinstance(value, Mapping):
        if dict.__contains__(value, name) if isinstance(value, dict) else name in value:
            return value[name]
        small = name.lower()
        return next((one for key, one in value.items() if str(key).lower() == small), None)
    return None


def _bound(target: ast.expr, value: Any) -> dict[str, Any]:
    if isinstance(target, ast.Name):
        return {target.id: value}
    assert isinstance(target, ast.Tuple | ast.List)
    names = [one.id for one in target.elts if isinstance(one, ast.Name)]
    return dict(zip(names, value, strict=True))


def _compared(sign: ast.cmpop, left: Any, right: Any) -> Any:
    if isinstance(sign, ast.In | ast.NotIn):
        inside = _inside(left, right)
        return inside if isinstance(sign, ast.In) or inside is UNKNOWN else not inside
    same = isinstance(sign, ast.Eq | ast.NotEq | ast.Is | ast.IsNot)
    if is_unknown(left) or is_unknown(right):
        if same and (left is None or right is None):
            return isinstance(sign, ast.NotEq | ast.IsNot)
        if same and isinstance(left, str) and isinstance(right, str):
            if str(left) == str(right):
                return isinstance(sign, ast.Eq | ast.Is)
            if _ID.fullmatch(left) and _ID.fullmatch(right):  # ids of two resources differ where their texts do
                return isinstance(sign, ast.NotEq | ast.IsNot)
        return UNKNOWN
    if not same and (left is None or right is None):
        return False  # what isn't there is neither more nor less
    if isinstance(left, str) and isinstance(right, str):
        left, right = left.lower(), right.lower()
    return _COMPARISONS[type(sign)](left, right)


def _inside(part: Any, whole: Any) -> Any:
    if whole is None:
        return False
    if is_unknown(part) and not isinstance(whole, str):
        return True if any(_compared(ast.Eq(), part, one) is True for one in whole) else UNKNOWN
    if is_unknown(part) or whole is UNKNOWN:
        return UNKNOWN
    if isinstance(whole, Symbolic):
        return True if str(part).lower() in whole.lower() else UNKNOWN
    if isinstance(whole, str):
        return str(part).lower() in whole.lower()
    if isinstance(whole, Mapping):
        return _field(whole, str(part)) is not None
    found = [_compared(ast.Eq(), part, one) for one in whole]
    return True if True in found else UNKNOWN if UNKNOWN in found else False


def _any(values: Any) -> Any:
    if values is UNKNOWN:
        return UNKNOWN
    known = [truth(one) for one in values or ()]
    return True if True in known else UNKNOWN if UNKNOWN in known else False


def _all(values: Any) -> Any:
    if values is UNKNOWN:
        return UNKNOWN
    known = [truth(one) for one in values or ()]
    return False if False in known else UNKNOWN if UNKNOWN in known else True


_LAZY: dict[str, Callable[[Any], Any]] = {"any": _any, "all": _all}
