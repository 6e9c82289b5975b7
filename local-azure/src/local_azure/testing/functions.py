"""Function apps for a test: each runs in a host process of its own, as in Azure."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import local_azure
from local_azure.testing.process import ServiceProcess

__all__ = ["FunctionsApp", "FunctionsApps"]

_READY = re.compile(r"^ready http=(\d+)\r?$", re.MULTILINE)
_SOURCES = Path(local_azure.__file__).parents[1]


class FunctionsApp:
    """A running function app; `url` is its address, without a slash at the end."""

    def __init__(self, process: ServiceProcess) -> None:
        self._process = process
        self.url = f"http://127.0.0.1:{process.until(_READY.search)[1]}"

    @property
    def pid(self) -> int:
        """The process in which host and app run."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What host and app printed so far."""
        return self._process.log

    def stop(self) -> int:
        """Have it end in order; the exit code."""
        return self._process.stop()


class FunctionsApps:
    """Starts function apps; `close` ends those that still run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[FunctionsApp] = []

    def __call__(self, app: str | os.PathLike[str], **settings: str) -> FunctionsApp:
        """Run the app in a folder, with app settings beside those of the environment and of local.settings.json.

        Raises
        ------
        RuntimeError
            If the host cannot start it; the message holds what the host says.
        """
        log = self._folder / f"functions-{len(self._started)}.log"
        path = os.pathsep.join(part for part in (os.environ.get("PYTHONPATH"), str(_SOURCES)) if part)
        command = [sys.executable, "-m", "local_azure.host", "--app", os.fspath(app), "--port", "0"]
        process = ServiceProcess(command, log, {**os.environ, "PYTHONPATH": path, **settings})
        self._started.append(FunctionsApp(process))
        return self._started[-1]

    def close(self) -> None:
        """End what still runs."""
        for app in self._started:
            app.stop()
