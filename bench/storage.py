"""Starts an Azurite for a benchmark, and stops it."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.azurite import AzuriteEndpoints, azurite_command, parse_endpoints
from local.setup import Environment, find_node

from .stack import ROOT, sample_settings

__all__ = ["app_settings", "azurite"]


@contextmanager
def azurite() -> Iterator[str]:
    """An empty Azurite on free ports; yields its connection string."""
    node = find_node(Environment(ROOT))
    if node is None:
        raise RuntimeError("Azurite is not installed: start the benchmarks with `python3 dev.py bench`")
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        command = azurite_command(node.executable, ROOT, Path(folder), AzuriteEndpoints(blob=0, queue=0, table=0))
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, bufsize=1)
        try:
            yield _endpoints(process).connection_string
        finally:
            process.terminate()
            process.wait(30)


def _endpoints(process: "subprocess.Popen[str]") -> AzuriteEndpoints:
    printed = ""
    for line in process.stdout or ():
        printed += line
        found = parse_endpoints(printed)
        if found is not None:
            return found
    raise RuntimeError(f"Azurite ended before it was ready: {printed[-500:]}")


def app_settings(*, storage: str, broker: str) -> dict[str, str]:
    """The app's settings for parts that a benchmark started."""
    connections = {"ServiceBus": broker, "EventHubs": broker}
    connections |= dict.fromkeys(("AzureWebJobsStorage", "State", "Claims"), storage)
    return sample_settings() | connections | {"SLUICE_OPERATION_KEY": "-" * 40}
