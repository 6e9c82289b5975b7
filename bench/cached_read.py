"""How many more reads of a row an instance answers from memory, or with 304, than from its store."""

import asyncio
import time
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4

from starlette.types import ASGIApp, Message

import integrations
from functions.composition import CAPABILITIES, Composition
from functions.composition.api import gathered_app
from functions.composition.read_models import read_models
from integrations.orders.models import OrderView
from shared.messages import discover
from shared.query import ReadModels, ViewRow
from shared.settings import Settings
from shared.tables.azure import AzureTable

from .dispatch import NOWHERE
from .harness import Benchmark
from .stack import sample_settings
from .storage import azurite

READS = 600
TURNS = 3
AT_ONCE = 16
AGE = {"SLUICE_READ_MAX_AGE_SECONDS": "3600"}
ROW = OrderView(
    order_id="1",
    placed_at="2026-01-05T08:26:00Z",
    guest=True,
    country="France",
    line_count=1,
    units=6,
    total=Decimal("15.30"),
)


class _Side:
    """An app of its own on the one table, and what is asked of it."""

    def __init__(self, rows: ReadModels, more: dict[str, str]) -> None:
        storage = dict.fromkeys(("State", "Claims"), "UseDevelopmentStorage=true")
        broker = {"ServiceBus": NOWHERE, "EventHubs": NOWHERE, "SLUICE_OPERATION_KEY": "-" * 40, "SLUICE_AUTH": "none"}
        composition = Composition(
            Settings.load(sample_settings() | storage | broker | more),
            discover(integrations),
            parts={read_models: rows},
        )
        self._app: ASGIApp = gathered_app(composition, [make(composition) for make in CAPABILITIES])
        self._headers: list[tuple[bytes, bytes]] = []

    async def read(self, status: int = 200) -> bytes:
        """One read; returns the ETag."""
        etag = b""

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            nonlocal etag
            if message["type"] == "http.response.start":
                assert message["status"] == status, message
                etag = dict(message["headers"])[b"etag"]

        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "path": "/api/orders/1",
            "raw_path": b"/api/orders/1",
            "query_string": b"",
            "root_path": "",
            "headers": self._headers,
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 443),
        }
        await self._app(scope, receive, send)
        return etag

    def names(self, etag: bytes) -> None:
        """Ask with If-None-Match from now on."""
        self._headers = [(b"if-none-match", etag)]

    async def rate(self, status: int = 200) -> float:
        """Reads a second, some of them at once."""

        async def reader() -> None:
            for _ in range(READS // AT_ONCE):
                await self.read(status)

        started = time.perf_counter()
        await asyncio.gather(*(reader() for _ in range(AT_ONCE)))
        return READS / (time.perf_counter() - started)


async def _ratio(connection: str, *, conditional: bool) -> float:
    rows = ReadModels(AzureTable.from_connection_string(connection, f"bench{uuid4().hex}"))
    text = ROW.model_dump_json(by_alias=True)
    await rows.put([ViewRow(view="orders", key="1", value=text, event_id="-", sequence=1)])
    store, memory, status = _Side(rows, {}), _Side(rows, AGE), 200
    await store.read()
    etag = await memory.read()
    if conditional:
        memory.names(etag)
        status = 304
    bare, cached = [], []
    for _ in range(TURNS):  # in turn, and the fastest of each: whatever is slower was disturbed
        bare.append(await store.rate())
        cached.append(await memory.rate(status))
    await rows.close()
    return max(cached) / max(bare)


def _rounds(rounds: int, *, conditional: bool) -> Iterator[float]:
    with azurite() as connection:
        for _ in range(rounds):
            yield asyncio.run(_ratio(connection, conditional=conditional))


BENCHMARKS = [
    Benchmark(
        name=f"{name}-read",
        claim=f"reads a second of a row, {how} / from its store, which is asked whether the row has changed",
        goal=5.0,
        better="higher",
        rounds=partial(_rounds, conditional=name == "conditional"),
    )
    for name, how in (("cached", "from memory"), ("conditional", "answered 304 from memory"))
]
