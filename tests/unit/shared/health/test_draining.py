"""An instance that is about to stop says so, and stops all the same."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

_PROGRAM = """
import asyncio, os, signal, sys
from datetime import UTC, datetime
from shared.health import Health, Identity, Monitor

async def main():
    health = Health(Monitor({}), Identity(), now=lambda: datetime.now(UTC))
    if sys.argv[1] == "host":  # as a functions host that drains: it has a handler of its own
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    print(bytes((await health.ready(details=True)).body).decode(), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    await stopping.wait()
    answer = await health.ready(details=True)
    print(answer.status_code, bytes(answer.body).decode(), flush=True)
    print(health.alive().status_code, flush=True)

stopping = asyncio.Event()
asyncio.run(main())
"""


def run(host: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PROGRAM, host], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to handle")
def test_an_instance_that_drains_is_not_ready() -> None:
    """It is still alive, and answers."""
    done = run("host")
    assert done.returncode == 0, done.stderr
    before, after, alive = done.stdout.splitlines()
    assert json.loads(before)["status"] == "Healthy"
    code, _, body = after.partition(" ")
    assert (code, json.loads(body)["status"]) == ("503", "Unhealthy")
    assert json.loads(body)["components"][0]["name"] == "instance"
    assert alive == "200"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM to handle")
def test_a_process_that_handles_no_sigterm_dies_of_it_as_before() -> None:
    """Who wants it dead needn't send a second one."""
    assert run("worker").returncode == -signal.SIGTERM
