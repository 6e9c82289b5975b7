"""Tables on Azurite that are shared over HTTP, with tokens of recipients."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import uvicorn
from arro3.core import Array, DataType, Field, Schema, Table
from azure.storage.blob.aio import ContainerClient
from deltalake import DeltaTable, write_deltalake

import integrations
from functions.composition.sharing import share_tokens, sharing_server
from local.azurite import AzuriteEndpoints
from shared.authentication import Role, api_key_entry
from shared.azure_clients import Credentials
from shared.blobs import ReadLinks
from shared.environment import Connection
from shared.lake.tables import LakeStore, storage_options
from shared.messages import discover
from shared.sharing import CLASSIFICATION, PREFIX, AzureLakeFiles, ShareTokens, SharingServer
from shared.tables import MemoryTable
from tests.unit.functions.conftest import ENVIRONMENT, Running

DAYS = [date(2010, 12, 1), date(2010, 12, 2), date(2010, 12, 3)]
COUNTRIES = ["United Kingdom", "50% off/EU", "Österreich"]
SHARES = (
    '{"Sales": {"gold": ["daily_sales", "late"], "silver": ["people", "mapped", "broken"]},'
    ' "other": {"gold": ["daily_sales"]}}'
)


class Clock:
    """Time that is moved."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def seconds(self) -> float:
        """The same for who counts seconds."""
        return self().timestamp()


@dataclass
class Lake:
    """A lake that is shared, and what its tables were made of."""

    address: str
    running: Running
    tokens: ShareTokens
    clock: Clock
    root: str
    options: dict[str, str]
    keys: dict[str, str]

    def table(self, path: str) -> DeltaTable:
        """A table by layer and name."""
        return DeltaTable(f"{self.root}/{path}", storage_options=self.options)

    def write(self, path: str, rows: Table, **options: Any) -> None:
        """Append rows to a table."""
        write_deltalake(f"{self.root}/{path}", rows, mode="append", storage_options=self.options, **options)

    async def token(self, *shares: str, sees: Role = Role.READER, days: int = 30, recipient: str = "partner") -> str:
        """A new token."""
        token = PREFIX + secrets.token_urlsafe(32)
        await self.tokens.add(
            token, recipient=recipient, shares=shares or ("sales",), sees=sees, days=days, by="me", reason="test"
        )
        self.clock.ahead += timedelta(seconds=10)  # every instance knows it by then
        return token

    async def profile(self, *shares: str, **about: Any) -> dict[str, Any]:
        """What a profile file has."""
        endpoint = f"{self.address}/api/delta-sharing"
        return {"shareCredentialsVersion": 1, "endpoint": endpoint, "bearerToken": await self.token(*shares, **about)}


def sales(first: int = 0, days: int = 3) -> Table:
    """A row for each of some days and each country."""
    rows = [(day, country) for day in DAYS[:days] for country in COUNTRIES]
    fields = [
        Field("day", DataType.date32()),
        Field("country", DataType.string()),
        Field("orders", DataType.int64()),
        Field("revenue", DataType.decimal128(12, 2)),
        Field("until", DataType.timestamp("us", tz="UTC")),
    ]
    columns: list[list[Any]] = [
        [day for day, _ in rows],
        [country for _, country in rows],
        [first + number for number in range(len(rows))],
        [Decimal(first + number) + Decimal("0.10") for number in range(len(rows))],
        [datetime(day.year, day.month, day.day, 23, 59, 59, 999_999, UTC) for day, _ in rows],
    ]
    arrays = [Array(values, field) for values, field in zip(columns, fields, strict=True)]
    return Table.from_arrays(arrays, schema=Schema(fields))


def people() -> Table:
    """A table with a column that readers may not see, within a struct."""
    email = Field("email", DataType.string(), metadata={CLASSIFICATION: "restricted"})
    return Table.from_arrays(
        [Array([1, 2], DataType.int64()), Array(["a@x", "b@x"], email)],
        schema=Schema([Field("number", DataType.int64()), email]),
    )


@pytest.fixture(scope="module")
async def lake_root(azurite: AzuriteEndpoints) -> tuple[str, dict[str, str], str]:
    """An empty container: its name for the Delta library, how that reaches it, and its name."""
    name = f"lake-{uuid4().hex}"
    async with ContainerClient.from_connection_string(azurite.connection_string, name) as container:
        await container.create_container()
    options = storage_options(Connection(connection_string=azurite.connection_string), Credentials())
    return f"az://{name}", await options(), name


@pytest.fixture
async def lake(azurite: AzuriteEndpoints, lake_root: tuple[str, dict[str, str], str]) -> AsyncIterator[Lake]:
    """The lake, shared by an app on a free port."""
    root, options, name = lake_root
    clock = Clock()

    async def give() -> dict[str, str]:
        return options

    container = ContainerClient.from_connection_string(azurite.connection_string, name)
    store = LakeStore(root, give)
    files = AzureLakeFiles(store, container, ReadLinks(container, None), now=clock)
    server = SharingServer(files, link_seconds=600, now=clock)
    tokens = ShareTokens(MemoryTable("state"), now=clock, clock=clock.seconds)
    keys = {str(role): secrets.token_urlsafe(32) for role in (Role.PRODUCER, Role.READER, Role.OPERATOR)}
    entries = ",".join(api_key_entry(role, key, [role]) for role, key in keys.items())
    environment = {
        **ENVIRONMENT,
        "SLUICE_AUTH": "required",
        "SLUICE_API_KEYS": f"[{entries}]",
        "SLUICE_SHARES": SHARES,
        "Lake": azurite.connection_string,
    }
    parts = {sharing_server: server, share_tokens: tokens}
    running = Running(discover(integrations), environment, parts, now=clock)
    config = uvicorn.Config(running.asgi, host="127.0.0.1", port=0, lifespan="off", log_level="error")
    serving = uvicorn.Server(config)
    task = asyncio.create_task(serving.serve())
    while not serving.started:  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.01)
    port = serving.servers[0].sockets[0].getsockname()[1]
    yield Lake(f"http://127.0.0.1:{port}", running, tokens, clock, root, options, keys)
    serving.should_exit = True
    await task
    await files.close()
    store.close()
