"""An emulator process that a test starts, stops and kills, over one data directory."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local_azure.testing.process import ServiceProcess

__all__ = ["EmulatorProcess"]

_READY = re.compile(r'^ready amqp=(\d+) admin=(\d+) ServiceBus="([^"]+)"$', re.MULTILINE)


class EmulatorProcess:
    """`start` it, use `connection_string`; `kill` is SIGKILL, `stop` is SIGTERM. Ports stay over restarts."""

    def __init__(self, folder: Path, config: dict[str, Any] | Sequence[dict[str, Any]], *arguments: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._arguments = list(arguments)
        for number, each in enumerate([config] if isinstance(config, dict) else config):
            path = folder / f"config-{number}.json"
            path.write_text(json.dumps(each))
            self._arguments += ["--config", str(path)]
        self._process: ServiceProcess | None = None
        self.port = 0
        self.admin_port = 0
        self.connection_string = ""
        self.startup_seconds = 0.0

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it printed."""
        return (self._folder / "log").read_text(errors="replace")

    def start(self) -> EmulatorProcess:
        """Run it until it is ready."""
        command = [sys.executable, "-m", "local_azure.broker", "--port", str(self.port)]
        command += ["--admin-port", str(self.admin_port), "--data-dir", str(self._folder / "data"), *self._arguments]
        began = time.monotonic()
        self._process = ServiceProcess(command, self._folder / "log")
        ready = self._process.until(_READY.search)
        self.startup_seconds = time.monotonic() - began
        self.port, self.admin_port, self.connection_string = int(ready[1]), int(ready[2]), ready[3]
        return self

    def kill(self) -> None:
        """End it with no chance to tidy up."""
        assert self._process is not None
        self._process.kill()

    def terminate(self) -> None:
        """Ask it politely to end."""
        assert self._process is not None
        self._process.send()

    def stop(self) -> int:
        """End it politely and give its exit code."""
        self.terminate()
        return self.wait()

    def wait(self) -> int:
        """Wait until it has ended, and give its exit code."""
        assert self._process is not None
        return self._process.wait()

    def status(self) -> dict[str, Any]:
        """Its status.json."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/status.json", timeout=5) as answer:
            found: dict[str, Any] = json.load(answer)
            return found

    @property
    def resident_bytes(self) -> int:
        """Memory that the process takes up (Linux)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def cpu_seconds(self) -> float:
        """Processor time that the process has used (Linux)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> EmulatorProcess:
        return self.start()

    def __exit__(self, *exception: object) -> None:
        if self._process is not None and self._process.runs:
            self.stop()
