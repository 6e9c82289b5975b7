"""An edited message is the same message with another payload: validated, kept beside the original, done once."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from azure.servicebus import ServiceBusMessage

from functions.composition.dead_letters import dead_letter_store
from functions.composition.encryption import message_encryption
from functions.composition.state import state_store
from ops.dead_letters.editing import payload_editor
from shared.blobs import BodyStore
from shared.dead_letters import (
    Action,
    DeadLetterStore,
    Decision,
    EditOutcome,
    EditRefused,
    EditResult,
    Filters,
    InboxRecords,
    Note,
    ReplayOutcome,
    Status,
    StoredLetter,
)
from shared.encryption import DataKey, MessageEncryption, ProtectionError
from shared.messages import Lane, Reject
from shared.telemetry import Metrics
from tests.integration.dead_letters.conftest import Shop

ORDER = Decision(by="operator", reason="the scales sent words")
PARCEL = "parcel-1"
MEND = [{"op": "replace", "path": "/data/grams", "value": 250}]


class StillKeys:
    """One data key, without a vault."""

    key = DataKey("d1", bytes(range(32)))

    def peek_current(self) -> DataKey:
        return self.key

    def peek(self, _: str) -> DataKey:
        return self.key


async def edited(shop: Shop, letter: StoredLetter, patch: Any = None, *, reveal: bool = False) -> EditResult:
    editor = payload_editor(shop.composition)
    return await editor.patch(await editor.open(letter, reveal=reveal), MEND if patch is None else patch, ORDER)


async def inbox(shop: Shop, letter: StoredLetter) -> dict[str, Any]:
    row = await InboxRecords(shop.composition.get(state_store)).find(letter.message_id or "", letter.key or "")
    return dict(row or {})


async def test_an_edited_message_takes_effect_under_its_own_id(shop: Shop) -> None:
    letter = await shop.misread(PARCEL)
    assert (letter.status, letter.code) == (Status.OPEN, "VALIDATION_ERROR")
    original = await shop.store.body(letter)
    result = await edited(shop, letter)
    assert (result.outcome, result.paths) == (EditOutcome.EDITED, ("/data/grams",))
    died = await inbox(shop, letter)

    done = await shop.redrive().replay(result.letter, ORDER)
    assert done.action is Action.SEND
    assert await shop.weight(PARCEL) == {
        "parcelId": PARCEL,
        "grams": 250,
        "note": None,
        "recipient": None,
        "contacts": None,
    }
    assert await shop.redrive().outcome(done.letter) is ReplayOutcome.DONE
    row = await inbox(shop, letter)
    assert row["status"] == "done"
    assert row["payloadHash"] != died.get("payloadHash")
    assert not [name for name in row if name.endswith("BeforeEdit")]

    found = await shop.only(Filters())
    assert (found.id, found.status, found.replays) == (letter.id, Status.REPLAYED, 1)
    assert await shop.store.body(found) == original
    assert [note.action for note in found.history] == ["edited", "replay"]
    assert found.history[0].reason == "the scales sent words (changed /data/grams)"
    (kept,) = await shop.store.differences(found)
    assert (kept["by"], kept["reason"], kept["patch"]) == ("operator", ORDER.reason, MEND)
    (sent,) = shop.sent
    assert sent.message_id == f"{letter.message_id}#r1"
    properties = dict(sent.application_properties or {})
    assert properties["editOf"] == letter.id
    assert properties["messageId"] == letter.message_id


async def test_the_same_edited_copy_twice_and_the_original_meanwhile_take_effect_once(shop: Shop) -> None:
    """The original as a late copy: only what the operator decided may have an effect."""
    shop.broken[PARCEL] = Reject("it is too light")
    letter = await shop.misread(PARCEL, grams=1)
    result = await edited(shop, letter)
    late = shop.message(PARCEL, message_id=UUID(letter.message_id), event_type="parcel.weighed", grams=1)

    async def with_a_late_copy(lane: Lane, message: ServiceBusMessage) -> None:
        await shop.deliver(lane, late)
        for _ in range(2):
            await shop.deliver(lane, message)

    shop.broken.clear()
    await shop.redrive(with_a_late_copy).replay(result.letter, ORDER)
    assert await shop.effects(PARCEL) == 1
    assert (await shop.weight(PARCEL) or {})["grams"] == 250


async def test_an_edit_that_fails_again_opens_the_same_dead_letter(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Edited twice: each difference stays, with who and why; a failure is counted whatever it belongs to."""
    counted: list[str] = []
    monkeypatch.setattr(Metrics.dead_letters, "add", lambda *_, category: counted.append(category))
    letter = await shop.misread(PARCEL, note=7)
    first = await edited(shop, letter, [{"op": "remove", "path": "/data/note"}, *MEND])
    shop.broken[PARCEL] = RuntimeError("the depot burns")
    await shop.redrive().replay(first.letter, ORDER)
    again = await shop.only(Filters())
    assert (again.id, again.status, again.edited) == (letter.id, Status.OPEN, True)
    assert again.category != letter.category
    assert counted == [letter.category, again.category]
    assert [note.action for note in again.history] == ["edited", "replay", "failed again"]
    assert await shop.redrive().outcome(again) is ReplayOutcome.FAILED

    shop.broken.clear()
    second = await edited(shop, again, {"data": {"grams": 300}})
    await shop.redrive().replay(second.letter, ORDER)
    assert (await shop.weight(PARCEL) or {})["grams"] == 300
    found = await shop.only(Filters())
    patches = [one["patch"] for one in await shop.store.differences(found)]
    assert patches == [
        [{"op": "remove", "path": "/data/note"}, {"op": "replace", "path": "/data/grams", "value": 250}],
        [{"op": "replace", "path": "/data/grams", "value": 300}],
    ]


async def test_an_edit_can_be_taken_back(shop: Shop) -> None:
    letter = await shop.misread(PARCEL)
    result = await edited(shop, letter)
    editor = payload_editor(shop.composition)
    assert await editor.changes(result.letter) == [("/data/grams", "heavy", 250)]
    taken_back = await editor.restore(result.letter, ORDER)
    assert taken_back.outcome is EditOutcome.EDITED
    assert await editor.changes(taken_back.letter) == []
    assert (await editor.restore(taken_back.letter, ORDER)).outcome is EditOutcome.SAME
    await shop.redrive().replay(taken_back.letter, ORDER)
    assert b"heavy" in b"".join(shop.sent[0].body)
    found = await shop.only(Filters())
    assert (found.status, found.code) == (Status.OPEN, "VALIDATION_ERROR")
    assert len(await shop.store.differences(found)) == 2


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ({"data": {"grams": "light"}}, "data.grams"),
        ({"data": {"parcelId": "other"}}, "data.parcelId can't be edited"),
        ({"messageId": "00000000-0000-4000-8000-000000000000"}, "messageId can't be edited"),
        ({"eventType": "parcel.sent"}, "eventType can't be edited"),
        ({"version": "2.0"}, "version can't be edited"),
        ({"data": None}, "data"),
        ([{"op": "replace", "path": "", "value": 7}], "Input should be"),
        ([{"op": "test", "path": "/data/grams", "value": 1}], "operation 1"),
    ],
)
async def test_what_breaks_the_contract_or_is_another_message_is_refused(shop: Shop, patch: Any, said: str) -> None:
    letter = await shop.misread(PARCEL)
    fit = {**patch, "data": {"grams": 1, **patch["data"]}} if isinstance(patch, dict) and patch.get("data") else patch
    if isinstance(patch, dict) and "data" not in patch:
        fit = {**patch, "data": {"grams": 1}}
    with pytest.raises(EditRefused, match=said):
        await edited(shop, letter, fit)
    assert (await shop.only(Filters())).history == ()


async def test_of_an_edit_and_whatever_else_is_decided_meanwhile_one_wins(shop: Shop) -> None:
    """Two operators; an edit of what is replayed meanwhile, and a replay of what is edited meanwhile."""
    letter = await shop.misread(PARCEL)
    editor = payload_editor(shop.composition)
    one, other = await editor.open(letter), await editor.open(letter)
    results = await asyncio.gather(editor.patch(one, MEND, ORDER), editor.patch(other, {"data": {"grams": 9}}, ORDER))
    assert sorted(result.outcome for result in results) == [EditOutcome.EDITED, EditOutcome.CHANGED]
    current = await shop.only(Filters())
    stale = await editor.open(current)

    async def edits_meanwhile(lane: Lane, message: ServiceBusMessage) -> None:
        with pytest.raises(EditRefused, match="is being replayed"):
            await editor.open(await shop.only(Filters()))
        assert (await editor.patch(stale, {"data": {"grams": 5}}, ORDER)).outcome is EditOutcome.CHANGED
        await shop.deliver(lane, message)

    await shop.redrive(edits_meanwhile).replay(current, ORDER)
    assert (await editor.patch(stale, {"data": {"grams": 5}}, ORDER)).outcome is EditOutcome.CHANGED
    with pytest.raises(EditRefused, match="replayed already"):
        await editor.open(await shop.only(Filters()))
    assert (await shop.weight(PARCEL) or {})["grams"] in (250, 9)


async def test_an_edit_whose_message_is_not_sent_leaves_the_inbox_as_it_was(shop: Shop) -> None:
    shop.broken[PARCEL] = Reject("it is too light")
    letter = await shop.misread(PARCEL, grams=1)
    before = await inbox(shop, letter)
    result = await edited(shop, letter)

    async def refuse(_: Lane, __: ServiceBusMessage) -> None:
        raise ConnectionError("the broker is away")

    done = await shop.redrive(refuse).replay(result.letter, ORDER)
    assert done.letter.status is Status.OPEN
    after = await inbox(shop, letter)
    assert {name: after.get(name) for name in before} == before | {"status": "dead"}
    assert not [name for name in after if name.endswith("BeforeEdit")]


async def test_the_original_takes_effect_after_an_edit_whose_replay_left_the_inbox_open(shop: Shop) -> None:
    """The process dies between giving the dead letter back and closing its inbox row: once, and again."""
    shop.broken[PARCEL] = Reject("it is too light")
    letter = await shop.misread(PARCEL, grams=1)
    before = await inbox(shop, letter)
    shop.broken.clear()

    async def refuse(_: Lane, __: ServiceBusMessage) -> None:
        raise ConnectionError("the broker is away")

    async def dies(_: StoredLetter) -> None:
        raise ConnectionError("the state is away")

    for grams in (250, 300):
        current = await edited(shop, await shop.only(Filters()), {"data": {"grams": grams}})
        await shop.redrive(refuse, _close_inbox=dies).replay(current.letter, ORDER)
        left = await inbox(shop, letter)
        assert (left["status"], left["payloadSha256BeforeEdit"]) == ("replaying", before["payloadSha256"])
    found = await shop.only(Filters())
    assert found.status is Status.OPEN
    original = await payload_editor(shop.composition).restore(found, ORDER)
    await shop.redrive().replay(original.letter, ORDER)
    assert await shop.effects(PARCEL) == 1
    assert (await shop.weight(PARCEL) or {})["grams"] == 1
    row = await inbox(shop, letter)
    assert (row["status"], row["payloadSha256"]) == ("done", before["payloadSha256"])
    assert not [name for name in row if name.endswith("BeforeEdit")]


async def test_what_had_no_payload_hash_has_none_after_an_edit_that_was_not_sent(shop: Shop) -> None:
    letter = await shop.misread(PARCEL)
    before = await inbox(shop, letter)
    result = await edited(shop, letter)

    async def refuse(_: Lane, __: ServiceBusMessage) -> None:
        raise ConnectionError("the broker is away")

    await shop.redrive(refuse).replay(result.letter, ORDER)
    hashes = ("payloadSha256", "payloadHash")
    assert [(await inbox(shop, letter)).get(name) for name in hashes] == [before.get(name) for name in hashes]


async def test_what_cannot_be_edited_says_why(shop: Shop) -> None:
    editor = payload_editor(shop.composition)
    unknown = shop.message(PARCEL, event_type="parcel.lost")
    await shop.deliver(Lane.HIGH, unknown)
    with pytest.raises(EditRefused, match="No integration handles"):
        await editor.open(await shop.only(Filters(code="UNKNOWN_EVENT_TYPE")))
    unreadable = shop.message("parcel-2")
    unreadable.application_properties = {"messageId": "x"}
    await shop.deliver(Lane.HIGH, unreadable)
    with pytest.raises(EditRefused, match="properties can't be read"):
        await editor.open(await shop.only(Filters(message_id=str(unreadable.message_id))))


async def test_a_body_that_is_no_json_is_replaced_whole(shop: Shop) -> None:
    letter = await shop.misread(PARCEL)
    message = shop.message(PARCEL, event_type="parcel.weighed", grams=1)
    broken = ServiceBusMessage(
        b"{not json", message_id=message.message_id, application_properties=message.application_properties
    )
    await shop.deliver(Lane.HIGH, broken)
    letter = await shop.only(Filters(message_id=str(message.message_id)))
    editor = payload_editor(shop.composition)
    opened = await editor.open(letter)
    with pytest.raises(EditRefused, match="isn't JSON"):
        await editor.patch(opened, MEND, ORDER)
    result = await editor.save(opened, json.loads(b"".join(message.body)), ORDER)
    assert result.paths == ("",)
    await shop.redrive().replay(result.letter, ORDER)
    assert (await shop.weight(PARCEL) or {})["grams"] == 1


async def test_protected_fields_are_moved_but_not_seen(shop: Shop) -> None:
    """A placeholder becomes its value again where the value belongs, and nowhere that everybody sees."""
    letter = await shop.misread(PARCEL, recipient="Ada Planted", note="for Ada")
    editor = payload_editor(shop.composition)
    opened = await editor.open(letter)
    assert "Planted" not in opened.text
    placeholder = opened.document["data"]["recipient"]
    for leak in (
        [*MEND, {"op": "copy", "from": "/data/recipient", "path": "/data/note"}],
        [*MEND, {"op": "move", "from": "/data/recipient", "path": "/source"}],
        [*MEND, {"op": "replace", "path": "/data/note", "value": f"x {placeholder}"}],
        [*MEND, {"op": "replace", "path": "/data/recipient", "value": f"x {placeholder}"}],
    ):
        with pytest.raises(EditRefused, match="placeholder"):
            await editor.patch(opened, leak, ORDER)
    with pytest.raises(EditRefused, match="operation 1"):
        await editor.patch(opened, [{"op": "test", "path": "/data/recipient", "value": "Ada Planted"}], ORDER)
    result = await editor.patch(opened, MEND, ORDER)
    assert result.paths == ("/data/grams",)
    replaced = await edited(shop, result.letter, {"data": {"recipient": "Grace Planted"}})
    assert await editor.changes(replaced.letter) == [
        ("/data/grams", "heavy", 250),
        ("/data/recipient", "[redacted]", "[redacted]"),
    ]
    assert ("/data/recipient", "Ada Planted", "Grace Planted") in await editor.changes(replaced.letter, reveal=True)
    assert "Planted" not in " ".join(note.reason for note in replaced.letter.history)
    await shop.redrive().replay(replaced.letter, ORDER)
    assert (await shop.weight(PARCEL) or {})["recipient"] == "Grace Planted"


@pytest.mark.parametrize("guess", ["Ada Planted", "Bob Planted"])
async def test_a_guess_of_a_protected_value_is_answered_alike(shop: Shop, guess: str) -> None:
    """Dry or real, by what an edit, its history, `show` and its undo say."""
    shop.broken[PARCEL] = Reject("it is too light")
    letter = await shop.misread(PARCEL, grams=1, recipient="Ada Planted")
    editor = payload_editor(shop.composition)
    opened, patch = await editor.open(letter), {"data": {"recipient": guess}}
    assert (await editor.patch(opened, {"data": {"grams": 1}}, ORDER, dry_run=True)).outcome is EditOutcome.SAME
    dry = await editor.patch(opened, patch, ORDER, dry_run=True)
    assert (dry.outcome, dry.paths) == (EditOutcome.VALID, ("/data/recipient",))
    real = await editor.patch(opened, patch, ORDER)
    assert (real.outcome, real.paths) == (EditOutcome.EDITED, ("/data/recipient",))
    assert real.letter.history[-1].reason == f"{ORDER.reason} (changed /data/recipient)"
    assert await editor.changes(real.letter) == [("/data/recipient", "[redacted]", "[redacted]")]
    undo = await editor.restore(real.letter, ORDER, dry_run=True)
    assert undo.paths == ("/data/recipient",)
    (kept,) = await shop.store.differences(real.letter)
    assert kept["patch"] == [{"op": "replace", "path": "/data/recipient", "value": guess}]


@pytest.mark.parametrize("reveal", [False, True])
async def test_what_a_protected_mapping_holds_is_named_in_the_encrypted_log_only(shop: Shop, reveal: bool) -> None:
    letter = await shop.misread(PARCEL, contacts={"ada@planted": "1"})
    editor = payload_editor(shop.composition)
    patch = {"data": {"grams": 1, **({"contacts": {"ada@planted": "2", "bob@planted": "3"}} if reveal else {})}}
    first = await edited(shop, letter, patch, reveal=reveal)
    patch = {"data": {"contacts": {"eve@planted": "2"}}}
    second = await edited(shop, first.letter, patch, reveal=reveal)
    assert (first.paths, second.paths) == (
        ("/data/grams", "/data/contacts") if reveal else ("/data/grams",),
        ("/data/contacts",),
    )
    shown = await editor.changes(second.letter)
    assert shown == [("/data/grams", "heavy", 1), ("/data/contacts", "[redacted]", "[redacted]")]
    undone = await editor.restore(second.letter, ORDER)
    assert set(undone.paths) == {"/data/grams", "/data/contacts"}
    assert "planted" not in str(undone.letter.history)
    assert "eve@planted" in str(await shop.store.differences(undone.letter))


async def test_a_payload_that_grows_past_the_threshold_travels_as_a_claim(shop: Shop) -> None:
    """And one that was a claim may become small; what a claim is for is kept as long as its dead letter."""
    letter = await shop.misread(PARCEL)
    result = await edited(shop, letter, {"data": {"grams": 1, "note": "n" * 70_000}})
    assert result.letter.edit is not None
    assert result.letter.edit.properties["claimSize"] > 70_000
    assert [name async for name in shop.store.claims()] == [result.letter.edit.properties["claim"]]
    shop.broken[PARCEL] = RuntimeError("the depot burns")
    await shop.redrive().replay(result.letter, ORDER)
    again = await shop.only(Filters())
    assert again.status is Status.OPEN
    shop.broken.clear()
    small = await edited(shop, again, {"data": {"note": None}})
    await shop.redrive().replay(small.letter, ORDER)
    assert "claim" not in dict(shop.sent[-1].application_properties or {})
    assert await shop.effects(PARCEL) == 1


async def test_an_edit_is_encrypted_at_rest_and_erased_with_its_dead_letter(shop: Shop) -> None:
    """Bound to its own dead letter: an edit can't stand for what came, nor the other way round."""
    keys = StillKeys()
    encryption = MessageEncryption(keys, [Lane.HIGH])  # type: ignore[arg-type]
    letters = DeadLetterStore(vars(shop.store)["_table"], BodyStore(shop.bodies), encryption=encryption)
    app = shop.composed({dead_letter_store: letters, message_encryption: encryption})
    letter = await shop.misread(PARCEL, recipient="Ada Planted")
    editor = payload_editor(app)
    result = await editor.patch(await editor.open(letter), MEND, ORDER)
    assert result.letter.edit is not None
    assert (result.letter.edit.encrypted, result.letter.edit.properties) == (True, {"sealed": keys.key.id})
    columns = await vars(shop.store)["_table"].get(letter.id[:2], letter.id)
    assert b"Planted" not in columns["edit"]
    assert b"grams" not in columns["edit"]
    assert (await letters.outgoing(result.letter)).body[:4] != b'{"me'
    assert await editor.changes(result.letter) == [("/data/grams", "heavy", 250)]
    with pytest.raises(ProtectionError):
        await encryption.decrypt_for(letter.id, bytes(columns["edit"]))
    note = Note(at=shop.now(), action="erased", by="operator", reason="asked for")
    assert await letters.forget(result.letter, note)
    erased = await vars(shop.store)["_table"].get(letter.id[:2], letter.id)
    assert not [name for name in erased if name.startswith("edit") or name == "body"]


async def test_a_large_edit_is_kept_in_a_blob_that_goes_with_its_dead_letter(shop: Shop) -> None:
    letter = await shop.misread(PARCEL)
    result = await edited(shop, letter, {"data": {"grams": 1, "note": "n" * 60_000}})
    assert result.letter.edit is not None
    assert result.letter.edit.blob is not None
    assert (await shop.store.outgoing(result.letter)).body.endswith(b"}}")
    later = shop.now().replace(year=2200)
    swept = await shop.store.sweep(later, time_left=lambda: True)
    assert (swept.records, swept.bodies) == (1, 1)
    with pytest.raises(LookupError, match="the edit of the dead letter"):
        await shop.store.outgoing(result.letter)


async def blobs(shop: Shop) -> list[str]:
    return [name async for name in shop.bodies.list_blob_names()]


async def test_an_edit_leaves_no_blob_of_the_one_before_it_nor_of_one_that_lost(shop: Shop) -> None:
    shop.clock = datetime.now(UTC)
    letter = await shop.misread(PARCEL)
    first = await edited(shop, letter, {"data": {"grams": 1, "note": "n" * 60_000}})
    editor = payload_editor(shop.composition)
    opened, late = await editor.open(first.letter), await editor.open(first.letter)
    second = await editor.patch(opened, {"data": {"grams": 2}}, ORDER)
    assert second.letter.edit is not None
    assert await blobs(shop) == [second.letter.edit.blob]
    assert (await editor.patch(late, {"data": {"grams": 3}}, ORDER)).outcome is EditOutcome.CHANGED
    assert (await editor.restore(first.letter, ORDER)).outcome is EditOutcome.CHANGED
    whole = await editor.open(second.letter)
    current = await shop.redrive().archive(second.letter, ORDER, until=shop.now())  # the blob is there, the row newer
    assert (await editor.patch(whole, {"data": {"grams": 3}}, ORDER)).outcome is EditOutcome.CHANGED
    assert current.letter.status is Status.ARCHIVED
    assert await blobs(shop) == [second.letter.edit.blob]
    assert b"n" * 60_000 in (await shop.store.outgoing(second.letter)).body


async def test_erasing_leaves_no_blob_of_an_edit_that_a_crash_left(shop: Shop) -> None:
    shop.clock = datetime.now(UTC)
    letter = await shop.misread(PARCEL)
    await edited(shop, letter, {"data": {"grams": 1, "note": "n" * 60_000}})
    await BodyStore(shop.bodies).put(f"{letter.id}-{'0' * 16}", b"Planted")
    await BodyStore(shop.bodies).put(f"{'0' * 32}-{'0' * 16}", b"another's")
    note = Note(at=shop.now(), action="erased", by="operator", reason="asked for")
    assert await shop.store.forget(await shop.only(Filters()), note)
    assert await blobs(shop) == [f"{'0' * 32}-{'0' * 16}"]
