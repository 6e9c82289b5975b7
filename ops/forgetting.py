"""Every store in which an app keeps something about people: what it holds, place by place, and how it is taken out."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from uuid import UUID

from azure.core.exceptions import ResourceNotFoundError

from functions.composition import Composition
from functions.composition.bronze import bronze_files, bronze_reader
from functions.composition.claims import claim_store, decoder
from functions.composition.dead_letters import dead_letter_store
from functions.composition.encryption import fields
from functions.composition.platform import platform
from functions.composition.read_models import VIEWS_TABLE
from functions.composition.state import STATE, VALUES, large_values
from functions.composition.subscriptions import DELIVERIES
from shared.blobs import BlobChanged, BlobMissing, BlobReference
from shared.claim_check import Claim
from shared.dead_letters import Filters, Note, Outgoing, StoredLetter
from shared.lake.bronze import CorruptFile, erased_event, rewrite
from shared.messages import Delivery, Headers, MessageError
from shared.ordered import delivery_of, waiting_columns
from shared.pausing import SetAsideMessage
from shared.privacy import AssociatedData, Person
from shared.state import pack, unpack
from shared.streams import StreamEvent
from shared.tables import MAX_OPERATIONS, Condition, Conflict, Delete, Entity, Query, Replace, Table

from .places import Place
from .silver import silver_places

if TYPE_CHECKING:
    from azure.eventhub.aio import EventHubConsumerClient
    from azure.storage.blob.aio import ContainerClient

__all__ = ["EVENT_LOG", "HOLDS", "HOLDS_NOTHING", "stores"]

EVENT_LOG = "event log"
"""The one store in which nothing can be changed."""
_CONNECTING_SECONDS = 60.0
_QUIET_SECONDS = 5.0

HOLDS = {
    "state": "state",
    "readmodels": "read models",
    "deadletters": "dead letters",
    "dead-letters": "dead letters",
    "claims": "claims",
    "state-values": "large values",
    "events": EVENT_LOG,
    "webhookdeliveries": "webhook deliveries",
    "lake": "silver",
    "bronze": "bronze",
}
"""By resource that the app declares, the store of `stores` in which its content about persons is looked for."""
HOLDS_NOTHING = {
    "streampositions": "how far each partition was read",
    "datakeys": "wrapped keys of the app",
    "subjectkeys": "wrapped keys by token, which an erasure deletes, and the record of it",
    "audit": "what operators did, which names a person by the token",
    "limits": "clients' buckets and usage",
    "subscriptions": "who wants which events",
    "health": "states of components",
    "jobs": "when each job ran",
    "undelivered-events": "what Event Grid gave back, until the job that takes it has run",
}
"""The others, and why nothing in them is about a person, or not for long."""


def stores(composition: Composition, person: Person, note: Note) -> dict[str, AsyncIterator[Place]]:
    """By name each store's places; messages before the claims that they name."""
    clients = composition.get(platform)
    looking = _Stores(composition, person, note)
    found = {
        "state": looking.tables(clients.tables(STATE.name)),
        "read models": looking.tables([clients.table(VIEWS_TABLE)]),
        "dead letters": looking.dead_letters(),
        "claims": looking.claims(clients.container(composition.settings.claim_container)),
        "large values": looking.values(clients.container(VALUES.name)),
        "webhook deliveries": looking.deliveries(clients.table(DELIVERIES.name)),
    }
    if composition.settings.lake is not None:
        found["silver"] = silver_places(composition, person)
        found["bronze"] = _bronze(composition, person)
    return {**found, EVENT_LOG: _events(clients.event_reader())}


class _Stores:
    def __init__(self, composition: Composition, person: Person, note: Note) -> None:
        self._composition = composition
        self._person = person
        self._note = note

    async def tables(self, tables: list[Table]) -> AsyncIterator[Place]:
        """Rows of state and views, what waits for its turn or the end of a pause, and what is still to be published."""
        for table in tables:
            try:
                async for row in table.query(Query()):
                    yield await self._row(table, row)
            finally:
                await table.close()

    async def _row(self, table: Table, row: Entity) -> Place:
        key = str(row["RowKey"])
        name = f"{row['PartitionKey']}/{key}"
        if key.startswith("waiting:"):
            delivery = delivery_of(row)
            new = {**_others(row, "body", "properties", "claim"), **waiting_columns(delivery.erased())}
            return Place(name, await self._message(delivery), partial(_replace, table, row, new))
        if str(row["PartitionKey"]).startswith("aside-"):
            waiting = SetAsideMessage.from_row(row)
            delivery = Delivery(
                body=waiting.body, properties=waiting.properties, message_id="", sequence_number=0, delivery_count=0
            )
            erased = delivery.erased()
            new = replace(waiting, body=erased.body, properties=erased.properties).columns()
            return Place(name, await self._message(delivery), partial(_replace, table, row, new))
        if any(token in key for token in self._person.tokens):  # of an index
            return Place(name, key, partial(_delete, table, row))
        if row.get("kind") == "command":
            return Place(name, await self._command(row), partial(_delete, table, row))
        reference = BlobReference.from_columns(row)
        if reference is None:
            text = unpack(row)
            rest = " ".join(str(value) for column, value in row.items() if not column.startswith("value"))
            whole = text if not any(token in rest for token in self._person.tokens) else f"{rest} {text}"
            return Place(name, whole, partial(self._rewrite, table, row, text), text, self._bound_to(row))
        try:
            large = await self._composition.get(large_values).get_value(reference)
        except (BlobMissing, BlobChanged):
            return Place(name, None, None)
        return Place(name, large, partial(self._rewrite_large, table, row, large), large, self._bound_to(row))

    def _bound_to(self, row: Entity) -> tuple[AssociatedData, ...]:
        """What the encrypted fields of a row may be bound to."""
        views = self._composition.registry.views
        if (own := _of_key(str(row["RowKey"]))) is not None:
            return (own,)
        return tuple(("view", view, str(row["key"])) for view in views) if "key" in row else ()

    async def deliveries(self, table: Table) -> AsyncIterator[Place]:
        """Events on their way to subscribers, with what their receivers answered."""
        async with aclosing(table.query(Query())) as rows:
            async for row in rows:
                if not any(column.startswith("value") for column in row):
                    continue
                text = unpack(row)
                yield Place(
                    f"{row['PartitionKey']}/{row['RowKey']}", text, partial(self._rewrite, table, row, text), text
                )
        await table.close()

    async def _rewrite(self, table: Table, row: Entity, text: str) -> None:
        new, entries = {**_others(row, "value"), **pack(self._person.taken_out_of(text))}, []
        if "eventId" in row and "key" in row:  # of a view: no entry leads to it any more, by whatever field
            of_row = Query(partition=row["PartitionKey"], where=[Condition("key", "eq", row["key"])])
            entries = [entry async for entry in table.query(of_row) if entry["RowKey"] != row["RowKey"]]
        if "indexed" in row:
            new["indexed"] = ""  # the next event would else delete entries that are gone, which is a conflict
        first, rest = entries[: MAX_OPERATIONS - 1], entries[MAX_OPERATIONS - 1 :]
        gone = [Delete(entry, entry.etag) for entry in first]
        if await _replace(table, row, new, gone):  # at once: an event or a death in between would part them
            for entry in rest:
                await _delete(table, entry)

    async def _rewrite_large(self, table: Table, row: Entity, text: str) -> None:
        owner = f"{int(row['PartitionKey'])}/{row['RowKey']}"
        kept = await self._composition.get(large_values).put_value(owner, self._person.taken_out_of(text))
        await _replace(table, row, {**_others(row, "value"), **kept.columns()})

    async def _command(self, row: Entity) -> str | None:
        protection = self._composition.get(fields)
        with suppress(MessageError):
            if protection is not None:
                return await protection.decrypt_whole(unpack(row), ("outbox", str(row["RowKey"])))
        return None

    async def _message(self, delivery: Delivery) -> str | None:
        """What a message says; nothing where that was erased."""
        try:
            if delivery.properties.get("erased"):
                return ""
            headers = Headers.from_properties(delivery.properties)
            return (await self._composition.get(decoder).payload(delivery, headers)).decode("utf-8", "replace")
        except MessageError:
            return None

    async def dead_letters(self) -> AsyncIterator[Place]:
        """Each with what its message says."""
        store = self._composition.get(dead_letter_store)
        async for dead_letter in store.select(Filters()):
            yield Place(
                dead_letter.id, await self._dead_letter(dead_letter), partial(store.forget, dead_letter, self._note)
            )

    async def _dead_letter(self, dead_letter: StoredLetter) -> str | None:
        """What it says, as it came and as operators edited it."""
        store = self._composition.get(dead_letter_store)
        try:
            texts = [
                await self._of_dead_letter(dead_letter, Outgoing(await store.body(dead_letter), dead_letter.properties))
            ]
            if dead_letter.edit is not None:
                texts.append(await self._of_dead_letter(dead_letter, await store.outgoing(dead_letter)))
                texts.append(str(await store.differences(dead_letter)))
        except (LookupError, MessageError):
            return None
        return None if None in texts else "\n".join(text for text in texts if text is not None)

    async def _of_dead_letter(self, dead_letter: StoredLetter, made: Outgoing) -> str | None:
        if dead_letter.lane is None or not {"claim", "sealed"} & made.properties.keys():
            return made.body.decode("utf-8", "replace")
        return await self._message(
            Delivery(body=made.body, properties=made.properties, message_id="", sequence_number=0, delivery_count=0)
        )

    async def claims(self, container: "ContainerClient") -> AsyncIterator[Place]:
        """Large payloads, also of messages that were processed; uploads that no message has named have no reference."""

        async def read(reference: BlobReference) -> str:
            claim = Claim(reference.name, reference.sha256, reference.size, reference.encoding)
            message_id = UUID(reference.name.partition("/")[0])
            return (await self._composition.get(claim_store).get(message_id, claim)).decode("utf-8", "replace")

        async for place in _blobs(container, read):
            yield place

    async def values(self, container: "ContainerClient") -> AsyncIterator[Place]:
        """Large values; those of rows were rewritten before, so that what is left of them is nobody's any more."""
        async for place in _blobs(container, self._composition.get(large_values).get_value):
            own = _of_key(place.name.partition("/")[2].rpartition(":")[0])
            yield place if own is None else replace(place, bound_to=(own,))


async def _blobs(container: "ContainerClient", read: Callable[[BlobReference], Awaitable[str]]) -> AsyncIterator[Place]:
    async with container:
        with suppress(ResourceNotFoundError):
            async for blob in container.list_blobs(include=["metadata"]):
                about: Mapping[str, str] = blob.metadata or {}
                name = str(blob.name)
                try:
                    reference = BlobReference(name, about["sha256"], int(about["size"]), about.get("encoding"))
                    text: str | None = await read(reference)
                except (BlobMissing, BlobChanged, MessageError, KeyError, ValueError):
                    text = None

                yield Place(name, text, partial(_delete_blob, container, name))


async def _delete_blob(container: "ContainerClient", name: str) -> None:
    with suppress(ResourceNotFoundError):
        await container.delete_blob(name)


def _of_key(row_key: str) -> AssociatedData | None:
    """What the encrypted fields of a state, or of a partner's answer, are bound to, by the row's key."""
    kind, _, rest = row_key.partition(":")
    if kind == "call":
        return ("call", row_key)
    named, _, key = rest.partition(":")
    return ("state", unquote(named), unquote(key)) if kind == "state" else None


def _others(row: Entity, *columns: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith(columns)}


async def _replace(table: Table, row: Entity, new: Mapping[str, Any], gone: Sequence[Delete] = ()) -> bool:
    """Whether the row is still the one that was read; the next run looks at one that isn't."""
    try:
        await table.submit([Replace(new, row.etag), *gone])
    except Conflict:
        return False
    return True


async def _delete(table: Table, row: Entity) -> None:
    with suppress(Conflict):
        await table.submit([Delete(row, row.etag)])


async def _bronze(composition: Composition, person: Person) -> AsyncIterator[Place]:
    """Every event of every file of the lake's first layer; a file that isn't what was written can't be read."""
    files, reader = composition.get(bronze_files), composition.get(bronze_reader)
    forget = partial(_forgotten_event, person)
    for partition in await files.partitions():
        for day in await files.days(partition):
            for file in await files.of_day(partition, day):
                try:
                    events = await reader.checked(file, partition) or []
                except CorruptFile:
                    yield Place(file.name, None, None)
                    continue
                anew = partial(rewrite, files, reader, partition, file, forget)  # of all its events at once
                for event in events:
                    yield Place(f"{file.name}#{event.sequence_number}", _event_text(event), anew)


def _event_text(event: StreamEvent) -> str:
    """All of an event as one JSON text, where its body is one."""
    system = {} if event.annotations is None else event.annotations.system
    beside = (json.dumps(one, default=str) for one in (event.properties, system))
    return f"[{event.body.decode('utf-8', 'replace')}, {', '.join(beside)}]"


def _forgotten_event(person: Person, event: StreamEvent) -> StreamEvent:
    """The event with nothing in it that leads to the person; emptied where that can't be had otherwise."""
    if not person.is_in(_event_text(event)):
        return event
    with suppress(ValueError, RecursionError):
        text = person.taken_out_of(event.body.decode())
        kept = replace(event, body=text.encode())
        if not person.is_in(_event_text(kept)):
            return kept
    return erased_event(event)


async def _events(client: "EventHubConsumerClient") -> AsyncIterator[Place]:
    """Every event that the hub still has, as far as it went when this began; all partitions side by side.

    However many there are: it raises TimeoutError only where none comes any more.
    """
    queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(1_000)

    async def take(context: Any, event: Any) -> None:
        await queue.put((context.partition_id, event))

    async with client:
        async with asyncio.timeout(_CONNECTING_SECONDS):
            names = await client.get_partition_ids()
            found = await asyncio.gather(*map(client.get_partition_properties, names))
        ends = {one["id"]: one["last_enqueued_sequence_number"] for one in found if not one["is_empty"]}
        readings = [
            asyncio.create_task(client.receive(take, partition_id=name, starting_position="-1")) for name in ends
        ]
        try:
            while ends:
                async with asyncio.timeout(_QUIET_SECONDS):
                    partition, event = await queue.get()
                text = b"".join(event.body).decode("utf-8", "replace")
                yield Place(f"{partition}/{event.sequence_number}", text, None)
                if event.sequence_number >= ends.get(partition, -1):
                    ends.pop(partition, None)
        finally:
            for reading in readings:
                reading.cancel()
            await asyncio.gather(*readings, return_exceptions=True)
