"""What the real Bicep compiler and its linter say of the templates; a warning ends it, as an error does.

    python3 -m infra.delivery.compiling

`az bicep` ends with 0 where there are warnings alone, and tells them on its error output.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .azure import AzureFailed

__all__ = ["complaints", "main"]

_INFRA = Path(__file__).resolve().parent.parent
_COMPLAINT = re.compile(r"^.*\(\d+,\d+\) : (?:Warning|Error|Info) .*$", re.MULTILINE)
_SECONDS = 300.0

Run = Callable[[Sequence[str]], tuple[int, str]]
"""Runs `az bicep` with these arguments: its exit code and its error output."""


def complaints(infra: Path, run: Run) -> Iterator[str]:
    """Each line of a warning or an error, once; and what ended badly without one."""
    stages = sorted((infra / "params").glob("*.bicepparam"))
    commands = [
        ["build", "--file", str(infra / "main.bicep"), "--stdout"],
        ["lint", "--file", str(infra / "main.bicep")],
        *(["build-params", "--file", str(file), "--stdout"] for file in (infra / "main.bicepparam", *stages)),
    ]
    told: set[str] = set()
    for command in commands:
        code, said = run(command)
        lines = [line.removeprefix("WARNING: ").removeprefix("ERROR: ") for line in _COMPLAINT.findall(said)]
        if code and not lines:
            lines = [f"az bicep {' '.join(command)} ended with {code}: {said.strip()[-300:]}"]
        yield from (line for line in lines if line not in told)
        told.update(lines)


def _run(arguments: Sequence[str]) -> tuple[int, str]:
    program = shutil.which("az")
    if program is None:
        raise AzureFailed("the Azure CLI (az) is not installed")
    done = subprocess.run(  # noqa: S603
        [program, "bicep", *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    return done.returncode, done.stderr


def main(infra: Path, run: Run) -> int:
    """0 where the compiler has nothing to say, else 1, after saying it."""
    found = list(complaints(infra, run))
    for line in found:
        sys.stderr.write(f"FAILED {line}\n")
    return 1 if found else 0


if __name__ == "__main__":
    try:
        sys.exit(main(_INFRA, _run))
    except AzureFailed as failure:
        sys.exit(str(failure))
