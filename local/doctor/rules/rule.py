"""What a rule is, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

from local.doctor.facts import Facts, Place

__all__ = ["Finding", "Problem", "Rule", "Severity", "rule"]

Severity = Literal["error", "warning"]


class Problem(NamedTuple):
    """One place where a rule doesn't hold, in one sentence; `where` is the deployment or app that it was seen in."""

    where: str
    place: Place
    message: str


Check = Callable[[Facts], Iterator[Problem]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that must hold.

    `checks` says what, `consequence` what goes wrong in production where it doesn't, `remedy` how to mend it.
    """

    id: str
    severity: Severity
    checks: str
    consequence: str
    remedy: str
    check: Check


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A rule that doesn't hold at a place; `where` are the deployments or apps that share it."""

    rule: str
    severity: Severity
    where: tuple[str, ...]
    file: str
    line: int | None
    message: str
    consequence: str
    remedy: str


def rule(
    id: str, *, checks: str, consequence: str, remedy: str, severity: Severity = "error"
) -> Callable[[Check], Rule]:
    """Make a rule of the function below."""

    def made(check: Check) -> Rule:
        return Rule(id=id, severity=severity, checks=checks, consequence=consequence, remedy=remedy, check=check)

    return made
