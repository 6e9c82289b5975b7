"""Poisoned messages among good ones: each becomes one dead letter, every good one is done, and no lane is blocked."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import aiohttp
import psutil  # type: ignore[import-untyped]
from azure.servicebus.aio import ServiceBusClient
from rich.console import Console

from local.azurite import AzuriteEndpoints, azurite_command, parse_endpoints
from local.fuzz.events import fuzz_events
from local.fuzz.poison import LANES, Poison, Sendable, good_order, poison
from local.fuzz.report import Case, Kind, Options, Report
from local.fuzz.stores import rows_of
from local.setup import Environment, find_node
from local.stack import StackError
from local_azure.testing.processes import broker_process, running

__all__ = ["MESSAGES", "Parts", "fuzz_lanes", "host_process"]

_LOOK_SECONDS = 1.0
_STALL_SECONDS = 240.0
_DELIVERIES = {"ordered": 60}
"""After so many the broker gives a message up; 10 on the other lanes."""
_ROUNDS = 4
"""The first way through a lane, and so many returns as there may be."""
_BATCH_BYTES = 200_000
"""Of a send: below what a queue takes, as the SDK reckons a batch some bytes too small."""
_SESSION = 8
"""Messages of a session of the ordered lane."""
_GROWTH = 1.3


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a run works on: connection strings, the emulator's status page, the host's log and process."""

    broker: str
    storage: str
    status_url: str
    host_log: Path
    host_pid: int


async def fuzz_lanes(parts: Parts, options: Options, report: Report) -> Report:
    """Send as many bad messages as asked for with one good one each, and wait until every lane is empty."""
    run = f"{options.seed:x}-{options.first}"
    good, bad, waiting = _made(options, run)
    watch = _Watch(parts, [*good.values(), *(one.message_id for one in bad.values())])
    began = time.monotonic()
    await _send(parts.broker, waiting)
    stalled = not await watch.until_calm()
    seconds = time.monotonic() - began
    inbox, letters = watch.inbox, watch.letters
    for number, identity in good.items():
        if inbox.get(identity) != "done":
            broken = f"a good message is {inbox.get(identity) or 'lost'}"
            report.failed.append(Case(number=number, broken=broken, sent=identity))
    for number, one in bad.items():
        if letters[one.message_id] != 1:
            broken = f"{letters[one.message_id]} dead letters instead of one"
            report.failed.append(Case(number=number, broken=broken, sent=f"{one.kind}: {one.message_id}"))
    if stalled:
        report.complaints.append(f"Something waits and nothing moves: {watch.left}.")
    report.rows += [
        ("poisoned messages", f"{len(bad):,}"),
        ("good messages", f"{len(good):,}"),
        ("good messages done", f"{sum(inbox.get(identity) == 'done' for identity in good.values()):,}"),
        ("dead letters", f"{sum(letters[one.message_id] for one in bad.values()):,}"),
        ("blocked lanes", f"{sum(any(left) for left in watch.left.values())}"),
        ("took", f"{seconds:.0f} s"),
    ]
    _judge_invocations(parts, options, report)
    watch.judge_memory(report)
    return report


def _made(options: Options, run: str) -> tuple[dict[int, str], dict[int, Poison], dict[str, list[Sendable]]]:
    """Good ids and bad messages by case, and what goes to each lane; a tenth of it to the ordered one, in sessions."""
    good: dict[int, str] = {}
    bad: dict[int, Poison] = {}
    waiting: dict[str, list[Sendable]] = {lane: [] for lane in LANES}
    for number in range(options.first, options.first + options.count):
        chance = Random(f"{options.seed}:{number}")  # noqa: S311 - a case must be repeatable
        lane = ("high", "normal", "low")[number % 3] if number % 10 else "ordered"
        session = f"session-{run}-{number // (10 * _SESSION // 2)}"
        bad[number] = poison(chance, run, number, lane, session=session)
        good[number], message = good_order(run, number, lane, session=session)
        pair: list[Sendable] = [bad[number].message, message]
        waiting[lane] += pair if chance.random() < 0.5 else reversed(pair)
    return good, bad, waiting


async def _send(broker: str, waiting: dict[str, list[Sendable]]) -> None:
    async with ServiceBusClient.from_connection_string(broker) as client:

        async def send(lane: str) -> None:
            async with client.get_queue_sender(LANES[lane]) as sender:
                batch = await sender.create_message_batch(max_size_in_bytes=_BATCH_BYTES)
                for message in waiting[lane]:
                    try:
                        batch.add_message(message)
                    except ValueError:  # it is full
                        await sender.send_messages(batch)
                        batch = await sender.create_message_batch(max_size_in_bytes=_BATCH_BYTES)
                        batch.add_message(message)
                await sender.send_messages(batch)

        await asyncio.gather(*(send(lane) for lane in waiting))


class _Watch:
    """Sees what waits in the lanes, and how the host's memory grows."""

    def __init__(self, parts: Parts, awaited: Sequence[str]) -> None:
        self._parts = parts
        self._awaited = awaited
        self.inbox: dict[str, str] = {}
        self.letters: Counter[str] = Counter()
        self._host = psutil.Process(parts.host_pid)
        self._memory: list[int] = []
        self.left: dict[str, tuple[int, int]] = {}

    async def until_calm(self) -> bool:
        """Wait until no lane holds anything, and all that was sent has its end; False when nothing moves for long."""
        moved, before, missing = time.monotonic(), self.left, -1
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
            while True:
                self.left = await self._look(session)
                still = -1
                if not any(any(counts) for counts in self.left.values()):
                    self.inbox, self.letters = await _stored(self._parts.storage)
                    still = sum(not (self.inbox.get(one) == "done" or self.letters[one]) for one in self._awaited)
                    if not still:
                        return True
                if (self.left, still) != (before, missing):
                    moved, before, missing = time.monotonic(), self.left, still
                elif time.monotonic() - moved > _STALL_SECONDS:
                    self.inbox, self.letters = await _stored(self._parts.storage)
                    return False
                with contextlib.suppress(psutil.Error):
                    self._memory.append(self._host.memory_info().rss)
                await asyncio.sleep(_LOOK_SECONDS)

    async def _look(self, session: aiohttp.ClientSession) -> dict[str, tuple[int, int]]:
        """What waits in each lane's queue, and what the broker gave up of it."""
        async with session.get(f"{self._parts.status_url}/status.json") as answer:
            counts = (await answer.json())["queues"]
        return {
            lane: (counts[name]["active"] + counts[name]["scheduled"], counts[name]["deadLetter"])
            for lane, name in LANES.items()
        }

    def judge_memory(self, report: Report) -> None:
        """Complain where the last fifth of the run took much more than the second tenth."""
        tenth = len(self._memory) // 10
        if tenth < 2:
            return
        early, late = max(self._memory[tenth : 2 * tenth]), max(self._memory[-2 * tenth :])
        report.rows.append(("memory of the host, early and late", f"{early >> 20} and {late >> 20} MiB"))
        if late > early * _GROWTH:
            report.complaints.append(f"The host's memory grew from {early >> 20} to {late >> 20} MiB.")


def _judge_invocations(parts: Parts, options: Options, report: Report) -> None:
    """Nothing spins: no message is handed to a function oftener than its deliveries and returns allow."""
    text = parts.host_log.read_text(encoding="utf-8", errors="replace")
    counted = Counter(re.findall(r"Executing 'Functions\.lane_(\w+)'", text))
    for lane in LANES:
        # Each failing batch has at least one bad message, which is given up after so many deliveries.
        most = 20 + options.count * _DELIVERIES.get(lane, 10) * _ROUNDS
        report.rows.append((f"invocations of lane_{lane}", f"{counted[lane]:,}"))
        if counted[lane] > most:
            report.complaints.append(f"lane_{lane} was invoked {counted[lane]} times, more than {most}.")


async def _stored(storage: str) -> tuple[dict[str, str], Counter[str]]:
    """The status of every message that the inbox knows, and the number of dead letters by message id."""
    inbox = {
        row["RowKey"].removeprefix("inbox:"): str(row["status"])
        for row in await rows_of(storage, "state", "RowKey ge 'inbox:' and RowKey lt 'inbox;'", ["RowKey", "status"])
    }
    letters = Counter(str(row.get("messageId")) for row in await rows_of(storage, "deadletters", "", ["messageId"]))
    return inbox, letters


@contextlib.contextmanager
def host_process(project: Path, folder: Path, broker: str, storage: str) -> Iterator[tuple[Path, int]]:
    """A host that serves the app on parts that run; gives its log and process id."""
    sample = json.loads((project / "local.settings.sample.json").read_text(encoding="utf-8"))["Values"]
    settings = {
        **sample,
        **dict.fromkeys(("ServiceBus", "EventHubs"), broker),
        **dict.fromkeys(("State", "Claims", "AzureWebJobsStorage"), storage),
        "SLUICE_OPERATION_KEY": "k" * 32,
        "SLUICE_AUTH": "none",
    }
    app = folder / "app"
    app.mkdir()
    shutil.copy(project / "host.json", app / "host.json")
    shutil.copy(project / "function_app.py", app / "function_app.py")
    (app / "local.settings.json").write_text(json.dumps({"IsEncrypted": False, "Values": settings}), encoding="utf-8")
    command = [sys.executable, "-m", "local_azure.host", "--app", str(app), "--port", "0"]

    def ready(printed: str) -> bool | None:
        return True if re.search(r"^ready http=\d+", printed, re.MULTILINE) else None

    with running(command, folder / "host.log", ready) as (_, pid):
        yield folder / "host.log", pid


async def _run(options: Options, console: Console) -> Report:
    """Start storage, broker and host, send all, and stop them; their folder stays where something failed."""
    report = Report()
    (options.project / ".sluice").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir=options.project / ".sluice"))
    node = find_node(Environment(options.project))
    if node is None:
        raise StackError("There is no Node.js for Azurite.")
    config = options.project / "local" / "config"
    command = azurite_command(node.executable, options.project, folder / "azurite", AzuriteEndpoints(0, 0, 0))
    with contextlib.ExitStack() as started:
        azurite, _ = started.enter_context(running(command, folder / "azurite.log", parse_endpoints))
        configs = [config / "servicebus.json", config / "eventhubs.json"]
        broker = started.enter_context(broker_process(folder, configs))
        storage = azurite.connection_string
        log, pid = started.enter_context(host_process(options.project, folder, broker.connection_string, storage))
        parts = Parts(
            broker=broker.connection_string,
            storage=storage,
            status_url=f"http://127.0.0.1:{broker.admin_port}",
            host_log=log,
            host_pid=pid,
        )
        await fuzz_events(
            broker=parts.broker, storage=storage, host_log=log, host_pid=pid, options=options, report=report
        )
        await fuzz_lanes(parts, options, report)
    if report.passed:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        console.print(f"Stores and logs are kept in {folder}", style="dim", markup=False, highlight=False)
    return report


MESSAGES = Kind(
    name="messages",
    about="Poisoned messages and events among good ones: a dead letter for each, every good one done, nothing blocked.",
    count=5_000,
    run=_run,
)
