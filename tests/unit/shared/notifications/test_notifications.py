"""Notifications: from the event log to a topic of the local Event Grid, at least once, and what it refuses apart."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.core.exceptions import ClientAuthenticationError

from functions.composition import Composition
from functions.composition.dead_letters import dead_letter_store
from functions.composition.notifications import capability, notifier, topic
from functions.composition.platform import platform
from functions.composition.secrets import secret_cache
from local_azure.testing import EventGrid, Partner
from local_azure.testing.event_grid import EventGridTopic
from ops.dead_letters import redrive_of
from shared.dead_letters import Action, DeadLetterStore, Decision, Filters, Status
from shared.environment import WrongSettings
from shared.messages import CloudEvent, ErrorCode, Integration, Registry
from shared.notifications import NotificationsUnavailable, Notifier, TopicPublisher
from shared.secrets import UnknownSecret
from shared.settings import Settings
from shared.streams import StreamEvent, StreamReader
from shared.tables.memory import MemoryTable
from tests.unit.functions.conftest import ENVIRONMENT, Running
from tests.unit.memory import MemoryDeadLetters

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOOK = {"WebHook-Allowed-Origin": "eventgrid.azure.net"}


def registry() -> Registry:
    """An integration that notifies of two types, of one with its data."""
    orders = Integration("orders")
    orders.notifies("order.accepted")
    orders.notifies("order.shipped", with_data=True)
    return Registry([orders])


def logged(number: int, kind: str = "order.accepted", *, data: str = '{"total":5}', subject: str = "") -> StreamEvent:
    """An event as the log has it."""
    event = CloudEvent(
        id=f"e{number}", type=kind, source="/sluice", subject=subject or f"order-{number}", time=NOW, version="1.0",
        data=data, correlation_id="c", sequence=number,
    )  # fmt: skip
    return StreamEvent(body=event.to_json(), partition="0", offset=str(number), sequence_number=number)


class World:
    """A topic with a subscriber, and the app's side of it."""

    def __init__(self, grid: EventGrid, partner: Partner) -> None:
        self.grid, self.partner = grid, partner
        partner.answers("OPTIONS", "/hook", status=200, headers=HOOK)
        self.topic: EventGridTopic = grid.topic("orders", inputSchema="CloudEventSchemaV1_0")
        grid.webhook("orders", "to-shop", f"{partner.url}/hook")
        self.key = self.topic.key
        self.dead = MemoryDeadLetters()
        self.publisher = TopicPublisher(self.topic.endpoint, self._authorize)
        self.notifier = Notifier(registry(), self.publisher, cast("DeadLetterStore", self.dead), now=lambda: NOW)

    async def _authorize(self) -> Mapping[str, str]:
        return {"aeg-sas-key": self.key}

    async def got(self) -> list[dict[str, Any]]:
        """What the subscriber was sent, by id."""
        await asyncio.to_thread(self.grid.settled)
        return sorted((one.json() for one in self.partner.calls("POST", "/hook")), key=lambda event: str(event["id"]))


@pytest.fixture
async def world(event_grid: EventGrid, partner: Partner) -> AsyncIterator[World]:
    """One for each test."""
    made = World(event_grid, partner)
    yield made
    await made.publisher.close()


async def test_chosen_events_reach_subscribers_with_their_data_or_without(world: World) -> None:
    """Under the id, type, subject and time of the log; other events stay in the log."""
    await world.notifier.notify([logged(1), logged(2, "order.shipped"), logged(3, "order.secret")])
    first, second = await world.got()
    assert (first["id"], first["type"], first["subject"], first["data"]) == ("e1", "order.accepted", "order-1", None)
    assert (second["id"], second["data"]) == ("e2", {"total": 5})
    assert first["time"] == "2026-11-30T12:00:00.000Z"
    assert world.grid.metrics("orders")["PublishSuccessCount"] == 2


async def test_a_topic_that_does_not_answer_or_let_in_has_the_events_come_again(world: World) -> None:
    """Nothing is a dead letter; the same events under the same ids afterwards."""
    world.key = "c2VjcmV0"
    with pytest.raises(NotificationsUnavailable, match="401"):
        await world.notifier.notify([logged(1)])
    away = TopicPublisher("http://127.0.0.1:9/api/events", world._authorize)
    with pytest.raises(NotificationsUnavailable, match="can't be reached"):
        await away.publish([b"{}"])
    await away.close()
    assert not world.dead.letters
    world.key = world.topic.key
    await world.notifier.notify([logged(1)])
    await world.notifier.notify([logged(1)])
    assert {event["id"] for event in await world.got()} == {"e1"}


@pytest.mark.parametrize(
    "failure",
    [
        ClientAuthenticationError("no identity", response=cast("Any", SimpleNamespace(status_code=400, reason=""))),
        UnknownSecret("grid-key", "isn't in the vault"),
        ValueError("no token"),
    ],
    ids=["identity", "vault", "other"],
)
async def test_an_app_that_cannot_show_who_it_is_has_the_events_come_again(failure: Exception) -> None:
    """Whatever the token endpoint's status, or the kind of error: it tells nothing of the events."""

    async def authorize() -> Mapping[str, str]:
        raise failure

    dead = MemoryDeadLetters()
    publisher = TopicPublisher("https://topic.example/api/events", authorize)
    away = Notifier(registry(), publisher, cast("DeadLetterStore", dead), now=lambda: NOW)
    with pytest.raises(NotificationsUnavailable, match="who it is"):
        await away.notify([logged(1), logged(2)])
    await publisher.close()
    assert not dead.letters


async def test_what_the_topic_refuses_is_a_dead_letter_and_the_rest_arrives(world: World) -> None:
    """An event above Event Grid's size among good ones, and one that is none."""
    huge = logged(2, "order.shipped", data=json.dumps("x" * 1_100_000))
    poison = StreamEvent(body=b"{", partition="0", offset="4", sequence_number=4)
    await world.notifier.notify([logged(1), huge, logged(3), poison])
    assert {event["id"] for event in await world.got()} == {"e1", "e3"}
    assert {(one.source, one.code) for one in world.dead.letters.values()} == {
        ("notifications", "REJECTED"),
        ("notifications", "MALFORMED_JSON"),
    }


async def test_many_events_go_in_few_requests_below_the_limit(world: World) -> None:
    """1,500 events of 2 KB: three megabytes in four requests at most."""
    events = [logged(number, "order.shipped", data=json.dumps("x" * 2_000)) for number in range(1_500)]
    posted: list[int] = []
    post = world.publisher._post

    async def counted(body: bytes) -> None:
        posted.append(len(body))
        await post(body)

    world.publisher._post = counted  # type: ignore[method-assign]
    await world.notifier.notify(events)
    assert world.grid.metrics("orders")["PublishSuccessCount"] == 1_500
    assert len(posted) <= 4
    assert max(posted) <= 1_000_000


async def test_without_a_topic_events_are_passed_over() -> None:
    dead = MemoryDeadLetters()
    await Notifier(registry(), None, cast("DeadLetterStore", dead), now=lambda: NOW).notify([logged(1)])
    assert not dead.letters


async def test_the_composed_app_publishes_with_a_key_of_the_vault_or_as_itself(world: World) -> None:
    """And an app whose integrations notify of nothing has no consumer."""

    async def secret(name: str) -> Any:
        assert name == "grid-key"
        return SimpleNamespace(value=world.topic.key)

    async def token(scope: str) -> tuple[str, float]:
        assert scope == "https://eventgrid.azure.net/.default"
        return "a-token", 0.0

    environment = {**ENVIRONMENT, "SLUICE_NOTIFICATION_URL": world.topic.endpoint}
    for more, refused in (({"SLUICE_NOTIFICATION_KEY": "secret:grid-key", **VAULT}, False), ({}, True)):
        parts = {
            secret_cache: SimpleNamespace(get=secret),
            platform: SimpleNamespace(token=token),
            dead_letter_store: world.dead,
        }
        composition = Composition(Settings.load({**environment, **more}), registry(), parts=parts)
        assert [one.name for one in capability(composition).functions] == ["notifications"]
        if refused:  # the local topic knows no issuer: the token went there all the same
            with pytest.raises(NotificationsUnavailable, match="401"):
                await composition.get(notifier).notify([logged(1)])
        else:
            await composition.get(notifier).notify([logged(1)])
        await composition.close()
    assert [event["id"] for event in await world.got()] == ["e1"]
    nothing = Composition(Settings.load(ENVIRONMENT), Registry([]))
    assert not capability(nothing).functions
    assert nothing.get(topic) is None


async def test_a_dead_letter_of_notifications_is_published_when_it_is_replayed(world: World) -> None:
    """What is refused again is open again; without a topic nothing is done."""
    store = DeadLetterStore(MemoryTable("deadletters"), cast("Any", None))
    reader = StreamReader(
        store, consumer="notifications", source="notifications", failure=ErrorCode.REJECTED, now=lambda: NOW
    )

    async def refused(_: CloudEvent) -> list[bytes]:
        raise ValueError("the topic answered 400")

    await reader.read([logged(1)], refused)
    (letter,), _ = await store.newest(Filters(), 10)
    order = Decision(by="operator", reason="the topic is mended")
    actions: list[Action] = []
    for url in ("", world.topic.endpoint):
        environment = {**ENVIRONMENT, "SLUICE_NOTIFICATION_URL": url}
        app = Running(registry(), environment, {dead_letter_store: store, topic: world.publisher if url else None})
        actions.append((await redrive_of(app.composition).replay(letter, order)).action)
    assert actions == [Action.FAILED, Action.PROJECT]
    assert [event["id"] for event in await world.got()] == ["e1"]
    (letter,), _ = await store.newest(Filters(), 10)
    assert letter.status is Status.REPLAYED


VAULT = {"KeyVault__vaultUri": "https://vault.example"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLUICE_NOTIFICATION_URL", "http://topic.example/api/events"),
        ("SLUICE_NOTIFICATION_URL", "https://topic.example/api/events?key=1"),
        ("SLUICE_NOTIFICATION_KEY", "c2VjcmV0"),
    ],
)
def test_settings_that_would_not_work_are_refused(name: str, value: str) -> None:
    with pytest.raises(WrongSettings, match=name) as refused:
        Settings.load({**ENVIRONMENT, name: value})
    assert "c2VjcmV0" not in str(refused.value)


def test_an_event_type_is_notified_of_once() -> None:
    orders, other = Integration("orders"), Integration("other")
    orders.notifies("order.accepted")
    other.notifies("order.accepted")
    with pytest.raises(ValueError, match="twice"):
        Registry([orders, other])
    with pytest.raises(ValueError, match="event type"):
        orders.notifies("order accepted")
