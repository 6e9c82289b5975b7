"""What the silver layer costs over the bare writer: checks, watermarks and the search for duplicates, on Azurite."""

import asyncio
import io
import json
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import patch
from uuid import uuid4

from azure.storage.blob.aio import ContainerClient

from integrations.orders.models import Order, OrderAccepted
from shared.azure_clients import Credentials
from shared.environment import Connection
from shared.lake.silver import SilverIngest, SilverLine, lines_of
from shared.lake.tables import LakeStore, Layer, Retention, storage_options
from shared.messages import CloudEvent, Silver, rfc3339
from shared.streams import StreamEvent

from .harness import Benchmark
from .storage import azurite

if TYPE_CHECKING:
    from deltalake import DeltaTable

EVENTS = 500
"""Of a micro-batch."""
BATCHES = 12
"""Of each side in a round."""
BEGIN = datetime(2026, 1, 5, tzinfo=UTC)


def _events(first: int) -> list[StreamEvent]:
    """Orders as the hub has them, each a moment later than the one before."""
    return [_event(number) for number in range(first, first + EVENTS)]


def _event(number: int) -> StreamEvent:
    at = BEGIN + timedelta(milliseconds=100 * number)
    line = {"sku": f"{number % 900}A", "description": "LANTERN", "quantity": 1 + number % 9, "unitPrice": "2.55"}
    order = {"orderId": str(number), "placedAt": rfc3339(at), "country": "France", "lines": [line]}
    data = OrderAccepted.of(Order.model_validate_json(json.dumps(order))).model_dump_json(by_alias=True)
    event = CloudEvent(
        id=str(uuid4()), type="order.accepted", source="urn:bench", subject=str(number), time=at, version="1.0",
        data=data, correlation_id=str(number), sequence=1,
    )  # fmt: skip
    return StreamEvent(body=event.to_json(), partition="0", offset=str(number), sequence_number=number)


def _bare(table: "DeltaTable", line: SilverLine, events: Sequence[StreamEvent]) -> None:
    """The same columns by the shortest way: parsed by the standard library, appended, and nothing looked at."""
    from arro3.io import read_json
    from deltalake import write_deltalake

    rows = []
    for one in events:
        event = json.loads(one.body)
        row = {column.name: event["data"].get(column.path[0]) for column in line.root.columns}
        row |= {
            "event_id": event["id"],
            "event_time": event["time"],
            "event_day": event["time"][:10],
            "event_version": event["dataschema"].rpartition(":")[2],
            "key": event["subject"],
            "sequence": int(event["sequence"]),
            "log_partition": one.partition,
            "log_sequence": one.sequence_number,
        }
        rows.append(json.dumps(row))
    schema = line.root.schema()
    arrow = read_json(io.BytesIO("\n".join(rows).encode()), schema, batch_size=65_536).read_all()
    write_deltalake(table, arrow, mode="append")


class _Log:
    """Batches that are in memory."""

    def __init__(self, batches: Sequence[Sequence[StreamEvent]]) -> None:
        self._batches = batches

    async def partitions(self) -> list[str]:
        return ["0"]

    async def read(self, partition: str, *, after: int | None) -> AsyncGenerator[Sequence[StreamEvent], None]:
        for batch in self._batches:
            yield batch


async def _round(connection: str, order: bool) -> float:
    """Events a second of ours by those of the bare writer."""
    container = f"bench-{uuid4().hex}"
    async with ContainerClient.from_connection_string(connection, container) as client:
        await client.create_container()
    options = storage_options(Connection(connection_string=connection), Credentials())
    store = LakeStore(f"az://{container}", options)
    (line,) = lines_of([Silver("order.accepted", "1.0", OrderAccepted)])
    ingest = SilverIngest(store, [line], log="bench", retention=Retention(), now=lambda: BEGIN)
    schema, days = line.root.schema(), [line.root.all_columns[2].name]
    table = await store.create(Layer.SILVER, "bare", schema, partition_by=days)

    async def bare(batches: Sequence[Sequence[StreamEvent]]) -> None:
        for events in batches:
            await store.run(Layer.SILVER, "bare", partial(_bare, table, line), events)

    async def ours(batches: Sequence[Sequence[StreamEvent]]) -> None:
        await ingest.catch_up(_Log(batches), lambda: 1_000.0)

    first, *batches = [_events(number * EVENTS) for number in range(BATCHES + 1)]
    seconds = []
    for side in (bare, ours):
        await side([first])  # connections are open, code is loaded
    for side in (bare, ours) if order else (ours, bare):
        started = time.perf_counter()
        await side(batches)
        seconds.append(time.perf_counter() - started)
    if not order:
        seconds.reverse()
    found = [(await store.open(Layer.SILVER, name)).count() for name in ("bare", line.root.name)]
    if found != [EVENTS * (BATCHES + 1)] * 2:
        raise RuntimeError(f"the tables have {found} rows")
    store.close()
    return seconds[0] / seconds[1]


def _rounds(rounds: int) -> Iterator[float]:
    with azurite() as connection, patch("shared.lake.silver.ingest.BATCH_EVENTS", EVENTS):
        for number in range(rounds):
            yield asyncio.run(_round(connection, number % 2 == 0))


BENCHMARKS = [
    Benchmark(
        name="lake",
        claim=f"events a second into silver, exactly once / micro-batches of {EVENTS} by the bare Delta writer",
        goal=0.9,
        better="higher",
        rounds=_rounds,
    )
]
