"""The runbook speaks of log lines, commands and pages that exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EVENT = re.compile(r'log_event\(\s*"([^"]+)"')


@pytest.fixture(scope="module")
def page(project: Path) -> str:
    """The runbook."""
    return (project / "docs" / "operations.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def events(project: Path) -> set[str]:
    """Every event that the app logs."""
    sources = [path for folder in ("functions", "shared") for path in (project / folder).rglob("*.py")]
    return {name for path in sources for name in EVENT.findall(path.read_text(encoding="utf-8"))}


def test_queries_ask_for_lines_that_the_app_writes(page: str, events: set[str]) -> None:
    """A query for a line that was renamed would never find anything."""
    asked = {text.removesuffix(" {") for text in re.findall(r'startswith "([^"]+)"', page)}
    assert asked
    assert asked <= events


def test_the_table_of_lines_is_true(page: str, events: set[str]) -> None:
    """Every line that is explained exists."""
    table = page.partition("## What the app says")[2]
    explained = {
        name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall("`([^`]+)`", row)
    }
    assert len(explained) > 10
    assert explained <= events


def test_commands_are_understood(page: str, project: Path) -> None:
    """Each `dev.py dead-letters` line parses; what it would do needs a deployment."""
    from ops.dead_letters.arguments import parse

    lines = re.findall(r"^python3 dev\.py dead-letters (.+)$", page, re.MULTILINE)
    assert len(lines) == 5
    for line in lines:
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)]
        assert parse(words, program="dead-letters").command in ("groups", "list", "show", "replay")


def test_pauses_are_understood(page: str) -> None:
    """The commands of the first move: kinds, lanes and integrations that there are."""
    from ops.pausing import _names, _parse
    from shared.pausing import Kind

    lines = re.findall(r"^python3 dev\.py (pause|resume|pauses)\b([^#\n]*)", page, re.MULTILINE)
    assert {verb for verb, _ in lines} == {"pause", "resume", "pauses"}
    for verb, rest in lines:
        known = _parse(verb, [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', rest)])
        if verb != "pauses":
            assert known.name in _names(Kind(known.kind))


def test_rollout_commands_of_the_pages_are_understood(project: Path) -> None:
    """The help of each tool that the pages and pipelines call is there."""
    for tool in ("rollout", "smoke", "load"):
        done = subprocess.run(
            [sys.executable, "-m", f"infra.delivery.{tool}", "--help"],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert tool in done.stdout


def test_links_lead_somewhere(project: Path) -> None:
    """Pages and headings that the documentation points to exist."""
    for source in [*(project / "docs").rglob("*.md"), *project.glob("*.md")]:
        for target in re.findall(r"\]\(([^)\s]+)\)", source.read_text(encoding="utf-8")):
            if target.startswith(("http://", "https://", "mailto:")):
                continue
            path, _, heading = target.partition("#")
            file = (source.parent / path).resolve() if path else source
            assert file.exists(), f"{source.name} points to {target}"
            if heading and file.suffix == ".md":
                text = file.read_text(encoding="utf-8")
                known = {_anchor(line) for line in text.splitlines() if line.startswith("#")}
                assert heading in known, f"{source.name} points to {target}"


def _anchor(line: str) -> str:
    """A heading's anchor as GitHub makes it."""
    text = line.lstrip("#").strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
