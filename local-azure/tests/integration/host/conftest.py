"""Starts hosts with apps that the tests write, and a broker that can be killed and started again."""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from integration.broker.process import EmulatorProcess
from local_azure.testing.process import ServiceProcess

_READY = re.compile(r"^ready http=(\d+)$", re.MULTILINE)
_SERVICE_BUS = {
    "Queues": [
        {"Name": "work", "Properties": {"LockDuration": "PT5S", "MaxDeliveryCount": 3}},
        {"Name": "more", "Properties": {"LockDuration": "PT5S", "MaxDeliveryCount": 3}},
        {"Name": "sessions", "Properties": {"LockDuration": "PT30S", "MaxDeliveryCount": 3, "RequiresSession": True}},
    ],
    "Topics": [{"Name": "news", "Properties": {}, "Subscriptions": [{"Name": "all", "Properties": {}}]}],
}
_EVENT_HUBS = [
    {"Name": name, "PartitionCount": 4, "ConsumerGroups": [{"Name": "group"}]}
    for name in ("events", "poison", "crash", "shared")
]


def wait_for(condition: Callable[[], Any], seconds: float = 20.0, what: str = "") -> Any:
    """Poll until a condition holds, and return what it gave."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds:g} s: {what or condition}")


class RunningHost(ServiceProcess):
    """A host process and its port."""

    port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def records(self, event: str) -> list[dict[str, Any]]:
        """The app's JSON lines of one kind."""
        lines = (line for line in self.log.splitlines() if line.startswith("{"))
        return [record for record in map(json.loads, lines) if record.get("event") == event]


@dataclass
class HostStarter:
    """Starts hosts, and ends those that a test leaves."""

    folder: Path
    started: list[RunningHost] = field(default_factory=list)

    def write(self, app: str, host_json: dict[str, Any] | None = None) -> Path:
        folder = self.folder / f"app{len(self.started)}"
        folder.mkdir(exist_ok=True)
        (folder / "function_app.py").write_text(app)
        (folder / "host.json").write_text(json.dumps({"version": "2.0", **(host_json or {})}))
        return folder

    def spawn(self, app: Path, *options: str, **settings: str) -> RunningHost:
        """Start without waiting."""
        log = self.folder / f"log{len(self.started)}"
        arguments = [sys.executable, "-m", "local_azure.host", "--app", str(app), "--port", "0", *options]
        host = RunningHost(arguments, log, {**os.environ, **settings})
        self.started.append(host)
        return host

    def __call__(
        self, app: str, host_json: dict[str, Any] | None = None, *options: str, **settings: str
    ) -> RunningHost:
        """Start and wait until it is ready."""
        return self.again(self.write(app, host_json), *options, **settings)

    def again(self, folder: Path, *options: str, **settings: str) -> RunningHost:
        """Start an app that has been written before."""
        host = self.spawn(folder, *options, **settings)
        host.port = int(host.until(_READY.search)[1])
        return host


@pytest.fixture
def start_host(tmp_path: Path) -> Iterator[HostStarter]:
    starter = HostStarter(tmp_path)
    yield starter
    for host in starter.started:
        if host.runs:
            host.kill()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """With a durable store, so that it can be killed and go on."""
    namespaces = {"Namespaces": [{"Name": "sbemulatorns", **_SERVICE_BUS}], "Logging": {"Type": "File"}}
    hubs = {"NamespaceConfig": [{"Type": "EventHub", "Name": "emulatorNs1", "Entities": _EVENT_HUBS}]}
    configs = [{"UserConfig": namespaces}, {"UserConfig": {**hubs, "LoggingConfig": {"Type": "File"}}}]
    with EmulatorProcess(tmp_path_factory.mktemp("broker"), configs) as running:
        yield running
