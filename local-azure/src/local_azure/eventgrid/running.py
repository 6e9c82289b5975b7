"""Puts an Event Grid together: what it holds, its file, sockets, clock. For the command line, and for tests."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from local_azure.eventgrid.access import Bearer
from local_azure.eventgrid.errors import EventGridError
from local_azure.eventgrid.grid import Attempt, Grid, Undeliverable
from local_azure.eventgrid.handshake import BY_HAND_SECONDS, Verdict, judge, question
from local_azure.eventgrid.journal import Journal
from local_azure.eventgrid.policy import DEAD_LETTER_DELAY, Outcome
from local_azure.eventgrid.server import serve
from local_azure.eventgrid.subscriptions import EventSubscription
from local_azure.eventgrid.topics import Topic
from local_azure.eventgrid.transports import Connections, NetworkTransport

__all__ = ["RunningGrid", "running_grid"]

_AT_ONCE: Final = 64
_NO_CONNECTIONS: Final = Connections()


@dataclass(slots=True)
class _AwaitsOwner:
    """A subscription whose webhook didn't answer with the code: its owner may open the address."""

    topic: str
    subscription: EventSubscription
    content: Any
    until: float


class RunningGrid:
    """An Event Grid that listens, to be used in the loop that runs it.

    Attributes
    ----------
    url:
        Where it is; the topic `orders` takes events at `<url>/orders/api/events`.
    """

    def __init__(
        self,
        transport: NetworkTransport,
        journal: Journal | None,
        *,
        now: Callable[[], float],
        dead_letter_delay: float,
    ) -> None:
        self.url = ""
        self.now = now
        self.grid = Grid(journal, dead_letter_delay=dead_letter_delay)
        self._transport = transport
        self._journal = journal
        self._awaiting: dict[str, _AwaitsOwner] = {}
        self._wake = asyncio.Event()
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    def endpoint(self, topic: str) -> str:
        """Where a topic takes events."""
        return f"{self.url}/{self.grid.topic(topic).name}/api/events"

    def put_topic(self, name: str, content: Any) -> Topic:
        """Make or change a topic; raises EventGridError."""
        topic = Topic.read(name, content)
        self.grid.put_topic(topic)
        if self._journal is not None:
            self._journal.describe(topic.name, {**content, "keys": list(topic.keys)})
        return topic

    def remove_topic(self, name: str) -> None:
        """Remove a topic; raises EventGridError."""
        topic = self.grid.topic(name)
        for one in self.grid.subscriptions(name):
            self._forget(f"{topic.name}/{one.name}")
        self.grid.remove_topic(name)
        self._forget(topic.name)

    async def put_subscription(self, topic_name: str, name: str, content: Any) -> bool:
        """Make or change a subscription; a webhook has to agree first. Whether it is in force, or waits for its owner.

        Raises
        ------
        EventGridError
        """
        topic = self.grid.topic(topic_name)
        subscription = EventSubscription.read(name, content, topic)
        if subscription.destination.webhook:
            code, token = str(uuid.uuid4()), secrets.token_urlsafe(16)
            address = f"{self.url}/-/validate?id={token}"
            asked = question(
                topic, subscription.schema, name, code=code, address=address, identity=str(uuid.uuid4()), now=self.now()
            )
            awaiting = _AwaitsOwner(topic.name, subscription, content, self.now() + BY_HAND_SECONDS)
            self._awaiting[token] = awaiting  # before it asks: an owner may open the address while it answers
            try:
                status, headers, body = await self._transport.ask(subscription.destination.target, asked)
                found = judge(subscription.schema, subscription.destination.target, status, headers, body, code=code)
            except EventGridError:
                del self._awaiting[token]
                raise
            if found is Verdict.BY_HAND:
                return token not in self._awaiting
            self._awaiting.pop(token, None)
        self._put(topic.name, subscription, content)
        return True

    def validate(self, token: str) -> bool:
        """An owner has opened an address: whether there was one that still counts."""
        found = self._awaiting.pop(token, None)
        if found is None or found.until < self.now():
            return False
        self._put(found.topic, found.subscription, found.content)
        return True

    def remove_subscription(self, topic: str, name: str) -> None:
        """Remove a subscription; raises EventGridError where there is no such topic."""
        self.grid.remove_subscription(topic, name)
        self._forget(f"{self.grid.topic(topic).name}/{name}")

    def publish(self, topic: str, body: bytes, content_type: str) -> None:
        """Take a publisher's request; raises EventGridError."""
        self.grid.publish(topic, body, content_type, now=self.now())
        self._wake.set()

    def hurry(self) -> None:
        """Have everything that waits be done now."""
        self.grid.hurry(self.now())
        self._wake.set()

    def wake(self) -> None:
        """The clock was moved."""
        self._wake.set()

    @property
    def busy(self) -> bool:
        """Whether something is being tried, or is due to be."""
        due = self.grid.next_due
        return bool(self._tasks) or (due is not None and due <= self.now())

    def restore(self) -> None:
        """Go on with what the file has."""
        if self._journal is None:
            return
        for path, content in self._journal.described():
            topic, _, name = path.partition("/")
            if not name:
                self.grid.put_topic(Topic.read(topic, content))
            else:
                self.grid.put_subscription(topic, EventSubscription.read(name, content, self.grid.topic(topic)))
        self.grid.restore(self._journal.read())

    async def drive(self) -> None:
        """Try what is due, until cancelled."""
        while True:
            self._wake.clear()
            attempts, blobs = self.grid.due(self.now())
            for attempt in attempts:
                self._spawn(self._try(attempt))
            for blob in blobs:
                self._spawn(self._write(blob))
            due = self.grid.next_due
            try:
                async with asyncio.timeout(None if due is None else max(0.0, due - self.now())):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def close(self) -> None:
        """Stop what is being tried; it is tried again after the next start, if there is a file."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _put(self, topic: str, subscription: EventSubscription, content: Any) -> None:
        self.grid.put_subscription(topic, subscription)
        if self._journal is not None:
            self._journal.describe(f"{topic}/{subscription.name}", content)

    def _forget(self, path: str) -> None:
        if self._journal is not None:
            self._journal.forget(path)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _try(self, attempt: Attempt) -> None:
        async with self._places:
            try:
                outcome = await self._transport.send(attempt)
            except Exception:  # whatever it is: an event must not vanish with its task
                outcome = Outcome.ABORTED
        self.grid.settle(attempt, outcome, now=self.now())
        self._wake.set()

    async def _write(self, blob: Undeliverable) -> None:
        async with self._places:
            try:
                written = await self._transport.write(blob)
            except Exception:  # as above
                written = False
        self.grid.dead_lettered(blob, written=written, now=self.now())
        self._wake.set()


@asynccontextmanager
async def running_grid(
    connections: Connections = _NO_CONNECTIONS,
    *,
    now: Callable[[], float],
    folder: Path | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    bearer: Bearer | None = None,
    dead_letter_delay: float = DEAD_LETTER_DELAY,
) -> AsyncIterator[RunningGrid]:
    """Run an Event Grid until the block ends; a port of 0 is any free one.

    Parameters
    ----------
    now:
        Seconds since 1970.
    folder:
        Where it keeps everything; None keeps nothing.
    bearer:
        Checks the tokens of identities; without it they are refused.

    Raises
    ------
    OSError
        The port is taken, or the folder can't be written to.
    """
    async with AsyncExitStack() as stack:
        journal = None if folder is None else Journal(folder / "eventgrid.sqlite")
        if journal is not None:
            stack.callback(journal.close)
        transport = NetworkTransport(connections)
        stack.push_async_callback(transport.close)
        running = RunningGrid(transport, journal, now=now, dead_letter_delay=dead_letter_delay)
        running.restore()
        stack.push_async_callback(running.close)
        running.url = await stack.enter_async_context(serve(running, host, port, bearer))
        driving = asyncio.create_task(running.drive())
        stack.push_async_callback(_ended, driving)
        yield running


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
