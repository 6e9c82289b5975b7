"""`python -m local.lake ARGUMENTS`: `python -m ops lake ARGUMENTS`, with the stores of a stack that has ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from local.lake import running_stores
from local.stack.data_directory import DataDirectoryInUse
from local.stack.services import MissingTool
from local.stack.supervisor import StartFailed

__all__ = ["main"]

_PROJECT = Path(__file__).resolve().parents[2]


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    try:
        return asyncio.run(_main(arguments))
    except (DataDirectoryInUse, StartFailed, MissingTool) as error:
        sys.stderr.write(f"lake: {error}\n")
        return 3
    except KeyboardInterrupt:
        return 130


async def _main(arguments: Sequence[str]) -> int:
    async with contextlib.AsyncExitStack() as stack:
        settings = _settings(arguments)
        found = {}
        if settings is not None and not {"-h", "--help"} & set(arguments):
            found = dict(await stack.enter_async_context(running_stores(_PROJECT, settings)))
        # From the user's folder, so that files are where they say; the project's modules come from PYTHONPATH.
        paths = os.pathsep.join(filter(None, [str(_PROJECT), os.environ.get("PYTHONPATH", "")]))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "ops", "lake", *arguments, env={**os.environ, "PYTHONPATH": paths, **found}
        )
        try:
            return await process.wait()
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise


def _settings(arguments: Sequence[str]) -> Path | None:
    """The settings file of the stack that is meant; None where none is there, which the command says itself."""
    named: Path | None = None
    words = iter(arguments)
    for word in words:
        name, given, value = word.partition("=")
        if name in ("--settings", "--data-dir"):
            value = value if given else next(words, "")
            named = Path(value) if name == "--settings" else Path(value) / "app-settings.json"
    return named if named is not None and named.is_file() else None


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
