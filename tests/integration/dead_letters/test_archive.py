"""Archived instead of deleted: out of the way, back within its window, and decided after it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from functions.composition.dead_letters import capability, run_book
from functions.composition.state import parking
from functions.dead_letters import sweep
from ops.dead_letters.editing import payload_editor
from shared.dead_letters import Action, Decision, EditRefused, Filters, Report, RunBook, Status, StoredLetter
from shared.dead_letters.store import DeadLetterStore
from shared.jobs import JobRun
from shared.messages import Lane
from shared.tables import MemoryTable, Replace
from tests.integration.dead_letters.conftest import Shop, letter

ORDER = Decision(by="operator", reason="a test order")
WINDOW = timedelta(days=7)
UNDECIDED = Filters(status=frozenset({Status.OPEN, Status.REPLAYING}))


async def archived(shop: Shop, found: StoredLetter) -> StoredLetter:
    result = await shop.redrive().archive(found, ORDER, until=shop.now() + WINDOW)
    assert result.action is Action.ARCHIVE
    return result.letter


async def test_what_is_archived_is_out_of_the_way_and_comes_back_as_it_was(shop: Shop) -> None:
    found = await shop.die("parcel-1")
    put_away = await archived(shop, found)
    assert put_away.archived_until is not None
    assert [one async for one in shop.store.select(UNDECIDED)] == []
    assert (await shop.only(Filters(status=frozenset({Status.ARCHIVED})))).archived_until == put_away.archived_until
    assert (await shop.redrive().replay(put_away, ORDER)).action is Action.SKIP_ARCHIVED
    assert (await shop.redrive().archive(put_away, ORDER, until=shop.now())).action is Action.SKIP_RESOLVED
    with pytest.raises(EditRefused, match="restore it first"):
        await payload_editor(shop.composition).open(put_away)

    restored = await shop.redrive().restore(put_away, ORDER)
    assert (restored.action, restored.letter.status) == (Action.RESTORE, Status.OPEN)
    again = await shop.only(UNDECIDED)
    assert again.archived_until is None
    assert [note.action for note in again.history] == ["archived", "restored"]
    assert (await shop.redrive().restore(again, ORDER)).action is Action.SKIP_NOT_ARCHIVED
    shop.broken.clear()
    assert (await shop.redrive().replay(again, ORDER)).action is Action.SEND
    assert await shop.effects("parcel-1") == 1


async def test_after_its_window_it_is_decided_and_undo_is_refused(shop: Shop) -> None:
    put_away = await archived(shop, await shop.die("parcel-1"))
    shop.clock += WINDOW + timedelta(seconds=1)
    assert (await shop.redrive().restore(put_away, ORDER)).action is Action.SKIP_WINDOW
    assert await sweep(shop.store, shop.composition.get(parking), retention_days=30, now=shop.now)
    found = await shop.only(Filters())
    assert (found.status, found.archived_until) == (Status.DISCARDED, None)
    assert [note.action for note in found.history] == ["archived", "discarded"]


async def test_a_status_of_a_later_release_is_read_and_decided_by_nobody_here(shop: Shop) -> None:
    """After a rollback: it is shown, and waits for the release that knows it, or fails again as a replay."""
    found = await shop.die("parcel-1")
    table = vars(shop.store)["_table"]

    async def row() -> dict[str, Any]:
        return dict(await table.get(found.id[:2], found.id))

    known = await table.get(found.id[:2], found.id)
    await table.submit([Replace({**known, "status": "postponed"}, known.etag)])
    later = await shop.only(Filters())
    assert later.status is Status.UNKNOWN
    assert await shop.store.get(found.id) == later
    redrive = shop.redrive()
    assert (await redrive.replay(later, ORDER)).action is Action.SKIP_UNKNOWN
    assert (await redrive.discard(later, ORDER)).action is Action.SKIP_UNKNOWN
    assert (await redrive.archive(later, ORDER, until=shop.now())).action is Action.SKIP_UNKNOWN
    assert (await redrive.restore(later, ORDER)).action is Action.SKIP_NOT_ARCHIVED
    with pytest.raises(EditRefused, match="later release"):
        await payload_editor(shop.composition).open(later)
    again = shop.message("parcel-1", message_id=UUID(found.message_id))
    await shop.deliver(Lane.HIGH, again)
    assert (await row())["status"] == "postponed"
    same = letter(identity=found.message_id, body=await shop.store.body(found), position=found.position)
    same = replace(same, source=found.source, properties=found.properties)
    assert same.id == found.id
    await shop.store.put(same)
    assert (await row())["status"] == "postponed"
    await shop.store.put(replace(same, position={"sequenceNumber": 10**6}))
    assert (await row())["status"] == "open"


async def test_a_sweep_leaves_what_is_in_its_window(shop: Shop) -> None:
    await archived(shop, await shop.die("parcel-1"))
    await sweep(shop.store, shop.composition.get(parking), retention_days=30, now=shop.now)
    assert (await shop.only(Filters())).status is Status.ARCHIVED


async def test_the_key_of_an_archived_message_goes_on_when_its_window_ends(shop: Shop) -> None:
    """On the ordered lane: archived isn't decided, since it may come back; discarded is."""
    message = shop.message("parcel-1")
    message.application_properties = {**(message.application_properties or {}), "priority": "ordered"}
    message.session_id = "parcel-1"
    given = shop.given_up(message, "Other")
    await shop.drain(Lane.ORDERED, given)
    found = await shop.only(Filters())
    keys = shop.composition.get(parking)
    assert (await keys.find(["parcel-1"]))["parcel-1"].blocked_by == found.message_id
    await archived(shop, found)
    assert (await keys.find(["parcel-1"]))["parcel-1"].blocked_by == found.message_id
    shop.clock += WINDOW + timedelta(seconds=1)
    await sweep(shop.store, keys, retention_days=30, now=shop.now)
    parked = (await keys.find(["parcel-1"])).get("parcel-1")
    assert parked is None or parked.blocked_by is None


async def test_of_two_operators_one_wins(shop: Shop) -> None:
    found = await shop.die("parcel-1")
    assert (await shop.redrive().discard(found, ORDER)).action is Action.CLOSE
    assert (await shop.redrive().archive(found, ORDER, until=shop.now() + WINDOW)).action is Action.SKIP_RESOLVED


async def test_the_same_copy_again_stays_archived_and_another_opens_it(shop: Shop) -> None:
    store: DeadLetterStore = shop.store
    await store.put(letter(1))
    put_away = await archived(shop, await shop.only(Filters()))
    await store.put(letter(1))
    assert (await shop.only(Filters())).archived_until == put_away.archived_until
    await store.put(letter(1, position={"sequenceNumber": 99}))
    found = await shop.only(Filters())
    assert (found.status, found.archived_until) == (Status.OPEN, None)


async def test_the_daily_sweep_forgets_old_replays_too(shop: Shop) -> None:
    table = MemoryTable()
    book = RunBook(table, now=shop.now)
    for name in ("20200101T000000Z-0000", f"{shop.clock:%Y%m%dT%H%M%SZ}-0000"):
        await book.begin(name, ORDER, clock=lambda: 0.0).end(Report())
    jobs = capability(shop.composed({run_book: book})).jobs
    (job,) = (one for one in jobs if one.name == "sweep-dead-letters")
    assert await job.call(JobRun(due=shop.clock, last_success=None, time_left=lambda: 60.0)) is False
    assert [row for _, row in table.rows] == [f"{shop.clock:%Y%m%dT%H%M%SZ}-0000"]
