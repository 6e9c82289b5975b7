"""One scenario that touches every name that lives outside the code: rows, messages, events, blobs.

`write` plays it on empty stores and tells what lies there afterwards; `read` plays on with what some release has left.
Clock, ids and keys are fixed, so two releases that write the same names write the same bytes. A release's own way to
build its parts is its `surface` (see `record.py`); nothing here imports more than what integrations import.
"""

import base64
import json
import os
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from azure.core.exceptions import ResourceExistsError
from azure.data.tables.aio import TableServiceClient
from azure.eventhub import EventData, EventDataBatch
from azure.eventhub._pyamqp._decode import decode_payload as decode_event
from azure.servicebus import ServiceBusMessage, ServiceBusMessageBatch, ServiceBusReceivedMessage
from azure.servicebus._pyamqp._decode import decode_payload as decode_message
from azure.storage.blob.aio import BlobServiceClient

from shared.classification import Confidential, Restricted, Subject, Tokenized
from shared.messages import Contract, Integration, Lane, Partial, Reject, Retry

NOW = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
TABLES = ("state", "readmodels", "deadletters", "datakeys", "subjectkeys", "audit")
CONTAINERS = ("claims", "state-values", "dead-letters")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
SECRETS = {"data-key": "k" * 40, "token-key": "t" * 40}
CLAIMED = json.dumps({"filling": [f"line {number}" for number in range(2_000)]}).encode()

CustomerId = Annotated[str | None, Restricted, Tokenized("customer"), Subject("customer")]


class Parcel(Contract):
    """The scenario's command; `mood` says what its handler does."""

    parcel: str
    customer: CustomerId = None
    note: Annotated[str | None, Confidential] = None
    mood: str = "good"


class Shown(Contract):
    """State, event and row of a parcel."""

    parcel: str
    times: int = 1
    customer: CustomerId = None
    note: Annotated[str | None, Confidential] = None
    filling: str = ""


parcels = Integration("parcels")


async def _pack(command: Parcel, work: Any) -> None:
    known = await work.load("parcel", command.parcel, Shown)
    if command.mood == "reject":
        raise Reject("not with us", code="NOT_WITH_US")
    if command.mood == "retry" and work.headers.attempt == 1:
        raise Retry("not yet", after=7)
    if command.mood == "half" and work.headers.attempt == 1:
        await work.save("half", command.parcel, Shown(parcel=command.parcel))
        raise Partial("half of it", after=3)
    filling = "z" * 800_000 if command.mood == "huge" else ""
    shown = Shown(
        parcel=command.parcel,
        times=1 if known is None else known.times + 1,
        customer=command.customer,
        note=command.note,
        filling=filling or ("ä" * 33_000 if command.mood == "large" else ""),
    )
    await work.save("parcel", command.parcel, shown)
    work.publish("parcel.packed", shown.model_copy(update={"filling": ""}))
    if command.mood == "sends":
        work.send("parcel.labelled", Parcel(parcel=f"{command.parcel}-label", note=command.note))
    if command.mood == "sends in order":
        work.send("parcel.queued", Parcel(parcel=command.parcel))


@parcels.handles("parcel.received", key="parcel")
async def receive(command: Parcel, work: Any) -> None:
    """Any lane but the ordered one."""
    await _pack(command, work)


@parcels.handles("parcel.labelled", key="parcel", priority=Lane.HIGH)
async def label(command: Parcel, work: Any) -> None:
    """What another handler sends."""
    await _pack(command, work)


@parcels.handles("parcel.queued", key="parcel", priority=Lane.ORDERED)
async def queue(command: Parcel, work: Any) -> None:
    """One after the other."""
    await _pack(command, work)


@parcels.projects("parcel.packed", into="parcels")
def row(shown: Shown) -> Shown:
    """A parcel's row."""
    return shown


@dataclass(frozen=True)
class Secret:
    """A secret of the scenario's vault."""

    value: str = field(repr=False)
    version: str = "v1"


class Vault:
    """Two keys that never change."""

    async def get(self, name: str) -> Secret:
        """The current version."""
        return Secret(SECRETS[name.partition("/")[0]])

    async def both(self, name: str) -> tuple[Secret, ...]:
        """There is one version only."""
        return (await self.get(name),)


@dataclass
class Broker:
    """What the SDK's sender of any queue would have sent."""

    sent: list[dict[str, Any]] = field(default_factory=list)

    def take(self, message: ServiceBusMessage, when: datetime | None = None) -> None:
        """A message as it would travel."""
        body = b"".join(message.body)
        properties = {_name(name): _plain(value) for name, value in (message.application_properties or {}).items()}
        known = {
            "messageId": _plain(message.message_id),
            "sessionId": _plain(message.session_id),
            "contentType": _plain(message.content_type),
            "properties": properties,
            "body": _binary(body),
            "when": None if when is None else _as_sent(when).isoformat(),
        }
        self.sent.append({name: value for name, value in known.items() if value is not None})

    async def create_message_batch(self) -> ServiceBusMessageBatch:
        """An empty batch of the SDK."""
        return ServiceBusMessageBatch(1024 * 1024)

    async def send_messages(self, batch: ServiceBusMessageBatch, **_: Any) -> None:
        """Take all of a batch, as its receiver reads it."""
        for wire in batch._message[5]:
            message = ServiceBusReceivedMessage(decode_message(memoryview(bytes(wire))), receiver=None)
            self.take(message, message.scheduled_enqueue_time_utc)

    async def schedule_messages(self, message: ServiceBusMessage, when: datetime, **_: Any) -> None:
        """Take one for later."""
        self.take(message, when)

    async def close(self) -> None:
        """Nothing is open."""


class HubAwayError(ConnectionError):
    """The event hub takes nothing for now."""


@dataclass
class Hub:
    """What the SDK's producer would have sent; while it is away events stay in the outbox."""

    events: list[dict[str, Any]] = field(default_factory=list)
    away: bool = False

    async def get_partition_ids(self) -> list[str]:
        """Two."""
        return ["0", "1"]

    async def create_batch(self, *, partition_id: str) -> EventDataBatch:
        """An empty batch of the SDK for a partition."""
        return EventDataBatch(1024 * 1024, partition_id=partition_id)

    async def send_batch(self, batch: EventDataBatch) -> None:
        """Take all of it, as its reader has it."""
        if self.away:
            raise HubAwayError
        for wire in batch._message[5]:
            event = EventData._from_message(decode_event(memoryview(bytes(wire))))
            body = json.loads(event.body_as_str())
            self.events.append({"partition": batch._partition_id, "contentType": event.content_type, "body": body})

    close = Broker.close


class Clock:
    """Time that the scenario moves."""

    def __init__(self) -> None:
        self.moment = NOW

    def __call__(self) -> datetime:
        """Now."""
        return self.moment


def message_id(number: int) -> UUID:
    """The id of message `number`."""
    return UUID(int=0x1000_0000_0000_4000_8000_0000_0000_0000 + number)


def delivery(
    number: int, event_type: str, lane: str, parcel: Parcel, *, changed: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Message `number` as a trigger hands it over."""
    identity = str(message_id(number))
    envelope = {
        "messageId": identity,
        "timestamp": "2026-01-02T03:04:05.678Z",
        "source": "/scenario",
        "eventType": event_type,
        "version": "1.0",
        "data": parcel.model_dump(mode="json", by_alias=True),
    }
    properties = {
        "messageId": identity,
        "eventType": event_type,
        "version": "1.0",
        "source": "/scenario",
        "key": parcel.parcel,
        "priority": lane,
        "attempt": 1,
        "firstAttemptAt": NOW.isoformat(),
        "correlationId": f"correlation-{number}",
        "traceparent": TRACE,
        "sender": "c" * 16,
    }
    return {
        "body": json.dumps(envelope).encode(),
        "properties": properties | (changed or {}),
        "message_id": identity,
        "sequence_number": number,
        "delivery_count": 1,
    }


def redelivery(sent: dict[str, Any], number: int) -> dict[str, Any]:
    """What a queue took, as a trigger hands it over."""
    return {
        "body": base64.b64decode(sent["body"]["$bytes"]) if isinstance(sent["body"], dict) else sent["body"].encode(),
        "properties": sent["properties"],
        "message_id": sent["messageId"],
        "sequence_number": number,
        "delivery_count": 1,
    }


@dataclass
class Stores:
    """The accounts, with names of this run's own."""

    storage: str
    suffix: str

    def table(self, name: str) -> str:
        """A table's name."""
        return f"{name}{self.suffix}"

    def container(self, name: str) -> str:
        """A container's name."""
        return f"{name}-{self.suffix}"

    async def dump(self) -> dict[str, Any]:
        """Everything that lies in them, readable, without what the service adds by itself."""
        found: dict[str, Any] = {"tables": {}, "blobs": {}}
        async with TableServiceClient.from_connection_string(self.storage) as service:
            there = {one.name async for one in service.list_tables()}
            for name in TABLES:
                if self.table(name) in there:
                    client = service.get_table_client(self.table(name))
                    rows = [_row(one) async for one in client.list_entities()]
                    found["tables"][name] = sorted(rows, key=lambda one: (one["PartitionKey"], one["RowKey"]))
        async with BlobServiceClient.from_connection_string(self.storage) as blobs:
            here = {one.name async for one in blobs.list_containers()}
            for name in CONTAINERS:
                if self.container(name) in here:
                    container = blobs.get_container_client(self.container(name))
                    names = [one.name async for one in container.list_blobs()]
                    found["blobs"][name] = {one: await _blob(container, one) for one in sorted(names)}
        return found

    async def restore(self, known: dict[str, Any]) -> None:
        """Have all of that lie there."""
        async with TableServiceClient.from_connection_string(self.storage) as service:
            for name, rows in known["tables"].items():
                client = await service.create_table(self.table(name))
                for one in rows:
                    await client.create_entity({column: _restored(value) for column, value in one.items()})
        async with BlobServiceClient.from_connection_string(self.storage) as blobs:
            for name, contents in known["blobs"].items():
                container = blobs.get_container_client(self.container(name))
                with suppress(ResourceExistsError):
                    await container.create_container()
                for path, blob in contents.items():
                    content = zlib.decompress(base64.b64decode(blob["zlib"]))
                    await container.upload_blob(path, content, metadata=blob["metadata"])


async def _blob(container: Any, name: str) -> dict[str, Any]:
    stream = await container.download_blob(name)
    content = await stream.readall()
    return {
        "metadata": dict(sorted(stream.properties.metadata.items())),
        "contentType": stream.properties.content_settings.content_type,
        "zlib": base64.b64encode(zlib.compress(content, 9)).decode(),
    }


def _row(entity: Any) -> dict[str, Any]:
    """A row's columns with their types."""
    return {name: _typed(value) for name, value in sorted(entity.items())}


def _typed(value: Any) -> Any:
    if hasattr(value, "edm_type"):  # a 64-bit integer, as the SDK reads it
        return {f"${value.edm_type.value}": str(value.value)}
    if isinstance(value, datetime):
        return {"$Edm.DateTime": value.astimezone(UTC).isoformat()}
    if isinstance(value, bytes):
        return {"$Edm.Binary": base64.b64encode(value).decode()}
    return value


def _restored(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, text),) = value.items()
    match kind:
        case "$Edm.DateTime":
            return datetime.fromisoformat(text)
        case "$Edm.Binary":
            return base64.b64decode(text)
        case "$Edm.Int64":
            from azure.data.tables import EdmType, EntityProperty

            return EntityProperty(int(text), EdmType.INT64)
    raise ValueError(kind)


def _name(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


def _as_sent(when: datetime) -> datetime:
    """A timestamp has milliseconds (AMQP 1.0, 1.6.17)."""
    return when.replace(microsecond=when.microsecond // 1_000 * 1_000)


def _plain(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _binary(content: bytes) -> Any:
    """Text where it is text."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return {"$bytes": base64.b64encode(content).decode()}
    return text


def plain(value: Any) -> Any:
    """Anything as JSON."""
    return json.loads(json.dumps(value, default=lambda one: _binary(one) if isinstance(one, bytes) else str(one)))


@contextmanager
def known_bytes() -> Iterator[None]:
    """What is random is known: nonces and salts are the same each time. Never outside of a test."""
    real = os.urandom
    os.urandom = lambda size: bytes(number % 251 for number in range(size))
    try:
        yield
    finally:
        os.urandom = real


@asynccontextmanager
async def _app(surface: Any, stores: Stores) -> AsyncIterator[Any]:
    app = surface.App(stores, clock=Clock(), broker=Broker(), hub=Hub(), vault=Vault(), integration=parcels)
    try:
        yield app
    finally:
        await app.close()


async def write(surface: Any, stores: Stores) -> dict[str, Any]:
    """Play the scenario on empty stores; returns what lies there and what was sent."""
    with known_bytes():
        async with _app(surface, stores) as app:
            await _write(app)
            letters = await app.letters()
            rejected = next(one for one in letters if one["message_id"] == str(message_id(6)))
            await app.replay(rejected["id"], by="ada", reason="the cause is mended")
            await app.write_audit("carrier-key", "version-1", {"actor": "developer", "at": NOW, "outcome": "rotated"})
            sent = sorted(app.broker.sent, key=lambda one: json.dumps(one, sort_keys=True))
            events = sorted(app.hub.events, key=lambda one: (one["body"]["subject"], one["body"]["sequence"]))
    stored = await stores.dump()
    _forget_stacks(stored)
    return dict(plain({**stored, "sent": sent, "events": events}))


async def _write(app: Any) -> None:
    ada = {"customer": "C-17850", "note": "for Ada"}
    await app.send(delivery(1, "parcel.labelled", "high", Parcel(parcel="A", **ada)))  # encrypted on its lane
    await app.send(delivery(2, "parcel.queued", "ordered", Parcel(parcel="O")))
    await app.process("high", [redelivery(app.broker.sent[0], 1)])
    await app.process(
        "normal",
        [
            delivery(3, "parcel.received", "normal", Parcel(parcel="A", **ada)),
            delivery(4, "parcel.received", "normal", Parcel(parcel="a/b\\c#d?e%", mood="large")),
            delivery(5, "parcel.received", "normal", Parcel(parcel="H", mood="huge")),
            delivery(6, "parcel.received", "normal", Parcel(parcel="R", mood="reject", **ada)),
            delivery(7, "parcel.received", "normal", Parcel(parcel="T", mood="retry")),
            delivery(8, "parcel.received", "normal", Parcel(parcel="P", mood="half")),
            {**delivery(9, "parcel.received", "normal", Parcel(parcel="X")), "body": b"not JSON"},
            {**delivery(10, "parcel.received", "normal", Parcel(parcel="X")), "properties": {"any": "thing"}},
            delivery(11, "nobody.knows", "normal", Parcel(parcel="Y", note="n" * 66_000)),
        ],
    )
    app.hub.away = True
    await app.process("normal", [delivery(12, "parcel.received", "normal", Parcel(parcel="S", mood="sends", **ada))])
    await app.process("normal", [delivery(13, "parcel.received", "normal", Parcel(parcel="Q", mood="sends in order"))])
    app.hub.away = False
    for number, mood in ((14, "retry"), (15, "good"), (16, "good")):
        await app.process("ordered", [delivery(number, "parcel.queued", "ordered", Parcel(parcel="O1", mood=mood))])
    await app.process("ordered", [delivery(17, "parcel.queued", "ordered", Parcel(parcel="O2", mood="reject"))])
    await app.process("ordered", [delivery(18, "parcel.queued", "ordered", Parcel(parcel="O2", **ada))])
    reason = {"DeadLetterReason": "MaxDeliveryCountExceeded", "DeadLetterErrorDescription": "ten times"}
    given_up = delivery(19, "parcel.received", "normal", Parcel(parcel="B"), changed=reason)
    await app.drain_dead_letter_queue("normal", [given_up])
    await app.project([json.dumps(event["body"]).encode() for event in app.hub.events] + [b"poison"])
    await app.hold_lease("golden")
    await app.put_claim(message_id(20), CLAIMED)
    await app.erase("C-13047", by="ada", reason="asked for it")


async def read(surface: Any, stores: Stores) -> dict[str, Any]:
    """Go on with what some release left; returns all that is seen and said."""
    seen: dict[str, Any] = {}
    with known_bytes():
        async with _app(surface, stores) as app:
            seen["lease"] = await app.try_lease("golden")
            ada = {"customer": "C-17850", "note": "for Ada"}
            again = delivery(3, "parcel.received", "normal", Parcel(parcel="A", **ada))
            await app.process("normal", [again])  # a second delivery does nothing
            await app.process("normal", [delivery(3, "parcel.received", "normal", Parcel(parcel="A", note="x"))])
            for number, parcel in ((30, "A"), (31, "H"), (32, "a/b\\c#d?e%"), (33, "S"), (34, "P")):
                await app.process("normal", [delivery(number, "parcel.received", "normal", Parcel(parcel=parcel))])
            seen["on"] = _said(app)
            app.clock.moment += timedelta(minutes=5)
            await app.sweep_outbox()
            seen["swept"] = _said(app)
            await app.drain_parking()
            seen["drained"] = _said(app)
            await app.process("ordered", [delivery(35, "parcel.queued", "ordered", Parcel(parcel="O2"))])
            seen["letters"] = plain(sorted(await app.letters(), key=lambda one: one["id"]))
            for one in seen["letters"]:
                one["fingerprint"] = "…"
            for one in seen["letters"]:
                seen.setdefault("replayed", []).append(await app.replay(one["id"], by="ada", reason="again"))
            seen["sent again"] = _said(app)
            seen["views"] = [await app.view("parcels", key) for key in ("A", "a/b\\c#d?e%", "H", "nothing")]
            seen["found"] = await app.find("parcels", "customer", "C-17850")
            seen["claim"] = await app.get_claim(message_id(20), CLAIMED) == CLAIMED
            seen["erased"] = await app.has_key("C-13047"), await app.has_key("C-17850")
            app.clock.moment += timedelta(minutes=5)
            seen["lease later"] = await app.try_lease("golden")
    return dict(plain(seen))


def _said(app: Any) -> dict[str, Any]:
    """What was sent and published since the last time."""
    sent = sorted(app.broker.sent, key=lambda one: json.dumps(one, sort_keys=True))
    events = sorted(app.hub.events, key=lambda one: (one["body"]["subject"], one["body"]["sequence"]))
    app.broker.sent, app.hub.events = [], []
    return {"sent": sent, "events": events}


def _forget_stacks(stored: dict[str, Any]) -> None:
    """A stack's fingerprint names functions of a release's own code: only that there is one is a promise."""
    for one in stored["tables"].get("deadletters", []):
        if len(one["fingerprint"]) != 16:
            raise AssertionError(one["fingerprint"])
        one["fingerprint"] = "0" * 16
