"""One broker for all foreign clients, and one process for each language; each test makes entities of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus.management import ServiceBusAdministrationClient

from foreign.driver import Driver
from foreign.languages import Missing, build
from integration.broker.process import EmulatorProcess
from integration.broker_admin.certificate import Certificate, make_certificate

_HUBS = 60
_numbers = count(1)
_seconds: dict[str, float] = {}


def _hubs(prefix: str, partitions: int) -> list[dict[str, Any]]:
    groups = [{"Name": "group"}]
    return [
        {"Name": f"{prefix}-{number}", "PartitionCount": partitions, "ConsumerGroups": groups}
        for number in range(_HUBS)
    ]


_EVENT_HUBS: dict[str, Any] = {
    "UserConfig": {
        "NamespaceConfig": [
            {"Type": "EventHub", "Name": "emulatorNs1", "Entities": [*_hubs("single", 1), *_hubs("many", 4)]}
        ],
        "LoggingConfig": {"Type": "File"},
    }
}


_FILTER = {"FilterType": "Sql", "SqlFilter": {"SqlExpression": "colour = 'red'"}}
_LATE = {
    "Name": "late",
    "Properties": {
        "DefaultMessageTimeToLive": "P1D",
        "ForwardTo": "forwarded-to",
        "LockDuration": "PT45S",
        "MaxDeliveryCount": 3,
    },
    "Rules": [{"Name": "$Default", "Properties": _FILTER}],
}
_TOPIC = {"Name": "configured", "Properties": {"DefaultMessageTimeToLive": "P2D"}, "Subscriptions": [_LATE]}
_SERVICE_BUS: dict[str, Any] = {
    "UserConfig": {
        "Namespaces": [{"Name": "sbemulatorns", "Queues": [{"Name": "forwarded-to"}], "Topics": [_TOPIC]}],
        "Logging": {"Type": "File"},
    }
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test of a language waits for its libraries, which a new machine has to download and compile."""
    for each in items:
        if Path(__file__).parent in each.path.parents:
            each.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for localhost, for the administration clients that always speak https."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[EmulatorProcess]:
    """A broker with one topic that forwards, which speaks plain TCP and TLS."""
    tls = ("--tls-cert", str(certificate.certificate), "--tls-key", str(certificate.key))
    with EmulatorProcess(tmp_path_factory.mktemp("broker"), [_EVENT_HUBS, _SERVICE_BUS], *tls) as running:
        yield running


@pytest.fixture(scope="session")
def start_driver(
    tmp_path_factory: pytest.TempPathFactory, project: Path, certificate: Certificate
) -> Iterator[Callable[..., Driver]]:
    """Start a driver that is connected to a broker; skips what the machine lacks, fails where that is CI's."""
    running: list[Driver] = []
    trust = {name: str(certificate.certificate) for name in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS")}

    def start(language: str, broker: EmulatorProcess, retries: int | None = None) -> Driver:
        try:
            command = build(language, project / ".sluice" / "foreign")
        except Missing as missing:
            if os.environ.get("CI") == "true":
                pytest.fail(str(missing))
            pytest.skip(str(missing))
        started = Driver(command, tmp_path_factory.mktemp(language) / "log", {**os.environ, **trust})
        running.append(started)
        started.call(
            "connect",
            connection_string=broker.connection_string,
            admin_connection_string=_administration(broker),
            port=broker.port,
            certificate=str(certificate.certificate),
            retries=retries,
        )
        return started

    yield start
    for each in running:
        each.close()


@pytest.fixture(scope="session")
def drivers(broker: EmulatorProcess, start_driver: Callable[..., Driver]) -> Callable[[str], Driver]:
    """The one driver of a language that all tests share."""
    running: dict[str, Driver] = {}

    def driver(language: str) -> Driver:
        if language not in running:
            running[language] = start_driver(language, broker)
        return running[language]

    return driver


def _administration(broker: EmulatorProcess) -> str:
    return broker.connection_string.replace(f":{broker.port};", f":{broker.admin_port};")


@pytest.fixture
def client(request: pytest.FixtureRequest, language: str, drivers: Callable[[str], Driver]) -> Iterator[Driver]:
    """The driver of the test's language."""
    began = time.monotonic()
    yield drivers(language)
    _seconds[language] = _seconds.get(language, 0.0) + time.monotonic() - began


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Tell what each language cost, builds and starts included."""
    for language, seconds in sorted(_seconds.items()):
        terminalreporter.write_line(f"foreign clients: {language} {seconds:.1f} s")


@pytest.fixture(scope="session")
def admin(broker: EmulatorProcess, certificate: Certificate) -> Iterator[ServiceBusAdministrationClient]:
    """Makes entities."""
    with ServiceBusAdministrationClient.from_connection_string(
        _administration(broker), connection_verify=str(certificate.certificate), retry_total=0
    ) as client:
        yield client


@pytest.fixture
def make_queue(admin: ServiceBusAdministrationClient) -> Callable[..., str]:
    """A queue with these properties that no other test has."""

    def make(**properties: Any) -> str:
        name = f"queue-{next(_numbers)}"
        admin.create_queue(name, **properties)
        return name

    return make


@pytest.fixture
def make_topic(admin: ServiceBusAdministrationClient) -> Callable[..., str]:
    """A topic with these subscriptions that no other test has."""

    def make(*subscriptions: str, **properties: Any) -> str:
        name = f"topic-{next(_numbers)}"
        admin.create_topic(name, **properties)
        for each in subscriptions:
            admin.create_subscription(name, each)
        return name

    return make


@pytest.fixture
def make_hub() -> Callable[[int], str]:
    """An empty hub with 1 or 4 partitions that no other test has."""
    return lambda partitions: f"{'single' if partitions == 1 else 'many'}-{next(_hub_numbers) % _HUBS}"


_hub_numbers = count()


@pytest.fixture
def handle() -> str:
    """A name for a receiver."""
    return f"receiver-{next(_numbers)}"
