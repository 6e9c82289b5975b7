"""Applies the rules to the facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from local.doctor.facts import Facts, Place
from local.doctor.rules import RULES, Finding, Problem, Rule

__all__ = ["chosen", "examine"]


def chosen(names: Iterable[str]) -> Sequence[Rule]:
    """The rules of these names, or all.

    Raises
    ------
    ValueError
        There is no rule of a name.
    """
    wanted = list(names)
    known = {one.id: one for one in RULES}
    if unknown := [name for name in wanted if name not in known]:
        raise ValueError(f"there is no rule {unknown[0]}")
    return [known[name] for name in wanted] or RULES


def examine(facts: Facts, rules: Iterable[Rule] = RULES) -> list[Finding]:
    """Everything that doesn't hold; what several deployments or apps share is one finding."""
    return [finding for one in rules for finding in _findings(one, one.check(facts))]


def _findings(broken: Rule, problems: Iterable[Problem]) -> Iterator[Finding]:
    seen: dict[tuple[Place, str], list[str]] = {}
    for problem in problems:
        where = seen.setdefault((problem.place, problem.message), [])
        if problem.where and problem.where not in where:
            where.append(problem.where)
    for (place, message), where in seen.items():
        yield Finding(
            rule=broken.id,
            severity=broken.severity,
            where=tuple(where),
            file=place.file,
            line=place.line,
            message=f"{', '.join(where)}: {message}" if where else message,
            consequence=broken.consequence,
            remedy=broken.remedy,
        )
