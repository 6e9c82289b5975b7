"""Every fault that was found once, planted again, is caught by the rule that is meant; the real tree has none."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from local.rehearsal import OWN_RULES, Row, State, play, read_rules
from local.rehearsal.__main__ import STAGES
from local.rehearsal.state import Region
from tests.infra.rehearsal.planted import PLANTED, Planted, copy_of, plant

RULES = read_rules([OWN_RULES])
PROJECT = Path(__file__).resolve().parents[3]


def state_of(fault: Planted) -> State:
    """The subscription that a fault is met in."""
    given = dict(fault.state)
    if "regions" in given:
        given["regions"] = {name: Region(**one) for name, one in given["regions"].items()}
    return State(**given)


def rules_told(rows: list[Row]) -> set[str]:
    """The rules that didn't hold."""
    return {told.rule for row in rows for told in row.findings}


def until_told(rule: str, rows: Iterator[Row]) -> Iterator[Row]:
    """The rows up to the end of the step in which a rule doesn't hold."""
    step = ""
    for row in rows:
        if step and row.step != step:
            return
        yield row
        if any(told.rule == rule for told in row.findings):
            step = row.step


@cache
def told_of_the_real_tree(stage: str) -> frozenset[str]:
    """What the real tree is told: known faults and risks."""
    return frozenset(rules_told(list(play(PROJECT, stage, RULES, State()))))


@pytest.mark.parametrize("stage", STAGES)
def test_the_real_tree_would_be_taken(stage: str) -> None:
    """Every step, from the first `azd up` to the one after a `down`; what is known not to hold yet is listed."""
    rows = list(play(PROJECT, stage, RULES, State()))
    assert [(row.what, told.text) for row in rows for told in row.findings if told.ends] == []
    assert list(dict.fromkeys(row.step for row in rows)) == [
        "preflight", "provision", "first secrets", "deploy", "smoke test", "second deployment", "rollback", "down",
        "up again",
    ]  # fmt: skip
    assert sum(row.happens == "created" and row.step == "provision" for row in rows) > 200


def test_what_is_known_not_to_hold_does_not_hold() -> None:
    """What was mended is taken out of the list."""
    told = {rule for stage in STAGES for rule in told_of_the_real_tree(stage)}
    assert set(RULES.tables["known"]["rules"]) <= told


@pytest.mark.parametrize("fault", PLANTED, ids=lambda one: f"{one.number}-{one.what.replace(' ', '-')}")
def test_a_planted_fault_is_caught(fault: Planted, tmp_path: Path) -> None:
    """By its rule, and by no other that it doesn't break too."""
    folder = copy_of(PROJECT, tmp_path)
    plant(fault, folder)
    rows = play(folder, fault.stage, RULES, state_of(fault), fault.environment)
    found = rules_told(list(until_told(fault.rule, rows)))
    assert fault.rule in found
    assert found - told_of_the_real_tree(fault.stage) <= {fault.rule, *fault.with_it}
