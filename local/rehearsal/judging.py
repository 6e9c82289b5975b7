"""Applies the rules to a plan."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .conditions import UNKNOWN, BadCondition, BadValue, truth
from .plan import Plan, Subject
from .rules import Rule

__all__ = ["Judgement", "Refusal", "judge"]


@dataclass(frozen=True)
class Refusal:
    """What a rule says of a resource, in one sentence."""

    rule: Rule
    resource: Subject
    text: str


@dataclass(frozen=True)
class Judgement:
    """What doesn't hold, and what can't be known before Azure runs: pairs of a rule's id and a resource's name."""

    refusals: tuple[Refusal, ...]
    undecided: tuple[tuple[str, str], ...]


def judge(plan: Plan, rules: Iterable[Rule]) -> Judgement:
    """Ask every rule about every resource of its types.

    A value of another type than the rule compares with is refused: Azure would not know what to do with it either.

    Raises
    ------
    BadCondition
        A condition that doesn't fit the values that it meets; the text names rule and resource.
    """
    refusals: list[Refusal] = []
    undecided: list[tuple[str, str]] = []
    by_type: dict[str, list[Subject]] = {}
    for one in plan.subjects:
        by_type.setdefault(one.resource.type, []).append(one)
    for rule in rules:
        subjects = [one for kind, some in by_type.items() if rule.looks_at(kind) for one in some]
        for one, found, more in _KINDS[rule.kind](plan, rule, _concerned(plan, rule, subjects)):
            if found is UNKNOWN:
                undecided.append((rule.id, str(one)))
            elif found:
                refusals.append(Refusal(rule, one, _text(plan, rule, one, more)))
    refusals.sort(key=lambda one: one.resource.number)
    return Judgement(tuple(refusals), tuple(undecided))


_UNFIT = "unfit"
Found = Iterator[tuple[Subject, Any, dict[str, Any]]]


def _value(plan: Plan, rule: Rule, condition: Any, one: Subject, more: dict[str, Any] | None = None) -> Any:
    try:
        return condition.value(plan.names(one, more))
    except BadCondition as error:
        raise type(error)(f"{rule.id} on {one.resource}: {error}") from None


def _concerned(plan: Plan, rule: Rule, subjects: Iterable[Subject]) -> list[Subject]:
    if rule.when is None:
        return list(subjects)
    return [one for one in subjects if _holds(plan, rule, one)]


def _holds(plan: Plan, rule: Rule, one: Subject) -> bool:
    try:
        return truth(_value(plan, rule, rule.when, one)) is True
    except BadValue:
        return True  # the condition itself tells of it


def _refuse(plan: Plan, rule: Rule, subjects: list[Subject]) -> Found:
    for one in subjects:
        try:
            value = _value(plan, rule, rule.condition, one)
        except BadValue as error:
            yield one, True, {_UNFIT: str(error)}
            continue
        yield one, truth(value), {"found": value}


def _grouped(plan: Plan, rule: Rule, subjects: list[Subject]) -> dict[str, list[Subject]]:
    groups: dict[str, list[Subject]] = {}
    for one in subjects:
        key = _value(plan, rule, rule.condition, one)
        if key is not None and key is not UNKNOWN:
            groups.setdefault(str(key).lower(), []).append(one)
    return groups


def _one_at_a_time(plan: Plan, rule: Rule, subjects: list[Subject]) -> Found:
    for group in _grouped(plan, rule, subjects).values():
        for at, one in enumerate(group):
            other = next((each for each in group[:at] if plan.order.together(one.number, each.number)), None)
            yield one, other is not None, {"other": other}


def _unique(plan: Plan, rule: Rule, subjects: list[Subject]) -> Found:
    for group in _grouped(plan, rule, subjects).values():
        for one in group[1:]:
            yield one, True, {"other": group[0]}


def _at_most(plan: Plan, rule: Rule, subjects: list[Subject]) -> Found:
    for group in _grouped(plan, rule, subjects).values():
        most = _value(plan, rule, rule.most, group[0])
        if most is not None and most is not UNKNOWN:
            yield group[-1], len(group) > most, {"count": len(group), "most": most}


def _after(plan: Plan, rule: Rule, subjects: list[Subject]) -> Found:
    for one in subjects:
        found = _value(plan, rule, rule.condition, one)
        for other in found if isinstance(found, list) else [found]:
            if other is UNKNOWN:
                yield one, UNKNOWN, {}
            elif isinstance(other, Subject) and other is not one and not plan.order.waits(one.number, other.number):
                yield one, True, {"other": other}


_KINDS = {
    "refuse": _refuse,
    "one_at_a_time": _one_at_a_time,
    "unique": _unique,
    "at_most": _at_most,
    "after": _after,
}


def _text(plan: Plan, rule: Rule, one: Subject, more: dict[str, Any]) -> str:
    if _UNFIT in more:
        return f"{one}: a value has another type or form than it must have: {more[_UNFIT]}"
    text = rule.text
    for place, condition in rule.places.items():
        found = _value(plan, rule, condition, one, more)
        text = text.replace(f"{{{place}}}", "?" if found is UNKNOWN else str(found))
    return text
