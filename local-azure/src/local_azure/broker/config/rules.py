"""Reads the rules of a subscription, SQL checked."""

from collections.abc import Mapping

from local_azure.broker.config.document import Node
from local_azure.broker.config.properties import Names, build
from local_azure.broker.entities import (
    CORRELATION_FIELDS,
    CorrelationFilter,
    FalseFilter,
    RuleDescription,
    RuleFilter,
    SqlAction,
    SqlFilter,
    TrueFilter,
    property_name,
)
from local_azure.broker.rules import RuleSyntaxError, compile_rule

__all__ = ["read_rules"]

_CORRELATION = {property_name(name): name for name in CORRELATION_FIELDS}
_FILTER_TYPES = {kind + suffix: kind for kind in ("Sql", "Correlation", "True", "False") for suffix in ("", "Filter")}


def read_rules(node: Node) -> tuple[RuleDescription, ...]:
    """The rules of a list. Raises `ConfigError`."""
    names = Names()
    rules = []
    for child in node.items():
        rule = _read_rule(child)
        names.take(child.member("Name"), rule.name)
        rules.append(rule)
    return tuple(rules)


def _read_rule(node: Node) -> RuleDescription:
    parts = node.children(("Name", "Properties"), ("Name", "Properties"))
    properties = parts["Properties"].children(("FilterType", "SqlFilter", "CorrelationFilter", "Action"))
    action = _read_action(properties["Action"]) if "Action" in properties else None
    values = {"filter": _read_filter(parts["Properties"], properties), "action": action}
    rule = build(RuleDescription, node, values, name=parts["Name"].text())
    try:
        compile_rule(rule)
    except RuleSyntaxError as error:
        part = "Action" if error.in_action else "SqlFilter"
        raise properties[part].member("SqlExpression").wrong(f"a valid SQL expression: {error}") from None
    return rule


def _read_filter(node: Node, properties: Mapping[str, Node]) -> RuleFilter:
    kind = _filter_kind(node, properties)
    if kind == "True":
        return TrueFilter()
    if kind == "False":
        return FalseFilter()
    key = f"{kind}Filter"
    if key not in properties:
        raise node.member(key).wrong(f"a filter, because FilterType is {kind}")
    return _read_sql_filter(properties[key]) if kind == "Sql" else _read_correlation_filter(properties[key])


def _filter_kind(node: Node, properties: Mapping[str, Node]) -> str:
    if "FilterType" in properties:
        given = properties["FilterType"].text()
        if given not in _FILTER_TYPES:
            raise properties["FilterType"].wrong("Sql, Correlation, True or False")
        return _FILTER_TYPES[given]
    kinds = [kind for kind in ("Sql", "Correlation") if f"{kind}Filter" in properties]
    if len(kinds) != 1:
        raise node.wrong("FilterType, or one of SqlFilter and CorrelationFilter")
    return kinds[0]


def _read_sql_filter(node: Node) -> SqlFilter:
    parts = node.children(("SqlExpression", "Parameters"), ("SqlExpression",))
    values = {"parameters": _read_parameters(parts["Parameters"])} if "Parameters" in parts else {}
    return build(SqlFilter, node, values, expression=parts["SqlExpression"].text())


def _read_action(node: Node) -> SqlAction | None:
    if node.value is None:
        return None
    parts = node.children(("SqlExpression", "Parameters"))
    if "SqlExpression" not in parts or parts["SqlExpression"].value == "":
        return None
    values = {"parameters": _read_parameters(parts["Parameters"])} if "Parameters" in parts else {}
    return build(SqlAction, node, values, expression=parts["SqlExpression"].text())


def _read_correlation_filter(node: Node) -> CorrelationFilter:
    parts = node.children((*_CORRELATION, "Properties"))
    values: dict[str, object] = {_CORRELATION[key]: parts[key].optional_text() for key in parts if key != "Properties"}
    if "Properties" in parts:
        values["properties"] = _read_parameters(parts["Properties"])
    return build(CorrelationFilter, node, values)


def _read_parameters(node: Node) -> dict[str, str | bool | int | float]:
    if node.value is None:
        return {}
    if not isinstance(node.value, dict):
        raise node.wrong("an object {...}")
    return {key: node.member(key).property_value() for key in node.value}
