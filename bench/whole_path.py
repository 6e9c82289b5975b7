"""The whole path of a real order, from the POST to its row in the read model, against the bare path on the same parts.

One host at a time, each side in turn: a closed loop for what it costs and how much it does, then an open loop at half
of that rate for how long an order takes. `python -m bench.whole_path --parts` shows where the processor time goes.
"""

import argparse
import asyncio
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from zlib import crc32

import aiohttp
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.data.tables.aio import TableClient

from local.access import AUDIENCE
from local.demo.invoices import Invoice, Message, compose, group_invoices
from local.demo.rows import parse_rows
from local.demo.sample import sample_csv
from local.stack.data_directory import DataDirectory
from local.stack.ports import any_free
from local.stack.services import identity_service, identity_settings, vault_service, vault_settings
from local_azure.identity import fetch_token, parse_identity, read_registration
from local_azure.keyvault import parse_vault
from shared.state import bucket_of

from .harness import Figure, Joint
from .stack import ROOT, emulator, functions_host, sample_settings, started
from .storage import azurite

ORDERS, WARM_UP = 400, 64
AT_ONCE = 32
OPEN_LOOP_SECONDS = 8.0
SAMPLED = 8
"""Every n-th order of the open loop is looked for, so that looking stays cheap."""
PATIENCE_SECONDS = 90.0
VIEW_SHARDS = 16
PROTECTION = {
    "SLUICE_DATA_KEY": "key:data-key-wrap",
    "SLUICE_TOKEN_KEY": "secret:token-key",
    "SLUICE_ENCRYPTED_LANES": "high,normal,low,ordered",
    "SLUICE_ENCRYPT_CLAIMS": "true",
}
BARE_ENTITIES = """{"UserConfig": {"Namespaces": [{"Name": "bare", "Queues": [{"Name": "bare", "Properties": {}}],
"Topics": []}], "Logging": {"Type": "File"}}}"""
BARE_HUBS = """{"UserConfig": {"NamespaceConfig": [{"Type": "EventHub", "Name": "bare", "Entities": [{"Name":
"bare-events", "PartitionCount": "4", "ConsumerGroups": [{"Name": "read-models"}]}]}], "LoggingConfig": {"Type":
"File"}}}"""


@dataclass(frozen=True)
class Side:
    """An app, and where its rows become visible."""

    name: str
    app: Path
    settings: Mapping[str, str]
    table: str
    partition: Callable[[str], str]
    shown: bool = True
    orders: int = ORDERS


@dataclass
class Measured:
    """One round of one side: processor seconds of an order by process, orders per second, latencies in seconds."""

    rate: float = 0.0
    processor: dict[str, float] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)

    @property
    def all(self) -> float:
        """Of all processes."""
        return sum(self.processor.values())

    def quantile(self, share: float) -> float:
        """A quantile of the latencies."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True)
class Parts:
    """What both sides run on."""

    storage: str
    status: str
    token: str
    sides: Mapping[str, Side]


@contextmanager
def parts() -> Iterator[Parts]:
    """Broker, storage, issuer and vault, and the settings of every side."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sluice-whole-path-")))
        (folder / "bare.json").write_text(BARE_ENTITIES)
        (folder / "bare-hubs.json").write_text(BARE_HUBS)
        port = any_free()
        extra = [f"--config={folder / name}" for name in ("bare.json", "bare-hubs.json")]
        broker = stack.enter_context(emulator(*extra, f"--admin-port={port}", f"--data-dir={folder / 'broker'}"))
        storage = stack.enter_context(azurite())
        data = DataDirectory(folder, ROOT)
        issuer = identity_service(ROOT, data, 0)
        identity = parse_identity(stack.enter_context(started(issuer.command, {}, r"(ready identity=\S+ tenant=\S+)")))
        registration = read_registration(data.identity)
        assert identity is not None
        service = vault_service(ROOT, data, identity, registration, 0)
        vault = parse_vault(stack.enter_context(started(service.command, {}, r"(ready vault=.*)")))
        assert vault is not None
        connections = {"ServiceBus": broker, "EventHubs": broker}
        connections |= dict.fromkeys(("AzureWebJobsStorage", "State", "Claims"), storage)
        whole = sample_settings() | connections | {"SLUICE_OPERATION_KEY": "secret:operation-key"} | PROTECTION
        whole |= identity_settings(identity, registration) | vault_settings(vault, registration)
        del whole["SLUICE_AUTH"]
        asyncio.run(_make_tables(storage, ("barestate", "bareviews")))
        yield Parts(
            storage,
            f"http://127.0.0.1:{port}",
            fetch_token(identity, registration, roles=("producer",), audience=AUDIENCE),
            _sides(whole),
        )


def _sides(whole: Mapping[str, str]) -> dict[str, Side]:
    def view(key: str) -> str:
        return f"orders:{bucket_of(key, VIEW_SHARDS):02d}"

    def bare(key: str) -> str:
        return f"{crc32(key.encode()) % 16:02d}"

    def without(name: str, *left_out: str, shown: bool = True, **settings: str) -> Side:
        kept = {key: value for key, value in whole.items() if key not in left_out}
        return Side(name, ROOT, kept | settings, "readmodels", view, shown)

    sides = [
        without("whole"),
        without("without encryption", *PROTECTION),
        without("without callers", "SLUICE_AUTH_ISSUER", "SLUICE_AUTH_AUDIENCE", SLUICE_AUTH="none"),
        without("without read models", shown=False, **{"AzureWebJobs.read_models.Disabled": "true"}),
        Side("bare", ROOT / "bench" / "bare_path", whole, "bareviews", bare),
    ]
    return {side.name: side for side in sides}


async def _make_tables(storage: str, names: Sequence[str]) -> None:
    for name in names:
        async with TableClient.from_connection_string(storage, name) as table:
            with suppress(ResourceExistsError):
                await table.create_table()


def orders(run: str, count: int) -> list[Message]:
    """Orders of the generated sample under numbers of this run."""
    return [compose(replace(invoice, number=f"{run}-{invoice.number}")) for invoice in _invoices()[:count]]


@cache
def _invoices() -> list[Invoice]:
    return [
        invoice
        for invoice in group_invoices(parse_rows(sample_csv(), "sample.csv"))
        if not invoice.is_credit_note
        and invoice.problem is None
        and all(line.quantity > 0 and not line.unit_price.startswith("-") for line in invoice.lines)
    ]


def measure(bed: Parts, side: Side, run: str, *, open_loop: bool = True) -> Measured:
    """Start the side's host, warm it up, and do a closed and an open loop."""
    with functions_host(side.app, side.settings) as url:
        return asyncio.run(_measure(bed, side, url, run, open_loop=open_loop))


async def _measure(bed: Parts, side: Side, url: str, run: str, *, open_loop: bool) -> Measured:
    headers = {"Authorization": f"Bearer {bed.token}", "Content-Type": "application/json"}
    found = Measured()
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        TableClient.from_connection_string(bed.storage, side.table) as table,
    ):
        await _closed(bed, side, url, session, table, orders(f"w{run}", min(WARM_UP, side.orders)))
        before = _processor_seconds()
        sent = orders(f"c{run}", side.orders)
        seconds = await _closed(bed, side, url, session, table, sent)
        after = _processor_seconds()
        found.rate = len(sent) / seconds
        found.processor = {name: (spent - before.get(name, 0.0)) / len(sent) for name, spent in after.items()}
        if open_loop:
            pause = 2 / found.rate
            again = orders(f"o{run}", min(side.orders, max(SAMPLED, int(OPEN_LOOP_SECONDS / pause))))
            found.latencies = await _open(side, url, session, table, again, pause)
    return found


async def _closed(
    bed: Parts, side: Side, url: str, session: aiohttp.ClientSession, table: TableClient, messages: Sequence[Message]
) -> float:
    started = time.perf_counter()
    waiting = iter(messages)

    async def work() -> None:
        for message in waiting:
            await _post(side, url, session, message)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    await _emptied(bed, session)
    if side.shown:
        for message in messages:
            await _seen(side, table, message.number, pause=0.02)
    return time.perf_counter() - started


async def _post(side: Side, url: str, session: aiohttp.ClientSession, message: Message) -> None:
    async with session.post(f"{url}/api/orders", data=message.body) as answer:
        if answer.status != 202:
            raise RuntimeError(f"{side.name}: {message.number}: {answer.status} {(await answer.text())[:300]}")


async def _emptied(bed: Parts, session: aiohttp.ClientSession) -> None:
    give_up = time.perf_counter() + PATIENCE_SECONDS
    while True:
        async with session.get(f"{bed.status}/status.json") as answer:
            queues = (await answer.json())["queues"].values()
        if any(queue["deadLetter"] for queue in queues):
            raise RuntimeError("a side dead-lettered a message, so its figures don't count")
        if not any(queue[name] for queue in queues for name in ("active", "locked", "scheduled")):
            return
        if time.perf_counter() > give_up:
            raise RuntimeError("a queue isn't empty after a minute and a half: a message was lost or is stuck")
        await asyncio.sleep(0.05)


async def _seen(side: Side, table: TableClient, number: str, *, pause: float) -> float:
    give_up = time.perf_counter() + PATIENCE_SECONDS
    while time.perf_counter() < give_up:
        try:
            await table.get_entity(side.partition(number), number, select=["RowKey"])
        except ResourceNotFoundError:
            await asyncio.sleep(pause)
        else:
            return time.perf_counter()
    raise RuntimeError(f"{side.name}: order {number} never became visible")


async def _open(
    side: Side, url: str, session: aiohttp.ClientSession, table: TableClient, messages: Sequence[Message], pause: float
) -> list[float]:
    """Post at a steady rate, whatever the answers do; seconds from an order's due moment to its row."""
    began = time.perf_counter()

    async def one(position: int, message: Message) -> float | None:
        due = began + position * pause
        await asyncio.sleep(due - time.perf_counter())
        await _post(side, url, session, message)
        return await _seen(side, table, message.number, pause=0.01) - due if position % SAMPLED == 0 else None

    found = await asyncio.gather(*(one(position, message) for position, message in enumerate(messages)))
    await _seen(side, table, messages[-1].number, pause=0.05)
    return [latency for latency in found if latency is not None]


def _processor_seconds() -> dict[str, float]:
    """User and system time of each child of this process so far, by what it is (Linux, proc(5))."""
    ticks = os.sysconf("SC_CLK_TCK")
    spent: dict[str, float] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            values = stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_text()
        except OSError:
            continue
        if int(values[1]) == os.getpid():
            name = _process_name(command)
            spent[name] = spent.get(name, 0.0) + (int(values[11]) + int(values[12])) / ticks
    return spent


def _process_name(command: str) -> str:
    known = re.search(r"local_azure\.(broker|host|identity|keyvault)|azurite", command)
    return known[1] or known[0] if known else "other"


FIGURES = (
    Figure("whole-path-host", "processor time of the host for an order / the bare path's", 2.0, "lower"),
    Figure("whole-path-all", "the same of all processes", 2.0, "lower"),
    Figure("whole-path-rate", "orders a second from POST to visible row / the bare path's", 0.5, "higher"),
    Figure("whole-path-p99", "p99 from POST to row at half of capacity / p50 of the bare path there", 3.0, "lower"),
)


def _rounds(rounds: int) -> Iterator[tuple[float, ...]]:
    with parts() as bed:
        for number in range(rounds):
            ours = measure(bed, bed.sides["whole"], f"a{number}")
            bare = measure(bed, bed.sides["bare"], f"b{number}")
            for name, side in (("whole", ours), ("bare", bare)):
                spent = ", ".join(f"{part} {seconds * 1e3:.1f}" for part, seconds in sorted(side.processor.items()))
                print(
                    f"    {name}: {side.rate:.0f}/s, p50 {side.quantile(0.5):.2f} s, p99 {side.quantile(0.99):.2f} s, "
                    f"ms an order: {spent}",
                    file=sys.stderr,
                )
            yield (
                ours.processor["host"] / bare.processor["host"],
                ours.all / bare.all,
                ours.rate / bare.rate,
                ours.quantile(0.99) / bare.quantile(0.5),
            )


BENCHMARKS = [Joint("whole-path", FIGURES, _rounds)]


def breakdown(rounds: int) -> str:
    """Processor milliseconds of an order by process, of the whole path and with each part taken out."""
    found: dict[str, list[Measured]] = {}
    with parts() as bed:
        for number in range(rounds):
            for place, side in enumerate(bed.sides.values()):
                found.setdefault(side.name, []).append(measure(bed, side, f"p{number}s{place}", open_loop=False))
                print(f"round {number + 1}/{rounds}: {side.name}", file=sys.stderr)
    names = sorted({name for each in found.values() for one in each for name in one.processor})
    lines = [f"| side | {' | '.join(names)} | all | orders/s |", "|---|" + "---|" * (len(names) + 2)]
    for side_name, each in found.items():
        cells = [f"{statistics.median(one.processor.get(name, 0.0) for one in each) * 1e3:.1f}" for name in names]
        total = statistics.median(one.all for one in each) * 1e3
        lines.append(
            f"| {side_name} | {' | '.join(cells)} | {total:.1f} | {statistics.median(one.rate for one in each):.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.whole_path", description=__doc__)
    parser.add_argument("--parts", action="store_true", required=True, help="take each part out in turn")
    parser.add_argument("--rounds", type=int, default=5)
    print(breakdown(parser.parse_args().rounds))
