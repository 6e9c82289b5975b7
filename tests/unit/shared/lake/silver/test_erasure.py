"""A person who is erased is found in no row, no file and no rebuilt table; what others' rows have stays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from shared.lake.silver import SilverIngest, SilverLine, SilverRebuild, erase_rows, leading_rows, lines_of
from shared.lake.tables import Layer, Retention
from shared.privacy import FieldProtection
from shared.streams import StreamEvent
from shared.tokenization import TokenKeys
from tests.unit.shared.encryption.vault import World
from tests.unit.shared.lake.silver.parcels import DATA, NOW, SILVER, Log, Parcel, event, ingest, plenty, rows
from tests.unit.shared.lake.tables.log import FaultyStore

LINES = lines_of([SILVER])


@pytest.fixture
def store(tmp_path: Path) -> FaultyStore:
    return FaultyStore(tmp_path)


class Shop:
    """Publishes parcels of persons, encrypted as the app does."""

    def __init__(self) -> None:
        self.world = World()
        self.keys = self.world.subject_keys()
        self.fields = FieldProtection(
            self.world.data_keys(), self.keys, TokenKeys(self.world.secrets, "token-key")
        )  # fmt: skip
        self.log: list[StreamEvent] = []

    async def ships(self, person: str | None, name: str) -> None:
        number = len(self.log)
        parcel = Parcel.model_validate_json(json.dumps(DATA | {"customerId": person, "name": name}))
        encrypted = await self.fields.encrypt(parcel, ("event", f"0-{number}", "parcel.scanned"))
        self.log.append(event(number, json.loads(encrypted.text)))

    async def token(self, person: str) -> str:
        return (await TokenKeys(self.world.secrets, "token-key").tokens()).candidates("customer", person)[0]

    async def erases(self, person: str) -> str:
        done = await self.keys.erase(await self.token(person), by="ada", reason="asked")
        assert done is not None
        return done.key_id


@pytest.fixture
async def shop() -> Shop:
    shop = Shop()
    for person, name in (("ada", "Ada"), ("bob", "Bob"), ("ada", "Ada L."), (None, "a guest")):
        await shop.ships(person, name)
    return shop


async def test_protected_fields_are_stored_as_the_event_has_them(store: FaultyStore, shop: Shop) -> None:
    await ingest(store).catch_up(Log(shop.log), plenty)
    found = await rows(store, "parcel_scanned")
    token = await shop.token("ada")
    assert found["customer_id_token"].to_pylist() == [token, await shop.token("bob"), token, None]
    assert [str(key).startswith(f"{token}~") for key in found["subject_key"].to_pylist()] == [True, False, True, False]
    assert "Ada" not in str(found.to_struct_array().to_pylist())
    row = dict(found.to_struct_array().to_pylist()[0])
    data = json.dumps({"customerId": row["customer_id"], "name": row["name"]})
    clear = json.loads(await shop.fields.decrypt(data, Parcel, ("event", row["event_id"], "parcel.scanned")))
    assert clear == {"customerId": "ada", "name": "Ada"}


async def test_an_erased_person_leads_nowhere(store: FaultyStore, shop: Shop, tmp_path: Path) -> None:
    await ingest(store).catch_up(Log(shop.log), plenty)
    ada, bob = await shop.token("ada"), await shop.token("bob")
    assert await leading_rows(store, LINES, tokens=[ada]) == {"parcel_scanned": 2}
    key = await shop.erases("ada")
    assert await shop.keys.erased_since(shop.world.clock() - timedelta(minutes=1)) == {key}
    assert await erase_rows(store, LINES, keys=[key]) == 2
    assert await erase_rows(store, LINES, keys=[key]) == 0
    assert await leading_rows(store, LINES, tokens=[ada]) == {"parcel_scanned": 0}
    assert await leading_rows(store, LINES, tokens=[bob]) == {"parcel_scanned": 1}
    found = await rows(store, "parcel_scanned")
    assert found["total"].null_count == 0  # what is counted stays
    assert [one is None for one in found["name"].to_pylist()] == [True, False, True, False]
    # the files in which the rows stood before are gone with the retention
    table = await store.open(Layer.SILVER, "parcel_scanned")
    table.vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)
    files = [file.read_bytes() for file in (tmp_path / "silver" / "parcel_scanned").rglob("part-*.parquet")]
    assert len(files) == 1
    assert ada.encode() not in files[0]
    assert bob.encode() in files[0]


async def test_who_comes_back_after_an_erasure_is_kept(store: FaultyStore, shop: Shop) -> None:
    key = await shop.erases("ada")
    await shop.ships("ada", "Ada again")
    await ingest(store).catch_up(Log(shop.log), plenty)
    await erase_rows(store, LINES, keys=[key])
    token = await shop.token("ada")
    assert (await rows(store, "parcel_scanned"))["customer_id_token"].to_pylist()[0::4] == [None, token]
    assert await erase_rows(store, LINES, keys=[], tokens=[token]) == 1


async def test_what_comes_late_or_again_of_an_erased_person_is_empty(store: FaultyStore, shop: Shop) -> None:
    """As in a rebuild: the log has her events still, which nobody can decrypt."""
    await shop.erases("ada")
    later = ingest(store, now=NOW + timedelta(hours=1), erased=shop.keys.erased_among)
    await later.catch_up(Log(shop.log), plenty)
    ada = await shop.token("ada")
    assert await leading_rows(store, LINES, tokens=[ada]) == {"parcel_scanned": 0}
    assert [one is None for one in (await rows(store, "parcel_scanned"))["name"].to_pylist()] == [
        True, False, True, False
    ]  # fmt: skip

    def make(lines: Sequence[SilverLine], prefix: str) -> SilverIngest:
        return SilverIngest(
            store, lines, log="events", retention=Retention(), now=lambda: NOW + timedelta(hours=1), prefix=prefix,
            erased=shop.keys.erased_among,
        )  # fmt: skip

    await SilverRebuild(store, LINES, make).run(Log(shop.log))
    assert await leading_rows(store, LINES, tokens=[ada]) == {"parcel_scanned": 0}
    assert (await rows(store, "parcel_scanned"))["event_id"].to_pylist() == ["0-0", "0-1", "0-2", "0-3"]


async def test_a_hostile_id_is_no_sql(store: FaultyStore, shop: Shop) -> None:
    await ingest(store).catch_up(Log(shop.log), plenty)
    hostile = ["x' OR '1'='1", "') OR (1=1", "", "é"]
    assert await erase_rows(store, LINES, keys=hostile, tokens=hostile) == 0


async def test_rows_that_come_in_meanwhile_hold_up_no_erasure(store: FaultyStore, shop: Shop) -> None:
    await ingest(store).catch_up(Log(shop.log[:3]), plenty)
    key = await shop.erases("ada")
    job = ingest(store)
    table = await job.committer(LINES[0].root).table()
    assert table.version() == 1
    await erase_rows(store, LINES, keys=[key])
    await job.catch_up(Log(shop.log), plenty)
    assert (await rows(store, "parcel_scanned")).num_rows == 4
    assert await leading_rows(store, LINES, tokens=[await shop.token("ada")]) == {"parcel_scanned": 0}


async def test_tables_that_arent_there_yet_are_passed_over(store: FaultyStore) -> None:
    assert await erase_rows(store, LINES, keys=["tok_a~1"]) == 0
    assert await leading_rows(store, LINES, tokens=["tok_a"]) == {}
