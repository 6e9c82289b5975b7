"""What the app says of itself: grants at the narrowest role, names from settings, and bounds of the services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from functions.composition import (
    Access,
    Capability,
    Container,
    Hub,
    Key,
    Need,
    Queue,
    Subscription,
    Table,
    Topic,
    Vault,
    WrongDeclaration,
    contradictions,
    declarations,
)
from functions.composition.declaring import ROUTES
from functions.triggers import AppName, Function, HubTrigger, QueueTrigger, TimerTrigger
from shared.authentication import Role
from shared.http import ANONYMOUS, Route
from shared.jobs import Job, parse_schedule
from shared.messages import Contract, Integration, Lane, Registry

LANE = Queue(name="%SLUICE_LANE_HIGH%")
EVENTS = Hub(name="%SLUICE_EVENT_HUB%", groups=("models",))
STATE, VIEWS = Table(name="state", every_account=True), Table(name="views")


class Parcel(Contract):
    """A parcel."""

    parcel_id: str


async def take(messages: Any) -> None:
    """Take messages."""


async def count(timer: Any) -> None:
    """Count."""


async def read(events: Any) -> None:
    """Read events."""


async def answer(_: Request) -> Response:
    """Answer nothing."""
    return Response(status_code=204)


def written(*capabilities: Capability, registry: Registry | None = None) -> dict[str, Any]:
    """The document."""
    return declarations(capabilities, registry or Registry([]))


def granted(document: dict[str, Any], of: str) -> list[tuple[str, ...]]:
    """App, resource and role of the grants of one kind."""
    return [tuple(value for name, value in one.items() if name != "why") for one in document["grants"][of]]


def working(**offered: Any) -> Capability:
    """A capability that takes messages, and counts by the clock."""
    return Capability(
        name="work",
        functions=[
            Function(call=take, trigger=QueueTrigger(queue=LANE.name), app=AppName.HIGH),
            Function(call=count, trigger=TimerTrigger(schedule="0 0 * * * *"), app=AppName.STREAMS),
        ],
        **offered,
    )


def test_names_come_from_the_settings_defaults() -> None:
    """And say which setting a stage sets to them."""
    document = written(working(resources=[LANE, EVENTS, Container(name="%SLUICE_CLAIM_CONTAINER%")]))
    assert document["queues"][0] | {"name": "lane-high", "lock": "PT30S", "deliveries": 10} == document["queues"][0]
    assert document["hubs"] == [{"name": "events", "partitions": 4, "groups": ["models"], "of": "work"}]
    assert document["containers"] == ["claims"]
    assert document["entitySettings"] == {
        "SLUICE_CLAIM_CONTAINER": "claims", "SLUICE_EVENT_HUB": "events", "SLUICE_LANE_HIGH": "lane-high",
    }  # fmt: skip


def test_who_takes_and_sends_owns_the_queue_and_nothing_else() -> None:
    """The scale controller reads the length of a queue with Manage on it; whoever only takes gets less."""
    sends = Need(access=Access.SEND, to=LANE, why="To send on.", by=["take"])
    assert granted(written(working(resources=[LANE])), "queues") == [
        ("high", "lane-high", "Azure Service Bus Data Receiver")
    ]
    document = written(working(resources=[LANE], needs=[sends]))
    assert granted(document, "queues") == [("high", "lane-high", "Azure Service Bus Data Owner")]
    assert document["grants"]["queues"][0]["why"] == "Takes the messages of this queue. To send on."


def test_a_grant_is_the_narrowest_that_covers_every_call() -> None:
    """Whoever writes may read; hubs have a role for each way; every reason is told once."""
    reading = Capability(
        name="reading",
        functions=[Function(call=read, trigger=HubTrigger(hub=EVENTS.name, group="more"), app=AppName.STREAMS)],
        needs=[
            Need(access=Access.READ, to=STATE, why="To look."),
            Need(access=Access.READ, to=VIEWS, why="To look."),
            Need(access=Access.SEND, to=EVENTS, why="To tell."),
            Need(access=Access.SECRETS, to=Vault(), why="Secrets."),
            Need(access=Access.WRAP, to=Key(name="%SLUICE_DATA_KEY%"), why="Keys."),
        ],
    )
    work = working(
        resources=[LANE, EVENTS, STATE, VIEWS],
        needs=[
            Need(access=Access.WRITE, to=STATE, why="To count."),
            Need(access=Access.SET_SECRETS, to=Vault(), why="To renew.", by=["count"]),
        ],
    )
    document = written(work, reading)
    assert granted(document, "tablesOfEveryAccount") == [
        ("high", "state", "Storage Table Data Contributor"),
        ("streams", "state", "Storage Table Data Contributor"),
    ]
    assert document["grants"]["tablesOfEveryAccount"][1]["why"] == "To count. To look."
    assert granted(document, "tablesOfFirstAccount") == [("streams", "views", "Storage Table Data Reader")]
    assert granted(document, "hubs") == [
        ("streams", "events", "Azure Event Hubs Data Receiver"),
        ("streams", "events", "Azure Event Hubs Data Sender"),
    ]
    assert granted(document, "vault") == [("streams", "Key Vault Secrets Officer")]
    assert granted(document, "keys") == [("streams", "%SLUICE_DATA_KEY%", "Key Vault Crypto Service Encryption User")]
    assert document["hubs"][0]["groups"] == ["models", "more"]


def test_routes_say_who_may_call_and_jobs_when_they_run() -> None:
    """A route's calls are the API's."""
    routes = [
        Route(method="GET", path="parcels/{id}", endpoint=answer, access=frozenset({Role.READER, Role.OPERATOR})),
        Route(method="GET", path="up", endpoint=answer, access=ANONYMOUS),
        Route(method="POST", path="hooks/x", endpoint=answer, access=ANONYMOUS, scheme="signature of the sender"),
    ]

    async def sweep(_: Any) -> None:
        """Sweep."""

    job = Job(name="sweep", app=AppName.BULK, schedule=parse_schedule("5m"), call=sweep)
    needs = [Need(access=Access.READ, to=VIEWS, why="To answer.")]
    document = written(Capability(name="doors", routes=routes, jobs=[job], resources=[VIEWS], needs=needs))
    assert [(one["path"], one["callers"]) for one in document["routes"]] == [
        ("/api/parcels/{id}", ["operator", "reader"]),
        ("/api/up", "anyone"),
        ("/api/hooks/x", "signature of the sender"),
    ]
    assert document["jobs"] == [{"name": "sweep", "app": "bulk", "schedule": "5m", "of": "doors"}]
    assert [one[0] for one in granted(document, "tablesOfFirstAccount")] == ["api", "bulk"]


def test_calls_of_routes_that_there_are_none_of_are_nobodys() -> None:
    """An app whose integrations have no views has the capability all the same."""
    needs = [Need(access=Access.READ, to=VIEWS, why="To answer.", by=[ROUTES])]
    offered = working(resources=[LANE, VIEWS], needs=needs, drained=[LANE.name])
    assert list(contradictions([offered], known_settings=frozenset())) == []
    assert granted(written(offered), "tablesOfFirstAccount") == []


def test_integrations_are_in_it() -> None:
    """Without a word of theirs but what they declare."""

    parcels = Integration("parcels")

    @parcels.handles("parcel.scanned", key="parcelId", priority=Lane.LOW, route="parcels")
    async def scan(parcel: Parcel, work: object) -> None:
        """Scan."""

    (told,) = written(registry=Registry([parcels]))["integrations"]
    assert told["handles"] == [
        {
            "eventType": "parcel.scanned", "version": "1.0", "model": "Parcel", "key": "parcelId", "lane": "low",
            "route": "/api/parcels",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Queue(name="q", lock="PT10M"), "the lock of the queue q is PT10M: use PT5S to PT5M"),
        (lambda: Queue(name="q", lock="30 s"), "the lock of the queue q is '30 s', no duration such as PT30S or P14D"),
        (lambda: Queue(name="q", time_to_live="P"), "the time to live of the queue q is 'P', no duration"),
        (lambda: Queue(name="q", deliveries=0), "the queue q has 0 deliveries: use 1 to 2000"),
        (lambda: Queue(name="no good"), "no queue can be called 'no good'"),
        (lambda: Topic(name="t", time_to_live="P0D"), "the time to live of the topic t is P0D: use PT1S or more"),
        (
            lambda: Topic(name="t", subscriptions=(Subscription(name="a", forward_to="q"),) * 2),
            "two subscriptions of one",
        ),
        (lambda: Subscription(name="a/b", forward_to="q"), "no subscription can be called 'a/b'"),
        (lambda: Subscription(name="a", forward_to="q", where=" "), "filter of the subscription a has 1 characters"),
        (lambda: Subscription(name="a", forward_to="q", deliveries=0), "the subscription a has 0 deliveries"),
        (lambda: Hub(name="h", partitions=64), "the hub h has 64 partitions: use 1 to 32"),
        (lambda: Table(name="read-models"), "no table can be called 'read-models'"),
        (lambda: Container(name="Claims"), "no container can be called 'Claims'"),
        (
            lambda: Need(access=Access.READ, to=LANE, why="To look."),
            "there is no access read to a queue, which %SLUICE_LANE_HIGH% is",
        ),
        (
            lambda: Need(access=Access.SEND, to=Queue(name="q"), why="sending"),
            "the need to send queue q says why in no sentence",
        ),
    ],
)
def test_what_the_service_would_refuse_is_refused_here(make: Callable[[], object], said: str) -> None:
    with pytest.raises(WrongDeclaration) as refused:
        make()
    assert said in str(refused.value)
