"""What encrypting the protected fields of a message costs, on top of everything else that its dispatch costs."""

import asyncio
import gc
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import cast

from functions.composition import Composition
from functions.composition.encryption import fields
from functions.composition.state import state_store
from shared.encryption import DataKeys, KeyTable, SecretWrapper, SubjectKeys
from shared.privacy import FieldProtection
from shared.secrets import Secret
from shared.tables import MemoryTable
from shared.telemetry.logs import configure_json
from shared.testing import MemoryStore
from shared.tokenization import TokenKeys

from .dispatch import BATCH, BATCHES_A_ROUND, dispatched, in_memory, wire
from .harness import Benchmark
from .messages import Sample, orders

CUSTOMERS = 1_000


class _Secrets:
    """Every secret, in memory."""

    async def get(self, name: str) -> Secret:
        """Its only version."""
        return Secret(name, name * 40, "v1", datetime.now(UTC))

    async def both(self, name: str) -> Sequence[Secret]:
        """Its only version."""
        return (await self.get(name),)


def _protection() -> FieldProtection:
    rows, secrets, wrapper = KeyTable(MemoryTable()), _Secrets(), SecretWrapper(_Secrets(), "wrap")

    def now() -> datetime:
        return datetime.now(UTC)

    return FieldProtection(
        DataKeys(rows, wrapper, now=now), SubjectKeys(rows, wrapper, now=now), TokenKeys(secrets, "token")
    )


def _personal() -> Iterator[Sample]:
    """Orders with three protected fields each, of many customers."""
    for number, sample in enumerate(orders()):
        envelope = json.loads(sample.body)
        customer = str(10_000 + number % CUSTOMERS)
        envelope["data"] |= {"customerId": customer, "name": f"Customer {customer}", "email": f"{customer}@example.com"}
        yield replace(sample, body=json.dumps(envelope, separators=(",", ":")).encode())


async def _round(plain: Composition, encryption: Composition) -> float:
    """Both sides see the same batches, one after the other, so that a slow moment of the machine hits both."""
    samples = _personal()
    spent = [0.0, 0.0]
    for number in range(BATCHES_A_ROUND):
        batches = [wire(list(islice(samples, BATCH)))]
        for side in (0, 1) if number % 2 else (1, 0):
            gc.collect()
            spent[side] += await dispatched(batches, (plain, encryption)[side])
    for composition in (plain, encryption):
        store = cast("MemoryStore", composition.get(state_store))
        rows = store.rows
        done = sum(row.get("status") == "done" for row in rows.values())
        readable = sum("example.com" in str(row.get("value")) for row in rows.values())
        if done != BATCH * BATCHES_A_ROUND or bool(readable) is (composition is encryption):
            raise RuntimeError(f"{done} messages were done, {readable} rows can be read: this is no measurement")
        store.table.rows.clear()
    return spent[1] / spent[0]


def _rounds(rounds: int) -> Iterator[float]:
    with open(os.devnull, "w", encoding="utf-8") as nowhere, asyncio.Runner() as runner:
        configure_json(nowhere)
        plain, encryption = in_memory({fields: None}), in_memory({fields: _protection()})
        runner.run(_round(plain, encryption))  # every customer has a key, and code warms up
        for _ in range(rounds):
            yield runner.run(_round(plain, encryption))


BENCHMARKS = [
    Benchmark(
        name="field-protection",
        claim=f"CPU of a batch of {BATCH} orders, each with three protected fields in its state and its event,"
        " encrypted / the same in clear",
        goal=1.25,
        better="lower",
        rounds=_rounds,
    )
]
