"""A small app on real storage: its own tables, one handler that can be broken and mended, and a clock to move."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from azure.servicebus import ServiceBusMessage
from azure.storage.blob.aio import ContainerClient

from functions.composition import Composition
from functions.composition.dead_letters import dead_letter_store, queue_drain
from functions.composition.processing import processor
from functions.composition.read_models import read_models
from functions.composition.sending import lane_senders
from functions.composition.state import state_store
from local.azurite import AzuriteEndpoints
from ops.dead_letters import redrive_of
from shared.blobs import BodyStore
from shared.classification import Restricted
from shared.dead_letters import (
    MAX_RETURNS,
    RETURNS,
    DeadLetter,
    DeadLetterStore,
    Filters,
    GivenUp,
    Redrive,
    StoredLetter,
    Suspects,
)
from shared.dead_letters.suspects import _key
from shared.messages import Contract, Delivery, Envelope, Headers, Integration, Lane, Registry, Reject
from shared.query import ReadModels
from shared.settings import Settings
from shared.state import StateStore, bucket_of, state_key, unpack
from shared.tables import Create
from shared.tables.azure import AzureTable
from shared.work import Work

NOWHERE = "Endpoint=sb://127.0.0.1:9/;SharedAccessKeyName=none;SharedAccessKey=bm9uZQ=="
"""No broker answers there."""


class Parcel(Contract):
    """What the test's messages are about."""

    parcel_id: str


class Weighing(Contract):
    """A message that can break its contract, and says something that not everybody may see."""

    parcel_id: str
    grams: int
    note: str | None = None
    recipient: Annotated[str | None, Restricted] = None
    contacts: Annotated[dict[str, str] | None, Restricted] = None


class Count(Contract):
    """How often a parcel's message took effect."""

    parcel_id: str
    effects: int


class Shop:
    """The app under test."""

    def __init__(self, storage: str, broker: str, start: datetime) -> None:
        self.broken: dict[str, Exception] = {}
        self.clock = start
        self._sequence = itertools.count(1)
        self.sent: list[ServiceBusMessage] = []
        self.completed: list[GivenUp] = []
        self.returned: list[ServiceBusMessage] = []
        self.returned_at: list[datetime | None] = []
        connections = {"ServiceBus": broker, "EventHubs": broker, "State": storage, "Claims": storage}
        own = {"SLUICE_OPERATION_KEY": "k" * 32, "SLUICE_STATE_BUCKETS": "4", "SLUICE_RETRY_MAX_ATTEMPTS": "1"}
        self._settings = Settings.load(connections | own)
        self._registry = Registry([self._integration()])
        name = uuid4().hex
        self.bodies = ContainerClient.from_connection_string(storage, f"letters-{name}")
        letters = AzureTable.from_connection_string(storage, f"letters{name}")
        self._stores: dict[Any, Any] = {
            state_store: StateStore([AzureTable.from_connection_string(storage, f"state{name}")], buckets=4),
            read_models: ReadModels(AzureTable.from_connection_string(storage, f"views{name}")),
            dead_letter_store: DeadLetterStore(letters, BodyStore(self.bodies)),
        }
        self._stores[lane_senders] = self
        self.composition = self.composed({})

    def composed(self, parts: Mapping[Any, Any]) -> Composition:
        """An instance of the app on the stores of this test, with other parts where they are given."""
        return Composition(self._settings, self._registry, parts={**self._stores, **parts}, now=self.now)

    async def close(self) -> None:
        """Close the app and its stores."""
        await self.composition.close()
        for store in self._stores.values():
            if store is not self:
                await store.close()

    async def forward(self, _: Lane, message: ServiceBusMessage, *, when: datetime | None = None) -> None:
        """Stands for the lanes' senders."""
        self.returned.append(message)
        self.returned_at.append(when)

    @property
    def store(self) -> DeadLetterStore:
        return self.composition.get(dead_letter_store)

    def now(self) -> datetime:
        """Every look at the clock is a millisecond later."""
        self.clock += timedelta(milliseconds=1)
        return self.clock

    def _integration(self) -> Integration:
        shop = Integration("shop")

        @shop.handles("parcel.sent", version="1.0", key="parcelId")
        async def send(parcel: Parcel, work: Work) -> None:
            if parcel.parcel_id in self.broken:
                raise self.broken[parcel.parcel_id]
            before = await work.load("count", parcel.parcel_id, Count)
            effects = 1 + (before.effects if before else 0)
            await work.save("count", parcel.parcel_id, Count(parcel_id=parcel.parcel_id, effects=effects))

        @shop.handles("parcel.weighed", version="1.0", key="parcelId")
        async def weigh(weighing: Weighing, work: Work) -> None:
            await send(Parcel(parcel_id=weighing.parcel_id), work)
            await work.save("weight", weighing.parcel_id, weighing)

        @shop.projects("parcel.arrived", into="parcels")
        def row(parcel: Parcel) -> Parcel:
            if parcel.parcel_id in self.broken:
                raise self.broken[parcel.parcel_id]
            return parcel

        return shop

    def message(
        self, parcel: str, *, message_id: UUID | None = None, event_type: str = "parcel.sent", **data: Any
    ) -> ServiceBusMessage:
        """A command as the API sends it."""
        identity = message_id or uuid4()
        envelope = Envelope[dict[str, Any]](
            message_id=identity,
            timestamp=self.clock,
            source="test",
            event_type=event_type,
            version="1.0",
            data={"parcelId": parcel, **data},
        )
        headers = Headers(
            message_id=identity,
            event_type=event_type,
            version="1.0",
            source="test",
            key=parcel,
            lane=Lane.HIGH,
            correlation_id="c-1",
            first_attempt_at=self.clock,
            traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        )
        body = envelope.model_dump_json(by_alias=True).encode()
        return ServiceBusMessage(
            body, message_id=headers.broker_id, application_properties={**headers.to_properties(), "tenant": "blue"}
        )

    def delivery(self, message: ServiceBusMessage) -> Delivery:
        """The message as a trigger hands it over: a new copy each time."""
        return Delivery(
            body=b"".join(message.body),
            properties={str(name): value for name, value in (message.application_properties or {}).items()},
            message_id=message.message_id or "",
            sequence_number=next(self._sequence),
            delivery_count=1,
        )

    def given_up(
        self, message: ServiceBusMessage, reason: str, description: str = "why", *, returns: int = MAX_RETURNS
    ) -> GivenUp:
        """The message as the broker's dead-letter queue holds it: as a rule it has been there too often to go back."""
        delivery = self.delivery(message)
        why = {"DeadLetterReason": reason, "DeadLetterErrorDescription": description, RETURNS: returns}
        return GivenUp(
            delivery=replace(delivery, properties={**delivery.properties, **why}, delivery_count=10),
            session_id=message.session_id,
        )

    async def note_death(self, delivery: Delivery) -> None:
        """Leave what a worker leaves behind that dies while a message runs."""
        state = self.composition.get(state_store)
        notes = Suspects(state)
        deaths = await notes.deaths(delivery)
        async with notes.running(delivery, deaths):
            key = _key(delivery)
            bucket = bucket_of(key, state.buckets)
            row = (await state.find(bucket, [key]))[key]
        await state.commit(bucket, [Create(dict(row))])

    async def drain(self, lane: Lane, *messages: GivenUp, app: Composition | None = None) -> list[GivenUp]:
        """Have the app deal with them; returns those that must come again."""

        async def complete(message: GivenUp) -> None:
            self.completed.append(message)

        return await queue_drain(app or self.composition).drain(lane, messages, complete)

    async def deliver(self, lane: Lane, message: ServiceBusMessage) -> None:
        """Stands for broker and trigger: what is sent to a lane is processed at once."""
        self.sent.append(message)
        await self.composition.get(processor).process(lane, [self.delivery(message)])

    async def die(self, parcel: str, *, reason: str = "the depot is closed", **more: Any) -> StoredLetter:
        """Have a message refused; return its dead letter."""
        self.broken[parcel] = Reject(reason)
        message = self.message(parcel, **more)
        await self.deliver(Lane.HIGH, message)
        self.sent.clear()
        return await self.only(Filters(message_id=str(message.message_id)))

    async def misread(self, parcel: str, **data: Any) -> StoredLetter:
        """Have a weighing refused that breaks its contract unless `data` says otherwise; return its dead letter."""
        message = self.message(parcel, event_type="parcel.weighed", **{"grams": "heavy", **data})
        await self.deliver(Lane.HIGH, message)
        self.sent.clear()
        return await self.only(Filters(message_id=str(message.message_id)))

    async def weight(self, parcel: str) -> Mapping[str, Any] | None:
        """The weighing that took effect."""
        key = state_key("weight", parcel)
        row = (await self.composition.get(state_store).find(bucket_of(parcel, 4), [key])).get(key)
        return None if row is None else dict(json.loads(unpack(row)))

    async def only(self, filters: Filters) -> StoredLetter:
        """The one dead letter that matches."""
        found = [letter async for letter in self.store.select(filters)]
        assert len(found) == 1, found
        return found[0]

    async def effects(self, parcel: str) -> int:
        """How often the parcel's message took effect."""
        key = state_key("count", parcel)
        row = (await self.composition.get(state_store).find(bucket_of(parcel, 4), [key])).get(key)
        return 0 if row is None else int(json.loads(unpack(row))["effects"])

    def redrive(self, send: Callable[..., Any] | None = None, **changes: Any) -> Redrive:
        """As the command line makes it, but handing messages to `send`."""
        redrive = redrive_of(self.composition)
        vars(redrive)["_send"] = send or self.deliver
        vars(redrive).update(changes)
        return redrive


def letter(number: int = 0, **changes: Any) -> DeadLetter:
    """A dead letter that nothing has to have happened for."""
    moment = datetime(2026, 5, 1, tzinfo=UTC) + timedelta(seconds=number)
    usual: dict[str, Any] = {
        "identity": f"message-{number}",
        "message_id": f"message-{number}",
        "body": b"{}",
        "properties": {"messageId": f"message-{number}"},
        "source": "lane:low",
        "category": "invalid",
        "code": "VALIDATION_ERROR",
        "reason": f"reason {number}",
        "attempts": 1,
        "first_failure": moment,
        "last_failure": moment,
        "position": {"sequenceNumber": number},
    }
    return DeadLetter(**(usual | changes))


@pytest.fixture
async def shop(azurite: AzuriteEndpoints) -> AsyncIterator[Shop]:
    """An app with tables of its own; no broker is behind it."""
    made = Shop(azurite.connection_string, NOWHERE, datetime(2026, 5, 1, 12, tzinfo=UTC))
    yield made
    await made.close()
