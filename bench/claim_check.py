"""What a claim check costs over moving the bare bytes: digest, compression and checks, less what compression saves."""

import asyncio
import json
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from uuid import uuid4

from azure.storage.blob.aio import ContainerClient

from shared.claim_check import ClaimStore

from .harness import Benchmark
from .storage import azurite

SIZE = 5_000_000
PAIRS = 16

Way = Callable[[bytes], Awaitable[bytes]]


def _orders() -> bytes:
    """Order lines, as a batch of a partner has them: no two alike."""
    choose = random.Random(1)
    goods = ["WHITE HANGING HEART T-LIGHT HOLDER", "LANTERN", "SET OF 3 CAKE TINS", "RED WOOLLY HOTTIE"]
    lines = [
        {
            "sku": f"{choose.randrange(10_000, 99_999)}{choose.choice('ABC')}",
            "description": f"{choose.choice(goods)} {choose.randrange(100_000)}",
            "quantity": choose.randrange(1, 100),
            "unitPrice": round(choose.random() * 20, 2),
        }
        for _ in range(SIZE // 80)
    ]
    return json.dumps(lines).encode()[:SIZE]


def _noise() -> bytes:
    return random.Random(2).randbytes(SIZE)


async def _bare(container: ContainerClient, payload: bytes) -> bytes:
    name = str(uuid4())
    await container.upload_blob(name, payload)
    found: bytes = await (await container.download_blob(name)).readall()
    return found


async def _claimed(claims: ClaimStore, payload: bytes) -> bytes:
    message_id = uuid4()
    return await claims.get(message_id, await claims.put(message_id, payload))


async def _seconds(way: Way, payload: bytes) -> float:
    started = time.perf_counter()
    found = await way(payload)
    taken = time.perf_counter() - started
    if found != payload:
        raise RuntimeError("another payload came back")
    return taken


async def _ratio(connection: str, payload: bytes) -> float:
    async with ContainerClient.from_connection_string(connection, f"bench-{uuid4().hex}") as container:
        await container.create_container()
        ways: list[Way] = [partial(_bare, container), partial(_claimed, ClaimStore(container))]
        for way in ways:
            await way(payload)  # connections are open, code is loaded
        times: list[list[float]] = [[], []]
        for number in range(PAIRS):
            for side in (0, 1) if number % 2 else (1, 0):
                times[side].append(await _seconds(ways[side], payload))
    bare, claimed = (statistics.fmean(sorted(side)[: PAIRS // 4]) for side in times)  # the others were disturbed
    return claimed / bare


def _rounds(make: Callable[[], bytes], rounds: int) -> Iterator[float]:
    payload = make()
    with azurite() as connection:
        for _ in range(rounds):
            yield asyncio.run(_ratio(connection, payload))


BENCHMARKS = [
    Benchmark(
        name="claim-check",
        claim="a payload of 5 MB (order lines) by claim check / bare upload plus download",
        goal=1.15,
        better="lower",
        rounds=partial(_rounds, _orders),
    ),
    Benchmark(
        name="claim-check-incompressible",
        claim="the worst case, 5 MB of noise by claim check / bare upload plus download on loopback",
        goal=1.25,
        better="lower",
        rounds=partial(_rounds, _noise),
    ),
]
