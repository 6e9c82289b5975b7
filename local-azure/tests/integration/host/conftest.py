"""Starts hosts with apps that the tests write, and a broker that can be killed and started again."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_START_SECONDS = 30.0
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


@dataclass
class RunningHost:
    """A host process, its port and what it has printed."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def text(self) -> str:
        return self.log.read_text()

    def records(self, event: str) -> list[dict[str, Any]]:
        """The app's JSON lines of one kind."""
        lines = (line for line in self.text().splitlines() if line.startswith("{"))
        return [record for record in map(json.loads, lines) if record.get("event") == event]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the process by a signal; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)


@dataclass
class HostStarter:
    """Starts hosts, and ends those that a test leaves."""

    folder: Path
    project: Path
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
        with log.open("wb") as output:
            process = subprocess.Popen(
                arguments, cwd=self.project, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **settings}
            )
        host = RunningHost(process, log)
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
        ready = wait_for(lambda: _ready(host), _START_SECONDS, "the host's ready line")
        host.port = int(ready[1])
        return host


def _ready(host: RunningHost) -> re.Match[str] | None:
    found = re.search(r"^ready http=(\d+)$", host.text(), re.MULTILINE)
    if found is None and host.process.poll() is not None:
        raise AssertionError(f"the host ended with {host.process.returncode}: {host.text()}")
    return found


@pytest.fixture
def start_host(tmp_path: Path, project: Path) -> Iterator[HostStarter]:
    starter = HostStarter(tmp_path, project)
    yield starter
    for host in starter.started:
        if host.process.poll() is None:
            host.process.kill()
            host.process.wait()


@dataclass
class Broker:
    """The emulator with a durable store, so that it can be killed and go on."""

    project: Path
    folder: Path
    process: subprocess.Popen[bytes] | None = None
    port: int = 0
    connection_string: str = ""

    def start(self) -> None:
        log = self.folder / "log"
        arguments = [
            sys.executable,
            "-m",
            "local_azure.broker",
            "--data-dir",
            str(self.folder / "data"),
            "--admin-port",
            "0",
        ]
        arguments += ["--config", str(self.folder / "servicebus.json"), "--config", str(self.folder / "eventhubs.json")]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [*arguments, "--port", str(self.port)], cwd=self.project, stdout=output, stderr=subprocess.STDOUT
            )
        ready = wait_for(
            lambda: re.search(r'^ready amqp=(\d+) admin=\d+ ServiceBus="([^"]+)"', log.read_text(), re.MULTILINE),
            _START_SECONDS,
            "the emulator's ready line",
        )
        self.port, self.connection_string = int(ready[1]), ready[2]

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, project: Path) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("broker")
    namespaces = {"Namespaces": [{"Name": "sbemulatorns", **_SERVICE_BUS}], "Logging": {"Type": "File"}}
    (folder / "servicebus.json").write_text(json.dumps({"UserConfig": namespaces}))
    hubs = {"NamespaceConfig": [{"Type": "EventHub", "Name": "emulatorNs1", "Entities": _EVENT_HUBS}]}
    (folder / "eventhubs.json").write_text(json.dumps({"UserConfig": {**hubs, "LoggingConfig": {"Type": "File"}}}))
    broker = Broker(project, folder)
    broker.start()
    yield broker
    broker.kill()
