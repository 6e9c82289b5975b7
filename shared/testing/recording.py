"""The kit's one tie to the app: its stores over a table in memory, its own stages, and work that remembers more."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

from pydantic import BaseModel

from shared.claim_check import ClaimStore
from shared.messages import Delivery, Headers, Lane, Registry
from shared.outbox import OutboxRows
from shared.partners import Partners
from shared.processing import Decoder, Limits, Recent, Runner
from shared.processing.deduplication import Deduplication
from shared.processing.handling import commit
from shared.resilience import RetryPlan, WeightedBulkhead
from shared.secrets import Secret, UnknownSecret
from shared.state import StateStore, partition_key
from shared.tables import Entity, MemoryTable
from shared.work import Done, Ended, Work

from .outcomes import Published, Sent

__all__ = ["SOURCE", "MemoryStore", "RecordingWork", "handle"]


class MemoryStore(StateStore):
    """The state store over a table in memory."""

    def __init__(self, *, buckets: int, table: MemoryTable | None = None) -> None:
        self.table = table or MemoryTable("state")
        super().__init__([self.table], buckets=buckets)

    @property
    def rows(self) -> dict[tuple[str, str], Entity]:
        """(partition, row key) → row, of every bucket."""
        return {place: row for place, row in self.table.rows.items() if place[0] != "layout"}

    def put(self, bucket: int, row_key: str, columns: Mapping[str, Any]) -> None:
        """Have a row there from the beginning."""
        self.table.put({"PartitionKey": partition_key(bucket), "RowKey": row_key, **columns})


SOURCE = "/test"
_FOREVER = 86_400.0


class RecordingWork(Work):
    """Remembers what JSON can't tell: which model was saved, published or sent."""

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.saved: dict[tuple[str, str], BaseModel] = {}
        self.deleted: dict[tuple[str, str], None] = {}
        self.published: list[Published] = []
        self.sent: list[Sent] = []

    async def save(self, kind: str, key: str, value: BaseModel) -> None:
        """As in the app."""
        await super().save(kind, key, value)
        self.saved[kind, key] = value
        self.deleted.pop((kind, key), None)

    async def delete(self, kind: str, key: str) -> None:
        """As in the app."""
        await super().delete(kind, key)
        self.saved.pop((kind, key), None)
        self.deleted[kind, key] = None

    def publish(self, event_type: str, data: BaseModel, **how: Any) -> None:
        """As in the app."""
        super().publish(event_type, data, **how)
        self.published.append(Published(event_type, data))

    def send(self, event_type: str, data: BaseModel, **how: Any) -> None:
        """As in the app."""
        super().send(event_type, data, **how)
        self.sent.append(Sent(event_type, data))


async def handle(
    store: MemoryStore,
    registry: Registry,
    headers: Headers,
    body: bytes,
    now: Callable[[], datetime],
    secrets: Mapping[str, str],
    partners: Partners,
) -> Ended:
    """Bring a message through decode, deduplicate, handle and commit, as the app does."""
    delivery = Delivery(
        body=body,
        properties={str(name): value for name, value in headers.to_properties().items()},
        message_id=headers.broker_id,
        sequence_number=0,
        delivery_count=headers.attempt,
    )
    decoder = Decoder(registry, cast(ClaimStore, None), buckets=store.buckets)  # no message here has a claim
    message = await decoder.read(delivery)
    if isinstance(message, Ended):
        return message
    fresh = await Deduplication(store, Recent(), OutboxRows(store)).again(message.bucket, message)
    if isinstance(fresh, Ended):
        return fresh
    runner = Runner(
        registry=registry,
        load=store.find,
        buckets=store.buckets,
        gate=WeightedBulkhead(1, dict.fromkeys(Lane, 1.0)),
        plan=RetryPlan(max_attempts=10_000, max_total=_FOREVER * 365),
        limits=Limits(handler_timeout=_FOREVER, batch_budget=_FOREVER),
        source=SOURCE,
        secrets=_Given(secrets, now),
        partners=partners,
        now=now,
        random=lambda: 0.5,
        new_work=RecordingWork,
    )
    handled = await runner.rerun(fresh)
    if isinstance(handled, Ended):
        return handled
    if not await commit(store, message.bucket, [handled]):
        raise LookupError("one message at a time meets no conflict")
    return Ended(delivery, Done(), headers, message, handled.work)


class _Given:
    """The secrets that a test gives."""

    def __init__(self, values: Mapping[str, str], now: Callable[[], datetime]) -> None:
        self._values = values
        self._now = now

    async def get(self, name: str) -> Secret:
        """As the cache: known, or UnknownSecret."""
        if name not in self._values:
            raise UnknownSecret(name, "the test gives none of this name: secrets={...}")
        return Secret(name=name, value=self._values[name], version="1", created=self._now())
