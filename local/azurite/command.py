"""How Azurite is started, and how what it prints is read."""

from __future__ import annotations

import re
from pathlib import Path

from local.azurite.account import AzuriteEndpoints

__all__ = ["AZURITE_READY", "azurite_command", "parse_endpoints"]

AZURITE_READY = re.compile(r"Azurite (Blob|Queue|Table) service is successfully listening at \S+?:(\d+)\s")
# Longer than any SDK keeps an idle connection, so that none is closed under a request (Azurite's own: 5 s).
_KEEP_ALIVE_SECONDS = 600


def azurite_command(node: Path, project: Path, location: Path, ports: AzuriteEndpoints) -> list[str]:
    """The command line; a port of 0 lets Azurite take any free one."""
    services = {"blob": ports.blob, "queue": ports.queue, "table": ports.table}
    script = project / "local" / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
    command = [
        str(node),
        "--require",
        str(project / "local" / "azurite" / "close_streams.cjs"),
        str(script),
        "--location",
        str(location),
    ]
    for name, port in services.items():
        command += [f"--{name}Host", "127.0.0.1", f"--{name}Port", str(port)]
        command += [f"--{name}KeepAliveTimeout", str(_KEEP_ALIVE_SECONDS)]
    return [*command, "--skipApiVersionCheck", "--silent", "--disableTelemetry"]


def parse_endpoints(printed: str) -> AzuriteEndpoints | None:
    """The ports Azurite says it listens on, or None while it has not named all three."""
    ports = {name: int(port) for name, port in AZURITE_READY.findall(printed)}
    if len(ports) < 3:
        return None
    return AzuriteEndpoints(blob=ports["Blob"], queue=ports["Queue"], table=ports["Table"])
