"""A copy of what the doctor looks at, to plant mistakes in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.app import AppDescription
from local.doctor import Finding, examine, read_app, read_facts
from tests.unit.project_copy import copy_project

Edit = tuple[str, str, str]
Examine = Callable[..., list[Finding]]


@pytest.fixture(scope="session")
def tree(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy."""
    copy = tmp_path_factory.mktemp("doctor") / "project"
    copy_project(project, copy)
    return copy


@pytest.fixture(scope="session")
def app(project: Path) -> AppDescription:
    """The app as it is."""
    return read_app(project)


@pytest.fixture(scope="session")
def usual(tree: Path, app: AppDescription) -> list[tuple[str, str]]:
    """What the doctor finds before any mistake is planted: a user's own functions may have some of their own."""
    return [(one.rule, one.message) for one in examine(read_facts(tree, app))]


@pytest.fixture
def examined(tree: Path, app: AppDescription, usual: list[tuple[str, str]]) -> Iterator[Examine]:
    """Examines the copy with edits made to it (file, text, other text), and takes them back at the end.

    Only what the edits bring is told: a mistake is caught whatever else a project has.
    """
    before: dict[Path, str] = {}

    def examine_with(*edits: Edit, changed: AppDescription | None = None) -> list[Finding]:
        code = False
        for name, old, new in edits:
            path = tree / name
            text = path.read_text(encoding="utf-8")
            before.setdefault(path, text)
            assert old in text, f"{name} has no {old!r} any more: mend the planted mistake"
            path.write_text(text.replace(old, new, 1) if old else text + new, encoding="utf-8")
            code = code or name.startswith("functions/")
        found = examine(read_facts(tree, read_app(tree) if code else changed or app))
        return [one for one in found if (one.rule, one.message) not in usual]

    yield examine_with
    for path, text in before.items():
        path.write_text(text, encoding="utf-8")
