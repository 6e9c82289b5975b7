"""A processor with everything around it in memory, and commands whose handler does as it is told."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self, cast
from uuid import UUID

from pydantic import model_validator

from shared.dead_letters import Suspects
from shared.messages import CloudEvent, Contract, Delivery, Headers, Integration, Lane, Partial, Registry, Reject, Retry
from shared.partners import PartnerUnavailable
from shared.pausing import PauseGate, PauseWatch
from shared.processing import BatchProcessor
from shared.resilience import RetryBudget, RetryPlan
from shared.secrets import Secret, UnknownSecret
from shared.work import Work
from tests.unit.memory import (
    Instance,
    MemoryClaims,
    MemoryDeadLetters,
    MemoryLanes,
    MemoryPublisher,
    MemoryState,
    Sent,
    Surroundings,
)

__all__ = [
    "CARRIER_KEY",
    "MISBEHAVIOUR",
    "NOW",
    "READERS",
    "Stock",
    "World",
    "body",
    "delivery",
    "headers",
    "of",
    "redelivered",
]

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CARRIER_KEY = "the carrier's key, 7&1"
_COPIES = itertools.count(1_000_000)
READERS: list[threading.Thread] = []
"""The threads in which commands were validated, the latest last."""


class Move(Contract):
    """The command of these tests; `behave` chooses what its handler does."""

    item: str
    amount: int = 1
    behave: str = "well"

    @model_validator(mode="after")
    def _note_the_reader(self) -> Self:
        READERS.append(threading.current_thread())
        return self


class Note(Contract):
    """A command that a handler of these tests sends."""

    item: str
    amount: int = 1


class Stock(Contract):
    """State of an item."""

    total: int
    moves: list[int]


class BrokenError(Exception):
    """An exception that can't even be told."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class Answer:
    """What a partner's client hangs on its error."""

    def __init__(self, status: int, **headers: str) -> None:
        self.status_code = status
        self.headers = headers


class PartnerError(Exception):
    """An error as HTTP clients raise it."""

    def __init__(self, response: Answer) -> None:
        super().__init__("partner")
        self.response = response


async def _hang() -> None:
    await asyncio.sleep(3_600)


async def _cancelled_inside() -> None:
    task = asyncio.create_task(asyncio.sleep(60))
    await asyncio.sleep(0)
    task.cancel()
    await task


MISBEHAVIOUR: dict[str, BaseException | Callable[[], Awaitable[None]]] = {
    "hangs": _hang,
    "is cancelled inside": _cancelled_inside,
    "exits": SystemExit(1),
    "interrupts": KeyboardInterrupt(),
    "cancels": asyncio.CancelledError(),
    "stops": StopAsyncIteration(),
    "generator exit": GeneratorExit(),
    "has a bug": KeyError("sku"),
    "is out of memory": MemoryError(),
    "recurses": RecursionError(),
    "breaks the exception": BrokenError(),
    "retry": Retry("not yet", after=7),
    "rejects oddly": Reject("\ud800" * 50_000, code="\udfff" * 50_000),
    "rejects wordlessly": Reject(cast("str", None), code=cast("str", None)),
    "postponed": PartnerUnavailable("carrier", "labels", "its breaker is open", after=45),
    "half": Partial("half of it", after=3),
    "reject": Reject("not with us", code="CUSTOMER_BLOCKED"),
    "throttled": PartnerError(Answer(429, **{"Retry-After": "11"})),
    "throttled oddly": PartnerError(Answer(429, **{"Retry-After": "nan"})),
    "throttled until a date": PartnerError(Answer(429, **{"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"})),
    "throttled below zero": PartnerError(Answer(503, **{"Retry-After": "-inf"})),
}


class Vault:
    """Has one secret, or an outage."""

    def __init__(self) -> None:
        self.broken: Exception | None = None

    async def get(self, name: str) -> Secret:
        """The secret of the carrier."""
        if self.broken is not None:
            raise self.broken
        if name != "carrier":
            raise UnknownSecret(name, "not here")
        return Secret(name=name, value=CARRIER_KEY, version="1", created=NOW)


class World:
    """A processor with everything around it in memory."""

    def __init__(
        self,
        *,
        buckets: int = 4,
        concurrency: int = 8,
        timeout: float = 5.0,
        attempts: int = 3,
        reserve: float = 100,
        state: MemoryState | None = None,
        dead: MemoryDeadLetters | None = None,
        pauses: PauseWatch | None = None,
        admission: PauseGate | None = None,
        in_order: bool = False,
    ) -> None:
        self.in_order = in_order
        self.released = asyncio.Event()
        self.waiting = asyncio.Event()
        self.pauses = pauses
        self.admission = admission
        self.state = state or MemoryState(buckets)
        self.suspects = Suspects(self.state)
        self.lanes = MemoryLanes()
        self.publisher = MemoryPublisher()
        self.dead = dead or MemoryDeadLetters()
        self.claims = MemoryClaims()
        self.handlers_vault = Vault()
        self.running = self.most_running = 0
        self.started = asyncio.Event()
        self.calls: list[tuple[str, int]] = []
        self.registry = Registry([self._integration()])
        self.processor = self._processor(concurrency, timeout, attempts, reserve)

    def _processor(self, concurrency: int, timeout: float, attempts: int, reserve: float) -> BatchProcessor:
        around = Surroundings(
            registry=self.registry,
            store=self.state,
            lanes=self.lanes,
            publisher=self.publisher,
            dead_letters=self.dead,
            claims=self.claims,
            secrets=self.handlers_vault,
            pauses=self.pauses,
            admission=self.admission,
            now=lambda: NOW,
            source="/sluice",
            timeout=timeout,
            batch_budget=timeout * 3,
            concurrency=concurrency,
            plan=RetryPlan(max_attempts=attempts, base=2.0, cap=10.0),
            budget=RetryBudget(share=0, reserve=reserve, trickle=0, clock=lambda: 0.0),
            spent_delay=300.0,
            jitter=1.0,
            settle_for=timedelta(seconds=10),
            suspects=self.suspects,
        )
        return Instance(around, ordered=self.in_order).processor

    def _integration(self) -> Integration:
        stock = Integration("stock")

        @stock.handles("stock.moved", key="item")
        async def move(command: Move, work: Work) -> Any:
            self.calls.append((command.item, command.amount))
            self.running += 1
            self.started.set()
            self.most_running = max(self.most_running, self.running)
            try:
                await asyncio.sleep(0)
                return await self._behave(command, work)
            finally:
                self.running -= 1

        @stock.handles("stock.noted", key="item", priority=Lane.HIGH)
        async def note(command: Note, work: Work) -> None:
            known = await work.load("stock", command.item, Stock) or Stock(total=0, moves=[])
            moves = [*known.moves, command.amount]
            await work.save("stock", command.item, Stock(total=sum(moves), moves=moves))
            work.publish("stock.noted", command)

        return stock

    async def _behave(self, command: Move, work: Work) -> Any:
        trouble = MISBEHAVIOUR.get(command.behave)
        if isinstance(trouble, BaseException):
            raise trouble
        if trouble is not None:
            await trouble()
        if command.behave == "waits":
            self.waiting.set()
            await self.released.wait()
        if command.behave in ("well", "waits"):
            await self._add(command, work)
        elif command.behave == "publishes too much":
            for _ in range(100):
                work.publish("stock.counted", command)
        elif command.behave == "saves too much":
            for number in range(6):
                await work.save(f"part-{number}", command.item, Move(item="x" * 700_000))
        elif command.behave == "half of too much":
            for number in range(6):
                await work.save(f"part-{number}", command.item, Move(item="x" * 700_000))
            raise Partial("half of it")
        elif command.behave == "in two halves":
            await self._halve(command, work)
        elif command.behave == "shows the key":
            key = await work.secret("carrier")
            raise Reject(f"the partner refuses {key.value}", code="NO_ACCESS")
        elif command.behave.startswith("sends"):
            await self._send(command, work)
        elif command.behave == "another aggregate":
            await work.save("stock", command.item + "!", Stock(total=1, moves=[]))
        return {"garbage": object()}

    async def _send(self, command: Move, work: Work) -> None:
        """A fact, a command to another aggregate, and a fact."""
        await self._add(command, work)
        if command.behave == "sends to nobody":
            work.send("stock.unheard", Note(item="shelf"))
        elif command.behave == "sends another version":
            work.send("stock.noted", Note(item="shelf"), version="2.0")
        elif command.behave == "sends nonsense":
            work.send("stock.noted", command.model_copy(update={"item": ""}))
        else:
            work.send("stock.noted", Note(item="shelf", amount=command.amount))
        work.publish("stock.told", command)

    async def _halve(self, command: Move, work: Work) -> None:
        """The first run keeps its half and says something that isn't said yet, the second does the rest."""
        half = await work.load("half", command.item, Stock)
        if half is None:
            await work.save("half", command.item, Stock(total=1, moves=[command.amount]))
            work.publish("stock.halved", command)
            raise Partial("half of it is done", after=3)
        await work.delete("half", command.item)
        await self._add(command, work)

    async def _add(self, command: Move, work: Work) -> None:
        known = await work.load("stock", command.item, Stock) or Stock(total=0, moves=[])
        await asyncio.sleep(0)
        after = Stock(total=known.total + command.amount, moves=[*known.moves, command.amount])
        await work.save("stock", command.item, after)
        work.publish("stock.counted", after)

    async def process(self, *deliveries: Delivery) -> None:
        """One batch of the normal lane."""
        await self.processor.process(Lane.NORMAL, deliveries)

    def stock(self, item: str) -> dict[str, Any] | None:
        """The state of an item."""
        rows = [row for (_, key), row in self.state.rows.items() if key == f"state:stock:{item}"]
        return json.loads(rows[0]["value"]) if rows else None

    def status(self, number: int) -> str | None:
        """What the inbox says of a message."""
        row = self.state.inbox(UUID(int=number))
        return None if row is None else row["status"]

    def put_off(self) -> list[str]:
        """Where a message waits for its next attempt: a scheduled copy, or a row of the ordered lane."""
        return [str(sent.headers.message_id) for sent in self.lanes.sent if sent.when] + [
            key for _, key in self.state.rows if key.startswith("waiting:")
        ]

    def told(self) -> list[CloudEvent]:
        """The facts in the order in which they were published."""
        return [CloudEvent.from_json(fact.body) for fact in self.publisher.facts]

    def reasons(self) -> dict[str | None, str]:
        """Codes of the dead letters by message id."""
        return {letter.message_id: letter.code for letter in self.dead.letters.values()}


def headers(number: int, item: str, **changed: Any) -> Headers:
    """Headers of message `number`."""
    plain = Headers(
        message_id=UUID(int=number),
        event_type="stock.moved",
        version="1.0",
        source="/shop",
        key=item,
        lane=Lane.NORMAL,
        correlation_id=f"c-{number}",
        first_attempt_at=NOW,
    )
    return replace(plain, **changed)


def body(number: int, item: str, **data: Any) -> bytes:
    """The envelope of message `number`."""
    return json.dumps(
        {
            "messageId": str(UUID(int=number)),
            "timestamp": "2026-01-02T03:04:05Z",
            "source": "/shop",
            "eventType": "stock.moved",
            "version": "1.0",
            "data": {"item": item, **data},
        }
    ).encode()


def delivery(
    number: int, item: str | None = None, *, with_headers: dict[str, Any] | None = None, **data: Any
) -> Delivery:
    """Message `number` as the trigger hands it over."""
    name = item or f"item-{number}"
    properties = headers(number, name, **(with_headers or {})).to_properties()
    return of(body(number, name, **data), {str(key): value for key, value in properties.items()}, number)


def of(payload: bytes, properties: dict[str, Any], number: int = 0) -> Delivery:
    """A delivery of anything."""
    return Delivery(
        body=payload, properties=properties, message_id=str(UUID(int=number)), sequence_number=number, delivery_count=1
    )


def redelivered(sent: Sent) -> Delivery:
    """What a lane took, as it comes out again."""
    properties = {str(name): value for name, value in sent.headers.to_properties().items()}
    copy = of(sent.body, properties, sent.headers.message_id.int)
    return replace(copy, message_id=sent.headers.broker_id, sequence_number=next(_COPIES))
