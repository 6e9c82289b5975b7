"""Tables on Azurite that are shared over HTTP, with tokens of recipients."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pyarrow
import pytest
import uvicorn
from azure.storage.blob import BlobServiceClient
from azure.storage.blob.aio import ContainerClient
from deltalake import DeltaTable, write_deltalake

import integrations
from functions.composition.datasets import column_levels
from functions.composition.sharing import share_tokens, sharing_server
from local.azurite import AzuriteEndpoints
from shared.authentication import Role, api_key_entry
from shared.azure_clients import Credentials
from shared.blobs import ReadLinks
from shared.datasets import CLASSIFICATION
from shared.environment import Connection
from shared.lake.tables import LakeStore, storage_options
from shared.messages import discover
from shared.sharing import PREFIX, AzureLakeFiles, ShareTokens, SharingServer
from shared.tables import MemoryTable
from tests.unit.functions.conftest import ENVIRONMENT, Running

DAYS = [date(2010, 12, 1), date(2010, 12, 2), date(2010, 12, 3)]
COUNTRIES = ["United Kingdom", "50% off/EU", "Österreich"]
SHARES = (
    '{"Sales": {"gold": ["daily_sales", "late"], "silver": ["people", "mapped", "broken", "order_accepted"]},'
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
    container: ContainerClient
    keys: dict[str, str]

    def table(self, path: str) -> DeltaTable:
        """A table by layer and name."""
        return DeltaTable(f"{self.root}/{path}", storage_options=self.options)

    def write(self, path: str, rows: pyarrow.Table, **options: Any) -> None:
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


def sales(first: int = 0) -> pyarrow.Table:
    """A row for each of some days and each country."""
    rows = [(day, country) for day in DAYS for country in COUNTRIES]
    numbers = range(first, first + len(rows))
    ends = [datetime.combine(day, time.max, UTC) for day, _ in rows]
    columns = {
        "day": pyarrow.array([day for day, _ in rows], pyarrow.date32()),
        "country": pyarrow.array([country for _, country in rows], pyarrow.string()),
        "orders": pyarrow.array(numbers, pyarrow.int64()),
        "revenue": pyarrow.array([number + Decimal("0.10") for number in numbers], pyarrow.decimal128(12, 2)),
        "until": pyarrow.array(ends, pyarrow.timestamp("us", "UTC")),
    }
    return pyarrow.table(columns)


def people() -> pyarrow.Table:
    """A table with a column that readers may not see."""
    email = pyarrow.field("email", pyarrow.string(), metadata={CLASSIFICATION: "restricted"})
    schema = pyarrow.schema([pyarrow.field("number", pyarrow.int64()), email])
    return pyarrow.table({"number": [1, 2], "email": ["a@x", "b@x"]}, schema=schema)


@pytest.fixture(scope="module")
def lake_root(azurite: AzuriteEndpoints) -> tuple[str, dict[str, str], str]:
    """A container of its own: its name for the Delta library, how that reaches it, and its name.

    `gold.daily_sales` has nine rows in its first version and nine more in its second.
    """
    name = f"lake-{uuid4().hex}"
    with BlobServiceClient.from_connection_string(azurite.connection_string) as service:
        service.create_container(name)
    give = storage_options(Connection(connection_string=azurite.connection_string), Credentials())

    async def given() -> dict[str, str]:
        return await give()

    root, options = f"az://{name}", asyncio.run(given())
    for first in (0, 9):
        write_deltalake(
            f"{root}/gold/daily_sales",
            sales(first),
            mode="append",
            partition_by=["country", "day"],
            storage_options=options,
        )
    write_deltalake(f"{root}/silver/people", people(), storage_options=options)
    return root, options, name


@pytest.fixture
async def lake(azurite: AzuriteEndpoints, lake_root: tuple[str, dict[str, str], str]) -> AsyncIterator[Lake]:
    """The lake, shared by an app on a free port."""
    root, options, name = lake_root
    clock = Clock()

    async def give() -> dict[str, str]:
        return options

    levels = Running(discover(integrations)).composition.get(column_levels)
    container = ContainerClient.from_connection_string(azurite.connection_string, name)
    store = LakeStore(root, give)
    files = AzureLakeFiles(store, container, ReadLinks(container, None), now=clock)
    server = SharingServer(files, levels=levels, link_seconds=600, now=clock)
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
    yield Lake(f"http://127.0.0.1:{port}", running, tokens, clock, root, options, container, keys)
    serving.should_exit = True
    await task
    await files.close()
    store.close()
