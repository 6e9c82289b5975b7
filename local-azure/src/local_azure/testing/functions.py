"""Function apps for a test: each runs in a host process of its own, as in Azure."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import local_azure

__all__ = ["FunctionsApp", "FunctionsApps"]

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 40.0
"""A host gives what runs 30 s to end."""

_POLL_SECONDS: Final = 0.02
_READY = re.compile(r"^ready http=(\d+)\r?$", re.MULTILINE)
_SOURCES = Path(local_azure.__file__).parents[1]


class FunctionsApp:
    """A running function app; `url` is its address, without a slash at the end."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self.url = f"http://127.0.0.1:{self._wait()}"

    @property
    def pid(self) -> int:
        """The process in which host and app run."""
        return self._process.pid

    @property
    def log(self) -> str:
        """What host and app printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> int:
        """Have it end in order; the exit code."""
        self._process.terminate()
        try:
            return self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _wait(self) -> int:
        give_up = time.monotonic() + _START_SECONDS
        while (ready := _READY.search(self.log)) is None:
            if self._process.poll() is not None:
                raise RuntimeError(f"the host ended with {self._process.returncode}:\n{self.log[-2_000:]}")
            if time.monotonic() > give_up:
                self.stop()
                raise RuntimeError(f"the host is not ready after {_START_SECONDS:.0f} s:\n{self.log[-2_000:]}")
            time.sleep(_POLL_SECONDS)
        return int(ready[1])


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
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603
                command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": path, **settings}
            )
        self._started.append(FunctionsApp(process, log))
        return self._started[-1]

    def close(self) -> None:
        """End what still runs."""
        for app in self._started:
            app.stop()
