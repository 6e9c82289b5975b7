"""Values that an entity doesn't hold: a blob holds them, and the row says which."""

from __future__ import annotations

import pytest

from shared.blobs import BlobReference
from shared.work import Work
from tests.unit.memory import MemoryState

from .world import MemoryValues, Stock, commit, work

LARGE = Stock(count=1, note="x" * 1_000_000)


@pytest.fixture
def store() -> MemoryState:
    """An empty table."""
    return MemoryState()


@pytest.fixture
async def values(store: MemoryState) -> MemoryValues:
    """With the large value of A in it, and the row that refers to it."""
    values = MemoryValues()
    await save(store, values, 1, LARGE)
    return values


async def save(store: MemoryState, values: MemoryValues, number: int, value: Stock) -> Work:
    """Another message's work."""
    unit = work(store, number, values=values)
    await unit.save("stock", "A", value)
    await commit(store, unit)
    return unit


async def test_a_large_value_is_put_before_the_row_that_refers_to_it(store: MemoryState, values: MemoryValues) -> None:
    """Under the name of the row, which the sweep of orphans looks for."""
    ((_, key), row) = next(one for one in store.rows.items() if one[0][1].startswith("state:"))
    ((name, text),) = values.texts.items()
    assert name.rpartition(":")[0] == f"{work(store).bucket}/{key}"
    assert text == LARGE.model_dump_json(by_alias=True)
    assert (row["kind"], row["key"]) == ("stock", "A")
    reference = BlobReference.from_columns(row)
    assert reference is not None
    assert (reference.name, reference.size) == (name, len(text))
    assert await work(store, 2, values=values).load("stock", "A", Stock) == LARGE


async def test_a_value_that_fits_goes_to_no_blob(store: MemoryState, values: MemoryValues) -> None:
    """And takes the place of one that didn't."""
    await save(store, values, 2, Stock(count=2))
    assert len(values.texts) == 1
    assert await work(store, 3, values=values).load("stock", "A", Stock) == Stock(count=2)
    assert values.asked == 0


@pytest.mark.parametrize("newer", [LARGE.model_copy(update={"count": 2}), Stock(count=2), None])
async def test_a_value_that_is_replaced_while_it_is_read_is_read_again(
    store: MemoryState, values: MemoryValues, newer: Stock | None
) -> None:
    """Whatever came instead: a large value, one that fits, or nothing; and its ETag is the one that counts."""
    unit = work(store, 5, values=Replacing(store, values, newer))
    assert await unit.load("stock", "A", Stock) == newer
    await unit.save("stock", "A", Stock(count=9))
    await commit(store, unit)
    assert await work(store, 6).load("stock", "A", Stock) == Stock(count=9)


class Replacing(MemoryValues):
    """Before it is first asked, another message replaces the value, whose blob is swept."""

    def __init__(self, store: MemoryState, values: MemoryValues, newer: Stock | None) -> None:
        super().__init__()
        self.store, self.newer, self.values = store, newer, values

    async def get_value(self, reference: BlobReference) -> str:
        """As it is after that."""
        if self.values.texts:
            self.values.texts.clear()
            if self.newer is None:
                unit = work(self.store, 4)
                await unit.delete("stock", "A")
                await commit(self.store, unit)
            else:
                await save(self.store, self, 4, self.newer)
        return await super().get_value(reference)


async def test_a_blob_that_stays_missing_is_an_error_after_three_looks(
    store: MemoryState, values: MemoryValues
) -> None:
    """And never an empty value: the row says that there is one."""
    values.texts.clear()
    with pytest.raises(LookupError, match="the large value of stock 'A' can't be read"):
        await work(store, 2, values=values).load("stock", "A", Stock)
    assert values.asked == 3


@pytest.mark.usefixtures("values")
async def test_an_app_without_storage_for_large_values_says_so(store: MemoryState) -> None:
    """It would otherwise take the key for a new one."""
    with pytest.raises(LookupError, match="the large value of stock 'A' can't be read"):
        await work(store, 2).load("stock", "A", Stock)
