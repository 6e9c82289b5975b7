"""Rules of a subscription over its `$management` node, as the SDKs' rule managers speak it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from local_azure.broker.administration import (
    AdministrationError,
    EntityAlreadyExistsError,
    EntityNotFoundError,
)
from local_azure.broker.amqp import AmqpError, Condition
from local_azure.broker.amqp.types import Described, ULong
from local_azure.broker.entities import (
    CorrelationFilter,
    FalseFilter,
    InvalidEntityError,
    RuleDescription,
    RuleFilter,
    SqlAction,
    SqlFilter,
    TrueFilter,
)

__all__ = ["RuleRequests", "Rules"]

_RULE, _NO_ACTION, _SQL_ACTION = 0x13700000004, 0x13700000005, 0x13700000006
_SQL, _TRUE, _FALSE, _CORRELATION = 0x1370000006, 0x1370000007, 0x1370000008, 0x1370000009
"""Descriptors of the service's own types."""

_CORRELATION_KEYS: Final = {
    "correlation_id": "correlation-id",
    "message_id": "message-id",
    "to": "to",
    "reply_to": "reply-to",
    "label": "label",
    "session_id": "session-id",
    "reply_to_session_id": "reply-to-session-id",
    "content_type": "content-type",
}

Body = dict[str, Any]


class Rules(Protocol):
    """Where rules are kept."""

    def rules(self, topic: str, subscription: str) -> Sequence[RuleDescription]: ...
    def add_rule(self, topic: str, subscription: str, rule: RuleDescription) -> None: ...
    def remove_rule(self, topic: str, subscription: str, name: str) -> None: ...


class RuleRequests:
    """Answers about the rules of one subscription."""

    def __init__(self, rules: Rules, topic: str, subscription: str) -> None:
        self._rules = rules
        self._place = (topic, subscription)

    def add(self, body: Body) -> Body:
        """Add the rule that the request describes."""
        description = body.get("rule-description")
        if not isinstance(description, dict):
            raise AmqpError(Condition.ARGUMENT_ERROR, "'rule-description' has to be a map")
        try:
            rule = RuleDescription(
                name=_name(body), filter=_filter(description), action=_action(description.get("sql-rule-action"))
            )
        except InvalidEntityError as error:
            raise AmqpError(Condition.ARGUMENT_ERROR, str(error)) from error
        try:
            self._rules.add_rule(*self._place, rule)
        except EntityAlreadyExistsError as error:
            raise AmqpError(Condition.ENTITY_ALREADY_EXISTS, str(error)) from error
        except AdministrationError as error:
            raise AmqpError(Condition.ARGUMENT_ERROR, str(error)) from error
        return {}

    def remove(self, body: Body) -> Body:
        """Remove a rule by name."""
        name = _name(body)
        try:
            self._rules.remove_rule(*self._place, name)
        except EntityNotFoundError as error:
            path = "{}/Subscriptions/{}/Rules/{}".format(*self._place, name)
            raise AmqpError(Condition.NOT_FOUND, f"The messaging entity '{path}' could not be found") from error
        return {}

    def enumerate(self, body: Body) -> Body | None:
        """A page of rules; None when there are no more."""
        skip, top = body.get("skip", 0), body.get("top", 100)
        if not isinstance(skip, int) or not isinstance(top, int) or skip < 0 or top < 0:
            raise AmqpError(Condition.ARGUMENT_ERROR, "'skip' and 'top' have to be whole numbers from 0")
        page = self._rules.rules(*self._place)[skip : skip + top]
        return {"rules": [{"rule-description": _described(rule)} for rule in page]} if page else None


def _name(body: Body) -> str:
    name = body.get("rule-name")
    if not isinstance(name, str):
        raise AmqpError(Condition.ARGUMENT_ERROR, "'rule-name' has to be a string")
    return str(name)


def _filter(description: Body) -> RuleFilter:
    sql, correlation = description.get("sql-filter"), description.get("correlation-filter")
    if isinstance(sql, dict):
        return SqlFilter(expression=sql.get("expression"))  # type: ignore[arg-type]
    if isinstance(correlation, dict):
        named = {field: correlation.get(key) for field, key in _CORRELATION_KEYS.items()}
        return CorrelationFilter(**named, properties=correlation.get("properties") or {})
    if "true-filter" in description:
        return TrueFilter()
    if "false-filter" in description:
        return FalseFilter()
    raise AmqpError(Condition.ARGUMENT_ERROR, "'rule-description' has neither a known filter nor a rule name")


def _action(description: Any) -> SqlAction | None:
    expression = description.get("expression") if isinstance(description, dict) else None
    return SqlAction(expression=expression) if expression else None


def _described(rule: RuleDescription) -> Described:
    action = Described(ULong(_NO_ACTION), [])
    if rule.action is not None:
        action = Described(ULong(_SQL_ACTION), [rule.action.expression])
    return Described(ULong(_RULE), [_described_filter(rule.filter), action, rule.name])


def _described_filter(rule_filter: RuleFilter) -> Described:
    match rule_filter:
        case SqlFilter(expression=expression):
            return Described(ULong(_SQL), [expression])
        case CorrelationFilter():
            fields = [getattr(rule_filter, name) for name in _CORRELATION_KEYS]
            return Described(ULong(_CORRELATION), [*fields, dict(rule_filter.properties)])
        case FalseFilter():
            return Described(ULong(_FALSE), [])
        case TrueFilter():
            return Described(ULong(_TRUE), [])
