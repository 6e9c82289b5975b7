"""`pause`, `resume` and `pauses`: what is wrong is said in one line, before anything is changed."""

from __future__ import annotations

import pytest

from ops.pausing import WRONG, pause, resume
from tests.unit.functions.conftest import ENVIRONMENT


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lane", "slow", "--reason", "r"], "no lane is called 'slow': there are high, low, normal, ordered"),
        (["integration", "order", "--reason", "r"], "no integration is called 'order': there are orders"),
        (["partner", "carrier", "--reason", "r"], "no partner is called 'carrier': there is none"),
        (["lane", "low"], "whoever comes next must know why: say --reason WHY"),
        (["lane", "low", "--reason", "  "], "say --reason WHY"),
        (["lane", "low", "--reason", "r", "--by", ""], "and --by WHO"),
        (["lane", "low", "--reason", "r", "--settings", "nowhere.json"], "nowhere.json is not a settings file"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert pause(arguments, ENVIRONMENT) == WRONG
    told = capsys.readouterr().err
    assert told.startswith("pause: ")
    assert told.count("\n") == 1
    assert said in told


def test_wrong_settings_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert resume(["lane", "low"], {**ENVIRONMENT, "SLUICE_STATE_BUCKETS": "none"}) == WRONG
    assert "SLUICE_STATE_BUCKETS" in capsys.readouterr().err


def test_a_kind_that_is_none_is_told_those_that_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert pause(["queue", "low", "--reason", "r"], ENVIRONMENT) == WRONG
    assert "lane" in capsys.readouterr().err
