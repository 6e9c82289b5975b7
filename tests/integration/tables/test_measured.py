"""What is measured of a table's requests and connections, on a real Table service."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from local.azurite import AzuriteEndpoints
from shared.tables import Upsert
from shared.tables.azure import AzureTable
from shared.telemetry import Metrics
from shared.telemetry.instruments import Histogram, Spread
from shared.telemetry.metrics import enable


@pytest.fixture
def counting() -> Iterator[None]:
    """All instruments are on."""
    enable()
    yield
    enable(False)


def counts(instrument: Histogram) -> dict[tuple[str, ...], int]:
    """By the values of the attributes, how many."""
    return {
        tuple(one.attributes.values()): one.value.count for one in instrument.points() if isinstance(one.value, Spread)
    }


@pytest.mark.usefixtures("counting")
async def test_requests_and_connections_are_measured(azurite: AzuriteEndpoints) -> None:
    """The first request makes a connection, the next ones use it again."""
    table = AzureTable.from_connection_string(azurite.connection_string, f"t{uuid4().hex}")
    await table.submit([Upsert({"PartitionKey": "p", "RowKey": "a"})])
    for _ in range(3):
        await table.get("p", "a")
    states = {one.attributes["http.connection.state"]: one.value for one in Metrics.open_connections.points()}
    await table.close()
    assert states["active"] == 0
    assert states["idle"] == 1
    assert not any(one.value for one in Metrics.open_connections.points())
    requests = counts(Metrics.storage_duration)
    assert requests["read", table.name] == 3
    assert requests["write", table.name] >= 2  # the table is made with its first row
    connections = counts(Metrics.connection_wait)
    assert connections["new",] >= 1
    assert connections["reused",] >= 3
    assert sum(connections.values()) == sum(requests.values())


async def test_off_nothing_is_measured(azurite: AzuriteEndpoints) -> None:
    """And nothing is traced."""
    table = AzureTable.from_connection_string(azurite.connection_string, f"t{uuid4().hex}")
    assert await table.get("p", "a") is None
    await table.close()
    assert counts(Metrics.storage_duration) == {}
