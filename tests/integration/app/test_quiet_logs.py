"""What the app writes beside its own lines: nothing, where a worker takes every record from INFO up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from local.azurite import AzuriteEndpoints
from local_azure.testing.processes import BrokerProcess
from tests.integration.conftest import running_azurite

_NOWHERE = "Endpoint=sb://localhost;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true;"

_REQUESTS = """\
import asyncio, logging, sys
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(name)s: %(message)s")
from functions.composition import SETTINGS
from shared.telemetry import configure
settings = SETTINGS.load()
configure(settings)
from azure.data.tables.aio import TableClient
from azure.storage.blob.aio import ContainerClient

async def ask():
    async with TableClient.from_connection_string(sys.argv[1], "quiet") as table:
        await table.create_table()
        for number in range(20):
            await table.upsert_entity({"PartitionKey": "p", "RowKey": str(number)})
    async with ContainerClient.from_connection_string(sys.argv[1], "quiet") as container:
        await container.create_container()
        await container.upload_blob("x", b"y")

asyncio.run(ask())
print("asked")
"""


_IDLE = """\
import asyncio, logging, re, sys
from datetime import UTC, datetime, timedelta
logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(name)s: %(message)s")
import integrations
from functions.composition import CAPABILITIES, SETTINGS, Composition, capabilities_of
from functions.triggers import TimerTrigger
from shared.messages import discover
from shared.telemetry import configure
settings = SETTINGS.load()
configure(settings)
start = now = datetime.fromisoformat(sys.argv[1])
composition = Composition(settings, discover(integrations), now=lambda: now)
functions = [one for each in capabilities_of(composition, CAPABILITIES) for one in each.functions]
timers = [one for one in functions if isinstance(one.trigger, TimerTrigger)]
assert timers

async def idle():
    global now
    ticks = 0
    for second in range(61):
        if second == 1:
            print("== the minute begins")
        now = start + timedelta(seconds=second)
        for timer in timers:
            found = re.match(r"[*]/([0-9]+) ", timer.trigger.schedule)
            every = int(found[1]) if found else 60
            if second % every == 0:
                ticks += 1
                await timer.call(None)
    await composition.close()
    print(f"== {ticks} ticks")

asyncio.run(idle())
"""


def test_an_idle_minute_writes_nothing_but_what_was_swept(
    project: Path, emulator: BrokerProcess, tmp_path: Path
) -> None:
    """All that the clock begins runs over time that is moved, at night, on a storage of its own.

    The host adds two lines a tick, which its own settings decide.
    """
    with running_azurite(project, tmp_path) as azurite:
        printed = run(project, _IDLE, azurite, "2026-01-05T03:29:30+00:00", broker=emulator.connection_string)
    before, _, after = printed.partition("== the minute begins\n")
    *lines, last = after.splitlines()
    assert [line.partition(" {")[0] for line in lines] == ["sluice: blobs swept"] * 2, (before, lines)
    assert 0 < int(last.split()[1]) <= 30


def test_sdk_requests_write_no_line(project: Path, azurite: AzuriteEndpoints) -> None:
    """Each of 23 requests would be a dozen lines at INFO: about 20 GB a month of an idle app."""
    assert run(project, _REQUESTS, azurite, azurite.connection_string).splitlines() == ["asked"]


def run(project: Path, code: str, azurite: AzuriteEndpoints, argument: str, broker: str = _NOWHERE) -> str:
    """What a process of the app prints; it must end well."""
    sample = json.loads((project / "local.settings.sample.json").read_text())["Values"]
    settings = sample | dict.fromkeys(("ServiceBus", "EventHubs"), broker)
    settings |= dict.fromkeys(("State", "Claims", "AzureWebJobsStorage"), azurite.connection_string)
    settings |= {"SLUICE_AUTH": "none", "SLUICE_OPERATION_KEY": "-" * 40, "SLUICE_LOG_FORMAT": "platform"}
    done = subprocess.run(
        [sys.executable, "-c", code, argument],
        cwd=project,
        env={**os.environ, **settings, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout
