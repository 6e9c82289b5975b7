"""Every check of the source in one go: lint, format, types, imports, and what is stated twice (`dev.py check`)."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

__all__ = ["main"]

_APP = ("function_app.py", "functions", "integrations", "ops", "shared")
_SOURCES = (*_APP, "local", "local-azure/src", "infra", "dev.py")
_TYPED = (*_SOURCES, "local-azure/tests", "bench", "tests")
_NEWEST = "3.14"


class Check(NamedTuple):
    """One gate: what it is called, and the command that passes it by exiting with 0."""

    name: str
    command: list[str]
    is_usual: bool = True


def checks(project: Path) -> list[Check]:
    """The gates, quickest first."""
    typed = [name for name in _TYPED if (project / name).exists()]
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    lint_imports = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return [
        Check("lint", ["-m", "ruff", "check", "."]),
        Check("format", ["-m", "ruff", "format", "--check", "."]),
        Check("imports", ["-c", lint_imports, "--no-logo"]),
        Check("words", ["-m", "local.words"]),
        Check("partners", ["-m", "local.partner_rules"]),
        Check("declarations", ["-m", "local.declaring", "--check"]),
        Check("doctor", ["-m", "local.doctor", "--brief"]),
        Check("rehearsal", ["-m", "local.rehearsal", "--brief"]),
        Check("types", ["-m", "mypy", "--python-version", running, *typed]),
        Check("types-newest", ["-m", "mypy", "--python-version", _NEWEST, *_SOURCES], is_usual=False),
    ]


def main(arguments: list[str]) -> int:
    """Run the checks from the project's root; return 0 only if all passed."""
    project = Path(__file__).resolve().parent.parent
    known = checks(project)
    parser = argparse.ArgumentParser(prog="dev.py check", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(c.name for c in known)}")
    parser.add_argument("--all", action="store_true", help="those too that take long, and seldom find anything new")
    parser.add_argument("--mutation", action="store_true", help="instead: whether the tests notice changed code")
    if "--mutation" in arguments:  # a command of its own: it takes minutes, and needs more packages
        command = [sys.executable, "-m", "local.mutation", *(one for one in arguments if one != "--mutation")]
        return subprocess.run(command, cwd=project, check=False).returncode  # noqa: S603
    given = parser.parse_args(arguments)
    chosen = given.names
    unknown = sorted(set(chosen) - {check.name for check in known})
    if unknown:
        parser.error(f"no such check: {', '.join(unknown)}")
    wanted = [check for check in known if (check.name in chosen if chosen else check.is_usual or given.all)]
    results = [_run(check, project) for check in wanted]
    failed = [name for name, passed in results if not passed]
    names = f": {', '.join(failed)}" if failed else ""
    _say(f"\n{len(results) - len(failed)} passed, {len(failed)} failed{names}")
    return 1 if failed else 0


def _run(check: Check, project: Path) -> tuple[str, bool]:
    _say(f"\n── {check.name} " + "─" * (60 - len(check.name)))
    began = time.monotonic()
    done = subprocess.run([sys.executable, *check.command], cwd=project, check=False)  # noqa: S603
    _say(f"{check.name}: {'passed' if done.returncode == 0 else 'FAILED'} in {time.monotonic() - began:.1f} s")
    return check.name, done.returncode == 0


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
