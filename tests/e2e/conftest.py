"""Runs `dev.py run` as its users do, in data directories of its own and on free ports."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from local.stack.ports import any_free

_PORTS = ("amqp", "admin", "blob", "queue", "table", "identity", "vault", "partners")
ANY_PORTS = [part for name in _PORTS for part in (f"--{name}-port", "0")]
RUN_SECONDS = 400
# Apart from what a stack takes for its other processes.
_HOST_PORTS = range(27_000, 32_000)
_WORKERS = 10


def free_port() -> int:
    """The first of two ports for functions hosts, which no test that runs beside this one is given."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    share = len(_HOST_PORTS) // _WORKERS
    return any_free(2, within=_HOST_PORTS[worker * share : (worker + 1) * share])


@dataclass
class RunningStack:
    """A started `dev.py run` that says it is ready."""

    process: subprocess.Popen[bytes]
    data: Path
    output: Path
    port: int

    @property
    def url(self) -> str:
        """The address of the first functions host."""
        return f"http://127.0.0.1:{self.port}"

    def processes(self) -> dict[str, int]:
        """The process ids by name, as the stack itself notes them."""
        found = json.loads((self.data / "processes.json").read_text())
        assert isinstance(found, dict)
        return found

    def printed(self) -> str:
        """All that it said so far."""
        return self.output.read_text(errors="replace")

    def wait_for(self, condition: Callable[[], Any], seconds: float = 90.0) -> Any:
        """Wait until `condition` gives something true, while the stack runs."""
        give_up = time.monotonic() + seconds
        while True:
            found = condition()
            if found:
                return found
            assert self.process.poll() is None, self.printed()[-3_000:]
            assert time.monotonic() < give_up, self.printed()[-3_000:]
            time.sleep(0.05)

    def end(self, number: int = signal.SIGINT) -> int:
        """Send a signal as a terminal would, and wait for the exit code."""
        self.process.send_signal(number)
        return self.process.wait(90)


class DevPy:
    """The developer's door of this checkout."""

    def __init__(self, project: Path) -> None:
        self.project = project

    def run(self, data: Path, *options: str, carrier: str = "") -> subprocess.CompletedProcess[str]:
        """`dev.py run --once` to its end; without a carrier nothing is shipped, and it takes half the time."""
        command = [sys.executable, str(self.project / "dev.py"), "run", "--once", "--data-dir", str(data)]
        return subprocess.run(
            [*command, "--port", str(free_port()), *ANY_PORTS, *options],
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            cwd=data.parent,
            env={**os.environ, "ORDERS_CARRIER": carrier},
            check=False,
        )

    def ask(self, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        """Another command of `dev.py`, to its end."""
        command = [sys.executable, str(self.project / "dev.py"), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, input=given, timeout=60, cwd=self.project, check=False
        )

    def reconciled(self, data: Path, *options: str, carrier: str = "") -> dict[str, Any]:
        """`dev.py run --once`, which must reconcile; its figures."""
        file = data.parent / "figures.json"
        done = self.run(data, "--json", str(file), *options, carrier=carrier)
        assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
        figures = json.loads(file.read_text())
        assert figures["reconciled"] is True
        assert isinstance(figures, dict)
        return figures

    @contextmanager
    def started(self, data: Path, *options: str, ready: bool = True) -> Iterator[RunningStack]:
        """`dev.py run` in the background, from the moment it is ready until the block ends."""
        port = free_port()
        output = data.parent / f"{data.name}.output"
        command = [sys.executable, str(self.project / "dev.py"), "run", "--data-dir", str(data), "--port", str(port)]
        with output.open("wb") as sink:
            process = subprocess.Popen(
                [*command, *ANY_PORTS, *options],
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=data.parent,
                env={**os.environ, "ORDERS_CARRIER": ""},
            )
        stack = RunningStack(process, data, output, port)
        try:
            if ready:
                stack.wait_for(lambda: re.search(r"^ready in", stack.printed(), re.MULTILINE))
            yield stack
        finally:
            if process.poll() is None:
                stack.end(signal.SIGTERM)


def lives(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(state.stdout.strip()) and not state.stdout.startswith("Z")


@pytest.fixture(scope="session")
def dev_py(project: Path) -> DevPy:
    """Starts stacks."""
    return DevPy(project)


@pytest.fixture(scope="session")
def retail_file(project: Path) -> Path:
    """A month of a real shop, which is not part of the project: where it is missing, its tests are skipped."""
    file = project.parent / "shared" / "data" / "online-retail" / "2010-12.csv.gz"
    if not file.exists():
        pytest.skip("the real file is not on this machine")
    return file
