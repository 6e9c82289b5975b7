"""Two keys rotated under traffic, on the real vault and the real tables: nothing that was signed is refused."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from functions.composition import Composition
from functions.composition.operations import operation_signer
from functions.composition.rotation import secret_events
from functions.composition.secrets import secret_cache, vaults
from functions.composition.state import state_store
from local.azurite import AzuriteEndpoints
from shared.http import Operation
from shared.messages import Integration, Registry
from shared.rotation import random_key
from shared.secrets import RotatingKey, Secret
from shared.settings import Settings
from shared.state import StateStore
from shared.tables import Query
from shared.tables.azure import AzureTable
from tests.integration.conftest import RunningVault

from .conftest import NewClient

OPERATION_KEY, HMAC_KEY = "traffic-operation-key", "traffic-hmac-key"
ASKED = 150
"""Signatures that are still asked about: a few seconds of them."""

partner = Integration("partner")


@partner.rotates(HMAC_KEY)
async def next_hmac_key(current: Secret) -> str:
    """Another one at random."""
    return await random_key(48)(current)


class Instance:
    """An instance of the app, and what it signs."""

    def __init__(self, vault: RunningVault, azurite: AzuriteEndpoints, client: NewClient, table: str) -> None:
        broker = "Endpoint=sb://localhost;UseDevelopmentEmulator=true"
        environment = {
            "ServiceBus": broker,
            "EventHubs": broker,
            "State": azurite.connection_string,
            "Claims": azurite.connection_string,
            "KeyVault__vaultUri": vault.url,
            "SLUICE_OPERATION_KEY": f"secret:{OPERATION_KEY}",
            "SLUICE_SECRET_TTL_SECONDS": "1",
            "SLUICE_SECRET_TIMEOUT_SECONDS": "1",
            "SLUICE_STATE_BUCKETS": "4",
        }
        state = AzureTable.from_connection_string(azurite.connection_string, table)
        self.state = StateStore([state], buckets=4)  # other tests lay theirs out otherwise
        parts = {state_store: self.state, vaults: (client(vault),)}
        self.composition = Composition(Settings.load(environment), Registry([partner]), parts=parts)
        self._hmac = RotatingKey(SecretStr(f"secret:{HMAC_KEY}"), lambda: self.composition.get(secret_cache), least=32)

    async def sign(self, identity: UUID) -> tuple[str, bytes]:
        """An operation id, and a signature as a partner would check it."""
        keys = await self._hmac.keys()
        operations = await self.composition.get(operation_signer).ids()
        mac = hmac.new(keys.signing.encode(), identity.bytes, hashlib.sha256).digest()
        return operations.make(Operation(identity, 1)), mac

    async def accepts(self, identity: UUID, operation: str, mac: bytes) -> bool:
        """Whether it takes both for true."""
        keys = await self._hmac.keys()
        macs = [hmac.new(key.encode(), identity.bytes, hashlib.sha256).digest() for key in keys.accepted]
        read = (await self.composition.get(operation_signer).ids()).read(operation)
        return read is not None and any(hmac.compare_digest(mac, one) for one in macs)


@pytest.fixture
async def instances(
    vault: RunningVault, azurite: AzuriteEndpoints, client: NewClient
) -> AsyncIterator[tuple[Instance, Instance]]:
    """Two instances on keys that expire in a few days."""
    soon = datetime.now(UTC) + timedelta(days=7)
    for name in (OPERATION_KEY, HMAC_KEY):
        await client(vault).write(name, f"the first value of {name}, long enough", tags={}, expires=soon)
    table = f"state{uuid4().hex}"
    both = Instance(vault, azurite, client, table), Instance(vault, azurite, client, table)
    yield both
    for one in both:
        await one.composition.close()
        await one.state.close()


def event(vault: RunningVault, name: str, version: str, *, cloud: bool) -> dict[str, Any]:
    """What the vault tells of a version that is about to expire."""
    data = {
        "Id": f"{vault.url}/secrets/{name}/{version}",
        "VaultName": "local",
        "ObjectType": "Secret",
        "ObjectName": name,
        "Version": version,
    }
    kind, now = "Microsoft.KeyVault.SecretNearExpiry", datetime.now(UTC).isoformat()
    if cloud:
        return {"specversion": "1.0", "id": uuid4().hex, "type": kind, "time": now, "subject": name, "data": data}
    return {"id": uuid4().hex, "eventType": kind, "eventTime": now, "subject": name, "data": data}


async def test_nothing_that_was_signed_is_refused_through_a_rotation(
    vault: RunningVault, instances: tuple[Instance, Instance], azurite: AzuriteEndpoints
) -> None:
    """By neither instance, at no moment, though one of them learns of the new keys by itself; all of it on record."""
    signed: deque[tuple[UUID, str, bytes]] = deque(maxlen=ASKED)
    macs: set[bytes] = set()
    probe, refused, asked, done = uuid4(), 0, count(), asyncio.Event()

    async def traffic(signer: Instance) -> None:
        nonlocal refused
        while not done.is_set():
            identity = uuid4()
            signed.append((identity, *await signer.sign(identity)))
            macs.add((await signer.sign(probe))[1])
            for one in instances:
                for made in (signed[-1], signed[0]):
                    next(asked)
                    refused += not await one.accepts(*made)
            await asyncio.sleep(0.02)

    running = [asyncio.create_task(traffic(one)) for one in instances]
    await asyncio.sleep(0.5)
    first, second = instances
    for name, cloud in ((OPERATION_KEY, False), (HMAC_KEY, True)):
        known = first.composition.get(secret_cache).known_version(name)
        assert known is not None
        word = event(vault, name, known.version, cloud=cloud)
        outcomes = await asyncio.gather(
            first.composition.get(secret_events).take(word),
            second.composition.get(secret_events).take({**word, "id": "the other way in"}),
            return_exceptions=True,
        )
        assert [str(one) for one in outcomes].count("rotated") == 1, outcomes
    await asyncio.sleep(first.composition.get(secret_cache).policy.settling + 1.0)
    done.set()
    await asyncio.gather(*running)
    assert refused == 0
    assert next(asked) > 500
    assert len(macs) == 2  # the old key signed, then the new one
    async with AzureTable.from_connection_string(azurite.connection_string, "audit") as table:
        records = [row async for row in table.query(Query()) if "secret" in row]  # other tests' verbs are there too
    assert {(row["secret"], row["outcome"]) for row in records} == {(OPERATION_KEY, "rotated"), (HMAC_KEY, "rotated")}
    for name in (OPERATION_KEY, HMAC_KEY):
        for secret in await first.composition.get(secret_cache).both(name):
            assert secret.value not in str(records)
