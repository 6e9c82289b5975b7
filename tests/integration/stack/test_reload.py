"""An edit of the app's source restarts the hosts; anything else does not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local.stack.reload import watch_source


@pytest.fixture
async def restarts(tmp_path: Path) -> AsyncIterator[asyncio.Queue[str]]:
    """A watched app; each restart puts what was said of it into the queue."""
    for name in ("functions", "integrations", "shared"):
        (tmp_path / name).mkdir()
    (tmp_path / "function_app.py").write_text("")
    said: list[str] = []
    found: asyncio.Queue[str] = asyncio.Queue()

    async def restart() -> None:
        await found.put(said[-1])

    watching = asyncio.create_task(watch_source(tmp_path, restart, said.append))
    await asyncio.sleep(0.5)
    yield found
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching


@pytest.mark.parametrize("name", ["function_app.py", "integrations/mine.py", "shared/deep/er/thing.py"])
async def test_an_edit_of_the_app_starts_its_hosts_anew(
    tmp_path: Path, restarts: asyncio.Queue[str], name: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x = 1\n")
    assert "changed" in await asyncio.wait_for(restarts.get(), 20)


async def test_what_editors_caches_and_tests_write_changes_nothing(
    tmp_path: Path, restarts: asyncio.Queue[str]
) -> None:
    for name in ("shared/__pycache__/a.py", "shared/a.py~", "shared/a.pyc", "tests/test_a.py", "README.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x = 1\n")
    await asyncio.sleep(1.5)
    assert restarts.empty()
