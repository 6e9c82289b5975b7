"""What each kind of message asks of storage and of the broker, counted between the app and the parts.

The counts are the same on every run: one message at a time, fixed names, no scheduled work; what is asked by the clock
alone doesn't count (each kind is tried several times, and the lowest count is its own). They are kept in
`bench/OPERATIONS.md`, so that a change that asks for more shows in review.
"""

import argparse
import asyncio
import json
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid4, uuid5

import aiohttp

from .counting import AmqpRelay, Counts, HttpRelay, blob_operations, table_operations
from .stack import ROOT, emulator, functions_host
from .storage import app_settings, azurite

__all__ = ["KINDS", "PAGE", "Kind", "count_all", "main", "page"]

PAGE = ROOT / "bench" / "OPERATIONS.md"
TRIES = 2
WARM = 12
"""Messages of other keys before the first that counts: enough to meet each of four partitions."""
QUIET_SECONDS = 2.0
"""Nothing of a message comes later than this after what came before."""
PATIENCE_SECONDS = 30.0
HUB = "events"
SCHEDULED = ("jobs_streams", "jobs_ordered")
CLAIM_BYTES = 100_000


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of message.

    Attributes
    ----------
    again:
        The same id as the kind `new` had in the same try.
    settled, events:
        How many settlements and received events end it.
    """

    name: str
    key: str
    again: bool = False
    text: str = ""
    failures: int = 0
    settled: int = 1
    events: int = 1


KINDS = (
    Kind(name="first of its key", key="new"),
    Kind(name="second of its key", key="new", text="again"),
    Kind(name="duplicate, same instance", key="new", again=True, events=0),
    Kind(name="retried once", key="retried", failures=1, settled=2),
    Kind(name="claim of 100 KB", key="claimed", text="x" * CLAIM_BYTES),
)
ELSEWHERE = Kind(name="duplicate, another instance", key="new", again=True, events=0)

PRICES = {
    "table point reads": 0.00036e-4,
    "table queries": 0.00036e-4,
    "table entities written": 0.00036e-4,
    "blob reads": 0.004e-4,
    "blob writes": 0.05e-4,
    "bus messages sent": 0.8e-6,
    "bus messages scheduled": 0.8e-6,
    "bus messages received": 0.8e-6,
    "bus settlements": 0.8e-6,
    "events sent": 0.028e-6,
}
"""US dollars for one operation at known list prices of East US: locally redundant tables (0.00036 per 10,000), hot
blobs (0.05 per 10,000 writes, 0.004 per 10,000 reads), Service Bus Standard (0.80 per million after the first 13
million), Event Hubs Standard (0.028 per million). The public pages show them by script only: your sheet goes first."""

ORDER = (
    "table point reads",
    "table queries",
    "table transactions",
    "table entities written",
    "blob reads",
    "blob writes",
    "bus messages sent",
    "bus messages scheduled",
    "bus messages received",
    "bus settlements",
    "events sent",
    "events received",
)


def count_all() -> dict[str, Counts]:
    """Start the parts, send each kind, count; by the kind's name."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-operations-")))
        app = _app_with_tickets(folder / "app")
        broker = stack.enter_context(emulator("--volatile"))
        storage = stack.enter_context(azurite())
        return asyncio.run(_count_all(app, broker, storage))


def _app_with_tickets(folder: Path) -> Path:
    for name in ("functions", "shared"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("function_app.py", "host.json"):
        shutil.copy(ROOT / name, folder / name)
    integrations = folder / "integrations"
    integrations.mkdir()
    shutil.copy(ROOT / "integrations" / "__init__.py", integrations)
    shutil.copy(ROOT / "bench" / "counted" / "tickets.py", integrations)
    return folder


async def _count_all(app: Path, broker: str, storage: str) -> dict[str, Counts]:
    counts: Counts = Counter()
    found: dict[str, list[Counts]] = {}
    async with _relays(broker, storage, counts) as (near_broker, near_storage):
        settings = app_settings(storage=near_storage, broker=near_broker) | {
            "AzureWebJobsStorage": storage,  # the host's own records aren't the app's
            "SLUICE_CLAIM_THRESHOLD_BYTES": "16384",
            **{f"AzureWebJobs.{name}.Disabled": "true" for name in SCHEDULED},
        }
        async with _instance(app, settings) as api:
            await _warm_up(api, counts)
            for number in range(TRIES):
                for kind in KINDS:
                    asked = await _send(api, counts, kind, f"{number}")
                    found.setdefault(kind.name, []).append(asked)
        async with _instance(app, settings) as api:
            await _warm_up(api, counts)
            for number in range(TRIES):
                asked = await _send(api, counts, ELSEWHERE, f"{number}")
                found.setdefault(ELSEWHERE.name, []).append(asked)
    return {name: _lowest(tries) for name, tries in found.items()}


def _lowest(tries: Sequence[Counts]) -> Counts:
    names = {name for each in tries for name in each}
    return Counter({name: min(each[name] for each in tries) for name in names if min(each[name] for each in tries)})


@asynccontextmanager
async def _relays(broker: str, storage: str, counts: Counts) -> AsyncIterator[tuple[str, str]]:
    """The connection strings that lead through the relays."""
    port = _found(r":(\d+);", broker)
    bus = AmqpRelay(int(port), frozenset({HUB}), counts)
    tables = HttpRelay(_found(r"TableEndpoint=([^;]+);", storage), table_operations, counts)
    blobs = HttpRelay(_found(r"BlobEndpoint=([^;]+);", storage), blob_operations, counts)
    try:
        near_broker = broker.replace(f":{port};", f":{await bus.start()};")
        near_storage = re.sub(r"TableEndpoint=[^;]+", f"TableEndpoint={await tables.start()}", storage)
        near_storage = re.sub(r"BlobEndpoint=[^;]+", f"BlobEndpoint={await blobs.start()}", near_storage)
        yield near_broker, near_storage
    finally:
        for relay in (bus, tables, blobs):
            await relay.stop()


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError("the connection string has no such part")
    return match[1]


@asynccontextmanager
async def _instance(app: Path, settings: dict[str, str]) -> AsyncIterator[str]:
    """A functions host with the app; its start and its end don't hold up the relays."""
    host = functions_host(app, settings)
    address = await asyncio.to_thread(host.__enter__)
    try:
        yield address
    finally:
        await asyncio.to_thread(host.__exit__, None, None, None)


async def _warm_up(api: str, counts: Counts) -> None:
    """Have every partition of the hub read once: a reader's first batch there asks where it is."""
    counts.clear()
    warm = Kind(name="warm", key="warm", settled=WARM, events=WARM)
    for number in range(WARM):
        await _post(api, warm, f"{uuid4()}/{number}")
    await _quiet(counts, warm)


async def _send(api: str, counts: Counts, kind: Kind, run: str) -> Counts:
    """Send one message and wait until nothing is asked any more; what it asked for."""
    counts.clear()
    await _post(api, kind, run)
    await _quiet(counts, kind)
    return Counter(counts)


async def _post(api: str, kind: Kind, run: str) -> None:
    first = replace(kind, again=False, text="") if kind.again else kind
    name = f"{first.key}/{first.text[:8]}/{run}"
    envelope: dict[str, Any] = {
        "messageId": str(uuid5(NAMESPACE_URL, name)),
        "timestamp": "2026-01-05T08:26:00Z",
        "source": "/bench",
        "eventType": "ticket.open",
        "version": "1.0",
        "data": {"ticketId": f"{first.key}-{run.rpartition('/')[2]}", "text": first.text, "failures": first.failures},
    }
    async with aiohttp.ClientSession() as session, session.post(f"{api}/api/messages", json=envelope) as answer:
        if answer.status != 202:
            raise RuntimeError(f"{kind.name}: {answer.status} {await answer.text()}")


async def _quiet(counts: Counts, kind: Kind) -> None:
    loop = asyncio.get_running_loop()
    give_up = loop.time() + PATIENCE_SECONDS
    seen, since = Counter(counts), loop.time()
    while True:
        await asyncio.sleep(0.05)
        if counts != seen:
            seen, since = Counter(counts), loop.time()
        done = counts["bus settlements"] >= kind.settled and counts["events received"] >= kind.events
        if done and loop.time() - since > QUIET_SECONDS:
            return
        if loop.time() > give_up:
            raise RuntimeError(f"{kind.name}: not done after {PATIENCE_SECONDS:.0f} s, asked so far: {dict(counts)}")


def page(found: dict[str, Counts]) -> str:
    """The counts as a Markdown page, with what they cost at list prices."""
    names = [kind.name for kind in (*KINDS, ELSEWHERE)]
    unknown = {name for counts in found.values() for name in counts} - set(ORDER)
    rows = [*ORDER, *sorted(unknown)]
    lines = [
        "# Operations",
        "",
        "What one message asks of storage and of the broker, from the POST to the row of the read model, alone in its",
        "batch. Written by `python3 dev.py bench operations --write`; a test compares it with the app. The message has",
        "one state row, one event and one view, nothing is encrypted, callers aren't checked. The last column is what",
        "a million operations cost in US dollars at list price (East US; `bench/operations.py` has each).",
        "",
        "| operation | " + " | ".join(names) + " | $ per million |",
        "|---|" + "---|" * (len(names) + 1),
    ]
    for row in rows:
        price = f"{PRICES[row] * 1e6:.3g}" if row in PRICES else ""
        lines.append(f"| {row} | " + " | ".join(str(found[name][row] or "") for name in names) + f" | {price} |")
    cost = {name: sum(PRICES.get(row, 0.0) * count for row, count in found[name].items()) for name in names}
    lines.append("| **$ for a million messages** | " + " | ".join(f"{cost[name] * 1e6:.2f}" for name in names) + " | |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Count and print; `--write` keeps the page, without it a difference from the kept one exits with 1."""
    parser = argparse.ArgumentParser(prog="dev.py bench operations", description=main.__doc__)
    parser.add_argument("--write", action="store_true", help="keep the page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts there too")
    options = parser.parse_args(arguments)
    found = count_all()
    text = page(found)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.write:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print("differs from bench/OPERATIONS.md: look at the change, then run this with --write", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
