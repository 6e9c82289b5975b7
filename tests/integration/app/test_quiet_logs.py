"""What the app writes beside its own lines: nothing, where a worker takes every record from INFO up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from local.azurite import AzuriteEndpoints

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


def test_sdk_requests_write_no_line(project: Path, azurite: AzuriteEndpoints) -> None:
    """Each of 23 requests would be a dozen lines at INFO: about 20 GB a month of an idle app."""
    sample = json.loads((project / "local.settings.sample.json").read_text())["Values"]
    broker = "Endpoint=sb://localhost;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true;"
    settings = sample | dict.fromkeys(("ServiceBus", "EventHubs"), broker)
    settings |= dict.fromkeys(("State", "Claims", "AzureWebJobsStorage"), azurite.connection_string)
    settings |= {"SLUICE_AUTH": "none", "SLUICE_OPERATION_KEY": "-" * 40, "SLUICE_LOG_FORMAT": "platform"}
    done = subprocess.run(
        [sys.executable, "-c", _REQUESTS, azurite.connection_string],
        cwd=project,
        env={**os.environ, **settings, "PYTHONPATH": str(project)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert done.stdout.splitlines() == ["asked"]
