"""Parses the SQL of filters and actions into functions of a message.

A recursive descent over the documented grammar. Chains (`a AND b AND c`, `1 + 1 + 1`, `NOT NOT x`) become
one flat node, and parentheses nest up to a bound, so neither parsing nor evaluating can exhaust the stack.
Predicates give True, False or None (unknown); expressions give a value or None.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from local_azure.broker.rules import values
from local_azure.broker.rules.errors import RuleEvaluationError, RuleSyntaxError
from local_azure.broker.rules.messages import SETTABLE_PROPERTIES, MessageView, system_name
from local_azure.broker.rules.tokens import Token, tokenize

__all__ = ["Assignment", "parse_action", "parse_condition"]

_MAX_NESTING = 32

_Evaluate: TypeAlias = Callable[[MessageView], Any]
_Judge: TypeAlias = Callable[[MessageView], bool | None]


@dataclass(frozen=True, slots=True)
class _Node:
    """A piece of a parsed expression; `property` is set where it is nothing but a property."""

    evaluate: _Evaluate
    is_predicate: bool = False
    is_constant: bool = False
    exists: _Evaluate | None = None


@dataclass(frozen=True, slots=True)
class Assignment:
    """One SET or, without `evaluate`, one REMOVE; `name` is a system property's name if `is_system`."""

    name: str
    is_system: bool
    evaluate: _Evaluate | None


def parse_condition(text: str, parameters: Mapping[str, Any]) -> _Evaluate:
    """Compile a filter. Raises `RuleSyntaxError`."""
    parser = _Parser(tokenize(text), parameters)
    node = parser.predicate()
    parser.expect_end()
    return node.evaluate


def parse_action(text: str, parameters: Mapping[str, Any]) -> tuple[Assignment, ...]:
    """Compile an action's statements, in order. Raises `RuleSyntaxError`."""
    parser = _Parser(tokenize(text), parameters)
    assignments = [parser.statement()]
    while not parser.at_end():
        assignments.append(parser.statement())
    return tuple(assignments)


class _Parser:
    def __init__(self, tokens: list[Token], parameters: Mapping[str, Any]) -> None:
        self._tokens = tokens
        self._at = 0
        self._nesting = 0
        self._parameters = {name.removeprefix("@").lower(): value for name, value in parameters.items()}

    # -- tokens ---------------------------------------------------------------------------------------

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    def _is(self, kind: str, *wanted: str, ahead: int = 0) -> bool:
        token = self._tokens[min(self._at + ahead, len(self._tokens) - 1)]
        return token.kind == kind and (not wanted or token.value in wanted)

    def _next(self) -> Token:
        token = self._token
        if token.kind != "end":
            self._at += 1
        return token

    def _accept(self, kind: str, *wanted: str) -> Token | None:
        return self._next() if self._is(kind, *wanted) else None

    def _expect(self, kind: str, *wanted: str) -> Token:
        token = self._accept(kind, *wanted)
        if token is None:
            raise self._unexpected(f"{' or '.join(wanted) or kind} is expected")
        return token

    def _unexpected(self, expected: str) -> RuleSyntaxError:
        token = self._token
        found = "the end" if token.kind == "end" else repr(token.value)
        return RuleSyntaxError(f"{expected} instead of {found}", token.position)

    def at_end(self) -> bool:
        return self._token.kind == "end"

    def expect_end(self) -> None:
        if not self.at_end():
            raise self._unexpected("an operator or the end is expected")

    # -- statements -----------------------------------------------------------------------------------

    def statement(self) -> Assignment:
        keyword = self._expect("keyword", "SET", "REMOVE")
        position = self._token.position
        name, is_system = self._target()
        if is_system and name not in SETTABLE_PROPERTIES:
            raise RuleSyntaxError(f"sys.{name} cannot be changed", position)
        evaluate = None
        if keyword.value == "SET":
            self._expect("symbol", "=")
            evaluate = self._value().evaluate
        while self._accept("symbol", ";", ","):
            pass
        return Assignment(name, is_system, evaluate)

    # -- predicates -------------------------------------------------------------------------------------

    def predicate(self) -> _Node:
        """An expression that has to be a condition."""
        position = self._token.position
        node = self._disjunction()
        if not node.is_predicate:
            raise RuleSyntaxError("a condition such as a comparison is expected instead of a value", position)
        return node

    def _disjunction(self) -> _Node:
        return self._logical_chain("OR", self._conjunction, decided=True)

    def _conjunction(self) -> _Node:
        return self._logical_chain("AND", self._negation, decided=False)

    def _logical_chain(self, keyword: str, operand: Callable[[], _Node], *, decided: bool) -> _Node:
        position = self._token.position
        nodes = [operand()]
        while self._accept("keyword", keyword):
            nodes.append(operand())
        if len(nodes) == 1:
            return nodes[0]
        if not all(node.is_predicate for node in nodes):
            raise RuleSyntaxError(f"{keyword} joins conditions, not values", position)
        return _Node(_first_decided([node.evaluate for node in nodes], decided), is_predicate=True)

    def _negation(self) -> _Node:
        position = self._token.position
        times = 0
        while self._accept("keyword", "NOT"):
            times += 1
        node = self._comparison()
        if times and not node.is_predicate:
            raise RuleSyntaxError("NOT takes a condition, not a value", position)
        return _Node(_negated(node.evaluate), is_predicate=True) if times % 2 else node

    def _comparison(self) -> _Node:
        position = self._token.position
        left = self._sum()
        if self._accept("keyword", "IS"):
            return self._null_test(left, position)
        negated = self._is("keyword", "NOT") and self._is("keyword", "IN", "LIKE", ahead=1)
        if negated:
            self._next()
        found = self._operator(left, position)
        if found is None:
            return left
        return _Node(_negated(found) if negated else found, is_predicate=True)

    def _operator(self, left: _Node, position: int) -> _Evaluate | None:
        if self._is("symbol", *values.COMPARISONS):
            symbol = self._next().value
            return _compared(symbol, self._plain(left, position).evaluate, self._value().evaluate)
        if self._accept("keyword", "IN"):
            return self._membership(self._plain(left, position))
        if self._accept("keyword", "LIKE"):
            return self._likeness(self._plain(left, position))
        return None

    def _plain(self, node: _Node, position: int) -> _Node:
        if node.is_predicate:
            raise RuleSyntaxError("a value is expected instead of a condition", position)
        return node

    def _null_test(self, left: _Node, position: int) -> _Node:
        negated = self._accept("keyword", "NOT") is not None
        self._expect("keyword", "NULL")
        if left.exists is None:
            raise RuleSyntaxError("IS NULL takes a property", position)
        evaluate = left.evaluate
        return _Node(lambda message: (evaluate(message) is None) != negated, is_predicate=True)

    def _membership(self, left: _Node) -> _Evaluate:
        self._expect("symbol", "(")
        options = [self._value().evaluate]
        while self._accept("symbol", ","):
            options.append(self._value().evaluate)
        self._expect("symbol", ")")
        return _one_of(left.evaluate, options)

    def _likeness(self, left: _Node) -> _Evaluate:
        position = self._token.position
        pattern = self._value()
        escape = self._value() if self._accept("keyword", "ESCAPE") else None
        if pattern.is_constant and (escape is None or escape.is_constant):
            nothing = MessageView({}, {})
            escape_text = escape.evaluate(nothing) if escape else None
            try:
                return _like_constant(left.evaluate, _like(pattern.evaluate(nothing), escape_text))
            except RuleEvaluationError as error:
                raise RuleSyntaxError(str(error), position) from None
        return _like_computed(left.evaluate, pattern.evaluate, escape.evaluate if escape else None)

    # -- values -----------------------------------------------------------------------------------------

    def _value(self) -> _Node:
        position = self._token.position
        return self._plain(self._sum(), position)

    def _sum(self) -> _Node:
        return self._arithmetic_chain("+-", self._product)

    def _product(self) -> _Node:
        return self._arithmetic_chain("*/%", self._signed)

    def _arithmetic_chain(self, symbols: str, operand: Callable[[], _Node]) -> _Node:
        position = self._token.position
        first = operand()
        rest: list[tuple[str, _Evaluate]] = []
        while self._is("symbol", *symbols):
            symbol = self._next().value
            at = self._token.position
            rest.append((symbol, self._plain(operand(), at).evaluate))
        if not rest:
            return first
        return _Node(_computed(self._plain(first, position).evaluate, rest))

    def _signed(self) -> _Node:
        position = self._token.position
        negative = signs = 0
        while self._is("symbol", "+", "-"):
            signs += 1
            negative += self._next().value == "-"
        node = self._primary()
        if not signs:
            return node
        inner = self._plain(node, position).evaluate
        if negative % 2:
            return _Node(lambda message: values.negate(inner(message)))
        return _Node(lambda message: values.arithmetic("*", inner(message), 1))

    def _primary(self) -> _Node:
        if self._is("symbol", "("):
            return self._parenthesis()
        if self._accept("keyword", "EXISTS"):
            return self._existence()
        if self._is("keyword", "TRUE", "FALSE", "NULL"):
            return _constant({"TRUE": True, "FALSE": False, "NULL": None}[self._next().value])
        if self._is("constant"):
            return _constant(self._next().value)
        if self._is("parameter"):
            return self._parameter()
        if self._is("word") and self._is("symbol", "(", ahead=1):
            return self._function()
        if self._is("word") or self._is("name"):
            name, is_system = self._target()
            return _property(name, is_system=is_system)
        raise self._unexpected("a property, a constant or a parenthesis is expected")

    def _parenthesis(self) -> _Node:
        opening = self._expect("symbol", "(")
        self._deepen(opening)
        node = self._disjunction()
        self._expect("symbol", ")")
        self._nesting -= 1
        # No property any more: `(a) IS NULL` is not in the grammar.
        return _Node(node.evaluate, node.is_predicate, node.is_constant)

    def _deepen(self, token: Token) -> None:
        self._nesting += 1
        if self._nesting > _MAX_NESTING:
            raise RuleSyntaxError(f"more than {_MAX_NESTING} parentheses inside each other", token.position)

    def _existence(self) -> _Node:
        self._expect("symbol", "(")
        name, is_system = self._target()
        self._expect("symbol", ")")
        exists = _property(name, is_system=is_system).exists
        assert exists is not None
        return _Node(exists, is_predicate=True)

    def _parameter(self) -> _Node:
        token = self._next()
        key = token.value.lower()
        if key not in self._parameters:
            raise RuleSyntaxError(f"no value is given for the parameter @{token.value}", token.position)
        return _constant(self._parameters[key])

    def _function(self) -> _Node:
        word = self._next()
        self._deepen(self._expect("symbol", "("))
        name = word.value.lower()
        if name == "newid":
            node = _Node(lambda message: uuid.uuid4())
        elif name in ("property", "p"):
            node = _property_by_name(self._value().evaluate)
        else:
            raise RuleSyntaxError(f"there is no function {word.value}", word.position)
        self._expect("symbol", ")")
        self._nesting -= 1
        return node

    def _target(self) -> tuple[str, bool]:
        """A property: its name, and whether it is a system property."""
        token = self._next_name()
        if not self._is("symbol", "."):
            return token.value, False
        self._next()
        scope = token.value.lower()
        if token.kind != "word" or scope not in ("sys", "user"):
            raise RuleSyntaxError(f"the scope is sys or user, not {token.value}", token.position)
        name = self._next_name()
        if scope == "user":
            return name.value, False
        canonical = system_name(name.value)
        if canonical is None:
            raise RuleSyntaxError(f"there is no system property {name.value}", name.position)
        return canonical, True

    def _next_name(self) -> Token:
        if not self._is("word") and not self._is("name"):
            raise self._unexpected("the name of a property is expected")
        return self._next()


# -- what nodes do with a message -------------------------------------------------------------------------


def _constant(value: Any) -> _Node:
    return _Node(lambda message: value, is_constant=True)


def _property(name: str, *, is_system: bool) -> _Node:
    if is_system:
        return _Node(
            lambda message: message.system_property(name),
            exists=lambda message: message.system_property(name) is not None,
        )
    return _Node(
        lambda message: message.user_property(name),
        exists=lambda message: message.has_user_property(name),
    )


def _property_by_name(name_of: _Evaluate) -> _Node:
    def evaluate(message: MessageView) -> Any:
        name = name_of(message)
        if name is None:
            return None
        if not isinstance(name, str):
            raise RuleEvaluationError("property() takes a name, which is text")
        return message.user_property(name)

    return _Node(evaluate)


def _negated(evaluate: _Judge) -> _Judge:
    def negation(message: MessageView) -> bool | None:
        outcome: bool | None = evaluate(message)
        return None if outcome is None else not outcome

    return negation


def _first_decided(operands: list[_Evaluate], decided: bool) -> _Evaluate:
    """AND (decided by False) and OR (decided by True) of SQL's three-valued logic."""

    def chain(message: MessageView) -> bool | None:
        outcome: bool | None = not decided
        for operand in operands:
            truth: bool | None = operand(message)
            if truth is decided:
                return decided
            if truth is None:
                outcome = None
        return outcome

    return chain


def _compared(symbol: str, left: _Evaluate, right: _Evaluate) -> _Judge:
    compare = values.comparison(symbol)
    return lambda message: compare(left(message), right(message))


def _one_of(left: _Evaluate, options: list[_Evaluate]) -> _Evaluate:
    def membership(message: MessageView) -> bool | None:
        value = left(message)
        if value is None:
            return None
        found = (option(message) for option in options)
        return any(option is not None and values.equal(value, option) for option in found)

    return membership


def _computed(first: _Evaluate, rest: list[tuple[str, _Evaluate]]) -> _Evaluate:
    def chain(message: MessageView) -> Any:
        value = first(message)
        for symbol, operand in rest:
            value = values.arithmetic(symbol, value, operand(message))
        return value

    return chain


def _like(pattern: Any, escape: Any) -> values.Like | None:
    """A pattern; None if part of it is unknown."""
    if pattern is None:
        return None
    if not isinstance(pattern, str) or not isinstance(escape, str | None):
        raise RuleEvaluationError("LIKE and ESCAPE take text")
    try:
        return values.Like(pattern, escape)
    except ValueError as error:
        raise RuleEvaluationError(str(error)) from None


def _like_constant(left: _Evaluate, like: values.Like | None) -> _Judge:
    def likeness(message: MessageView) -> bool | None:
        value = left(message)
        return like.matches(value) if like is not None and isinstance(value, str) else None

    return likeness


def _like_computed(left: _Evaluate, pattern: _Evaluate, escape: _Evaluate | None) -> _Evaluate:
    def likeness(message: MessageView) -> bool | None:
        escape_text = escape(message) if escape else None
        if escape is not None and escape_text is None:
            return None
        like = _like(pattern(message), escape_text)
        return _like_constant(left, like)(message)

    return likeness
