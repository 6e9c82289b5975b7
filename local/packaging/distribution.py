"""Builds local-azure as others install it: a wheel and a source distribution, by the build backend that it names."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from local.packaging.errors import PackageError

__all__ = ["Distribution", "build_distribution"]

_BUILD = """\
import importlib, sys
backend = importlib.import_module(sys.argv[1])
print(backend.build_wheel(sys.argv[2]))
print(backend.build_sdist(sys.argv[2]))
"""


@dataclass(frozen=True, slots=True)
class Distribution:
    """The two files, and the name and version that they have."""

    name: str
    version: str
    wheel: Path
    source: Path


def build_distribution(project: Path, folder: Path, backends: Path) -> Distribution:
    """Write wheel and source distribution of local-azure into a folder; the same bytes for the same sources.

    The backend is fetched once and kept in `backends`, apart from the packages of the project.

    Raises
    ------
    PackageError
        The package index can't be reached, or the backend refuses.
    """
    sources = project / "local-azure"
    described = tomllib.loads((sources / "pyproject.toml").read_text(encoding="utf-8"))
    system, metadata = described["build-system"], described["project"]
    kept = backends / "-".join(system["requires"])
    if not kept.exists():
        _fetch(system["requires"], kept)
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(kept), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-P", "-c", _BUILD, system["build-backend"], str(folder.absolute())]
    done = subprocess.run(  # noqa: S603
        command, cwd=sources, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise PackageError(f"local-azure can't be built: {done.stderr.strip()[-500:]}")
    wheel, source = done.stdout.split()[-2:]
    return Distribution(metadata["name"], metadata["version"], folder / wheel, folder / source)


def _fetch(requirements: list[str], folder: Path) -> None:
    partial = folder.with_name(folder.name + ".partial")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]
    done = subprocess.run(  # noqa: S603
        [*command, "--upgrade", "--target", str(partial), *requirements], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise PackageError(f"the build backend can't be fetched: {done.stderr.strip()[-300:]}")
    partial.rename(folder)
