"""The maintainers' page tells of files and stages that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from shared.work import outcomes

STAGES = ["decode", "deduplicate", "handle", "commit", "publish", "settle"]


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    """The page."""
    return (project / "docs" / "life-of-a-message.md").read_text(encoding="utf-8")


def test_every_file_and_page_that_it_names_exists(page: str, project: Path) -> None:
    """A walk with the page in the hand ends nowhere."""
    named = set(re.findall(r"(?:shared|tests)/[\w/]+(?:\.py)?", page))
    assert len(named) > 12
    assert [name for name in named if not (project / name).exists()] == []
    assert [name for name in re.findall(r"\]\(([^)]+\.md)\)", page) if not (project / "docs" / name).exists()] == []


def test_the_stages_are_the_pipelines_in_its_order(page: str, project: Path) -> None:
    """In the picture, in the table and in the code."""
    assert re.findall(r'\["\d (\w+)<br/>', page) == STAGES
    assert re.findall(r"^\| (\w+) \|.*\.py` \|$", page, re.MULTILINE) == STAGES
    pipeline = (project / "shared" / "processing" / "pipeline.py").read_text(encoding="utf-8")
    assert " → ".join(STAGES) in pipeline


def test_the_values_it_names_are_handed_on(page: str) -> None:
    """And nobody can change them."""
    for name in ("Message", "Fresh", "Handled", "Ended"):
        assert f"`{name}`" in page
        assert getattr(outcomes, name).__dataclass_params__.frozen


def test_no_stage_knows_a_later_one(project: Path) -> None:
    """So none can call back, or forward past the pipeline; the pipeline alone knows them all."""
    room = project / "shared" / "processing"
    modules = ["decoding", "deduplication", "handling", "settling"]
    for number, name in enumerate(modules):
        tree = ast.parse((room / f"{name}.py").read_text(encoding="utf-8"))
        known = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 1}
        others = {other for position, other in enumerate(modules) if position != number}
        assert not known & others, name
        assert "pipeline" not in known
