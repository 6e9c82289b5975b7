"""One emulator with a certificate for all tests of its HTTP side; each test makes entities of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest
from azure.servicebus import ServiceBusClient
from azure.servicebus.management import ServiceBusAdministrationClient

from integration.broker.process import EmulatorProcess
from integration.broker_admin.certificate import Certificate, make_certificate

_numbers = count(1)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for localhost."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[EmulatorProcess]:
    """An empty emulator that speaks plain TCP and TLS."""
    tls = ("--tls-cert", str(certificate.certificate), "--tls-key", str(certificate.key))
    with EmulatorProcess(tmp_path_factory.mktemp("broker"), [], *tls) as running:
        yield running


@pytest.fixture(scope="session")
def admin_connection_string(broker: EmulatorProcess) -> str:
    """What administration clients are given: the HTTP port, as with the official emulator."""
    return broker.connection_string.replace(f":{broker.port};", f":{broker.admin_port};")


@pytest.fixture
def admin(admin_connection_string: str, certificate: Certificate) -> Iterator[ServiceBusAdministrationClient]:
    """The official client over https."""
    with ServiceBusAdministrationClient.from_connection_string(
        admin_connection_string, connection_verify=str(certificate.certificate), retry_total=0
    ) as client:
        yield client


@pytest.fixture
def client(broker: EmulatorProcess) -> Iterator[ServiceBusClient]:
    """The official messaging client, without retries."""
    with ServiceBusClient.from_connection_string(broker.connection_string, retry_total=0) as opened:
        yield opened


@pytest.fixture
def name() -> str:
    """A name that no other test has."""
    return f"entity-{next(_numbers)}"
