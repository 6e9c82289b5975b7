"""Clients of a real Azurite, with tables and containers of their own for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from uuid import uuid4

import pytest
from azure.storage.blob.aio import ContainerClient

from local.azurite import AzuriteEndpoints
from shared.tables.azure import AzureTable

NewTable = Callable[..., AzureTable]


@pytest.fixture
async def new_table(azurite: AzuriteEndpoints) -> AsyncIterator[NewTable]:
    """Makes clients of tables that don't exist yet; the same name gives a second client of the same table."""
    made: list[AzureTable] = []

    def make(name: str | None = None) -> AzureTable:
        made.append(AzureTable.from_connection_string(azurite.connection_string, name or f"t{uuid4().hex}"))
        return made[-1]

    yield make
    for table in made:
        await table.close()


@pytest.fixture
async def container(azurite: AzuriteEndpoints) -> AsyncIterator[ContainerClient]:
    """A container that doesn't exist yet."""
    async with ContainerClient.from_connection_string(azurite.connection_string, f"c{uuid4().hex}") as client:
        yield client
