"""The kit's one tie to how the app makes a unit of work: look-up, inbox verdict, `Work` itself."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from shared.messages import Handler, Headers, Letter, Registry, address
from shared.processing import Dead, Delivery, Duplicate
from shared.processing.lookup import LookUp
from shared.processing.outcomes import Item, Message
from shared.processing.recent import Recent
from shared.secrets import Secret, UnknownSecret
from shared.state import Work, bucket_of

from .memory import MemoryStore
from .outcomes import Published, Sent

__all__ = ["RecordingWork", "open_work"]

SOURCE = "/test"


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


async def open_work(
    store: MemoryStore,
    registry: Registry,
    handler: Handler,
    headers: Headers,
    data: BaseModel,
    fingerprint: str,
    now: Callable[[], datetime],
    secrets: Mapping[str, str],
) -> RecordingWork | Duplicate | Dead:
    """A unit of work for a message, or what the inbox says of it already."""

    def address_by_type(event_type: str, version: str, content: BaseModel) -> Letter:
        return address(registry.handler(event_type, version), content, source=SOURCE, now=now())

    bucket = bucket_of(headers.key, store.buckets)
    delivery = Delivery(
        body=b"", properties={}, message_id=headers.broker_id, sequence_number=0, delivery_count=headers.attempt
    )
    message = Message(headers=headers, handler=handler, data=data, fingerprint=fingerprint, bucket=bucket)
    item = Item(delivery, headers=headers, message=message)
    look_up = LookUp(store, Recent(), _cleared)
    await look_up.again(bucket, item)
    if isinstance(item.outcome, Duplicate | Dead):
        return item.outcome
    return RecordingWork(
        headers=headers,
        buckets=store.buckets,
        source=SOURCE,
        load=store.find,
        now=now,
        fingerprint=fingerprint,
        aggregate=item.aggregate,
        address=address_by_type,
        secrets=_Given(secrets, now),
    )


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


async def _cleared(_: str) -> None:
    """Nothing is published here, so nothing is left to delete."""
