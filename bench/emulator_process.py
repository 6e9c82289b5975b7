"""An emulator process whose processor time and memory a benchmark can read (Linux)."""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.stack import ROOT

__all__ = ["Emulator"]

_READY = re.compile(r'ready amqp=(\d+) admin=(\d+) ServiceBus="([^"]+)"')


class Emulator:
    """Runs while the `with` block does, with the project's own entities, in a directory of its own."""

    def __init__(self, *options: str, wait: bool = True) -> None:
        self._options = options
        self._wait = wait
        self.began = 0.0
        self._folder = tempfile.TemporaryDirectory(prefix="emulator-bench-")
        self._process: subprocess.Popen[str] | None = None
        self.connection_string = ""
        self.port = 0

    def __enter__(self) -> "Emulator":
        configs = [f"--config={ROOT / 'local' / 'config' / name}" for name in ("servicebus.json", "eventhubs.json")]
        command = [sys.executable, "-m", "local_azure.broker", *configs, "--port=0", "--admin-port=0"]
        command += [f"--data-dir={self._folder.name}", *self._options]
        self.began = time.perf_counter()
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        if self._wait:
            self.wait_until_ready()
        return self

    def wait_until_ready(self) -> None:
        """Read what it prints when it is ready."""
        assert self._process is not None
        assert self._process.stdout is not None
        found = _READY.search(self._process.stdout.readline())
        if found is None:
            raise RuntimeError("the emulator ended before it was ready")
        self.port = int(found[1])
        self.connection_string = found[3]

    def __exit__(self, *exception: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)
        self._folder.cleanup()

    @property
    def processor_seconds(self) -> float:
        """Processor time used so far."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def resident_bytes(self) -> int:
        """Memory in use."""
        assert self._process is not None
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
