"""A unit of work and the models that its tests save, publish and send."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from shared.blobs import BlobMissing, BlobReference
from shared.classification import Restricted
from shared.messages import Contract, Headers, Lane, PayloadHash
from shared.work import Work
from tests.unit.memory import MemoryState

__all__ = ["NOW", "MemoryValues", "Other", "Person", "Stock", "commit", "headers", "work"]

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Stock(Contract):
    """State of these tests."""

    count: int
    note: str = ""
    last_move: str = ""


class Other(Contract):
    """Another model."""

    name: str = ""


class Person(Contract):
    """With a protected field."""

    full_name: Annotated[str, Restricted]
    visits: int = 0


def headers(number: int = 1, key: str = "A", **changed: Any) -> Headers:
    """Headers of a message."""
    plain = {
        "message_id": UUID(int=number),
        "event_type": "stock.moved",
        "version": "1.0",
        "source": "/shop",
        "key": key,
        "lane": Lane.NORMAL,
        "correlation_id": "c-1",
        "first_attempt_at": NOW,
    }
    return Headers(**{**plain, **changed})


def work(store: MemoryState, number: int = 1, key: str = "A", **changed: Any) -> Work:
    """A unit of work on the store."""
    plain = {
        "headers": headers(number, key),
        "buckets": store.buckets,
        "source": "/sluice",
        "load": store.find,
        "now": lambda: NOW,
        "payload_hash": PayloadHash("f" * 64, "f" * 64),
        "traceparent": "00-1-2-01",
    }
    return Work(**{**plain, **changed})


async def commit(store: MemoryState, unit: Work) -> None:
    """Write what was staged."""
    await store.commit(unit.bucket, unit.operations())


class MemoryValues:
    """Large values under their owner's name, until they are swept."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.asked = 0

    async def put_value(self, owner: str, text: str) -> BlobReference:
        """Keep it; another text of the same owner doesn't replace it."""
        sha256 = hashlib.sha256(text.encode()).hexdigest()
        reference = BlobReference(f"{owner}:{sha256}", sha256, len(text))
        self.texts[reference.name] = text
        return reference

    async def get_value(self, reference: BlobReference) -> str:
        """The text, unless it was swept."""
        self.asked += 1
        if reference.name not in self.texts:
            raise BlobMissing(reference.name)
        return self.texts[reference.name]
