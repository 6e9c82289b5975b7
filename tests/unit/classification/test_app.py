"""The composed app with sealed fields: everything still works, and one bad row or event stays one bad row or event."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID, uuid4

import pytest
from starlette.types import Receive, Scope, Send

import integrations
from functions.composition.encryption import fields
from functions.composition.processing import processor
from functions.composition.read_models import projector
from shared.authentication import Caller, Role
from shared.classification import Restricted
from shared.dead_letters import preview
from shared.dead_letters.rows import from_row, to_row
from shared.encryption import KeysUnavailable
from shared.messages import Contract, Integration, Lane, Registry, discover
from shared.streams import StreamEvent
from shared.testing import Memory
from shared.work import Work
from tests.unit.asgi import Answer, ask
from tests.unit.functions.conftest import Running
from tests.unit.functions.samples import envelope, order
from tests.unit.functions.test_api_reading import delivered, work_off
from tests.unit.shared.encryption.vault import World

from .test_fields import protection

PERSON = {"name": "Ada Planted", "email": "planted@example.com", "address": "1 Planted Road"}


class Guest(Contract):
    """Somebody whose visits are counted."""

    key: str
    name: Annotated[str | None, Restricted] = None
    visits: int = 0


hotel = Integration("hotel")


@hotel.handles("guest.came", key="key")
async def come(guest: Guest, work: Work) -> None:
    """Count, tell, and send the guest on."""
    before = await work.load("guest", guest.key, Guest)
    counted = Guest(key=guest.key, name=guest.name, visits=1 + (before.visits if before else 0))
    await work.save("guest", guest.key, counted)
    work.publish("guest.counted", counted)
    work.send("guest.left", guest)


@hotel.handles("guest.left", key="key")
async def leave(guest: Guest, work: Work) -> None:
    """Nothing."""


@hotel.projects("guest.counted", into="guests")
def guest_row(guest: Guest) -> Guest:
    """As it was said."""
    if guest.name == "poison":
        raise LookupError(f"{guest.name} isn't shown")
    return guest


@pytest.fixture
def world() -> World:
    """Keys in memory."""
    return World()


@pytest.fixture
def running(world: World) -> Running:
    """The app with the hotel in it, and sealed fields."""
    return Running(Registry([*discover(integrations).integrations, hotel]), parts={fields: protection(world)})


async def came(running: Running, key: str, name: str, message_id: str | None = None) -> str:
    """Post a visit."""
    sent = envelope({"key": key, "name": name}, eventType="guest.came", messageId=message_id or str(uuid4()))
    answer = await running.post("/api/messages", sent)
    assert answer.status == 202, answer.body
    return answer.headers["location"]


async def read_as(running: Running, role: Role | None, path: str) -> Answer:
    """Read as a caller with a role; None is an app without callers."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        state = {} if role is None else {"caller": Caller("somebody", frozenset({role}))}
        await running.asgi({**scope, "state": state}, receive, send)

    path, _, query = path.partition("?")

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "query_string": query.encode()}, receive, send)

    return await ask(asked, "GET", path)


async def test_each_role_sees_its_part_of_a_row(running: Running) -> None:
    """And the row itself nobody's."""
    await running.post("/api/orders", order(**PERSON))
    await work_off(running)
    kept = f"{running.state.rows} {running.publisher.facts} {running.views.rows}"
    assert not any(secret in kept for secret in ("Planted", "planted", "17850"))
    operator = (await read_as(running, Role.OPERATOR, "/api/orders/536365")).json
    assert PERSON.items() <= operator.items()
    assert operator["customerId"] == "17850"
    assert (await read_as(running, None, "/api/orders/536365")).json == operator
    reader = (await read_as(running, Role.READER, "/api/orders/536365")).json
    assert reader["customerId"].startswith("tok_")
    assert (reader["name"], reader["country"], reader["total"]) == (None, "United Kingdom", "35.64")
    assert reader["$masked"] == ["/address", "/customerId", "/email", "/name"]


@pytest.mark.parametrize(
    ("role", "query", "status"),
    [
        (Role.READER, "customerId=17850", 403),
        (Role.OPERATOR, "top=5", 400),
        (Role.OPERATOR, "country=France", 400),
        (Role.OPERATOR, "customerId=", 400),
        (Role.OPERATOR, f"customerId={'x' * 300}", 400),
        (Role.OPERATOR, "customerId=17850&top=0", 400),
        (Role.OPERATOR, "customerId=17850&top=201", 400),
        (Role.OPERATOR, "customerId=17850&top=%C2%B2", 400),
        (Role.OPERATOR, f"customerId=17850&after={'x' * 129}", 400),
        (Role.OPERATOR, "customerId=17850&after=%00", 400),
    ],
)
async def test_a_question_that_cant_be_answered_is_refused(
    running: Running, role: Role, query: str, status: int
) -> None:
    """Before anything is looked up."""
    answer = await read_as(running, role, f"/api/orders?{query}")
    assert answer.status == status
    assert "17850" not in answer.body.decode()


async def test_without_keys_there_is_no_index(running: Running) -> None:
    """The app says so."""
    running = running.another({fields: None})
    assert (await read_as(running, None, "/api/orders?customerId=1")).status == 404


async def test_a_row_that_was_tampered_with_fails_its_own_message_only(running: Running) -> None:
    """For good, with a code of its own, and without a value in the reason."""
    for key in ("1", "2", "3"):
        await came(running, key, f"Planted {key}")
    await work_off(running)
    places = {row["key"]: place for place, row in running.state.rows.items() if row.get("kind") == "guest"}
    first = json.loads(running.state.rows[places["1"]]["value"])
    second = json.loads(running.state.rows[places["2"]]["value"])
    running.state.rows[places["1"]]["value"] = json.dumps(first | {"name": second["name"]})
    running.lanes.sent.clear()
    for key in ("1", "2", "3"):
        await came(running, key, f"Planted {key}")
    waiting = [delivered(sent) for sent in running.lanes.sent]
    await running.composition.get(processor).process(Lane.NORMAL, waiting)
    (dead,) = running.dead_letters.letters.values()
    assert (dead.key, dead.code, dead.category) == ("1", "UNREADABLE", "permanent")
    assert "Planted" not in dead.reason
    done = [row for row in running.state.rows.values() if row.get("status") == "done"]
    assert len(done) == 5


async def test_an_event_that_was_tampered_with_is_parked_alone(running: Running) -> None:
    """The others are shown."""
    for key in ("1", "2", "3"):
        await came(running, key, "poison" if key == "3" else f"Planted {key}")
    waiting = [delivered(sent) for sent in running.lanes.sent]
    await running.composition.get(processor).process(Lane.NORMAL, waiting)
    facts = [json.loads(fact.body) for fact in running.publisher.facts]
    one, two = (next(fact for fact in facts if fact["subject"] == key) for key in "12")
    two["data"]["name"] = one["data"]["name"]
    events = [
        StreamEvent(body=json.dumps(fact).encode(), partition="0", offset="0", sequence_number=number)
        for number, fact in enumerate(facts)
    ]
    await running.composition.get(projector).project(events)
    assert {letter.key: letter.code for letter in running.dead_letters.letters.values()} == {
        "2": "UNREADABLE",
        "3": "PROJECTION_ERROR",
    }
    assert "poison" not in "".join(letter.reason for letter in running.dead_letters.letters.values())
    assert (await running.get("/api/guests/1")).json["name"] == "Planted 1"


async def test_a_tampered_row_of_a_view_is_an_error_of_its_own(running: Running) -> None:
    """Not of the caller, and not to be tried again."""
    for key in ("1", "2"):
        await came(running, key, f"Planted {key}")
    await work_off(running)
    running.views.rows["guests", "1"] = running.views.rows["guests", "2"]
    answer = await running.get("/api/guests/1")
    assert (answer.status, answer.json["error"]["code"], answer.json["retryable"]) == (500, "UNREADABLE", False)
    assert (await running.get("/api/guests/2")).status == 200


async def test_keys_that_are_away_hold_events_up_and_lose_none(running: Running, world: World) -> None:
    """The trigger's retry policy goes on with them; a reader is told to come again."""
    await came(running, "1", "Planted")
    waiting = [delivered(sent) for sent in running.lanes.sent]
    await running.composition.get(processor).process(Lane.NORMAL, waiting)
    fact = running.publisher.facts[0].body
    running = running.another({fields: protection(world)})
    world.secrets.away = True
    event = StreamEvent(body=fact, partition="0", offset="0", sequence_number=1)
    with pytest.raises(KeysUnavailable):
        await running.composition.get(projector).project([event])
    assert running.dead_letters.letters == {}
    world.secrets.away = False
    await running.composition.get(projector).project([event])
    assert (await running.get("/api/guests/1")).json["name"] == "Planted"


async def test_an_erased_person_stops_nothing(running: Running, world: World) -> None:
    """Rows say what is gone, facts that are read again make such rows, and new orders get a new key."""
    await running.post("/api/orders", order(**PERSON))
    await work_off(running)
    token = json.loads(running.views.rows["orders", "536365"])["customerId$token"]
    await world.subject_keys().erase(token, by="a test", reason="asked for")
    running = running.another({fields: protection(world)})
    gone = ["/address", "/customerId", "/email", "/name"]
    seen = (await read_as(running, Role.OPERATOR, "/api/orders/536365")).json
    assert (seen["$erased"], seen["name"], seen["country"]) == (gone, None, "United Kingdom")
    running.views.rows.clear()
    running.views.sequences.clear()
    running.publisher.facts.extend(running.publisher.facts[:1])
    await running.post("/api/orders", order(orderId="2", **PERSON))
    await work_off(running)
    assert running.dead_letters.letters == {}
    again = (await read_as(running, Role.OPERATOR, "/api/orders/536365")).json
    assert (again["name"], again["total"]) == (None, seen["total"])
    assert (await read_as(running, Role.OPERATOR, "/api/orders/2")).json["name"] == PERSON["name"]


async def test_a_command_waits_sealed_and_travels_as_it_was(running: Running) -> None:
    """In the outbox nobody reads it; its handler does."""
    await came(running, "1", "Planted")
    sent = running.lanes.sent.pop()
    running.lanes.broken = ConnectionError("the broker is away")
    await running.composition.get(processor).process(sent.headers.lane, [delivered(sent)])
    waiting = [row for row in running.state.rows.values() if row["RowKey"].startswith("outbox:")]
    assert any(row["kind"] == "command" for row in waiting)
    assert "Planted" not in str(waiting)


async def test_a_changed_token_key_takes_no_message_for_another(running: Running, world: World) -> None:
    """What the inbox keeps of a payload can't be tried out, and is known again after a rotation."""
    message_id = str(UUID(int=7))
    await came(running, "1", "Planted", message_id)
    first = delivered(running.lanes.sent[-1])
    await running.composition.get(processor).process(Lane.NORMAL, [first])
    kept = running.state.inbox(UUID(int=7))
    assert kept is not None
    assert kept["payloadSha256"].startswith("tok_")
    world.secrets.rotate("token-key", "n" * 40)
    await running.composition.get(processor).process(Lane.NORMAL, [first])
    assert running.dead_letters.letters == {}
    await came(running, "1", "another", message_id)
    await running.composition.get(processor).process(Lane.NORMAL, [delivered(running.lanes.sent[-1])])
    assert [letter.code for letter in running.dead_letters.letters.values()] == ["MESSAGE_ID_CONFLICT"]


async def test_the_kit_shows_everything_in_clear() -> None:
    """As a handler sees it."""
    memory = Memory()
    outcome = await memory.run(hotel, "guest.came", {"key": "1", "name": "Ada"})
    assert outcome.saved["guest", "1"] == Guest(key="1", name="Ada", visits=1)
    assert json.loads(outcome.events[0].data)["name"] == "Ada"
    assert memory.views["guests", "1"] == Guest(key="1", name="Ada", visits=1)


@pytest.mark.parametrize(
    ("event_type", "body", "shown"),
    [
        ("guest.came", {"data": {"key": "1", "name": "Planted"}}, "redacted"),
        ("guest.came", b"{ broken Planted", "withheld"),
        ("guest.came", {"data": "Planted"}, "withheld"),
        ("guest.never", {"data": {"name": "Planted"}}, "withheld"),
        (None, b"Planted", "withheld"),
    ],
)
async def test_a_preview_holds_nothing_protected(
    running: Running, event_type: str | None, body: Any, shown: str
) -> None:
    """What can't be told apart isn't shown at all."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    await came(running, "1", "x")
    running.lanes.sent[0].body = b"broken"
    await running.composition.get(processor).process(Lane.NORMAL, [delivered(running.lanes.sent[0])])
    (dead,) = running.dead_letters.letters.values()
    letter = from_row(to_row(replace(dead, event_type=event_type)))
    told = preview(letter, content, running.composition.registry).decode()
    assert shown in told
    assert "Planted" not in told
    assert preview(letter, b"as it is", Registry([])) == b"as it is"
