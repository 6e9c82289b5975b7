"""Byte code inside the package: the platform mounts it read-only, so that every cold start would compile everything.

It isn't compared with its source again (PEP 552, unchecked hash): both come from one build.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from local.packaging.errors import PackageError

__all__ = ["compiled", "interpreter"]

# Runs under the interpreter of the target. What isn't for its version, such as a package's old test, is left as it is.
_COMPILE = """
import py_compile, sys
from importlib.util import cache_from_source
root = sys.argv[1]
for name in sys.stdin.read().splitlines():
    try:
        py_compile.compile(f"{root}/{name}", cache_from_source(f"{root}/{name}"), dfile=name, doraise=True,
                           invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    except py_compile.PyCompileError:
        pass
"""


def interpreter(version: str) -> str | None:
    """The command of a Python of a version such as `3.12`; None where this machine has none."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None:
        return None
    asked = [found, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    answered = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    return found if answered.stdout.strip() == version else None


def compiled(entries: Iterable[tuple[str, bytes]], python: str) -> list[tuple[str, bytes]]:
    """The byte code of all Python files among the entries, by the names under which it is looked for, in their order.

    Parameters
    ----------
    python:
        The command of the target's interpreter.

    Raises
    ------
    PackageError
        The interpreter doesn't do it.
    """
    with tempfile.TemporaryDirectory(prefix="sluice-bytecode-") as folder:
        names = []
        for name, content in entries:
            if name.endswith(".py"):
                path = Path(folder) / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                names.append(name)
        done = subprocess.run(  # noqa: S603
            [python, "-s", "-S", "-c", _COMPILE, folder],
            input="\n".join(sorted(names)),
            env={name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
            | {"PYTHONHASHSEED": "0"},  # the same bytes each time
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise PackageError(f"{python} makes no byte code: {done.stderr.strip().splitlines()[-1:]}")
        found = [(path.relative_to(folder).as_posix(), path.read_bytes()) for path in Path(folder).rglob("*.pyc")]
    return sorted(found)
