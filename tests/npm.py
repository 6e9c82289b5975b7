"""Packages from npm that judge what we make: installed once, by their lock file, outside the repository's own files."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["installed"]


def installed(project: Path, source: Path, name: str) -> tuple[str, Path]:
    """Node's command, and the folder with the packages of `source`; skipped where there is no Node, but for CI."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        if os.environ.get("CI") == "true":
            pytest.fail("node and npm are missing")
        pytest.skip("node and npm not installed")
    digest = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = project / ".sluice" / "foreign" / f"{name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process of the suite may need the same
        if not (folder / ".whole").exists():
            for file in ("package.json", "package-lock.json"):
                shutil.copy(source / file, folder)
            options = ["--no-audit", "--no-fund", "--ignore-scripts"]
            subprocess.run([npm, "ci", *options], cwd=folder, check=True, capture_output=True, timeout=300)
            (folder / ".whole").touch()
    return node, folder
