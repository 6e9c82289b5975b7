"""One emulator for all conformance tests: each test uses entities that it leaves empty."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from azure.servicebus.aio import ServiceBusClient

from integration.broker.configuration import EVENT_HUBS, SERVICE_BUS
from integration.broker.process import EmulatorProcess


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """A durable emulator with the entities of `configuration`."""
    with EmulatorProcess(tmp_path_factory.mktemp("broker"), [SERVICE_BUS, EVENT_HUBS]) as running:
        yield running


@pytest.fixture
def connection_string(broker: EmulatorProcess) -> str:
    """How SDKs connect."""
    return broker.connection_string


@pytest.fixture
async def client(connection_string: str) -> AsyncIterator[ServiceBusClient]:
    """A Service Bus client without retries, so that an error is seen at once."""
    async with ServiceBusClient.from_connection_string(connection_string, retry_total=0) as opened:
        yield opened
