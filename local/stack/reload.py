"""Watches the app's source, so that an edit is live a moment later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch

__all__ = ["watch_source"]

_FOLDERS = ("functions", "integrations", "shared")
_FILES = ("function_app.py", "host.json", "local.settings.json")


class _SourceFilter(DefaultFilter):
    """Python and settings of the app itself; what tests, tools and editors write is passed over."""

    def __init__(self, project: Path) -> None:
        super().__init__()
        self._folders = tuple(project / name for name in _FOLDERS)
        self._files = {str(project / name) for name in _FILES}

    def __call__(self, change: Change, path: str) -> bool:
        if path in self._files:
            return True
        # A folder that appears may have been filled before its watch was in place.
        new_folder = change == Change.added and Path(path).is_dir()
        if not (new_folder or path.endswith((".py", ".json"))) or not super().__call__(change, path):
            return False
        return any(Path(path).is_relative_to(folder) for folder in self._folders)


async def watch_source(project: Path, restart: Callable[[], Awaitable[None]], say: Callable[[str], None]) -> None:
    """Call `restart` whenever the app's source changes, until cancelled."""
    source = [project / name for name in _FOLDERS if (project / name).is_dir()]
    watched = [*source, *(project / name for name in _FILES if (project / name).is_file())]
    async for changes in awatch(*watched, watch_filter=_SourceFilter(project), debounce=400):
        names = sorted({Path(path).name for _, path in changes})
        say(f"{', '.join(names[:3])}{' and more' if len(names) > 3 else ''} changed: starting the hosts anew")
        await restart()
