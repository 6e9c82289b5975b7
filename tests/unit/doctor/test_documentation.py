"""The page about the doctor lists its rules as they are, and the output can be read by people and programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.doctor import RULES, Finding
from local.doctor.__main__ import main
from local.doctor.report import as_json, as_text

FINDING = Finding(
    rule=RULES[0].id,
    severity="error",
    where=("prod",),
    file="host.json",
    line=3,
    message="prod: is wrong",
    consequence=RULES[0].consequence,
    remedy=RULES[0].remedy,
)


def test_the_page_has_a_row_for_each_rule(project: Path) -> None:
    page = (project / "docs" / "doctor.md").read_text(encoding="utf-8")
    for one in RULES:
        mark = "" if one.severity == "error" else " (warning)"
        assert f"| `{one.id}`{mark} | {one.checks} | {one.consequence} | {one.remedy} |\n" in page
    assert page.count("\n| `") == len(RULES)


def test_rules_have_names_of_their_own_and_say_everything() -> None:
    assert len({one.id for one in RULES}) == len(RULES)
    for one in RULES:
        said = (one.checks, one.consequence, one.remedy)
        assert all(said)
        assert "|" not in "".join(said)


def test_people_are_told_what_goes_wrong_and_what_to_do() -> None:
    text = as_text(RULES, [FINDING], what="x")
    assert f"✗ {FINDING.rule}" in text
    assert "host.json:3: prod: is wrong" in text
    assert RULES[0].consequence in text
    assert RULES[0].remedy in text
    assert text.count("✓") == len(RULES) - 1
    assert text.endswith(f"x: {len(RULES) - 1} rules hold, 1 don't, 1 findings")
    assert "✓" not in as_text(RULES, [FINDING], what="x", brief=True)
    assert as_text(RULES, [], what="x", brief=True) == f"x: {len(RULES)} rules hold, 0 don't, 0 findings"


def test_programs_get_every_field() -> None:
    (found,) = json.loads(as_json([FINDING]))
    assert found == {
        "rule": FINDING.rule,
        "severity": "error",
        "where": ["prod"],
        "file": "host.json",
        "line": 3,
        "message": "prod: is wrong",
        "consequence": RULES[0].consequence,
        "remedy": RULES[0].remedy,
    }


def test_a_rule_that_is_not_there_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--only", "nothing"])
    assert ended.value.code == 2
    assert "there is no rule nothing" in capsys.readouterr().err
