"""The first stage: what is read of a delivery, with what, and in which words it is refused."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, cast
from uuid import UUID

import pytest
from pydantic import BaseModel

from shared.claim_check import Claim, ClaimStore
from shared.classification import Restricted
from shared.encryption import Erased, MessageEncryption
from shared.messages import ERASED_PROPERTY, Contract, Delivery, Headers, Integration, Registry, payload_hash
from shared.processing import decoding
from shared.processing.decoding import Decoder
from shared.state import bucket_of
from shared.work import Dead, Ended, Message, Work
from tests.unit.shared.processing.world import NOW, READERS, World, body, delivery, headers, of

BUCKETS = 4


def decoder(**options: Any) -> Decoder:
    return Decoder(World().registry, cast("ClaimStore", options.pop("claims", None)), buckets=BUCKETS, **options)


async def refusal(read: Decoder, one: Delivery) -> str:
    """The words in which a delivery is refused."""
    found = await read.read(one)
    assert isinstance(found, Ended)
    assert isinstance(found.outcome, Dead)
    return found.outcome.failure.reason


async def message(read: Decoder, one: Delivery) -> Message:
    found = await read.read(one)
    assert isinstance(found, Message), found
    return found


async def test_a_message_is_all_that_its_delivery_says() -> None:
    one = delivery(1, "bolt", amount=3)
    found = await message(decoder(), one)
    assert found.delivery is one
    assert found.headers == headers(1, "bolt")
    assert found.bucket == bucket_of("bolt", BUCKETS)
    assert found.payload_hash == payload_hash("stock.moved", "1.0", {"item": "bolt", "amount": 3})
    assert (found.handler.event_type, found.earlier_hashes) == ("stock.moved", ())


OTHER = dict(delivery(1, "bolt").properties)
DIFFERS = "differs from the one in the application properties"
INCOMPLETE = "The claim is incomplete: claimSha256 and claimSize belong to it."


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (of(body(2, "bolt"), OTHER), f"messageId: {DIFFERS}"),
        (of(body(1, "nut"), OTHER), f"key: {DIFFERS}"),
        (delivery(1, with_headers={"sealed": "k1"}), "The message is encrypted, and the settings name no data key."),
        (delivery(1, with_headers={"claim": "c", "claim_size": 3}), INCOMPLETE),
        (delivery(1, with_headers={"claim": "c", "claim_sha256": "0" * 64}), INCOMPLETE),
    ],
    ids=["id", "key", "encrypted", "no hash", "no size"],
)
async def test_what_doesnt_fit_is_refused_in_these_words(one: Delivery, words: str) -> None:
    assert await refusal(decoder(), one) == words


async def test_an_erased_message_is_refused_before_anything_of_it_is_read() -> None:
    one = delivery(1)
    erased = replace(one, properties={**one.properties, ERASED_PROPERTY: True}, body=b"")
    assert await refusal(decoder(), erased) == "The content of the message was erased."


class Person(Contract):
    item: str
    name: Annotated[str | None, Restricted] = None


async def _nothing(person: Person, work: Work) -> None: ...


class Asked:
    """Says of a digest how the inbox keeps it; notes what it was asked."""

    def __init__(self) -> None:
        self.digests: list[str] = []

    async def __call__(self, digest: str) -> tuple[str, ...]:
        self.digests.append(digest)
        return (f"new {digest[:4]}", f"old {digest[:4]}")


@pytest.mark.parametrize("protects", [True, False])
async def test_the_hash_of_protected_fields_is_what_the_inbox_keeps(protects: bool) -> None:
    """And kept under earlier keys; what has none is compared as it is."""
    people = Integration("people")
    if protects:
        people.handles("stock.moved", key="item")(_nothing)
    asked = Asked()
    registry = Registry([people]) if protects else World().registry
    read = Decoder(registry, cast("ClaimStore", None), buckets=BUCKETS, payload_hashes=asked)
    found = await message(read, delivery(1, "bolt", name="Ada"))
    plain = payload_hash("stock.moved", "1.0", {"item": "bolt", "name": "Ada"})
    if not protects:
        assert (found.payload_hash, found.earlier_hashes, asked.digests) == (plain, (), [])
        return
    assert set(asked.digests) == {plain.exact, plain.rounded}
    assert found.payload_hash.exact == f"new {plain.exact[:4]}"
    assert [one.exact for one in found.earlier_hashes] == [f"old {plain.exact[:4]}"]
    assert found.data == Person(item="bolt", name="Ada")


async def test_who_was_erased_since_is_asked_with_the_time_of_acceptance() -> None:
    """Of the first attempt, where a message says no other."""
    asked: list[tuple[BaseModel, datetime]] = []

    async def refuse(data: BaseModel, at: datetime) -> None:
        asked.append((data, at))
        if len(asked) == 3:
            raise Erased("gone")

    read, later = decoder(refuse_erased=refuse), NOW + timedelta(hours=1)
    first = await message(read, delivery(1))
    second = await message(read, delivery(2, with_headers={"accepted_at": NOW, "first_attempt_at": later}))
    assert asked == [(first.data, NOW), (second.data, NOW)]
    assert await refusal(read, delivery(3)) == "gone"


@pytest.mark.parametrize(("size", "beside"), [(decoding._IN_THREAD, False), (decoding._IN_THREAD + 1, True)])
async def test_a_large_body_is_read_beside_the_loop(size: int, beside: bool) -> None:
    small = body(1, "bolt", behave="")
    one = of(body(1, "bolt", behave="x" * (size - len(small))), dict(delivery(1, "bolt").properties))
    assert len(one.body) == size
    assert (await message(decoder(), one)).delivery is one
    assert (READERS[-1] is not threading.main_thread()) is beside


class Decrypts:
    """Decrypts by turning around, and notes what it is asked."""

    def __init__(self) -> None:
        self.checked: list[bool] = []

    async def decrypt(self, known: Headers, given: bytes) -> bytes:
        assert known.message_id == UUID(int=1)
        return given[::-1]

    def check(self, *, encrypted: bool) -> None:
        self.checked.append(encrypted)


class Claims:
    """Keeps payloads; counts how many are fetched side by side."""

    def __init__(self, payloads: Sequence[bytes]) -> None:
        self.payloads = payloads
        self.asked: list[tuple[UUID, Claim]] = []
        self.running = self.most = 0

    async def get(self, message_id: UUID, claim: Claim) -> bytes:
        self.asked.append((message_id, claim))
        self.running += 1
        self.most = max(self.most, self.running)
        for _ in range(5):
            await asyncio.sleep(0)
        self.running -= 1
        return self.payloads[message_id.int - 1]


async def test_a_body_is_decrypted_and_a_claim_is_asked_for_as_it_is_named() -> None:
    encryption = Decrypts()
    turned = of(body(1, "bolt")[::-1], dict(delivery(1, "bolt").properties))
    read = decoder(encryption=cast("MessageEncryption", encryption))
    assert (await message(read, turned)).headers.key == "bolt"
    claims = Claims([body(1, "bolt")])
    digest = hashlib.sha256(b"x").hexdigest()
    named = {"claim": "c/1", "claim_sha256": digest, "claim_size": 7, "claim_encoding": "zstd"}
    read = decoder(encryption=cast("MessageEncryption", encryption), claims=claims)
    await message(read, replace(delivery(1, "bolt", with_headers=named), body=b""))
    ((message_id, claim),) = claims.asked
    assert message_id == UUID(int=1)
    assert claim == Claim("c/1", digest, 7, "zstd")
    assert encryption.checked == [claim.is_encrypted]


@pytest.mark.parametrize(("size", "most"), [(decoding._LARGE, 6), (decoding._LARGE + 1, 2)])
async def test_only_so_many_large_claims_are_in_memory(size: int, most: int) -> None:
    claims = Claims([body(number, "bolt") for number in range(1, 7)])
    named = {"claim": "c", "claim_sha256": "0" * 64, "claim_size": size}
    read = decoder(claims=claims)
    await asyncio.gather(*(message(read, delivery(number, "bolt", with_headers=named)) for number in range(1, 7)))
    assert claims.most == most


async def test_unknown_fields_are_counted_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[tuple[float, dict[str, Any]]] = []

    class Counter:
        def add(self, more: float, **labels: Any) -> None:
            counted.append((more, labels))

    metrics = type("Counted", (), {"unknown_fields": Counter()})
    monkeypatch.setattr(decoding, "Metrics", metrics)
    await message(decoder(), delivery(1, "bolt", colour="red", size=2))
    await message(decoder(), delivery(2, "bolt"))
    assert counted == [(2, {"event_type": "stock.moved", "version": "1.0"})]


async def test_what_isnt_the_messages_own_fault_is_passed_on() -> None:
    """The batch goes back then, and comes again."""

    class Away(Claims):
        async def get(self, message_id: UUID, claim: Claim) -> bytes:
            raise TimeoutError

    named = {"claim": "c", "claim_sha256": "0" * 64, "claim_size": 1}
    with pytest.raises(TimeoutError):
        await decoder(claims=Away([])).read(delivery(1, with_headers=named))
