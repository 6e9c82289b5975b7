"""Runs a drill: starts a stack of its own, posts, breaks things on the way, waits for calm, judges."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import aiohttp
from azure.core.exceptions import AzureError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from local.chaos.carrier import DrillCarrier, Parcels
from local.chaos.faults import Fault, Kind, plan, strike
from local.chaos.ledger import Verdict, judge, read_ledger, unpublished
from local.chaos.orders import MESSAGES_PER_ORDER, drill_messages
from local.demo.invoices import Message, group_invoices
from local.demo.replay import Replay, replay
from local.demo.rows import parse_rows
from local.demo.sample import sample_csv
from local.stack import Stack, StackOptions
from local.stack.ports import InternalPorts, any_free

__all__ = ["DrillOptions", "Outcome", "run_drill"]

_INSTANCES = 2
_LOOK_SECONDS = 0.5
_STALL_SECONDS = 180.0
_STATUS = aiohttp.ClientTimeout(total=5)
_ANY = InternalPorts(amqp=0, admin=0, blob=0, queue=0, table=0, identity=0, vault=0, partners=0)
_EVENT_HUB = "events"
_CARRIER = "express"


@dataclass(frozen=True)
class DrillOptions:
    """How large, how rough, and where; the same seed breaks the same things at the same points of the work.

    `each` is how many messages an order gets. With `partners` accepted orders are shipped by a carrier that fails, and
    is away for `away` seconds.
    """

    project: Path
    data_directory: Path
    messages: int = 20_000
    kills: int = 10
    seed: int = 1
    each: int = MESSAGES_PER_ORDER
    partners: bool = False
    away: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.each <= 100:
            raise ValueError(f"--each must be from 1 to 100, not {self.each}.")
        if not 1 <= self.away <= 3_600:
            raise ValueError(f"--away must be from 1 to 3600, not {self.away:g}.")
        if not 1 <= self.messages <= 1_000_000:
            raise ValueError(f"--messages must be from 1 to 1000000, not {self.messages}.")
        if not 0 <= self.kills <= 1_000:
            raise ValueError(f"--kills must be from 0 to 1000, not {self.kills}.")
        if os.name != "posix":
            raise ValueError("A drill needs the signals of Linux or macOS.")


@dataclass(frozen=True)
class Outcome:
    """What was broken, how it came out, and what got no final answer from the API."""

    verdict: Verdict
    struck: Counter[Kind]
    unanswered: int
    stalled: bool
    seconds: float
    parcels: Parcels | None = None

    @property
    def passed(self) -> bool:
        """Whether every promise held."""
        return self.verdict.holds and not self.stalled and (self.parcels is None or self.parcels.hold)


async def run_drill(options: DrillOptions, console: Console) -> Outcome:
    """Do the whole drill; the stack is gone afterwards, its data stays in the data directory."""
    chance = Random(options.seed)  # noqa: S311 - a drill must be repeatable
    invoices = group_invoices(parse_rows(sample_csv(), "sample"))
    messages = drill_messages(invoices, options.messages, f"{options.seed:x}", options.each)
    faults = plan(kills=options.kills, instances=_INSTANCES, chance=chance)
    say: Callable[[str], None] = lambda text: console.print(text, style="dim", markup=False, highlight=False)  # noqa: E731
    stack = Stack(
        StackOptions(
            project=options.project,
            data_directory=options.data_directory,
            port=any_free(_INSTANCES),
            instances=_INSTANCES,
            ports=_ANY,
            reload=False,
            settings={"ORDERS_CARRIER": _CARRIER if options.partners else ""},
        ),
        say,
    )
    async with stack:
        carrier = None
        if options.partners:
            orders = len({one.number for one in messages if not one.is_credit_note})
            carrier = DrillCarrier(stack.partners[_CARRIER], orders, options.away, say)
        return await _Drill(stack, messages, faults, carrier, console, say).run()


class _Drill:
    """One drill on a running stack."""

    def __init__(
        self,
        stack: Stack,
        messages: Sequence[Message],
        faults: Sequence[Fault],
        carrier: DrillCarrier | None,
        console: Console,
        say: Callable[[str], None],
    ) -> None:
        self._stack = stack
        self._messages = messages
        self._faults = faults
        self._carrier = carrier
        self._console = console
        self._say = say
        self._answers = Replay()
        self._waiting = 0
        self._struck: Counter[Kind] = Counter()

    async def run(self) -> Outcome:
        """Post and break side by side, wait for calm, judge."""
        token = await self._stack.token(client="drill")
        began = time.monotonic()
        async with self._shown(), asyncio.TaskGroup() as tasks:
            posting = tasks.create_task(replay(self._messages, self._stack.urls, token, self._answers))
            under_way = [posting, tasks.create_task(self._break())]
            if self._carrier is not None:
                under_way.append(tasks.create_task(self._carrier.misbehave()))
            stalled = not await self._until_calm(*under_way)
            for task in under_way:
                task.cancel()
        ledger = await read_ledger(
            self._stack.azurite.connection_string, self._stack.emulator.connection_string, _EVENT_HUB
        )
        done = {one.number for id_, one in self._answers.accepted.items() if ledger.inbox.get(id_) == "done"}
        orders = {one.number for one in self._answers.accepted.values() if not one.is_credit_note} & done
        return Outcome(
            verdict=judge(self._answers.accepted, ledger),
            struck=self._struck,
            unanswered=len(self._messages) - len(self._answers.accepted) - len(self._answers.refused),
            stalled=stalled,
            seconds=time.monotonic() - began,
            parcels=None if self._carrier is None else self._carrier.judged(orders, ledger.shipped),
        )

    @property
    def _done(self) -> float:
        """Share of the work behind us: half of it is to take messages in, half to process them."""
        taken = len(self._answers.accepted)
        return (taken + max(0, taken - self._waiting)) / (2 * len(self._messages))

    async def _break(self) -> None:
        processes = self._stack.data.path / "processes.json"
        for fault in self._faults:
            while self._done < fault.at:  # noqa: ASYNC110 - the progress of others, looked at now and then
                await asyncio.sleep(_LOOK_SECONDS / 5)
            await strike(fault, processes, self._say)
            self._struck[fault.kind] += 1

    async def _until_calm(self, *tasks: asyncio.Task[None]) -> bool:
        """Wait until all is posted, broken, processed and published; False when nothing moves any more."""
        moved, state = time.monotonic(), (-1, -1, -1, (0, 0))
        while True:
            left = await self._left()
            carrier = (0, 0) if self._carrier is None else self._carrier.state
            posted = all(task.done() for task in tasks)
            now = (self._answers.answered, *left, carrier)
            # What the carrier tells is a message again: it is calm once nothing is to be told, and two looks agree.
            if posted and left == (0, 0) and not carrier[1] and (self._carrier is None or now == state):
                return True
            if now != state or left[0] < 0:
                moved, state = time.monotonic(), now
            elif time.monotonic() - moved > _STALL_SECONDS:
                return False
            await asyncio.sleep(_LOOK_SECONDS)

    async def _left(self) -> tuple[int, int]:
        """Messages in the queues, and once there are none, facts in the outbox; -1 while nobody can say."""
        try:
            self._waiting = await _queued(self._stack.emulator.status_url)
            if self._waiting or self._answers.answered < len(self._messages):
                return self._waiting, 0
            return 0, await unpublished(self._stack.azurite.connection_string)
        except (aiohttp.ClientError, AzureError, TimeoutError, OSError):
            return -1, -1

    @contextlib.asynccontextmanager
    async def _shown(self) -> AsyncIterator[None]:
        columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as bars:
            total = len(self._messages)
            accepted, processed = bars.add_task("accepted", total=total), bars.add_task("processed", total=total)
            broken = bars.add_task("broken", total=len(self._faults))
            task = asyncio.create_task(self._show(bars, accepted, processed, broken))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _show(self, bars: Progress, accepted: TaskID, processed: TaskID, broken: TaskID) -> None:
        while True:
            taken = len(self._answers.accepted)
            bars.update(accepted, completed=taken)
            bars.update(processed, completed=max(0, taken - self._waiting))
            bars.update(broken, completed=self._struck.total())
            await asyncio.sleep(_LOOK_SECONDS)


async def _queued(status_url: str) -> int:
    """Messages in the queues, whatever they wait for."""
    async with aiohttp.ClientSession(timeout=_STATUS) as session, session.get(f"{status_url}/status.json") as answer:
        answer.raise_for_status()
        queues = (await answer.json())["queues"]
    return sum(queue[state] for queue in queues.values() for state in ("active", "locked", "scheduled"))
