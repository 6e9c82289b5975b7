"""The folder that holds everything one stack keeps: stores, logs, its key and the list of its processes."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path

from local.setup import FileLock
from local.stack.containment import ask_to_stop, command_of, kill

__all__ = ["DataDirectory", "DataDirectoryInUse"]

_LARGEST_LOG = 32 * 1024 * 1024
_LEFTOVER_SECONDS = 20.0


class DataDirectoryInUse(Exception):
    """Another living stack works in this folder."""


class DataDirectory:
    """`.sluice` or the folder the user names; one stack at a time holds it."""

    def __init__(self, path: Path, project: Path) -> None:
        self.path = path
        self._project = project
        self._lock = FileLock(path / "lock")
        self._processes: dict[str, int] = {}

    @property
    def azurite(self) -> Path:
        """Where Azurite keeps its stores."""
        return self.path / "azurite"

    @property
    def emulator(self) -> Path:
        """Where the emulator keeps its stores."""
        return self.path / "emulator"

    @property
    def identity(self) -> Path:
        """Where the issuer keeps its keys and its registration."""
        return self.path / "identity"

    @property
    def vault(self) -> Path:
        """Where the vault keeps its items and its certificate authority."""
        return self.path / "keyvault"

    @property
    def partners(self) -> Path:
        """Where the simulated partners keep what they made."""
        return self.path / "partners"

    @property
    def spans(self) -> Path:
        """Where the app's processes keep their spans."""
        return self.path / "spans.sqlite"

    @property
    def logs(self) -> Path:
        """One file for each process, appended to by every start."""
        return self.path / "logs"

    def take(self) -> None:
        """Make the folder and hold it until `leave`, stopping what a killed stack may have left running.

        Raises
        ------
        DataDirectoryInUse
            If a living stack holds it.
        OSError
            If it cannot be written to.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        if not self._lock.acquire():
            raise DataDirectoryInUse(
                f"{self.path} is in use by a running stack: stop that one, or choose another with --data-dir."
            )
        self._stop_leftovers()
        self._write_processes()
        for log in self.logs.glob("*.log"):
            if log.stat().st_size > _LARGEST_LOG:
                log.replace(log.with_suffix(".log.1"))

    def leave(self) -> None:
        """Let another stack have the folder."""
        self._lock.release()

    def log(self, name: str) -> Path:
        """The log file of one process."""
        return self.logs / f"{name}.log"

    def note_process(self, name: str, pid: int | None) -> None:
        """Keep `processes.json` true: `name` runs as `pid`, or does not run."""
        if pid is None:
            self._processes.pop(name, None)
        else:
            self._processes[name] = pid
        self._write_processes()

    @property
    def settings(self) -> Path:
        """The file with the app's settings, by which operators' commands find its stores."""
        return self.path / "app-settings.json"

    def keep_settings(self, settings: Mapping[str, str]) -> None:
        """Keep the app's settings for tools that work on its stores; only the owner may read them."""
        partial = self.path / "app-settings.json.partial"
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as sink:
            json.dump({"IsEncrypted": False, "Values": dict(settings)}, sink, indent=1)
        os.replace(partial, self.settings)

    def _write_processes(self) -> None:
        path = self.path / "processes.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(self._processes, indent=1), encoding="utf-8")
        os.replace(partial, path)

    def _stop_leftovers(self) -> None:
        """Stop processes of a stack that was killed; a number that now belongs to something else is let be."""
        try:
            noted = json.loads((self.path / "processes.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        pids = [pid for pid in noted.values() if isinstance(pid, int)] if isinstance(noted, dict) else []
        for pid in filter(self._is_ours, pids):
            ask_to_stop(pid)
        give_up = time.monotonic() + _LEFTOVER_SECONDS
        for pid in pids:
            while self._is_ours(pid):
                if time.monotonic() > give_up:
                    kill(pid)
                time.sleep(0.1)

    def _is_ours(self, pid: int) -> bool:
        command = command_of(pid)
        return str(self.path) in command or str(self._project) in command
