"""The project's own virtual environment: made once, filled from pinned requirements, then left alone."""

# ruff: noqa: S603 - it runs only commands that are written here

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from local.setup.lock import FileLock

__all__ = ["Environment", "SetupError", "exclusive", "say"]

_SUPPORTED = ("3.11", "3.12", "3.13", "3.14")
_TAIL_LINES = 60
_UNREACHABLE = ("NewConnectionError", "Temporary failure", "ConnectTimeout", "getaddrinfo", "ProxyError")


class SetupError(Exception):
    """Something the machine lacks; the message is one sentence that says what to do."""


class Environment:
    """`.venv` under the project (or another folder), with a note of which requirement files it holds, by content.

    The note is written only after an installation succeeded, so an interrupted one is taken up again by the
    next start; a lock keeps two starts from installing at once.
    """

    def __init__(self, project: Path, folder: str = ".venv") -> None:
        self.project = project
        self.folder = project / folder
        self._note = self.folder / "sluice-installed.json"

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def ensure(self, requirements: Sequence[str]) -> None:
        """Make the environment hold every file of `requirements`, paths relative to the project.

        Raises
        ------
        SetupError
            If it cannot be made or filled.
        """
        if self.holds(requirements):
            return
        with exclusive(self.project / ".sluice" / "setup.lock"):
            if self.holds(requirements):
                return
            installed = self._installed()
            self._note.unlink(missing_ok=True)
            if not installed:
                self._create()
            files = sorted({*requirements, *(name for name in installed if (self.project / name).exists())})
            self._install(files, new=[name for name in files if name not in installed])
            self._write_note(files)

    def holds(self, requirements: Sequence[str]) -> bool:
        """Whether every file of `requirements` is installed, as it is now."""
        installed = self._installed()
        return all(installed.get(name) == self._digest(name) for name in requirements)

    def _installed(self) -> dict[str, str]:
        if not self.python.exists():
            return {}
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}

    def _digest(self, name: str) -> str:
        text = (self.project / name).read_text(encoding="utf-8")
        return hashlib.sha256(text.encode()).hexdigest()

    def _create(self) -> None:
        if self._is_usable():
            return
        if self.folder.is_symlink() or self.folder.is_file():
            raise SetupError(f"{self.folder} is not a folder: move it away and run this again.")
        say(f"Making {self.folder.relative_to(self.project)} …")
        done = subprocess.run(
            [sys.executable, "-m", "venv", "--clear", str(self.folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise SetupError(_venv_advice(done.stdout + done.stderr, self.folder))

    def _is_usable(self) -> bool:
        """Whether an environment without a note can be kept: the right Python, and a pip that starts."""
        if not self.python.exists():
            return False
        code = "import sys, pip; print('%d.%d' % sys.version_info[:2])"
        answer = subprocess.run([str(self.python), "-c", code], capture_output=True, text=True, check=False)
        return answer.returncode == 0 and answer.stdout.strip() in _SUPPORTED

    def _install(self, files: Sequence[str], new: Sequence[str]) -> None:
        total = len({pin for name in new or files for pin in _pins(self.project / name)})
        arguments = [part for name in files for part in ("-r", str(self.project / name))]
        command = [
            *(str(self.python), "-m", "pip", "install", "--disable-pip-version-check"),
            *("--no-input", "--progress-bar", "off"),
            *arguments,
        ]
        count = "1 package" if total == 1 else f"{total} packages"
        say(f"Installing {count} into {self.folder.relative_to(self.project)} (once; the next start skips this) …")
        code, tail = _run_counting(command, total, self.project)
        if code != 0:
            raise SetupError(_pip_advice(tail))

    def _write_note(self, files: Sequence[str]) -> None:
        partial = self._note.with_suffix(".partial")
        partial.write_text(json.dumps({name: self._digest(name) for name in files}, indent=1), encoding="utf-8")
        os.replace(partial, self._note)


def say(text: str, end: str = "\n") -> None:
    """Tell the person at the terminal, at once."""
    print(text, end=end, flush=True)  # noqa: T201


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, saying so once when another process holds it."""
    try:
        lock = FileLock(path)
        told = False
        while not lock.acquire():
            if not told:
                say("Waiting for another start that is installing …")
                told = True
            time.sleep(0.2)
    except OSError as error:
        raise SetupError(f"Cannot write to {path.parent}: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()


def _pins(path: Path) -> list[str]:
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith(("#", "-"))]


def _run_counting(command: list[str], total: int, folder: Path) -> tuple[int, str]:
    """Run pip, showing how many packages it has come to; return its exit code and its last lines."""
    tail: list[str] = []
    seen = 0
    show = sys.stdout.isatty()
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            tail = [*tail[1 - _TAIL_LINES :], line]
            if show and line.startswith(("Collecting ", "Requirement already satisfied: ")):
                seen += 1
                say(f"\r  {min(seen, total)}/{total}", end="")
            elif show and line.startswith("Installing collected"):
                say("\r  unpacking …", end="")
    if show:
        say("\r" + " " * 20 + "\r", end="")
    return process.returncode, "".join(tail)


def _venv_advice(output: str, folder: Path) -> str:
    if "ensurepip" in output:
        return (
            "This Python has no ensurepip, so .venv cannot be made: "
            "install your system's venv package (on Debian and Ubuntu: python3-venv)."
        )
    if _is_disk_full(output):
        return "The disk is full: free some space (about 1 GB) and run this again."
    return f"{folder} could not be made: {_last_line(output)}"


def _pip_advice(output: str) -> str:
    if _is_disk_full(output):
        return "The disk is full: free some space (about 1 GB) and run this again."
    if any(sign in output for sign in _UNREACHABLE):
        return "The package index cannot be reached: check the network (or pip's index and proxy settings)."
    if "No matching distribution" in output:
        errors = [line for line in output.splitlines() if "No matching distribution" in line]
        return f"pip cannot find a pinned package on your package index: {errors[-1].removeprefix('ERROR: ')}"
    return f"pip could not install the requirements: {_last_line(output)}"


def _is_disk_full(output: str) -> bool:
    return "No space left" in output or "Errno 28" in output or "ENOSPC" in output


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it gave no reason"])[-1]
