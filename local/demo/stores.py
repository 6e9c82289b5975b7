"""Reads what became of messages from where it is kept: the tables, the blobs, the event log, the hosts' logs."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.data.tables.aio import TableServiceClient
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient
from azure.storage.blob.aio import ContainerClient

from local.demo.carrier import Parcels, read_parcels
from local.demo.event_log import read_partition
from local.demo.target import Target

__all__ = ["BatchLogs", "Inbox", "Kept", "Queues", "Stores"]

_CONSUMER_GROUP = "$Default"
_READ_SECONDS = 120.0


@dataclass(frozen=True)
class Inbox:
    """What the inbox says of one message; `seconds` from acceptance to the end of its processing."""

    status: str
    lane: str
    seconds: float
    event_type: str = ""
    key: str = ""


@dataclass(frozen=True)
class Queues:
    """Messages in all queues together: waiting for work, or given up by the broker."""

    waiting: int
    dead: int


@dataclass
class Kept:
    """One look at the tables: inbox by message id, ids with facts still to publish, dead letters, view rows."""

    inbox: dict[str, Inbox] = field(default_factory=dict)
    unpublished: set[str] = field(default_factory=set)
    dead_letters: set[str] = field(default_factory=set)
    views: set[tuple[str, str]] = field(default_factory=set)


class Stores:
    """Clients of one stack's stores, closed at the end of the context."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._open = AsyncExitStack()
        self._tables = TableServiceClient.from_connection_string(target.storage)
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Stores:
        await self._open.enter_async_context(self._tables)
        self._http = await self._open.enter_async_context(aiohttp.ClientSession())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def look(self) -> Kept:
        """Read the tables once."""
        kept = Kept()
        columns = ["RowKey", "status", "lane", "acceptedAt", "processedAt", "eventType", "key"]
        for row in await self._rows("state", "RowKey ge 'inbox:' and RowKey lt 'inbox;'", columns):
            kept.inbox[row["RowKey"].removeprefix("inbox:")] = _inbox(row)
        for row in await self._rows("state", "RowKey ge 'outbox:' and RowKey lt 'outbox;'", ["messageId"]):
            kept.unpublished.add(str(row.get("messageId")))
        for row in await self._rows("deadletters", "", ["messageId", "status"]):
            if row.get("status") != "replayed":
                kept.dead_letters.add(str(row.get("messageId")))
        for row in await self._rows("readmodels", "", ["PartitionKey", "RowKey"]):
            kept.views.add((row["PartitionKey"].rpartition(":")[0], row["RowKey"]))
        return kept

    async def queues(self) -> Queues:
        """How many messages are in the queues, whatever they wait for, and in their dead-letter queues."""
        assert self._http is not None
        async with self._http.get(f"{self._target.status_url}/status.json") as answer:
            answer.raise_for_status()
            queues = (await answer.json())["queues"]
        waiting = sum(queue[state] for queue in queues.values() for state in ("active", "locked", "scheduled"))
        return Queues(waiting, dead=sum(queue["deadLetter"] for queue in queues.values()))

    async def parcels(self) -> Parcels:
        """What the carriers have made, and what they have still to tell."""
        assert self._http is not None
        return await read_parcels(self._http, self._target)

    async def claims(self) -> set[str]:
        """The ids of the messages whose payload went by claim check."""
        found: set[str] = set()
        container = ContainerClient.from_connection_string(self._target.storage, "claims")
        async with container:
            try:
                async for blob in container.list_blobs(include=["metadata"]):
                    found.add(str((blob.metadata or {}).get("messageid")))
            except ResourceNotFoundError:
                return found
        return found

    async def events(self) -> Counter[str]:
        """How often each event id stands in the event log, from its beginning to its present end."""
        seen: Counter[str] = Counter()
        client = EventHubConsumerClient.from_connection_string(
            self._target.broker, _CONSUMER_GROUP, eventhub_name=self._target.event_hub
        )
        async with client, asyncio.timeout(_READ_SECONDS):
            partitions = await client.get_partition_ids()
            await asyncio.gather(*(_read_partition(client, partition, seen) for partition in partitions))
        return seen

    async def _rows(self, table: str, query: str, columns: list[str]) -> list[Mapping[str, Any]]:
        """All rows that match; none where the app has not made the table yet."""
        client = self._tables.get_table_client(table)
        try:
            if query:
                return [row async for row in client.query_entities(query, select=columns)]
            return [row async for row in client.list_entities(select=columns)]
        except ResourceNotFoundError:
            return []


class BatchLogs:
    """The batches that hosts log from now on: their figures are summed from where the logs end at this moment."""

    def __init__(self, logs: Iterable[Path]) -> None:
        self._starts = {log: log.stat().st_size if log.exists() else 0 for log in logs}

    def duplicates(self) -> int:
        """How many deliveries were recognised as repeated and had no effect."""
        return sum(int(entry.get("duplicates", 0)) for entry in self._batches())

    def _batches(self) -> Iterable[dict[str, Any]]:
        for log, start in self._starts.items():
            if not log.exists():
                continue
            with log.open("rb") as source:
                source.seek(start)
                for line in source:
                    entry = _entry(line)
                    if entry.get("event") == "batch":
                        yield entry


async def _read_partition(client: EventHubConsumerClient, partition: str, seen: Counter[str]) -> None:
    def take(event: EventData) -> None:
        seen[_event_id(event)] += 1

    await read_partition(client, partition, take)


def _event_id(event: EventData) -> str:
    try:
        return str(json.loads(event.body_as_str())["id"])
    except (ValueError, KeyError, TypeError):
        return ""


def _inbox(row: Mapping[str, Any]) -> Inbox:
    began, ended = row.get("acceptedAt"), row.get("processedAt")
    timed = isinstance(began, datetime) and isinstance(ended, datetime)
    seconds = (ended - began).total_seconds() if timed else 0.0  # type: ignore[operator]
    return Inbox(str(row.get("status")), str(row.get("lane")), seconds, str(row.get("eventType")), str(row.get("key")))


def _entry(line: bytes) -> dict[str, Any]:
    if not line.startswith(b"{"):
        return {}
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


StoreUnreachable = (AzureError, aiohttp.ClientError, TimeoutError, OSError)
