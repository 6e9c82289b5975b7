"""Starts the parts that a benchmark measures on, and stops them."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

__all__ = ["ROOT", "distant", "distant_port", "emulator", "functions_host", "sample_settings", "started"]

ROOT = Path(__file__).parent.parent
START_SECONDS = 60


@contextmanager
def emulator(*options: str) -> Iterator[str]:
    """A Service Bus and Event Hubs emulator on free ports; yields its connection string."""
    configs = [f"--config={ROOT / 'local' / 'config' / name}" for name in ("servicebus.json", "eventhubs.json")]
    command = [sys.executable, "-m", "local_azure.broker", *configs, "--port=0", "--admin-port=0", *options]
    with started(command, {}, r'ServiceBus="([^"]+)"') as found:
        yield found


@contextmanager
def distant(broker: str, milliseconds: float) -> Iterator[str]:
    """The same broker, a round trip of some milliseconds away; yields its connection string."""
    port = re.search(r":(\d+);", broker)
    if port is None:
        raise ValueError("the connection string names no port")
    with distant_port(port.group(1), milliseconds) as far:
        yield broker.replace(f":{port.group(1)};", f":{far};")


@contextmanager
def distant_port(port: str, milliseconds: float) -> Iterator[str]:
    """A port that leads to another one, a round trip of some milliseconds away."""
    command = [sys.executable, "-m", "bench.distance", port, str(milliseconds)]
    with started(command, {}, r"ready port=(\d+)") as far:
        yield far


@contextmanager
def functions_host(app: Path, settings: Mapping[str, str]) -> Iterator[str]:
    """A functions host with an app on a free port; yields its base URL."""
    command = [sys.executable, "-m", "local_azure.host", "--app", str(app), "--port", "0", "--quiet"]
    with started(command, settings, r"ready http=(\d+)") as port:
        yield f"http://127.0.0.1:{port}"


def sample_settings() -> dict[str, str]:
    """The sample's settings; nobody asks who calls, unless a benchmark says how callers are known."""
    values: dict[str, str] = json.loads((ROOT / "local.settings.sample.json").read_text())["Values"]
    return values | {"SLUICE_AUTH": "none"}


@contextmanager
def started(command: list[str], settings: Mapping[str, str], ready: str) -> Iterator[str]:
    """Run a command until the block ends; yields what the one group of `ready` matches in what it prints."""
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                command, cwd=ROOT, env=os.environ | dict(settings), stdout=subprocess.PIPE, text=True, bufsize=1
            )
        )
        stack.callback(_stop, process)
        if process.stdout is None:
            raise RuntimeError("no output to read")
        for line in process.stdout:
            if found := re.search(ready, line):
                threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
                yield found.group(1)
                return
        raise RuntimeError(f"{' '.join(command[1:4])} ended before it was ready")


def _drain(output: IO[str]) -> None:
    """Read on: a process whose output nobody reads stops when the pipe is full."""
    for _ in output:
        pass


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
