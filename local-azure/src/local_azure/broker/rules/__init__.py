"""Decides which messages a subscription takes: SQL, correlation and boolean filters, and SQL actions.

A rule is compiled once (`compile_rule`, which refuses bad SQL with `RuleSyntaxError`) and then evaluated for
each message; `select` joins a subscription's rules as the service does. Pure: no clock, no I/O.

Source: "Subscription Rule SQL Filter Syntax", "Subscription Rule SQL Action Syntax" and "Topic filters and
actions" in the Service Bus documentation.
"""

from local_azure.broker.rules.errors import RuleError, RuleEvaluationError, RuleSyntaxError
from local_azure.broker.rules.evaluation import CompiledRule, Copy, Selection, compile_rule, select
from local_azure.broker.rules.messages import SETTABLE_PROPERTIES, SYSTEM_PROPERTIES, MessageView

__all__ = [
    "SETTABLE_PROPERTIES",
    "SYSTEM_PROPERTIES",
    "CompiledRule",
    "Copy",
    "MessageView",
    "RuleError",
    "RuleEvaluationError",
    "RuleSyntaxError",
    "Selection",
    "compile_rule",
    "select",
]
