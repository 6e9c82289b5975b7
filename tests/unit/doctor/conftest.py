"""A copy of what the doctor looks at, to plant mistakes in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local.app import AppDescription
from local.doctor import Finding, examine, read_app, read_facts

_LOOKED_AT = (
    ".funcignore", "function_app.py", "functions", "host.json", "infra", "integrations", "ops",
    "local.settings.sample.json", "local/config", "pyproject.toml", "requirements.in", "requirements.txt", "shared",
)  # fmt: skip

Edit = tuple[str, str, str]
Examine = Callable[..., list[Finding]]


@pytest.fixture(scope="session")
def tree(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy, with one stage of the infrastructure: three would take three times as long."""
    copy = tmp_path_factory.mktemp("doctor") / "project"
    for name in _LOOKED_AT:
        source, target = project / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    for other in ("dev", "test"):
        (copy / "infra" / "params" / f"{other}.bicepparam").unlink()
    (copy / "azure.yaml").write_text("services:\n  api:\n    language: python\n    host: function\n")
    (copy / "tests").mkdir()
    (copy / "tests" / "test_x.py").write_text("")
    return copy


@pytest.fixture(scope="session")
def app(project: Path) -> AppDescription:
    """The app as it is."""
    return read_app(project)


@pytest.fixture
def examined(tree: Path, app: AppDescription) -> Iterator[Examine]:
    """Examines the copy with edits made to it (file, text, other text), and takes them back at the end."""
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
        return examine(read_facts(tree, read_app(tree) if code else changed or app))

    yield examine_with
    for path, text in before.items():
        path.write_text(text, encoding="utf-8")
