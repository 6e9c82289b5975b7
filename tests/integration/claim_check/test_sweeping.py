"""Payloads go when their retention is over and nobody refers to them, and not before."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from azure.storage.blob.aio import ContainerClient

from shared.blobs import BlobSweeper, InUse, Sweep
from shared.claim_check import ClaimStore

RETENTION = timedelta(days=60)


async def nobody(names: Collection[str]) -> Collection[str]:
    return ()


class Clock:
    """Time that is moved, not waited for."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


def sweeper(
    container: ContainerClient, clock: Clock, in_use: InUse = nobody, *, seconds: float = 60, page: int = 2
) -> BlobSweeper:
    budget = timedelta(seconds=seconds)
    return BlobSweeper(
        container, in_use=in_use, retention=RETENTION, now=clock, budget=budget, page=page, batch=2 * page
    )


async def put(container: ContainerClient, count: int) -> list[str]:
    claims = ClaimStore(container)
    return sorted([(await claims.put(uuid4(), b"payload")).name for _ in range(count)])


async def names(container: ContainerClient) -> list[str]:
    return [blob.name async for blob in container.list_blobs()]


async def test_nothing_goes_before_its_time(container: ContainerClient, clock: Clock) -> None:
    kept = await put(container, 5)
    clock.ahead = RETENTION - timedelta(minutes=1)
    assert await sweeper(container, clock).sweep() == Sweep(seen=5, deleted=0, in_use=0, complete=True)
    assert await names(container) == kept


async def test_what_is_old_goes_unless_somebody_refers_to_it(container: ContainerClient, clock: Clock) -> None:
    kept = await put(container, 9)
    referred = set(kept[::3])
    asked: set[str] = set()

    async def dead_letters(some: Collection[str]) -> Collection[str]:
        asked.update(some)
        assert len(some) <= 6  # a batch, and what the page that filled it had on top
        return referred & set(some)

    clock.ahead = RETENTION + timedelta(minutes=1)
    done = await sweeper(container, clock, dead_letters).sweep()
    assert done == Sweep(seen=9, deleted=6, in_use=3, complete=True)
    assert set(await names(container)) == referred
    assert asked == set(kept)


async def test_a_payload_that_was_sent_again_starts_anew(container: ContainerClient, clock: Clock) -> None:
    """Renewed between its listing and its deletion, by an upload or by a replay: it stays."""
    claims = ClaimStore(container)
    message_id = uuid4()
    again = await claims.put(message_id, b"sent again")
    replayed = await claims.put(uuid4(), b"replayed")
    orphan = await claims.put(uuid4(), b"orphan")
    listed = [blob.last_modified async for blob in container.list_blobs()]

    async def meanwhile(some: Collection[str]) -> Collection[str]:
        assert set(some) == {again.name, replayed.name, orphan.name}
        next_second = max(listed) + timedelta(seconds=1)  # the storage's own clock, which tells time in seconds
        await asyncio.sleep(max(0.0, (next_second - datetime.now(UTC)).total_seconds()))
        await claims.put(message_id, b"sent again")
        await claims.renew(replayed.name)
        return ()

    class JustAfter(Clock):
        def __call__(self) -> datetime:
            return max(listed) + RETENTION + timedelta(milliseconds=1)

    done = await sweeper(container, JustAfter(), meanwhile, page=10).sweep()
    assert (done.deleted, done.in_use) == (1, 2)
    assert set(await names(container)) == {again.name, replayed.name}


async def test_a_sweep_without_time_gets_on_and_the_next_one_goes_on(container: ContainerClient, clock: Clock) -> None:
    kept = await put(container, 7)
    clock.ahead = RETENTION + timedelta(minutes=1)
    keep_last = kept[-1]

    async def in_use(some: Collection[str]) -> Collection[str]:
        return {keep_last}

    steps = [await sweeper(container, clock, in_use, seconds=0).sweep() for _ in range(4)]
    assert [step.seen for step in steps] == [2, 2, 2, 1]
    assert [step.complete for step in steps] == [False, False, False, True]
    assert await names(container) == [keep_last]
    assert (await sweeper(container, clock, in_use, seconds=0).sweep()).seen == 1  # from the beginning again


async def test_a_mark_that_is_of_no_use_does_not_stop_the_sweep(container: ContainerClient, clock: Clock) -> None:
    await put(container, 3)
    await container.set_container_metadata({"owner": "us", "sweepcursor": "zzzz"})
    clock.ahead = RETENTION + timedelta(minutes=1)
    await sweeper(container, clock).sweep()
    await sweeper(container, clock).sweep()
    assert await names(container) == []
    assert (await container.get_container_properties()).metadata == {"owner": "us"}


async def test_where_nothing_was_ever_kept_there_is_nothing_to_sweep(container: ContainerClient, clock: Clock) -> None:
    assert await sweeper(container, clock).sweep() == Sweep(seen=0, deleted=0, in_use=0, complete=True)


async def test_nothing_is_deleted_when_the_references_cannot_be_read(container: ContainerClient, clock: Clock) -> None:
    kept = await put(container, 3)

    async def out_of_order(some: Collection[str]) -> Collection[str]:
        raise ConnectionError

    clock.ahead = RETENTION + timedelta(minutes=1)
    with pytest.raises(ConnectionError):
        await sweeper(container, clock, out_of_order).sweep()
    assert await names(container) == kept
