"""Against Celery, whose transport for Service Bus takes one message at a time, doing the same insert."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import aiohttp
from azure.data.tables.aio import TableClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from local.stack.ports import any_free
from shared.tables import Create, Delete, Operation
from shared.tables.azure import AzureTable

from .harness import Benchmark
from .messages import orders
from .stack import ROOT, emulator, functions_host
from .storage import app_settings, azurite
from .worker_obvious import OTHER_FUNCTIONS, OURS, WARM_UP, rate

THEIRS = 400
BATCH, BUCKETS = 64, 16
COUNTED_FROM = 300
WORKER = ROOT / "bench" / "celery_worker"
ENVIRONMENT = ROOT / ".sluice" / "bench-celery"
QUEUE = "celery"
LIMIT_SECONDS = 120


def _python() -> Path:
    """Celery's own interpreter, made once."""
    python = ENVIRONMENT / "bin" / "python"
    ready = ENVIRONMENT / "ready"
    wanted = (WORKER / "requirements.txt").read_text(encoding="utf-8")
    if not ready.exists() or ready.read_text(encoding="utf-8") != wanted:
        print("  installing Celery under .sluice", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)], check=True)
        requirements = str(WORKER / "requirements.txt")
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", requirements]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"Celery can't be installed: {done.stderr[-500:]}")
        ready.write_text(wanted, encoding="utf-8")
    return python


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost: the transport makes its queues over https, and over nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return pem, private


@contextmanager
def _worker(python: Path, environment: dict[str, str]) -> Iterator[None]:
    """A Celery worker as its makers start it: one process per core."""
    command = [str(python), "-m", "celery", "-A", "tasks", "worker", "--loglevel=WARNING", "--without-mingle"]
    process = subprocess.Popen(
        [*command, "--without-gossip", "--without-heartbeat"],
        cwd=WORKER,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _send(python: Path, environment: dict[str, str], count: int) -> None:
    bodies = json.dumps([sample.body.decode() for sample in islice(orders(), count)])
    code = "import json, sys, tasks\nfor body in json.load(sys.stdin): tasks.place.delay(body)"
    command = [str(python), "-c", code]
    subprocess.run(command, cwd=WORKER, env=environment, input=bodies, text=True, check=True, timeout=LIMIT_SECONDS)


async def _celery_rate(python: Path, environment: dict[str, str], status: str) -> float:
    """Messages per second once the worker runs; its start is not counted."""
    await asyncio.to_thread(_send, python, environment, THEIRS)
    started = 0.0
    async with asyncio.timeout(LIMIT_SECONDS), aiohttp.ClientSession() as session:
        with _worker(python, environment):
            while True:
                async with session.get(f"{status}/status.json") as answer:
                    left = (await answer.json())["queues"][QUEUE]["active"]
                if not started and left <= COUNTED_FROM:
                    first, started = left, time.perf_counter()
                if not left:
                    return float(first / (time.perf_counter() - started))
                await asyncio.sleep(0.02)


async def _make_table(storage: str) -> None:
    async with TableClient.from_connection_string(storage, QUEUE) as table:
        await table.create_table()


async def _bare_rate(storage: str, count: int) -> float:
    """Messages per second of nothing but a message's rows: no broker, no decoding, no handler, no events.

    Batches of 64 over 16 buckets, as the worker commits them, four batches at once.
    """
    run = uuid4().hex
    view = "v" * 300

    async def batch(session: AzureTable, first: int) -> None:
        made: dict[str, list[Operation]] = {}
        outbox: dict[str, list[Operation]] = {}
        for number in range(first, first + BATCH):
            bucket, name = f"{number % BUCKETS:04d}", f"{run}-{number}"
            kinds = ("inbox", "state", "head", "outbox")
            rows = [{"PartitionKey": bucket, "RowKey": f"{kind}:{name}", "value": view} for kind in kinds]
            made.setdefault(bucket, []).extend(Create(row) for row in rows)
            outbox.setdefault(bucket, []).append(Delete(rows[-1]))
        await asyncio.gather(*(session.submit(operations) for operations in made.values()))
        await asyncio.gather(*(session.submit(operations) for operations in outbox.values()))

    async with AzureTable.from_connection_string(storage, "bare") as session:
        await session.ensure_created()
        firsts = iter(range(0, count, BATCH))
        started = time.perf_counter()

        async def work() -> None:
            for first in firsts:
                await batch(session, first)

        await asyncio.gather(*(work() for _ in range(4)))
        seconds = time.perf_counter() - started
    return count / seconds


def _rounds(rounds: int, *, bare: bool) -> Iterator[float]:
    python = _python()
    with ExitStack() as stack:
        certificate, key = _certificate(Path(stack.enter_context(TemporaryDirectory())))
        port = any_free()
        tls = (f"--tls-cert={certificate}", f"--tls-key={key}")
        broker = stack.enter_context(emulator("--volatile", f"--admin-port={port}", *tls))
        storage, status = stack.enter_context(azurite()), f"http://127.0.0.1:{port}"
        asyncio.run(_make_table(storage))
        settings = app_settings(storage=storage, broker=broker)
        endpoint, _, rest = broker.partition(";")
        administration = f"{endpoint.rpartition(':')[0]}:{port};{rest}"
        theirs = os.environ | {
            "ServiceBus": broker,
            "ServiceBusAdministration": administration,
            "State": storage,
            "REQUESTS_CA_BUNDLE": str(certificate),
        }
        quiet = {f"AzureWebJobs.{name}.Disabled": "true" for name in OTHER_FUNCTIONS}
        stack.enter_context(functions_host(ROOT, settings | quiet))
        lane = settings["SLUICE_LANE_NORMAL"]
        asyncio.run(rate(broker, status, lane, WARM_UP))
        for _ in range(rounds):
            ours = asyncio.run(_bare_rate(storage, OURS) if bare else rate(broker, status, lane, OURS))
            yield ours / asyncio.run(_celery_rate(python, theirs, status))


BENCHMARKS = [
    Benchmark(
        name="worker-celery",
        claim="messages per second / those of a Celery worker on kombu's transport for Service Bus, doing the insert "
        "alone",
        goal=10.0,
        better="higher",
        rounds=lambda rounds: _rounds(rounds, bare=False),
    ),
    Benchmark(
        name="worker-celery-ceiling",
        claim="messages per second of our five row operations a message and nothing else / the same Celery worker",
        goal=10.0,
        better="higher",
        rounds=lambda rounds: _rounds(rounds, bare=True),
    ),
]
