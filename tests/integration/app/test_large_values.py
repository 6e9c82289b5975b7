"""State values of any size on a real Azurite: beside their row, guarded like it, and swept when they are given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast
from uuid import UUID

import pytest
from azure.storage.blob.aio import ContainerClient

from shared.blobs import BlobReference, ValueStore
from shared.messages import Contract, Headers, Lane, PayloadHash
from shared.state import Conflict, Row, StateStore, TooLarge, state_key
from shared.work import Work
from tests.integration.app.test_state_store import KEYS

from .conftest import NewTable

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


class Book(Contract):
    """State of these tests."""

    text: str


def large(letter: str) -> Book:
    """More than an entity holds, and not to be compressed into one either way."""
    return Book(text=letter * 900_000)


class Shelf:
    """A table and a container."""

    def __init__(self, store: StateStore, container: ContainerClient) -> None:
        self.store = store
        self.container = container
        self.values = ValueStore(container)
        self._number = 0

    def work(self, key: str = "A", *, values: ValueStore | None = None) -> Work:
        """The work of a new message."""
        self._number += 1
        headers = Headers(
            message_id=UUID(int=self._number),
            event_type="book.written",
            version="1.0",
            source="/shop",
            key=key,
            lane=Lane.NORMAL,
            correlation_id="c",
            first_attempt_at=NOW,
        )
        return Work(
            headers=headers,
            buckets=self.store.buckets,
            source="/sluice",
            load=self.store.find,
            now=lambda: NOW,
            payload_hash=PayloadHash("f", "f"),
            values=values or self.values,
        )

    async def write(self, book: Book, key: str = "A") -> None:
        """Save and commit."""
        work = self.work(key)
        await work.save("book", key, book)
        await self.commit(work)

    async def commit(self, work: Work) -> None:
        """Write what was staged."""
        await self.store.commit(work.bucket, work.operations())

    async def read(self, key: str = "A") -> Book | None:
        """What the next message sees."""
        return await self.work(key).load("book", key, Book)

    async def row(self, key: str = "A") -> Row:
        """The row as it is."""
        name = state_key("book", key)
        return (await self.store.find(self.work(key).bucket, [name]))[name]

    async def blobs(self) -> list[str]:
        """What is in the container."""
        return [blob.name async for blob in self.container.list_blobs()]

    async def sweep(self) -> int:
        """What the timer does, two days later."""
        later = datetime.now(UTC) + timedelta(days=2)
        sweeper = self.values.sweeper(in_use=self.store.values_in_use, retention=timedelta(days=1), now=lambda: later)
        return (await sweeper.sweep()).deleted


@pytest.fixture
def shelf(new_table: NewTable, container: ContainerClient) -> Shelf:
    """Neither table nor container exist yet."""
    return Shelf(StateStore([new_table()], buckets=4), container)


@pytest.mark.parametrize("key", KEYS)
async def test_a_large_value_of_any_key_is_kept_found_and_not_swept(shelf: Shelf, key: str) -> None:
    """The row has a reference only."""
    await shelf.write(large("é"), key)
    assert await shelf.read(key) == large("é")
    row = await shelf.row(key)
    assert not any(name.startswith("value") and name[5:6] in ("", *"0123456789") for name in row)
    assert await shelf.sweep() == 0
    assert await shelf.read(key) == large("é")


async def test_a_value_grows_and_shrinks_without_remains(shelf: Shelf) -> None:
    """From the row to a blob, to another blob, and back; what was given up is swept."""
    for book in (Book(text="short"), large("a"), large("b"), Book(text="é" * 70_000), Book(text="short again")):
        await shelf.write(book)
        assert await shelf.read() == book
    assert BlobReference.from_columns(await shelf.row()) is None
    assert await shelf.sweep() == 2
    assert await shelf.blobs() == []


async def test_the_value_that_a_row_refers_to_outlives_the_others(shelf: Shelf) -> None:
    """Also those of commits that never came, and of aggregates that were deleted."""
    for letter in "ab":
        await shelf.write(large(letter))
    await shelf.work().save("book", "A", large("c"))  # never committed
    await shelf.write(large("d"), "B")
    gone = shelf.work("B")
    await gone.delete("book", "B")
    await shelf.commit(gone)
    assert len(await shelf.blobs()) == 4
    assert await shelf.sweep() == 3
    assert await shelf.read() == large("b")
    assert await shelf.read("B") is None


async def test_of_two_that_had_read_the_same_the_second_changes_nothing(shelf: Shelf) -> None:
    """The row guards the value; what the loser had put is swept."""
    await shelf.write(large("a"))
    first, second = shelf.work(), shelf.work()
    for work, letter in ((first, "b"), (second, "c")):
        assert await work.load("book", "A", Book) == large("a")
        await work.save("book", "A", large(letter))
    await shelf.commit(first)
    with pytest.raises(Conflict):
        await shelf.commit(second)
    assert await shelf.read() == large("b")
    assert await shelf.sweep() == 2


class Slow:
    """Reads a value only after somebody else has replaced it, and its blob was swept."""

    def __init__(self, shelf: Shelf, times: int) -> None:
        self.shelf = shelf
        self.left = times

    async def put_value(self, owner: str, text: str) -> BlobReference:
        """As ever."""
        return await self.shelf.values.put_value(owner, text)

    async def get_value(self, reference: BlobReference) -> str:
        """Too late, so many times."""
        if self.left:
            self.left -= 1
            await self.shelf.write(large("xyz"[self.left]))
            await self.shelf.container.delete_blob(reference.name)
        return await self.shelf.values.get_value(reference)


async def test_a_value_that_is_replaced_while_it_is_read_is_read_anew(shelf: Shelf) -> None:
    """And what is saved then is guarded by the row that was read last."""
    await shelf.write(large("a"))
    work = shelf.work(values=cast("ValueStore", Slow(shelf, 2)))
    assert await work.load("book", "A", Book) == large("x")
    await work.save("book", "A", Book(text="done"))
    await shelf.commit(work)
    assert await shelf.read() == Book(text="done")


async def test_a_value_whose_blob_is_gone_is_an_error_and_never_an_empty_state(shelf: Shelf) -> None:
    """The message is tried again; it doesn't start from nothing."""
    await shelf.write(large("a"))
    (name,) = await shelf.blobs()
    await shelf.container.delete_blob(name)
    with pytest.raises(LookupError, match="can't be read"):
        await shelf.read()


async def test_without_a_place_for_large_values_they_are_refused(shelf: Shelf) -> None:
    """While the handler runs."""
    work = shelf.work()
    work._values = None
    with pytest.raises(TooLarge):
        await work.save("book", "A", large("a"))


async def test_what_is_in_use_is_told_by_the_rows(shelf: Shelf) -> None:
    """Asked for many at once; a blob that isn't ours is never given up."""
    await shelf.write(large("a"))
    await shelf.write(large("b"), "B")
    names = await shelf.blobs()
    foreign = ["readme.txt", "x/y:z", "", "/:", "9/state:book:A"]
    orphans = [f"{name[:-4]}0000" for name in names]
    assert await shelf.store.values_in_use([*names, *orphans, *foreign]) >= set(names)
    assert not await shelf.store.values_in_use([*names, *orphans]) & set(orphans)
    assert await shelf.store.values_in_use(foreign) >= {"readme.txt", "x/y:z", "", "/:"}
    assert await shelf.store.values_in_use([]) == set()
