"""Limits of the service: one table for files and the management API; limits of messages and sessions on the wire."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from datetime import timedelta
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import pytest

from local_azure.broker.admin import atom
from local_azure.broker.admin.descriptions import created
from local_azure.broker.admin.errors import RequestError
from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.message import BATCH_FORMAT
from local_azure.broker.amqp.performatives import Detach, Disposition, Terminus
from local_azure.broker.amqp.types import Described, Raw, Symbol, ULong
from local_azure.broker.config import ConfigError, Namespace, parse_config
from local_azure.broker.durations import FOREVER, format_duration
from local_azure.broker.entities import (
    EventHubDescription,
    QueueDescription,
    SubscriptionDescription,
    TopicDescription,
    property_name,
)
from local_azure.broker.limits import LIMITS
from unit.broker.world import BrokerWorld, Client, body

_KINDS: tuple[Any, ...] = (QueueDescription, TopicDescription, SubscriptionDescription)
_STEPS = {int: 1, timedelta: timedelta(milliseconds=1)}
PROPERTIES = [
    (kind, name)
    for kind in _KINDS
    for name in LIMITS
    if name in {each.name for each in fields(kind)} and name not in ("user_metadata", "authorization_rules")
]


def _text(value: Any) -> str:
    return format_duration(value) if isinstance(value, timedelta) else str(value)


def _file(kind: Any, name: str, text: str) -> None:
    number = isinstance(LIMITS[name].smallest, int)
    entity = {"Name": "e", "Properties": {property_name(name): int(text) if number else text}}
    topic = {"Name": "t", "Subscriptions": [entity]} if kind is SubscriptionDescription else entity
    namespace = {"Name": "n", "Queues": [entity] if kind is QueueDescription else []}
    namespace["Topics"] = [] if kind is QueueDescription else [topic]
    parse_config(json.dumps({"UserConfig": {"Namespaces": [namespace]}}))


def _api(kind: Any, name: str, text: str) -> None:
    element = Element(f"{{{atom.SERVICE_BUS_NAMESPACE}}}{kind.__name__}")
    SubElement(element, f"{{{atom.SERVICE_BUS_NAMESPACE}}}{property_name(name)}").text = text
    names = {"topic_name": "t"} if kind is SubscriptionDescription else {}
    created(kind, element, name="e", **names)


@pytest.mark.parametrize(("kind", "name"), PROPERTIES)
@pytest.mark.parametrize("read", [_file, _api], ids=["file", "api"])
def test_both_ends_are_allowed_and_what_lies_beyond_is_not(read: Any, kind: Any, name: str) -> None:
    """By file and by API, and the complaint names the bounds."""
    limit = LIMITS[name]
    step: Any = _STEPS[type(limit.smallest)]
    smallest: Any = limit.smallest
    largest: Any = limit.largest
    for value in (smallest, largest):
        read(kind, name, _text(value))
    for value in (smallest - step, largest + step if largest != FOREVER else None):
        if value is None:
            continue
        with pytest.raises((ConfigError, RequestError), match=re.escape(limit.bounds)):
            read(kind, name, _text(value))


def test_the_window_that_no_net_client_can_read_is_refused() -> None:
    """.NET's administration client throws at a window below 20 s, and then lists no queue at all."""
    with pytest.raises(RequestError, match="PT20S"):
        _api(QueueDescription, "duplicate_detection_history_time_window", "PT5S")


# -- messages and sessions ------------------------------------------------------------------------------------

DECLARED = Namespace(
    queues=(
        QueueDescription(name="queue"),
        QueueDescription(name="sessions", requires_session=True),
        QueueDescription(name="target"),
        QueueDescription(name="forwarding", forward_to="target"),
    ),
    topics=(TopicDescription(name="topic"),),
    event_hubs=(EventHubDescription(name="hub"),),
)


@pytest.fixture
def client() -> Client:
    """A connected client of a fresh broker."""
    return BrokerWorld(DECLARED).connect()


def _condition(disposition: Any) -> str:
    return str(disposition.state.value[0].value[0])


def _annotated(**annotations: Any) -> bytes:
    return encode(
        Described(ULong(0x72), {Symbol(f"x-opt-{key.replace('_', '-')}"): annotations[key] for key in annotations})
    )


BREAKING = {
    "message id": body(message_id="i" * 129),
    "session id": body(group_id="s" * 129),
    "reply-to session id": body(reply_to_group_id="s" * 129),
    "partition key": _annotated(partition_key="k" * 129) + body(),
    "properties": encode(Described(ULong(0x74), {f"p{number}": "x" * 9_000 for number in range(8)})) + body(),
}
KEEPING = {
    "identifiers": body(message_id="i" * 128, group_id="s" * 128, reply_to_group_id="r" * 128),
    "partition key": _annotated(partition_key="k" * 128) + body(group_id="s"),
    "properties": encode(Described(ULong(0x73), [None] * 10 + ["s"]))
    + encode(Described(ULong(0x74), {f"p{number}": "x" * 9_000 for number in range(7)}))
    + encode(Described(ULong(0x75), b"x")),
}


@pytest.mark.parametrize("address", ["queue", "topic", "sessions", "forwarding"])
@pytest.mark.parametrize("message", BREAKING.values(), ids=BREAKING)
def test_messages_that_break_a_limit_are_refused(client: Client, address: str, message: bytes) -> None:
    """The sender hears why; neither alone nor in a batch do they get in, and the link goes on."""
    client.attach(address, 0, receives=False)
    client.publish(0, message)
    assert _condition(client.take(Disposition)) == "com.microsoft:argument-error"
    batch = encode(Described(ULong(0x75), body(group_id="s"))) + encode(Described(ULong(0x75), message))
    client.publish(0, batch, message_format=BATCH_FORMAT)
    assert _condition(client.take(Disposition)) == "com.microsoft:argument-error"
    assert not any(store.messages for store in client.world.broker.namespace.stores())
    client.publish(0, body(group_id="s"))
    assert client.take(Disposition).state.descriptor == 0x24


@pytest.mark.parametrize("message", KEEPING.values(), ids=KEEPING)
def test_messages_at_the_limit_are_accepted(client: Client, message: bytes) -> None:
    """The bounds belong to what is allowed."""
    client.attach("sessions", 0, receives=False)
    client.publish(0, message)
    assert client.take(Disposition).state.descriptor == 0x24


def _session(session_id: str) -> Terminus:
    filters = {Symbol("com.microsoft:session-filter"): session_id}
    fields_ = ["sessions", None, None, None, None, None, None, filters]
    return Terminus(Raw(encode(Described(ULong(0x28), fields_))), "sessions", filters)


def _management(client: Client, entity: str) -> None:
    client.attach(f"{entity}/$management", 8, receives=False)
    client.attach(f"{entity}/$management", 9, receives=True)
    client.grant(9, 100)


def test_a_session_state_has_the_size_of_a_message(client: Client) -> None:
    """256 KB on the standard tier; one byte more is refused, and the state stays."""
    _management(client, "sessions")
    client.attach("", 1, receives=True, source=_session("s"))
    for state, status in ((b"x" * 262_144, 200), (b"x" * 262_145, 400)):
        reply = client.request(8, "com.microsoft:set-session-state", {"session-id": "s", "session-state": state})
        assert reply.application_properties["statusCode"] == status
    queue: Any = client.world.broker.namespace.queues["sessions"].queue
    assert len(queue.sessions["s"].state) == 262_144


def test_a_session_id_has_128_characters(client: Client) -> None:
    """A receiver that asks for a longer one is refused."""
    assert client.attach("", 1, receives=True, source=_session("s" * 128)).source is not None
    assert client.attach("", 2, receives=True, source=_session("s" * 129)).source is None


# -- forwarding -----------------------------------------------------------------------------------------------


def test_nobody_receives_where_messages_are_sent_on(client: Client) -> None:
    """A receiver is refused at attach, its dead letters are open."""
    assert client.attach("forwarding", 1, receives=True).source is None
    detach = client.take(Detach)
    assert str(detach.error.value[0]) == "amqp:not-allowed"
    assert "auto-forwarding" in detach.error.value[1]
    assert client.attach("forwarding/$DeadLetterQueue", 2, receives=True).source is not None
    assert client.attach("forwarding", 3, receives=False).target is not None


@pytest.mark.parametrize(
    ("operation", "value"),
    [
        ("peek-message", {"from-sequence-number": 0, "message-count": 1}),
        ("schedule-message", {"messages": [{"message": _annotated(scheduled_enqueue_time=9_000_000) + body()}]}),
        ("cancel-scheduled-message", {"sequence-numbers": [1]}),
        ("receive-by-sequence-number", {"sequence-numbers": [1]}),
        ("batch-delete-messages", {"message-count": 1}),
    ],
)
def test_nobody_browses_or_schedules_where_messages_are_sent_on(client: Client, operation: str, value: Any) -> None:
    """Each request gets the service's own words."""
    _management(client, "forwarding")
    reply = client.request(8, f"com.microsoft:{operation}", value)
    assert reply.application_properties["statusCode"] == 400
    assert "message browser on an entity with auto-forwarding" in reply.application_properties["statusDescription"]


async def test_what_waits_is_sent_on_once_forwarding_is_turned_on(client: Client) -> None:
    """Receivers are sent away, the backlog goes, and a locked message follows when its lock ends."""
    client.attach("queue", 0, receives=False)
    client.attach("queue", 1, receives=True)
    client.grant(1, 1)
    for number in range(3):
        client.publish(0, body(b"%d" % number), settled=True)
    assert len(client.messages()) == 1
    namespace = client.world.broker.namespace
    namespace.update(QueueDescription(name="queue", forward_to="target"))
    client.world.run()
    client.pull()
    assert "auto-forwarding" in client.take(Detach).error.value[1]
    assert len(namespace.queues["target"].queue.messages) == 2
    client.world.wait(60_000)
    assert len(namespace.queues["target"].queue.messages) == 3
    assert not namespace.queues["queue"].queue.messages
