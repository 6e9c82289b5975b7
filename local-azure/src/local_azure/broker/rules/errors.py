"""What can go wrong with a rule.

RuleError
├── RuleSyntaxError      the SQL cannot be compiled: refuse the rule
└── RuleEvaluationError  this message cannot be judged: dead-letter it if the subscription says so
"""

__all__ = ["RuleError", "RuleEvaluationError", "RuleSyntaxError"]


class RuleError(Exception):
    """Any problem with a rule; the message is fit to be shown."""


class RuleSyntaxError(RuleError):
    """SQL text that the filter language does not know, at `position` (0-based) of the expression."""

    def __init__(self, problem: str, position: int, *, in_action: bool = False) -> None:
        super().__init__(f"{problem} at position {position}")
        self.problem = problem
        self.position = position
        self.in_action = in_action


class RuleEvaluationError(RuleError):
    """A valid rule that fails on this message, such as a division by zero."""
