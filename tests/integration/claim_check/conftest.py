"""Containers of their own on Azurite, and a wire that can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from azure.storage.blob.aio import ContainerClient, ExponentialRetry

from local.azurite import AzuriteEndpoints, connection_string


@pytest.fixture
async def container(azurite: AzuriteEndpoints) -> AsyncIterator[ContainerClient]:
    """A container that isn't there yet."""
    client = ContainerClient.from_connection_string(azurite.connection_string, f"claims-{uuid4().hex}")
    async with client:
        yield client


@dataclass
class Wire:
    """What goes to and from Azurite; `cut` is asked after every piece whether the connection ends there.

    Attributes
    ----------
    sent, received:
        Bytes in each direction over all connections so far.
    silent:
        Connections stay open, and nothing passes.
    """

    port: int = 0
    sent: int = 0
    received: int = 0
    cuts: int = 0
    silent: bool = False
    cut: Callable[[Wire], bool] = field(default=lambda wire: False)


@pytest.fixture
def behind_wire(azurite: AzuriteEndpoints, container: ContainerClient) -> Callable[[Wire], ContainerClient]:
    """The same container, reached over a wire, with fast retries."""

    def make(wire: Wire) -> ContainerClient:
        endpoints = AzuriteEndpoints(blob=wire.port, queue=azurite.queue, table=azurite.table)
        policy = ExponentialRetry(initial_backoff=0, increment_base=0, retry_total=6, random_jitter_range=0)
        return ContainerClient.from_connection_string(
            connection_string(endpoints), container.container_name, retry_policy=policy
        )

    return make


@pytest.fixture
async def wire(azurite: AzuriteEndpoints) -> AsyncIterator[Wire]:
    """A relay in front of Azurite's blob service."""
    async with relay(azurite.blob) as found:
        yield found


@asynccontextmanager
async def relay(target: int) -> AsyncIterator[Wire]:
    """Pass every connection on to a port of this machine until it is cut."""
    wire = Wire()

    async def passing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str) -> None:
        while data := await reader.read(65_536):
            setattr(wire, direction, getattr(wire, direction) + len(data))
            if wire.silent:
                continue
            if wire.cut(wire):
                wire.cuts += 1
                return
            writer.write(data)
            await writer.drain()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        ways = {
            asyncio.create_task(passing(reader, far_writer, "sent")),
            asyncio.create_task(passing(far_reader, writer, "received")),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for end in (writer, far_writer):
                end.transport.abort()

    async def serve_quietly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.CancelledError):
            await serve(reader, writer)

    server = await asyncio.start_server(serve_quietly, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    async with server:
        yield wire
