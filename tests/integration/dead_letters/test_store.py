"""The dead-letter store on real tables and blobs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.dead_letters import DeadLetter, DeadLetterStore, Filters, Note, Status
from tests.integration.dead_letters.conftest import Shop, letter

START = datetime(2026, 5, 1, tzinfo=UTC)


async def put_all(store: DeadLetterStore, letters: list[DeadLetter]) -> None:
    for start in range(0, len(letters), 50):
        await asyncio.gather(*(store.put(each) for each in letters[start : start + 50]))


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 5_000_000])
async def test_a_body_of_any_size_comes_back_byte_for_byte(shop: Shop, size: int) -> None:
    body = bytes(range(256)) * (size // 256 + 1)
    await shop.store.put(letter(body=body[:size]))
    found = await shop.only(Filters())
    assert found.body_size == size
    assert await shop.store.body(found) == body[:size]


async def test_before_the_first_dead_letter_everything_is_empty(shop: Shop) -> None:
    assert await shop.store.get("0" * 32) is None
    assert await shop.store.newest(Filters(), 10) == ([], 0)
    assert await shop.store.groups(Filters(status=frozenset({Status.OPEN})), now=shop.clock) == []
    assert (await shop.store.page(Filters())).next is None
    assert [name async for name in shop.store.claims()] == []
    await shop.store.sweep(START, time_left=lambda: True)
    await shop.store.probe()


async def test_a_redelivery_makes_no_second_letter_and_keeps_the_first_failure(shop: Shop) -> None:
    first = letter(body=b"x" * 70_000)
    later = replace(
        first, first_failure=START + timedelta(hours=1), last_failure=START + timedelta(hours=1), attempts=4
    )
    await shop.store.put(first)
    await shop.store.put(later)
    found = await shop.only(Filters())
    assert (found.first_failure, found.last_failure) == (START, START + timedelta(hours=1))
    assert (found.attempts, found.history) == (4, ())


async def test_one_letter_put_many_times_at_once_is_one_letter(shop: Shop) -> None:
    await asyncio.gather(*(shop.store.put(replace(letter(), attempts=number)) for number in range(1, 9)))
    assert (await shop.store.newest(Filters(), 5))[1] == 1


async def test_two_payloads_under_one_id_are_both_kept(shop: Shop) -> None:
    await shop.store.put(letter(body=b"one"))
    await shop.store.put(letter(body=b"two"))
    found = [await shop.store.body(each) async for each in shop.store.select(Filters(message_id="message-0"))]
    assert sorted(found) == [b"one", b"two"]


async def test_a_change_that_meets_a_newer_row_is_refused(shop: Shop) -> None:
    await shop.store.put(letter())
    known = await shop.only(Filters())
    note = Note(at=START, action="discarded", by="operator", reason="a test")
    won = await shop.store.change(known, status=Status.DISCARDED, note=note, at=START)
    assert won is not None
    assert await shop.store.change(known, status=Status.REPLAYING, note=note, at=START) is None
    assert await shop.store.change(won, status=Status.OPEN, note=note, at=START) is not None
    found = await shop.only(Filters())
    assert (found.status, len(found.history)) == (Status.OPEN, 2)


async def test_a_thousand_letters_are_listed_grouped_and_paged(shop: Shop) -> None:
    codes = ["VALIDATION_ERROR", "CLAIM_MISSING", "REJECTED", "HANDLER_ERROR"]
    letters = [
        letter(
            number,
            code=codes[number % 4],
            category="invalid" if number % 2 else "transient",
            event_type=f"type-{number % 5}",
            key=f"key-{number % 10}",
            source=f"lane:{('high', 'normal', 'low')[number % 3]}",
            fingerprint=f"{number % 7:016x}",
            properties={"claim": f"m/{number}", "claimSha256": "x"} if number % 100 == 0 else {},
        )
        for number in range(1_000)
    ]
    await put_all(shop.store, letters)

    newest, total = await shop.store.newest(Filters(), 25)
    assert total == 1_000
    assert [each.message_id for each in newest] == [f"message-{number}" for number in range(999, 974, -1)]

    groups = await shop.store.groups(Filters(), now=shop.clock)
    assert sum(group.count for group in groups) == sum(group.open for group in groups) == 1_000
    assert {group.fingerprint: group.count for group in groups} == {
        f"{number:016x}": len(range(number, 1_000, 7)) for number in range(7)
    }
    assert groups[0].reason == f"reason {max(range(int(groups[0].fingerprint), 1_000, 7))}"

    seen: list[str] = []
    page = await shop.store.page(Filters(code="REJECTED"), size=60)
    seen += [each.id for each in page.letters]
    while page.next is not None:
        page = await shop.store.page(Filters(code="REJECTED"), size=60, start=page.next)
        assert len(page.letters) <= 60
        seen += [each.id for each in page.letters]
    assert len(seen) == len(set(seen)) == 250

    expected: dict[Filters, int] = {
        Filters(code="REJECTED", category="transient"): 250,
        Filters(event_type="type-3"): 200,
        Filters(key="key-7", lane="high"): len([n for n in range(1_000) if n % 10 == 7 and n % 3 == 0]),
        Filters(fingerprint=f"{6:016x}", source="lane:low"): len(
            [n for n in range(1_000) if n % 7 == 6 and n % 3 == 2]
        ),
        Filters(since=START + timedelta(seconds=990)): 10,
        Filters(until=START + timedelta(seconds=10), status=frozenset({Status.OPEN, Status.REPLAYED})): 10,
        Filters(status=frozenset({Status.DISCARDED})): 0,
        Filters(key="' or RowKey ne '"): 0,
    }
    for filters, count in expected.items():
        assert (await shop.store.newest(filters, 1))[1] == count, filters
    assert len([name async for name in shop.store.claims()]) == 10


async def test_letters_are_found_by_the_beginning_of_their_ids(shop: Shop) -> None:
    await put_all(shop.store, [letter(number) for number in range(20)])
    for each in (await shop.store.newest(Filters(), 20))[0]:
        assert [found.id for found in await shop.store.starting_with(each.id[:10])] == [each.id]
        assert [found.id for found in await shop.store.starting_with(each.id)] == [each.id]


async def uploaded(shop: Shop) -> set[str]:
    return {str(blob.name) async for blob in shop.bodies.list_blobs()}


async def test_a_sweep_deletes_what_is_past_its_retention_and_bodies_of_nobody(shop: Shop) -> None:
    """The service dates blobs itself, so here the retention ends in the future."""
    large = b"x" * 70_000
    now = datetime.now(UTC)
    young = letter(1, body=large + b"1", first_failure=now, last_failure=now + timedelta(days=9))
    old = letter(2, body=large + b"2", first_failure=now, last_failure=now)
    await put_all(shop.store, [young, old, letter(3, first_failure=now, last_failure=now)])
    await shop.bodies.upload_blob("f" * 32, large)
    swept = await shop.store.sweep(now + timedelta(days=3), time_left=lambda: True)
    assert (swept.records, swept.open, swept.bodies, swept.finished) == (2, 2, 2, True)
    found = await shop.only(Filters())
    assert await shop.store.body(found) == young.body
    assert await uploaded(shop) == {young.id}


async def test_a_sweep_leaves_young_bodies_whose_rows_are_still_to_come(shop: Shop) -> None:
    await shop.store.put(letter(1, body=b"x" * 70_000))
    await shop.bodies.upload_blob("e" * 32, b"x")
    swept = await shop.store.sweep(datetime(2020, 1, 1, tzinfo=UTC), time_left=lambda: True)
    assert (swept.records, swept.bodies) == (0, 0)
    assert "e" * 32 in await uploaded(shop)


async def test_a_sweep_without_time_goes_on_the_next_time(shop: Shop) -> None:
    await put_all(shop.store, [letter(number) for number in range(60)])
    total = 0
    for _ in range(10):
        swept = await shop.store.sweep(START + timedelta(days=1), time_left=lambda: False)
        total += swept.records
        if swept.finished:
            break
    assert (total, await shop.store.newest(Filters(), 1)) == (60, ([], 0))


async def test_hostile_text_is_stored(shop: Shop) -> None:
    changes: dict[str, Any] = {
        "identity": "\ud800",
        "reason": "\ud800\x00\x01 ' \" \\ /",
        "key": "k" * 5_000,
        "event_type": "\udfff",
        "first_failure": datetime(1, 1, 1, tzinfo=UTC),
        "properties": {"note": "\ud800", "claim": "\ud800" * 3},
    }
    await shop.store.put(letter(**changes))
    found = await shop.only(Filters())
    assert found.properties["note"] == "\ud800"
    assert found.first_failure == START
