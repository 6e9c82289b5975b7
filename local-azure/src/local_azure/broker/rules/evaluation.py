"""Applies compiled rules to messages, and joins the rules of a subscription."""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from local_azure.broker.amqp.encode import encode
from local_azure.broker.entities import (
    CORRELATION_FIELDS,
    CorrelationFilter,
    FalseFilter,
    RuleDescription,
    RuleFilter,
    SqlFilter,
    TrueFilter,
    property_name,
)
from local_azure.broker.rules import values
from local_azure.broker.rules.errors import RuleEvaluationError, RuleSyntaxError
from local_azure.broker.rules.messages import TEXT_PROPERTIES, MessageView, find_key
from local_azure.broker.rules.syntax import Assignment, parse_action, parse_condition

__all__ = ["CompiledRule", "Copy", "Selection", "compile_rule", "select"]

_RULE_NAME = "RuleName"
_LARGEST = {"TimeToLive": 2**32 - 1, "ScheduledEnqueueTimeUtc": 253_402_300_799_999}
"""In milliseconds: what the header's `ttl` holds, and the end of the year 9999."""

_Matches: TypeAlias = Callable[[MessageView], bool]


@dataclass(frozen=True, slots=True)
class Copy:
    """A message as it enters the subscription.

    `user` are all its application properties; `system` the system properties that an action changed
    (None: removed). `is_changed` is false for the message just as it was sent.
    """

    system: dict[str, Any]
    user: dict[str, Any]
    is_changed: bool


@dataclass(frozen=True, slots=True)
class Selection:
    """What becomes of a message in a subscription: `copies` to keep, and `errors` of rules that failed."""

    copies: tuple[Copy, ...] = ()
    errors: tuple[RuleEvaluationError, ...] = ()


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """A rule ready to judge messages."""

    name: str
    matches: _Matches
    assignments: tuple[Assignment, ...] = ()

    def apply(self, message: MessageView) -> Copy:
        """The copy that this rule's action makes. Raises `RuleEvaluationError`."""
        changed: dict[str, Any] = {}
        user = dict(message.user)
        current = MessageView({**message.system}, user)
        for assignment in self.assignments:
            value = assignment.evaluate(current) if assignment.evaluate else None
            if assignment.is_system:
                value = _system_value(assignment.name, value)
                changed[assignment.name] = value
                current = MessageView({**current.system, assignment.name: value}, user)
            elif assignment.evaluate is None:
                key = find_key(user, assignment.name)
                user.pop(key if key is not None else assignment.name, None)
            else:
                _assign(user, assignment.name, value)
        user[_RULE_NAME] = self.name
        return Copy(changed, user, is_changed=True)


def compile_rule(rule: RuleDescription) -> CompiledRule:
    """Make a rule ready for use.

    Raises
    ------
    RuleSyntaxError
        Its SQL is wrong; `in_action` says whether that of the action.
    """
    matches = _compile_filter(rule.filter)
    if rule.action is None:
        return CompiledRule(rule.name, matches)
    try:
        assignments = parse_action(rule.action.expression, rule.action.parameters)
    except RuleSyntaxError as error:
        raise RuleSyntaxError(error.problem, error.position, in_action=True) from None
    return CompiledRule(rule.name, matches, assignments)


def select(rules: Iterable[CompiledRule], message: MessageView) -> Selection:
    """Judge a message by all rules: one copy for those without action, one more for each with an action."""
    plain = False
    copies: list[Copy] = []
    errors: list[RuleEvaluationError] = []
    for rule in rules:
        if plain and not rule.assignments:
            continue
        try:
            if not rule.matches(message):
                continue
            if rule.assignments:
                copies.append(rule.apply(message))
            else:
                plain = True
        except RuleEvaluationError as error:
            errors.append(error)
    if plain:
        copies.insert(0, Copy({}, dict(message.user), is_changed=False))
    return Selection(tuple(copies), tuple(errors))


def _compile_filter(rule_filter: RuleFilter) -> _Matches:
    match rule_filter:
        case TrueFilter():
            return lambda message: True
        case FalseFilter():
            return lambda message: False
        case SqlFilter():
            condition = parse_condition(rule_filter.expression, rule_filter.parameters)
            return lambda message: condition(message) is True
        case CorrelationFilter():
            return _correlation(rule_filter)


def _correlation(rule_filter: CorrelationFilter) -> _Matches:
    given = {name: getattr(rule_filter, name) for name in CORRELATION_FIELDS}
    system = [(property_name(name), value) for name, value in given.items() if value is not None]
    user = list(rule_filter.properties.items())
    are_equal = values.comparison("=")

    def matches(message: MessageView) -> bool:
        return all(message.system_property(name) == value for name, value in system) and all(
            are_equal(message.user_property(name), value) is True for name, value in user
        )

    return matches


def _system_value(name: str, value: Any) -> Any:
    """A value in the type of a system property; times and durations in milliseconds."""
    if value is None:
        return None
    if name in TEXT_PROPERTIES:
        return values.text_of(value)
    milliseconds = values.milliseconds_of(value)
    if milliseconds is None or not 0 <= milliseconds <= _LARGEST[name]:
        raise RuleEvaluationError(f"sys.{name} cannot be set to {value!r}")
    return milliseconds


def _assign(user: dict[str, Any], name: str, value: Any) -> None:
    """SET a user property, in the type of the one that is there if the value can be converted."""
    key = find_key(user, name)
    if key is None:
        user[name] = values.to_amqp(value)
    else:
        user[key] = values.to_amqp(_converted(value, user[key]))


def _converted(value: Any, existing: Any) -> Any:
    """The value in the type of the existing one; as it is if that type cannot hold it."""
    if value is None or existing is None or isinstance(value, type(existing)):
        return value
    if isinstance(existing, bool):
        return {"true": True, "false": False}.get(str(value).lower(), value)
    holds_numbers = isinstance(existing, int | float) and isinstance(value, str | int | float)
    if not holds_numbers and not isinstance(existing, str):
        return value
    try:
        converted = type(existing)(value if holds_numbers else values.text_of(value))
        encode(converted)
    except (TypeError, ValueError, OverflowError, struct.error, RuleEvaluationError):
        return value
    return converted
