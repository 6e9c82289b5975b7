"""What must hold: small rules over the facts, each on its own."""

from local.doctor.rules import bindings, entities, platform, retention, roles, settings, timing
from local.doctor.rules.rule import Finding, Problem, Rule

__all__ = ["RULES", "Finding", "Problem", "Rule"]

RULES: tuple[Rule, ...] = (
    *settings.RULES,
    *timing.RULES,
    *entities.RULES,
    *retention.RULES,
    *bindings.RULES,
    *platform.RULES,
    *roles.RULES,
)
"""All of them, in the order in which they are shown."""
