"""The operation key as a secret of the vault: changed for another without a request that fails."""

from __future__ import annotations

import pytest

from functions.composition import Composition
from functions.composition.operations import operation_signer
from functions.composition.secrets import secret_cache
from shared.messages import Registry
from shared.secrets import Policy, VaultUnavailable
from shared.settings import Settings
from tests.unit.shared.secrets.world import World

from .conftest import ENVIRONMENT, Running
from .samples import order

VAULT = {"KeyVault__vaultUri": "https://one.vault.azure.net", "SLUICE_OPERATION_KEY": "secret:operation-key"}
POLICY = Policy(ttl=100, overlap=5_000)
KEY = "long enough to sign an operation id"


def instance(registry: Registry, world: World) -> Running:
    """An instance of the app on this vault."""
    return Running(registry, ENVIRONMENT | VAULT, {secret_cache: world.cache(policy=POLICY)})


@pytest.fixture
def world() -> World:
    """A vault with a key."""
    return World("operation-key", value=KEY)


async def test_an_id_of_any_instance_is_read_by_every_instance_through_a_rotation(
    registry: Registry, world: World
) -> None:
    """At every moment, though each instance learns of the new key at its own time."""
    instances = [instance(registry, world) for _ in range(3)]
    for running in instances:
        await running.composition.get(operation_signer).ids()
        world.seconds += 30
    known: list[str] = []
    for moment in range(65):
        if moment in (5, 40):
            world.rotate("operation-key")
        if moment == 6:
            await instances[0].composition.get(secret_cache).changed("operation-key")
        answer = await instances[moment % 3].post("/api/orders", order(orderId=f"A{moment}"))
        assert answer.status == 202
        known.append(answer.headers["location"])
        for running in instances:
            for location in known[-20:]:
                assert (await running.get(location)).status == 200, (moment, location)
        world.seconds += 17
    keys = {(await running.composition.get(operation_signer).ids())._keys[0] for running in instances}
    assert len(keys) == 1
    first = await instances[0].get(known[0])
    assert first.status == 404  # two rotations ago
    for running in instances:
        await running.composition.get(secret_cache).close()


async def test_without_the_key_nothing_is_taken_in(registry: Registry, world: World) -> None:
    """A retryable answer that tells nothing; and the app works once the vault does."""
    running = instance(registry, world)
    world.failing = VaultUnavailable("operation-key", "no answer")
    answer = await running.post("/api/orders", order())
    assert (answer.status, answer.json["retryable"]) == (503, True)
    assert running.lanes.sent == []
    assert (await running.get("/api/operations/x")).status == 503
    assert "operation-key" not in str(answer.json)
    world.failing = None
    world.seconds += POLICY.last_retry
    assert (await running.post("/api/orders", order())).status == 202


async def test_a_key_that_is_too_short_signs_nothing(registry: Registry) -> None:
    """The settings can't check it at the start."""
    short = World("operation-key", value="short")
    assert (await instance(registry, short).post("/api/orders", order())).status == 503


async def test_a_pinned_key_stays(registry: Registry, world: World) -> None:
    """Until the setting names another version."""
    running = instance(registry, world)
    settings = Settings.load(ENVIRONMENT | VAULT | {"SLUICE_OPERATION_KEY": "secret:operation-key/v1"})
    pinned = Composition(settings, registry, parts={secret_cache: world.cache(policy=POLICY)})
    before = await pinned.get(operation_signer).ids()
    world.rotate("operation-key")
    await pinned.get(secret_cache).changed("operation-key")
    assert await pinned.get(operation_signer).ids() is before
    await running.composition.get(secret_cache).close()
