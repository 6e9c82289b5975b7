"""The machine is set up once; whatever interrupts that, the next start goes on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from local.setup import Environment, FileLock, SetupError
from local.setup.environment import _pip_advice
from local.setup.node import _npm_advice


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A project that needs no package at all."""
    (tmp_path / "requirements.txt").write_text("# nothing yet\n")
    return tmp_path


def break_pip(environment: Environment) -> None:
    """Whoever calls pip from now on fails."""
    for folder in environment.folder.rglob("pip"):
        if folder.is_dir():
            shutil.rmtree(folder)


def test_a_second_start_installs_nothing(place: Path) -> None:
    environment = Environment(place)
    environment.ensure(["requirements.txt"])
    assert environment.python.exists()
    break_pip(environment)
    environment.ensure(["requirements.txt"])


def test_a_changed_requirement_is_installed(place: Path) -> None:
    environment = Environment(place)
    environment.ensure(["requirements.txt"])
    (place / "requirements.txt").write_text("./no-such-package\n")
    with pytest.raises(SetupError, match="pip could not install"):
        environment.ensure(["requirements.txt"])


def test_an_interrupted_installation_is_taken_up_again(place: Path) -> None:
    environment = Environment(place)
    (place / "requirements.txt").write_text("./no-such-package\n")
    with pytest.raises(SetupError):
        environment.ensure(["requirements.txt"])
    (place / "requirements.txt").write_text("# put right\n")
    environment.ensure(["requirements.txt"])
    break_pip(environment)
    environment.ensure(["requirements.txt"])


def test_an_environment_without_a_working_pip_is_made_anew(place: Path) -> None:
    """As left by a start that was killed while it made one."""
    environment = Environment(place)
    environment.ensure(["requirements.txt"])
    break_pip(environment)
    (environment.folder / "sluice-installed.json").unlink()
    environment.ensure(["requirements.txt"])
    subprocess.run([environment.python, "-m", "pip", "--version"], check=True, capture_output=True)


def test_two_starts_at_once_install_once(place: Path, project: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from local.setup import Environment\n"
        "Environment(Path(sys.argv[1])).ensure(['requirements.txt'])"
    )
    starts = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(place)],
            cwd=project,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(project)},
        )
        for _ in range(2)
    ]
    outputs = [start.communicate(timeout=100)[0] for start in starts]
    assert [start.returncode for start in starts] == [0, 0], outputs
    assert "".join(outputs).count("Making .venv") == 1


def test_a_lock_is_held_by_one_and_free_after(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "a" / "lock"), FileLock(tmp_path / "a" / "lock")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("NewConnectionError: Failed to establish", "package index cannot be reached"),
        ("ERROR: No matching distribution found for x==9", "No matching distribution found for x==9"),
        ("Something\nERROR: it broke\n", "ERROR: it broke"),
    ],
)
def test_what_stopped_pip_is_said_in_one_sentence(output: str, said: str) -> None:
    assert said in _pip_advice(output)
    assert "\n" not in _pip_advice(output)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("npm error code ENOSPC", "disk is full"),
        ("npm error code EAI_AGAIN", "npm registry cannot be reached"),
        ("npm error code E404\nnpm error 404 not found", "npm could not install Azurite: code E404"),
    ],
)
def test_what_stopped_npm_is_said_in_one_sentence(output: str, said: str) -> None:
    assert said in _npm_advice(output, "Azurite")
