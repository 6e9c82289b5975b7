"""What the stores say after a drill, and whether it adds up.

The proof that nothing was done twice: an aggregate's head row counts what it has said, in the same transaction as the
inbox record of the message that said it. So the count of each aggregate must be the number of its messages that are
done, and the event log must hold exactly the numbers 1 … count of each, in this order.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables.aio import TableClient, TableServiceClient
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubConsumerClient

from local.demo.event_log import read_partition

__all__ = ["Event", "Ledger", "Verdict", "judge", "read_ledger", "unpublished"]

_READ_SECONDS = 300.0
_SHIP = "order.ship"


@dataclass(frozen=True)
class Event:
    """A fact as the event log has it."""

    id: str
    subject: str
    sequence: int


@dataclass
class Ledger:
    """Inbox (message id → status), keys of done messages, heads (key → count), dead letters, the log in its order.

    `shipped` are the commands to ship (message id → attempt at which it was done).
    """

    inbox: dict[str, str] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    heads: dict[str, int] = field(default_factory=dict)
    dead_letters: set[str] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)
    shipped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """The outcome in numbers; the first two of each pair must add up, the last four must be 0."""

    accepted: int
    processed: int
    dead_lettered: int
    lost: int
    duplicate_effects: int
    event_gaps: int
    events_out_of_order: int
    events_repeated: int

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, done twice, skipped or swapped. Repeats in the log are told apart by their ids."""
        failures = (self.lost, self.duplicate_effects, self.event_gaps, self.events_out_of_order)
        return not any(failures) and self.accepted == self.processed + self.dead_lettered


def judge(accepted: Collection[str], ledger: Ledger) -> Verdict:
    """Compare what was accepted with what the stores say."""
    done = {message for message in accepted if ledger.inbox.get(message) == "done"}
    dead = {message for message in accepted if ledger.inbox.get(message) == "dead"}
    dead |= {message for message in accepted if message in ledger.dead_letters and message not in ledger.inbox}
    first: dict[str, list[int]] = {}
    ids: dict[tuple[str, int], set[str]] = {}
    for event in ledger.events:
        said = ids.setdefault((event.subject, event.sequence), set())
        if not said:
            first.setdefault(event.subject, []).append(event.sequence)
        said.add(event.id)
    keys = set(ledger.heads) | set(ledger.done)
    twice = sum(abs(ledger.heads.get(key, 0) - ledger.done[key]) for key in keys)
    twice += sum(len(said) - 1 for said in ids.values())
    gaps = sum(len(set(range(1, count + 1)) - set(first.get(key, ()))) for key, count in ledger.heads.items())
    swapped = sum(numbers != sorted(numbers) for numbers in first.values())
    return Verdict(
        accepted=len(accepted),
        processed=len(done),
        dead_lettered=len(dead),
        lost=len(accepted) - len(done | dead),
        duplicate_effects=twice,
        event_gaps=gaps,
        events_out_of_order=swapped,
        events_repeated=len(ledger.events) - len({event.id for event in ledger.events}),
    )


async def read_ledger(storage: str, broker: str, event_hub: str) -> Ledger:
    """Read everything there is to know; nothing may be under way any more."""
    ledger = Ledger()
    async with TableServiceClient.from_connection_string(storage) as tables:
        state = tables.get_table_client("state")
        keys: dict[str, str] = {}
        for row in await _rows(state, _prefixed("inbox"), ["RowKey", "status", "key", "eventType", "attempt"]):
            message = row["RowKey"].removeprefix("inbox:")
            ledger.inbox[message] = row["status"]
            if row["status"] == "done":
                keys[message] = row["key"]
                if row.get("eventType") == _SHIP:
                    ledger.shipped[message] = int(row["attempt"])
        for row in await _rows(state, _prefixed("head"), ["RowKey", "facts"]):
            ledger.heads[unquote(row["RowKey"].removeprefix("head:"))] = int(row["facts"])
        for row in await _rows(tables.get_table_client("deadletters"), "", ["messageId"]):
            ledger.dead_letters.add(str(row.get("messageId")))
    client = EventHubConsumerClient.from_connection_string(broker, "$Default", eventhub_name=event_hub)
    async with client, asyncio.timeout(_READ_SECONDS):
        partitions = await client.get_partition_ids()
        for events in await asyncio.gather(*(_read_partition(client, partition) for partition in partitions)):
            ledger.events += events
    emitted = {event.id.rpartition(":")[0] for event in ledger.events}
    # A carrier that tells the same by webhook and poll is heard once: the other message is done, and emits nothing.
    ledger.done = Counter(key for message, key in keys.items() if message in emitted)
    return ledger


async def unpublished(storage: str) -> int:
    """How many facts still wait in the outbox."""
    async with TableServiceClient.from_connection_string(storage) as tables:
        return len(await _rows(tables.get_table_client("state"), _prefixed("outbox"), ["RowKey"]))


def _prefixed(prefix: str) -> str:
    return f"RowKey ge '{prefix}:' and RowKey lt '{prefix};'"


async def _rows(table: TableClient, query: str, columns: list[str]) -> list[Mapping[str, Any]]:
    """All rows that match; none where the app has had no reason to make the table."""
    try:
        if query:
            return [row async for row in table.query_entities(query, select=columns)]
        return [row async for row in table.list_entities(select=columns)]
    except ResourceNotFoundError:
        return []


async def _read_partition(client: EventHubConsumerClient, partition: str) -> list[Event]:
    """The whole partition, in its order."""
    found: list[Event] = []
    await read_partition(client, partition, lambda event: found.append(_event(event)))
    return found


def _event(event: EventData) -> Event:
    content = json.loads(event.body_as_str())
    return Event(content["id"], content["subject"], int(content["sequence"]))
