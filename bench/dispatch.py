"""What the app adds to the CPU that the platform's own decoding and the validation cost anyway, without I/O."""

import asyncio
import gc
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, cast
from uuid import UUID

import azure.functions as func
from azure.functions.meta import Datum
from pydantic import BaseModel

import integrations
from functions.batches import delivery_of
from functions.composition import Composition
from functions.composition.pausing import pause_table
from functions.composition.processing import processor
from functions.composition.sending import lane_senders, publisher
from functions.composition.state import state_store
from local_azure.host.trigger_data.service_bus import ReceivedMessage, batch
from shared.messages import Envelope, Headers, Lane, discover
from shared.sending import OutgoingEvent
from shared.settings import Settings
from shared.tables import MemoryTable, Operation
from shared.telemetry.logs import configure_json
from shared.testing import MemoryStore

from .harness import Benchmark
from .messages import Sample, orders
from .stack import sample_settings

BATCH = 200
BATCHES_A_ROUND = 5
NOWHERE = "Endpoint=sb://localhost;SharedAccessKeyName=x;SharedAccessKey=x"

Wire = tuple[Datum, Mapping[str, Datum]]


class _NoBroker:
    """Takes what is sent or published, and forgets it."""

    async def publish(self, facts: Sequence[OutgoingEvent]) -> None:
        """Taken."""

    async def send(self, headers: Headers, body: bytes) -> None:
        """Taken."""

    async def send_later(self, headers: Headers, body: bytes, when: datetime) -> None:
        """Taken."""


class _Unchecked(MemoryTable):
    """What a service checks of a row isn't the app's to pay."""

    def _accept(self, operations: Sequence[Operation]) -> None:
        pass


def in_memory(parts: Mapping[Any, Any] | None = None) -> Composition:
    """The app as it is composed, with state in memory and no broker; and with other parts where they are given."""
    storage = dict.fromkeys(("State", "Claims"), "UseDevelopmentStorage=true")
    settings = Settings.load(
        sample_settings() | storage | {"ServiceBus": NOWHERE, "EventHubs": NOWHERE, "SLUICE_OPERATION_KEY": "-" * 40}
    )
    broker = _NoBroker()
    store = MemoryStore(buckets=settings.state_buckets, table=_Unchecked("state"))
    edges = {state_store: store, publisher: broker, lane_senders: broker}
    return Composition(
        settings, discover(integrations), parts={pause_table: MemoryTable("state"), **edges, **(parts or {})}
    )


def wire(samples: Sequence[Sample]) -> Wire:
    """A batch as the host hands it to the worker."""
    received = [
        ReceivedMessage(
            body=sample.body,
            message_id=sample.headers.broker_id,
            lock_token=str(UUID(int=number)),
            sequence_number=number,
            content_type="application/json",
            enqueued_time=sample.headers.first_attempt_at,
            expires_at=sample.headers.first_attempt_at + timedelta(days=14),
            application_properties=cast("dict[str, Any]", sample.headers.to_properties()),
        )
        for number, sample in enumerate(samples, 1)
    ]
    return batch(received, "binary")


def decode(sent: Wire) -> list[func.ServiceBusMessage]:
    """What the worker makes of it."""
    converter = func.get_binding_registry().get("serviceBusTrigger")
    return cast("list[func.ServiceBusMessage]", converter.decode(sent[0], trigger_metadata=sent[1]))


def _bare(batches: Sequence[Wire], envelope: type[BaseModel]) -> float:
    started = time.process_time()
    for sent in batches:
        for message in decode(sent):
            envelope.model_validate_json(message.get_body())
    return time.process_time() - started


async def dispatched(batches: Sequence[Wire], composition: Composition) -> float:
    """CPU seconds that the app takes for some batches."""
    batches_of = composition.get(processor)
    started = time.process_time()
    for sent in batches:
        await batches_of.process(Lane.NORMAL, [delivery_of(message) for message in decode(sent)])
    return time.process_time() - started


async def _round(composition: Composition, envelope: type[BaseModel]) -> float:
    """Both sides see the same batches, one after the other, so that a slow moment of the machine hits both."""
    samples = orders()
    bare = ours = 0.0
    for _ in range(BATCHES_A_ROUND):
        batches = [wire(list(islice(samples, BATCH)))]
        gc.collect()
        bare += _bare(batches, envelope)
        gc.collect()
        ours += await dispatched(batches, composition)
    store = cast("MemoryStore", composition.get(state_store))
    rows = store.rows
    done = sum(row.get("status") == "done" for row in rows.values())
    if done != BATCH * BATCHES_A_ROUND:
        raise RuntimeError(f"{done} of {BATCH * BATCHES_A_ROUND} messages were done: this is no measurement")
    store.table.rows.clear()
    return ours / bare


def _rounds(rounds: int) -> Iterator[float]:
    with open(os.devnull, "w", encoding="utf-8") as nowhere, asyncio.Runner() as runner:
        configure_json(nowhere)
        composition = in_memory()
        handler = composition.registry.handler("order.placed", "1.0")
        envelope = Envelope[handler.model]  # type: ignore[name-defined]
        runner.run(_round(composition, envelope))  # code warms up
        for _ in range(rounds):
            yield runner.run(_round(composition, envelope))


BENCHMARKS = [
    Benchmark(
        name="dispatch",
        claim=f"CPU of a batch of {BATCH} from the host's wire form to its outcome, without I/O / CPU of the host's "
        "converter and `model_validate_json` alone",
        goal=2.0,
        better="lower",
        rounds=_rounds,
    )
]
