"""Whole messages on encrypted lanes: what can't be decrypted is a dead letter, a vault that is away costs nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, cast
from uuid import UUID

import pytest
from azure.servicebus._pyamqp._decode import decode_payload
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.claim_check import ClaimStore
from shared.encryption import (
    MessageEncryption,
    ProtectionError,
)
from shared.messages import Delivery, ErrorCode, Headers, Lane
from shared.processing import BatchFailed, Decoder
from shared.sending import CoalescingSender, Lanes
from tests.unit.memory import MemoryClaims
from tests.unit.shared.processing.world import World as Processing
from tests.unit.shared.processing.world import body, delivery, headers, of

from .vault import World


class Encrypted(Processing):
    """A processor whose normal lane is encrypted."""

    def __init__(self, *, required: bool = False) -> None:
        super().__init__()
        self.vault = World()
        self.encryption = MessageEncryption(self.vault.data_keys(), list(Lane), required=required)
        self.read_by(self.encryption)

    def read_by(self, encryption: MessageEncryption | None) -> None:
        """Another instance reads from now on."""
        claims = cast("ClaimStore", MemoryClaims())
        self.processor._decoder = Decoder(self.registry, claims, buckets=4, encryption=encryption)

    async def encrypted(self, number: int, item: str, **data: Any) -> Delivery:
        """A message as the lane carries it."""
        head, encrypted = await self.encryption.encrypt(headers(number, item), body(number, item, **data))
        return of(encrypted, {str(name): value for name, value in head.to_properties().items()}, number)


async def test_a_sealed_message_takes_effect_and_its_body_is_unreadable() -> None:
    """Once, whoever delivers it again."""
    world = Encrypted()
    message = await world.encrypted(1, "shelf-of-ada", amount=3)
    assert b"shelf-of-ada" not in message.body
    assert message.properties["sealed"] == "d1"
    await world.process(message)
    await world.process(message)
    assert world.stock("shelf-of-ada") == {"total": 3, "moves": [3]}


async def test_plain_messages_are_read_until_sealing_is_required() -> None:
    """What was in the queue when encryption began isn't lost; once it is required, it is refused."""
    world = Encrypted()
    await world.process(delivery(1, "A"))
    assert world.status(1) == "done"
    strict = Encrypted(required=True)
    await strict.process(delivery(1, "A"))
    assert strict.reasons() == {str(UUID(int=1)): ErrorCode.NOT_SEALED}


async def test_a_delayed_copy_goes_as_it_came() -> None:
    """Encrypted once, with the property that says so."""
    world = Encrypted()
    message = await world.encrypted(1, "A", behave="retry")
    await world.process(message)
    (copy,) = world.lanes.sent
    assert copy.body == message.body
    assert copy.headers.sealed == "d1"
    assert copy.headers.attempt == 2


async def _wrong(world: Encrypted, name: str) -> Delivery:
    good, other = await world.encrypted(1, "A"), await world.encrypted(2, "A")
    match name:
        case "another message's ciphertext":
            return replace(good, body=other.body)
        case "another event type":
            return replace(good, properties={**good.properties, "eventType": "stock.noted"})
        case "an old key":
            return replace(
                good, body=good.body.replace(b"\x02d1", b"\x02d9", 1), properties={**good.properties, "sealed": "d9"}
            )
        case "a swapped header":
            return replace(good, body=b"SLP\x01\x02d2" + good.body[7:])
        case "a truncated body":
            return replace(good, body=good.body[:-1])
        case "an empty body":
            return replace(good, body=b"")
        case "a plain body that is called encrypted":
            return replace(good, body=body(1, "A"))
    raise AssertionError(name)


@pytest.mark.parametrize(
    "name",
    [
        "another message's ciphertext",
        "another event type",
        "an old key",
        "a swapped header",
        "a truncated body",
        "an empty body",
        "a plain body that is called encrypted",
    ],
)
async def test_what_cannot_be_opened_is_a_dead_letter_with_its_own_code(name: str) -> None:
    """Permanent: no try is spent on it, its neighbours take effect, and the letter keeps it byte for byte."""
    world = Encrypted()
    wrong = await _wrong(world, name)
    await world.process(wrong, await world.encrypted(3, "B"))
    (letter,) = world.dead.letters.values()
    assert (letter.category, letter.code) == ("permanent", ErrorCode.UNREADABLE)
    assert letter.body == wrong.body
    assert world.lanes.sent == []
    assert world.status(3) == "done"


@settings(max_examples=50, deadline=None)
@given(st.data())
async def test_no_flipped_bit_takes_effect(data: st.DataObject) -> None:
    """Wherever it is in the body."""
    world = Encrypted()
    message = await world.encrypted(1, "A")
    bit = data.draw(st.integers(0, 8 * len(message.body) - 1))
    changed = bytearray(message.body)
    changed[bit // 8] ^= 1 << bit % 8
    await world.process(replace(message, body=bytes(changed)))
    assert world.reasons() == {str(UUID(int=1)): ErrorCode.UNREADABLE}
    assert world.stock("A") is None


async def test_without_the_setting_a_sealed_message_is_a_dead_letter() -> None:
    """It waits there until the key is named again."""
    world = Encrypted()
    message = await world.encrypted(1, "A")
    world.read_by(None)
    await world.process(message)
    assert world.reasons() == {str(UUID(int=1)): ErrorCode.UNREADABLE}


async def test_a_vault_that_is_away_gives_the_batch_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost or called wrong; when it is back, the message takes effect."""
    monkeypatch.setattr("shared.processing.pipeline._hold", _no_hold)
    world = Encrypted()
    message = await world.encrypted(1, "A")
    reader = world.vault.data_keys()
    world.read_by(MessageEncryption(reader, list(Lane)))
    world.vault.secrets.away = True
    with pytest.raises(BatchFailed):
        await world.process(message)
    assert world.dead.letters == {}
    world.vault.secrets.away = False
    await world.process(message)
    assert world.status(1) == "done"


async def _no_hold(*_: object) -> None:
    """Give back at once."""


async def test_rotation_under_traffic_fails_no_message() -> None:
    """A new key every few messages, and a reader that has just started."""
    world = Encrypted()
    writer = world.vault.data_keys(rotate_after_messages=5)
    world.encryption = MessageEncryption(writer, list(Lane))
    messages = [await world.encrypted(number, f"item-{number}") for number in range(1, 41)]
    assert {message.properties["sealed"] for message in messages} == {f"d{number}" for number in range(1, 9)}
    world.read_by(MessageEncryption(world.vault.data_keys(), list(Lane)))
    await world.process(*messages)
    assert world.dead.letters == {}
    assert all(world.status(number) == "done" for number in range(1, 41))


class _Queue:
    """Takes what a lane sends."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    async def send(self, message: Any) -> None:
        """Taken."""
        self.taken.append(message)


async def test_only_chosen_lanes_are_sealed_and_claims_travel_as_they_are() -> None:
    """A message with a claim has no body of its own."""
    world = World()
    queues = {lane: _Queue() for lane in Lane}
    lanes = Lanes(cast("dict[Lane, CoalescingSender]", queues), MessageEncryption(world.data_keys(), [Lane.HIGH]))
    for lane in (Lane.HIGH, Lane.LOW):
        await lanes.send(headers(1, "A", lane=lane), b'{"plain": 1}')
    await lanes.send(headers(2, "A", lane=Lane.HIGH, claim="name"), b"")
    sent = (one for lane in (Lane.HIGH, Lane.LOW) for one in queues[lane].taken)
    high, claimed, low = (cast("Any", decode_payload(memoryview(one.wire))) for one in sent)
    assert b"plain" in b"".join(low.data)
    assert b"plain" not in b"".join(high.data)
    assert high.application_properties[b"sealed"] == b"d1"
    assert b"".join(claimed.data) == b""
    assert b"sealed" not in claimed.application_properties


def test_the_property_survives_its_travel() -> None:
    """And is left out where nothing is encrypted."""
    head = replace(headers(1, "A"), sealed="d1")
    properties = json.loads(json.dumps({str(name): value for name, value in head.to_properties().items()}))
    assert Headers.from_properties(properties) == head
    assert "sealed" not in headers(1, "A").to_properties()


async def test_a_kept_body_belongs_to_its_place() -> None:
    """A dead letter's body isn't another's, nor a lane's message."""
    encryption = MessageEncryption(World().data_keys(), [Lane.HIGH])
    kept = await encryption.encrypt_for("letter-1", b"plain")
    assert await encryption.decrypt_for("letter-1", kept) == b"plain"
    with pytest.raises(ProtectionError):
        await encryption.decrypt_for("letter-2", kept)
    with pytest.raises(ProtectionError):
        await encryption.decrypt(replace(headers(1, "A"), sealed="d1"), kept)
