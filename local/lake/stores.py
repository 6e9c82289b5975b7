"""The stores of a stack that has ended: storage and hub alone, on any free ports."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from local.azurite import AzuriteEndpoints, parse_endpoints
from local.setup import Environment, find_node
from local.stack.data_directory import DataDirectory
from local.stack.services import MissingTool, azurite_service, emulator_service, parse_emulator
from local.stack.supervisor import Supervisor

__all__ = ["running_stores"]

_ALL = ("AzureWebJobsStorage", "State", "Claims", "Lake")
_BROKER = ("ServiceBus", "EventHubs")


@contextlib.asynccontextmanager
async def running_stores(project: Path, settings: Path) -> AsyncIterator[Mapping[str, str]]:
    """The settings by which the stores are reached: none where they run, or aren't kept beside the settings file.

    Raises
    ------
    DataDirectoryInUse, StartFailed, MissingTool
        They don't run, and can't be started.
    """
    data = DataDirectory(settings.parent, project)
    if not data.azurite.is_dir() or not data.emulator.is_dir() or _answers(settings):
        yield {}
        return
    node = find_node(Environment(project))
    if node is None:
        raise MissingTool("Node is missing: start a stack once with `python3 dev.py run`, which installs it.")
    data.take()
    supervisor = Supervisor(data, lambda _: None)
    try:
        anywhere = AzuriteEndpoints(0, 0, 0)
        azurite, emulator = await supervisor.start(
            [azurite_service(node.executable, project, data, anywhere), emulator_service(project, data, 0, 0)]
        )
        endpoints, broker = parse_endpoints(azurite.first_printed()), parse_emulator(emulator.first_printed())
        assert endpoints is not None
        assert broker is not None
        yield dict.fromkeys(_ALL, str(endpoints)) | dict.fromkeys(_BROKER, broker.connection_string)
    finally:
        await supervisor.stop()
        data.leave()


def _answers(settings: Path) -> bool:
    """Whether somebody listens where the settings have the lake's storage."""
    values = json.loads(settings.read_text(encoding="utf-8"))["Values"]
    parts = dict(part.split("=", 1) for part in str(values.get("Lake", "")).split(";") if "=" in part)
    address = urlsplit(parts.get("BlobEndpoint", ""))
    if address.hostname is None or address.port is None:
        return True  # none of ours
    with contextlib.suppress(OSError), socket.create_connection((address.hostname, address.port), 2):
        return True
    return False
