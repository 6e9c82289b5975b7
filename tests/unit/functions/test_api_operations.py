"""Operations: each `Location` says what became of the request that got it, not of the message id alone."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.composition.authentication import authenticator
from functions.composition.encryption import fields
from functions.composition.operations import operation_signer
from functions.composition.processing import processor
from shared.authentication import Caller, Role
from shared.encryption import KeysUnavailable
from shared.http import Operation, Submission
from shared.http.operations import OperationIds
from shared.messages import Contract, Delivery, Integration, PayloadHash, Registry
from shared.work import Work
from tests.unit.asgi import ask

from .conftest import ENVIRONMENT, Running
from .samples import MESSAGE_ID, envelope, line, order

ONE, OTHER = order(), order(country="France")
IDS = OperationIds("not-a-secret-but-thirty-two-long!")


def running_as(registry: Registry, who: dict[str, str]) -> Running:
    """The app with a caller whose name can be changed."""

    async def caller(_: Any) -> Caller:
        return Caller(client=who["name"], roles=frozenset({Role(who.get("role", "producer"))}))

    keys = {name: value for name, value in ENVIRONMENT.items() if name != "SLUICE_AUTH"} | {"SLUICE_API_KEYS": "[]"}
    return Running(registry, keys, {authenticator: SimpleNamespace(caller=caller)})


async def post(running: Running, data: dict[str, Any], message_id: str = MESSAGE_ID) -> str:
    """Send under an id; where to ask."""
    answer = await running.post("/api/orders", envelope(data, messageId=message_id))
    assert answer.status == 202
    return answer.headers["location"]


async def process(running: Running) -> None:
    """What waits, one batch after another."""
    waiting, running.lanes.sent = running.lanes.sent, []
    for sent in waiting:
        properties = {str(name): value for name, value in sent.headers.to_properties().items()}
        delivery = Delivery(body=sent.body, properties=properties, message_id="", sequence_number=1, delivery_count=1)
        await running.composition.get(processor).process(sent.headers.lane, [delivery])


async def outcome(running: Running, location: str) -> tuple[str, str | None, bool]:
    """Status, code, and whether it was a duplicate."""
    answer = (await running.get(location)).json
    return answer["status"], answer.get("error", {}).get("code"), answer.get("duplicate", False)


async def test_another_payload_under_a_known_id_is_a_conflict_and_never_succeeded(running: Running) -> None:
    """Before it is processed it waits like any other, or is known for what it is at once."""
    first = await post(running, ONE)
    second = await post(running, OTHER)
    assert await outcome(running, second) == ("accepted", None, False)
    await process(running)
    assert await outcome(running, first) == ("succeeded", None, False)
    assert await outcome(running, second) == ("failed", "MESSAGE_ID_CONFLICT", False)
    third = await post(running, OTHER)
    assert await outcome(running, third) == ("failed", "MESSAGE_ID_CONFLICT", False)


async def test_the_same_message_sent_again_is_a_duplicate_of_what_was_done(running: Running) -> None:
    """Both succeeded; one of them did it. Numbers count by their value."""
    first = await post(running, ONE)
    again = await post(running, order(lines=[line(unitPrice=2.550), line(sku="71053", unitPrice="3.39")]))
    assert first != again
    await process(running)
    assert await outcome(running, first) == ("succeeded", None, False)
    assert await outcome(running, again) == ("succeeded", None, True)


async def test_a_message_that_died_and_was_sent_again_failed_twice(running: Running) -> None:
    """With the reason, for the client that sent both."""
    first = await post(running, ONE)
    running.lanes.sent[0].body = b"broken on the way"
    again = await post(running, ONE)
    await process(running)
    for location, duplicate in ((first, False), (again, True)):
        status, code, is_duplicate = await outcome(running, location)
        assert (status, code, is_duplicate) == ("failed", "VALIDATION_ERROR", duplicate)


async def test_what_an_operator_edited_is_still_the_outcome_of_its_request(running: Running) -> None:
    """The record has another payload's hash then, and the request's own number."""
    first = await post(running, ONE)
    (sent,) = running.lanes.sent
    running.lanes.sent = [replace(sent, body=sent.body.replace(b"United Kingdom", b"France"))]
    await process(running)
    assert await outcome(running, first) == ("succeeded", None, False)
    again = await post(running, ONE)
    assert await outcome(running, again) == ("failed", "MESSAGE_ID_CONFLICT", False)


async def test_another_client_learns_what_became_of_its_own_request(registry: Registry) -> None:
    """202 and then 404 would leave it with nothing; of the other's message it sees no more than it sent itself."""
    who = {"name": "first"}
    running = running_as(registry, who)
    first = await post(running, ONE)
    await process(running)
    who["name"] = "second"
    conflict, same = await post(running, OTHER), await post(running, ONE)
    assert await outcome(running, conflict) == ("failed", "MESSAGE_ID_CONFLICT", False)
    assert await outcome(running, same) == ("succeeded", None, True)
    assert (await running.get(first)).status == 404
    for cut in (conflict.partition("?")[0], same.partition("?")[0]):
        assert (await running.get(cut)).status == 404
    who["name"] = "first"
    assert await outcome(running, first) == ("succeeded", None, False)


async def test_the_reason_of_anothers_failure_stays_with_it(registry: Registry) -> None:
    """Whoever sends the same under the same id sees that it failed."""
    who = {"name": "first"}
    running = running_as(registry, who)
    await post(running, ONE)
    headers = running.lanes.sent[0].headers
    running.lanes.sent[0].body = b"secret of the first client"
    await process(running)
    assert running.state.inbox(headers.message_id) is not None
    who["name"] = "second"
    answer = await running.get(await post(running, ONE))
    assert (answer.json["status"], answer.json["error"]["message"]) == (
        "failed",
        "The same message was refused before.",
    )


async def test_one_id_for_two_keys_is_two_operations(running: Running) -> None:
    """Each key has an inbox of its own, perhaps in another bucket; neither Location answers for the other."""
    first, second = await post(running, order(orderId="A")), await post(running, order(orderId="B"))
    await process(running)
    found = [await outcome(running, location) for location in (first, second)]
    assert found[0] == ("succeeded", None, False)
    assert found[1] in (("succeeded", None, False), ("failed", "MESSAGE_ID_CONFLICT", False))


async def test_an_address_of_an_earlier_release_is_answered_as_before(running: Running) -> None:
    """And its reader finds the id in ours: what the request submitted stands beside it."""
    location = await post(running, ONE)
    path, _, query = location.partition("?")
    assert query.startswith("request=")
    assert IDS.read(_last(path)) is not None
    await process(running)
    assert await outcome(running, path) == ("succeeded", None, False)


async def test_a_row_of_an_earlier_release_tells_conflicts_too(running: Running) -> None:
    """It has the first form of the hash, and no number of a request."""
    same, other = await post(running, ONE), await post(running, OTHER)
    await process(running)
    ((place, row),) = [(place, row) for place, row in running.state.rows.items() if place[1].startswith("inbox:")]
    kept = {name: value for name, value in row.items() if name not in ("payloadHash", "request")}
    running.state.put(int(place[0]), place[1], kept)
    assert await outcome(running, same) == ("succeeded", None, False)
    assert await outcome(running, other) == ("failed", "MESSAGE_ID_CONFLICT", False)


async def test_what_protected_fields_say_is_compared_as_the_inbox_keeps_it(registry: Registry) -> None:
    """By the hash under the token key, which only the app has; also one that was kept under an earlier key."""
    keys = ["new", "old"]

    async def payload_hashes(digest: str) -> tuple[str, ...]:
        if not keys:
            raise KeysUnavailable("away")
        return tuple(hashlib.sha256(f"{key}{digest}".encode()).hexdigest() for key in keys)

    running = Running(registry)
    same, other = await post(running, ONE), await post(running, OTHER)
    sent = running.lanes.sent[0].headers
    operation = IDS.read(_last(same))
    assert operation is not None
    assert operation.submission is not None
    payload = operation.submission.payload
    kept = PayloadHash((await payload_hashes(payload.rounded))[1], (await payload_hashes(payload.exact))[1])
    row = {"status": "done", "sender": "", "request": sent.request or "", **kept.columns()}
    running.state.put(operation.bucket, f"inbox:{sent.message_id}", row)
    protecting = running.another({fields: SimpleNamespace(payload_hashes=payload_hashes)})
    assert await outcome(protecting, same) == ("succeeded", None, False)
    assert await outcome(protecting, other) == ("failed", "MESSAGE_ID_CONFLICT", False)
    keys.clear()
    assert (await protecting.get(same)).status == 503


def _last(location: str) -> str:
    return location.rpartition("/")[2]


async def test_what_stands_beside_an_id_cannot_be_made_up_nor_moved(running: Running) -> None:
    """Changed, cut, of another id: there is no such operation."""
    here, there = await post(running, ONE), await post(running, ONE, "00000000-0000-4000-8000-000000000001")
    (identity, _, request), (_, _, foreign) = (_last(one).partition("?request=") for one in (here, there))
    other = ("B" if request.startswith("A") else "A") + request[1:]
    changed = ("", "x", foreign, request[:-1], request[:-4], request + "A", request + "=", other, "A" * 999)
    for made_up in changed:
        answer = await running.get(f"/api/operations/{identity}?request={made_up}")
        assert answer.status == 404, made_up
    assert running.state.finds == 0


HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=50)
@given(
    rounded=HASHES, exact=st.none() | HASHES, number=st.binary(min_size=8, max_size=8), bucket=st.integers(0, 65_535)
)
def test_what_was_submitted_is_read_back(rounded: str, exact: str | None, number: bytes, bucket: int) -> None:
    """By the key that made it, or one that was before it; by no other."""
    payload = PayloadHash(rounded, exact or rounded)
    submission = Submission(number.hex(), payload)
    operation = Operation(UUID(bytes=number * 2), bucket, "client", submission=submission)
    address = IDS.address(operation)
    rotated = OperationIds("another key of thirty-two letters", "not-a-secret-but-thirty-two-long!")
    found = rotated.read(address)
    assert found is not None
    assert found.submission == submission
    assert rounded not in address
    assert OperationIds("another key of thirty-two letters").read(address) is None


async def test_the_address_is_what_the_keys_of_the_moment_read(running: Running) -> None:
    """The signer that the app uses."""
    ids = await running.composition.get(operation_signer).ids()
    operation = ids.read(_last(await post(running, ONE)))
    assert operation is not None
    assert operation.submission is not None
    assert operation.submission.request == running.lanes.sent[0].headers.request


@pytest.mark.parametrize("body", [envelope(), envelope(order(orderId="7"))])
async def test_an_envelopes_location_is_found(running: Running, body: dict[str, Any]) -> None:
    """On the general path too."""
    answer = await running.post("/api/messages", body)
    path, _, query = answer.headers["location"].partition("?")
    assert (await ask(running.asgi, "GET", path, query=query)).json["status"] == "accepted"


class Parcel(Contract):
    """A parcel."""

    parcel_id: str
    place: str


def parcels(*, owned: bool) -> Registry:
    """An integration whose keys are confined, or not."""
    found = Integration("parcels")

    @found.handles("parcel.scanned", key="parcelId", route="parcels", owned=owned)
    async def scan(parcel: Parcel, work: Work) -> None:
        await work.save("parcel", parcel.parcel_id, parcel)

    return Registry([found])


async def send_parcel(running: Running, place: str) -> str:
    """A new message about the one parcel; where to ask."""
    answer = await running.post("/api/parcels", {"parcelId": "P1", "place": place})
    return answer.headers["location"]


@pytest.mark.parametrize("owned", [True, False])
async def test_a_key_is_its_creators_where_the_integration_says_so(owned: bool) -> None:
    """By one word; without it any producer may overwrite it. What is refused changes nothing."""
    who = {"name": "first"}
    running = running_as(parcels(owned=owned), who)
    first = await send_parcel(running, "Leeds")
    await process(running)
    who["name"] = "second"
    foreign = await send_parcel(running, "York")
    await process(running)
    expected = ("failed", "FORBIDDEN", False) if owned else ("succeeded", None, False)
    assert await outcome(running, foreign) == expected
    who["name"] = "first"
    again = await send_parcel(running, "Hull")
    assert await outcome(running, first) == ("succeeded", None, False)
    places = [row["value"] for (_, key), row in running.state.rows.items() if key == "state:parcel:P1"]
    assert ("Leeds" in str(places)) is owned
    await process(running)
    assert await outcome(running, again) == ("succeeded", None, False)


async def test_two_clients_that_race_for_a_key_leave_one_owner() -> None:
    """In one batch: the second meets a conflict, looks again, and is refused."""
    who = {"name": "first"}
    running = running_as(parcels(owned=True), who)
    locations = []
    for name in ("first", "second"):
        who["name"] = name
        locations.append(await send_parcel(running, name))
    waiting, running.lanes.sent = running.lanes.sent, []
    deliveries = [
        Delivery(
            body=sent.body,
            properties={str(name): value for name, value in sent.headers.to_properties().items()},
            message_id="",
            sequence_number=number,
            delivery_count=1,
        )
        for number, sent in enumerate(waiting)
    ]
    workers = [running, running.another()]
    lane = waiting[0].headers.lane
    await asyncio.gather(
        *(
            one.composition.get(processor).process(lane, [delivery])
            for one, delivery in zip(workers, deliveries, strict=True)
        )
    )
    who |= {"name": "operator", "role": "operator"}
    found = [await outcome(running, location) for location in locations]
    assert sorted(status for status, _, _ in found) == ["failed", "succeeded"]


async def test_what_the_app_itself_sends_belongs_to_nobody() -> None:
    """Where callers aren't checked, and for commands of handlers, there is no client to confine a key to."""
    running = Running(parcels(owned=True))
    for place in ("Leeds", "York"):
        location = await send_parcel(running, place)
        await process(running)
        assert await outcome(running, location) == ("succeeded", None, False)
