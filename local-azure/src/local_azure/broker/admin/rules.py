"""Turns rules into XML elements and back."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from xml.etree.ElementTree import Element

from local_azure.broker.admin import atom
from local_azure.broker.admin.errors import bad_request
from local_azure.broker.entities import (
    CORRELATION_FIELDS,
    CorrelationFilter,
    FalseFilter,
    InvalidEntityError,
    PropertyValue,
    RuleDescription,
    RuleFilter,
    SqlAction,
    SqlFilter,
    TrueFilter,
    format_duration,
    parse_duration,
    property_name,
)
from local_azure.broker.rules import RuleSyntaxError, compile_rule

__all__ = ["read_rule", "rule_element"]

_COMPATIBILITY_LEVEL = "20"
_MAX_INT = 2**31 - 1


# -- reading ----------------------------------------------------------------------------------------------


def read_rule(element: Element, name: str) -> RuleDescription:
    """The rule of a `RuleDescription` or `DefaultRuleDescription`, its SQL checked.

    Raises
    ------
    RequestError
        With status 400, if anything about it is wrong.
    """
    filter_element, action_element = atom.child(element, "Filter"), atom.child(element, "Action")
    try:
        rule = RuleDescription(
            name=name,
            filter=TrueFilter() if filter_element is None else _read_filter(filter_element),
            action=None if action_element is None else _read_action(action_element),
        )
        compile_rule(rule)
    except InvalidEntityError as error:
        raise bad_request(f"The rule is wrong: {error}") from None
    except RuleSyntaxError as error:
        part = "action" if error.in_action else "filter"
        raise bad_request(f"The SQL of the rule's {part} is wrong: {error}") from None
    return rule


def _read_filter(element: Element) -> RuleFilter:
    kind = atom.type_of(element)
    if kind == "TrueFilter":
        return TrueFilter()
    if kind == "FalseFilter":
        return FalseFilter()
    if kind == "SqlFilter":
        return SqlFilter(expression=_text(element, "SqlExpression") or "", parameters=_values(element, "Parameters"))
    if kind == "CorrelationFilter":
        given = {name: _text(element, property_name(name)) for name in CORRELATION_FIELDS}
        return CorrelationFilter(properties=_values(element, "Properties"), **given)
    raise bad_request(f"There is no filter of type {kind!r}")


def _read_action(element: Element) -> SqlAction | None:
    kind = atom.type_of(element)
    if kind == "SqlRuleAction":
        return SqlAction(expression=_text(element, "SqlExpression") or "", parameters=_values(element, "Parameters"))
    if kind in ("EmptyRuleAction", ""):
        return None
    raise bad_request(f"There is no action of type {kind!r}")


def _text(parent: Element, name: str) -> str | None:
    element = atom.child(parent, name)
    return None if element is None else element.text


def _values(parent: Element, name: str) -> dict[str, PropertyValue]:
    """The pairs of a `KeyValueOfstringanyType` list."""
    pairs = atom.child(parent, name)
    values: dict[str, PropertyValue] = {}
    for pair in pairs if pairs is not None else ():
        key, value = _text(pair, "Key") or "", atom.child(pair, "Value")
        if value is None:
            raise bad_request(f"The property {key!r} has no value")
        values[key] = _read_value(key, atom.type_of(value), value.text or "")
    return values


def _read_value(key: str, kind: str, text: str) -> PropertyValue:
    if kind in ("string", ""):
        return text
    reader = _READERS.get(kind)
    if reader is None:
        raise bad_request(f"The property {key!r} has the type {kind!r}, which a rule cannot compare")
    try:
        return reader(text.strip())
    except (ValueError, KeyError, OverflowError):
        raise bad_request(f"The property {key!r} is no {kind}: {text[:100]!r}") from None


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", text):
        raise ValueError(text)
    return int(text)


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    return time if time.tzinfo else time.replace(tzinfo=UTC)


_WHOLE_TYPES = ("int", "long", "short", "byte", "unsignedInt", "unsignedLong", "unsignedShort", "unsignedByte")
_READERS: Mapping[str, Callable[[str], PropertyValue]] = {
    **dict.fromkeys(_WHOLE_TYPES, _whole),
    **dict.fromkeys(("double", "float", "decimal"), float),
    "boolean": lambda text: {"true": True, "false": False, "1": True, "0": False}[text.lower()],
    "dateTime": _time,
    "duration": parse_duration,
}


# -- writing ----------------------------------------------------------------------------------------------


def rule_element(rule: RuleDescription, created_at: datetime, name: str = "RuleDescription") -> Element:
    """A rule as an element called `name`."""
    element = atom.description(name)
    _add_filter(element, rule.filter)
    if rule.action is None:
        _add_typed(element, "Action", "EmptyRuleAction")
    else:
        action = _add_typed(element, "Action", "SqlRuleAction")
        _add_sql(action, rule.action.expression, rule.action.parameters)
    atom.add(element, "CreatedAt", atom.format_time(created_at))
    atom.add(element, "Name", rule.name)
    return element


def _add_filter(parent: Element, rule_filter: RuleFilter) -> None:
    element = _add_typed(parent, "Filter", type(rule_filter).__name__)
    match rule_filter:
        case TrueFilter():
            _add_sql(element, "1=1", {})
        case FalseFilter():
            _add_sql(element, "1=0", {})
        case SqlFilter():
            _add_sql(element, rule_filter.expression, rule_filter.parameters)
        case CorrelationFilter():
            for name in CORRELATION_FIELDS:
                value = getattr(rule_filter, name)
                if value is not None:
                    atom.add(element, property_name(name), value)
            _add_values(element, "Properties", rule_filter.properties)


def _add_typed(parent: Element, name: str, kind: str) -> Element:
    return atom.add(parent, name, **{"i:type": kind})


def _add_sql(parent: Element, expression: str, parameters: Mapping[str, PropertyValue]) -> None:
    atom.add(parent, "SqlExpression", expression)
    atom.add(parent, "CompatibilityLevel", _COMPATIBILITY_LEVEL)
    _add_values(parent, "Parameters", parameters)


def _add_values(parent: Element, name: str, values: Mapping[str, PropertyValue]) -> None:
    element = atom.add(parent, name)
    for key, value in values.items():
        pair = atom.add(element, "KeyValueOfstringanyType")
        atom.add(pair, "Key", key)
        kind, text = _write_value(value)
        attributes = {"xmlns:d6p1": atom.SCHEMA_NAMESPACE, "i:type": f"d6p1:{kind}"}
        atom.add(pair, "Value", text, **attributes)


def _write_value(value: PropertyValue) -> tuple[str, str]:
    if isinstance(value, bool):
        return "boolean", "true" if value else "false"
    if isinstance(value, int):
        return ("int" if -_MAX_INT - 1 <= value <= _MAX_INT else "long"), str(value)
    if isinstance(value, float):
        return "double", repr(value)
    if isinstance(value, datetime):
        return "dateTime", atom.format_time(value)
    if isinstance(value, timedelta):
        return "duration", format_duration(value)
    return "string", value
