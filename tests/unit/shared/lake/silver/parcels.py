"""An event type with everything that a model may have, its events, and the tables that they become."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

from arro3.core import Table
from pydantic import Field

from shared.classification import Restricted, Subject, Tokenized
from shared.lake.silver import SilverIngest, lines_of
from shared.lake.tables import LakeStore, Layer, Retention
from shared.messages import CloudEvent, Contract, Silver, Timestamp
from shared.messages.strict_json import write_json
from shared.streams import StreamEvent

NOW = datetime(2026, 1, 5, 8, 26, 0, 123_000, tzinfo=UTC)


class Size(StrEnum):
    SMALL = "small"
    LARGE = "large"


class Item(Contract):
    sku: str
    price: Annotated[Decimal, Field(max_digits=18, decimal_places=6)]
    tags: list[str] = Field(default_factory=list)


class Depot(Contract):
    city: str
    floor: int | None = None


class Parcel(Contract):
    parcel_id: str
    customer_id: Annotated[str | None, Restricted, Tokenized("customer"), Subject("customer")] = None
    name: Annotated[str | None, Restricted] = None
    scanned_at: Timestamp
    due: date | None = None
    size: Size = Size.SMALL
    state: Literal["open", "gone"] = "open"
    weight: float | None = None
    total: Decimal = Decimal(0)
    fragile: bool = False
    depot: Depot | None = None
    items: list[Item] = Field(default_factory=list)
    stops: list[Depot] = Field(default_factory=list)
    extra: dict[str, Any] | None = None


SILVER = Silver("parcel.scanned", "1.0", Parcel, ("items",))

DATA: dict[str, Any] = {
    "parcelId": "p1",
    "scannedAt": "2026-01-05T09:26:00.5+01:00",
    "due": "2026-01-07",
    "size": "large",
    "state": "gone",
    "weight": 1.25,
    "total": "123456789012345678901234567.123456789",
    "fragile": True,
    "depot": {"city": "Köln", "floor": -1},
    "items": [{"sku": "a", "price": "2.55", "tags": ["x", "y"]}, {"sku": "b", "price": "0.000001"}],
    "stops": [{"city": "Rom", "floor": None}],
    "extra": {"any": [1, None]},
}


def event(
    number: int, data: Any = None, *, partition: str = "0", at: datetime | None = None, event_id: str | None = None,
    kind: str = "parcel.scanned", version: str = "1.0", body: bytes | None = None,
) -> StreamEvent:  # fmt: skip
    """The event with a number in the log; its id is of that number unless it is given."""
    content = CloudEvent(
        id=event_id or f"{partition}-{number}",
        type=kind,
        source="urn:test",
        subject="p1",
        time=at or NOW + timedelta(seconds=number),
        version=version,
        data=write_json(DATA if data is None else data),
        correlation_id="c",
        sequence=number + 1,
    ).to_json()
    return StreamEvent(
        body=content if body is None else body, partition=partition, offset=str(number), sequence_number=number
    )


class Log:
    """A log that is a list: some of it at a time."""

    def __init__(self, events: Sequence[StreamEvent], *, size: int = 3) -> None:
        self.events = list(events)
        self._size = size

    async def partitions(self) -> list[str]:
        return sorted({one.partition for one in self.events})

    async def read(self, partition: str, *, after: int | None) -> AsyncGenerator[Sequence[StreamEvent], None]:
        own = [
            one
            for one in self.events
            if one.partition == partition and one.sequence_number > (-1 if after is None else after)
        ]
        for begin in range(0, len(own), self._size):
            yield own[begin : begin + self._size]


def ingest(store: LakeStore, *silvers: Silver, now: datetime = NOW, **options: Any) -> SilverIngest:
    """What brings parcels into a store, or what else is declared."""
    return SilverIngest(
        store, lines_of(silvers or [SILVER]), log="events", retention=Retention(), now=lambda: now, **options
    )


def plenty() -> float:
    """Seconds that are left."""
    return 1_000.0


async def rows(store: LakeStore, name: str, layer: Layer = Layer.SILVER) -> Table:
    """A whole table, in the order of the log."""
    from deltalake import QueryBuilder

    table = await store.open(layer, name)
    columns = [field.name for field in table.schema().fields]
    order = ", ".join(["log_partition", "log_sequence", *(["number"] if "number" in columns else [])])
    return QueryBuilder().register("t", table).execute(f"select * from t order by {order}").read_all()
