"""A copy of what is deployed and of what is said about it, to be changed by a test."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["copy_project"]

_NAMES = (
    ".funcignore", "function_app.py", "functions", "host.json", "infra", "integrations", "ops",
    "local.settings.sample.json", "local/config", "pyproject.toml", "requirements.in", "requirements.txt", "shared",
)  # fmt: skip


def copy_project(project: Path, copy: Path) -> None:
    """With one stage of the infrastructure: three would take three times as long."""
    for name in _NAMES:
        source, target = project / name, copy / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    for other in ("dev", "test", "staging"):
        (copy / "infra" / "params" / f"{other}.bicepparam").unlink()
    service = "  api:\n    language: python\n    host: function\n    dist: .sluice/azd\n    remoteBuild: false\n"
    (copy / "azure.yaml").write_text(f"name: sluice\nservices:\n{service}")
    (copy / "tests").mkdir()
    (copy / "tests" / "test_x.py").write_text("")
