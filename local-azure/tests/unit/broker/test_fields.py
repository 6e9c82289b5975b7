"""Maps that AMQP calls `fields` or annotations: their keys leave as symbols, whatever they were made of."""

from __future__ import annotations

from typing import Any

import pytest

from local_azure.broker.amqp.decode import decode_one
from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.message import encode_delivery_annotations, scan
from local_azure.broker.amqp.performatives import Attach, Begin, Disposition, Flow, Open, Terminus, decode_performative
from local_azure.broker.amqp.types import Described, Fields, Raw, Symbol, ULong
from local_azure.broker.config import Namespace
from local_azure.broker.entities import EventHubDescription, QueueDescription
from unit.broker.world import BrokerWorld, Client, body

DECLARED = Namespace(
    queues=(QueueDescription(name="queue"), QueueDescription(name="sessions", requires_session=True)),
    event_hubs=(EventHubDescription(name="hub"),),
)


@pytest.fixture
def client() -> Client:
    """A connected client of a fresh broker."""
    return BrokerWorld(DECLARED).connect()


def _kinds(fields: dict[Any, Any]) -> set[str]:
    return {type(key).__name__ for key in fields}


def _session(session_id: str | None) -> Terminus:
    filters = {Symbol("com.microsoft:session-filter"): session_id}
    fields = ["sessions", None, None, None, None, None, None, filters]
    return Terminus(Raw(encode(Described(ULong(0x28), fields))), "sessions", filters)


@pytest.mark.parametrize(
    "performative",
    [
        Open(container_id="c", properties={"product": "x"}),
        Begin(properties={"a": 1}),
        Attach(name="n", properties={"com.microsoft:locked-until-utc": 1}),
        Flow(properties={"a": 1}),
    ],
)
def test_the_codec_writes_symbols(performative: Any) -> None:
    """For every performative with properties, by the field's type alone."""
    data = performative.encode()
    decoded: Any = decode_performative(data, 0, len(data))[0]
    assert _kinds(decoded.properties) == {"Symbol"}


def test_only_text_can_be_a_key() -> None:
    """Anything else is a mistake of ours, told at once."""
    with pytest.raises(TypeError, match="symbols"):
        Fields({1: "a"})
    assert decode_one(encode(Fields({"a": 1}))) == {"a": 1}


def test_link_properties_are_symbols_on_the_wire(client: Client) -> None:
    """A sender's batch size, and a session's lock: .NET looks both up as symbols."""
    sender = client.attach("sessions", 0, receives=False)
    assert _kinds(sender.properties) == {"Symbol"}
    client.publish(0, body(group_id="s"), settled=True)
    granted = client.attach("", 1, receives=True, source=_session(None))
    assert _kinds(granted.properties) == {"Symbol"}
    assert "com.microsoft:locked-until-utc" in granted.properties
    assert _kinds(granted.source.filters) == {"Symbol"}
    hub = client.attach("hub", 2, receives=False)
    assert _kinds(hub.properties) == {"Symbol"}


def test_annotations_are_symbols_on_the_wire(client: Client) -> None:
    """Those the broker sets on messages, and those with which it answers a settlement."""
    client.attach("queue", 0, receives=False)
    client.attach("queue", 1, receives=True)
    client.grant(1, 5)
    client.publish(0, body(), settled=True)
    ((transfer, sections),) = client.messages()
    assert _kinds(sections.annotations) == {"Symbol"}
    client.settle(transfer, encode(Described(ULong(0x27), [None, None, {"as": "text"}])))
    assert _kinds(client.take(Disposition).state.value[2]) == {"Symbol"}
    annotated = scan(encode_delivery_annotations({"last_enqueued_offset": "1"}) + body())
    assert b"\xa3\x14last_enqueued_offset" in annotated.data


def test_a_filter_whose_key_is_no_name_ends_the_session_of_its_sender_only(client: Client) -> None:
    """A number as key is refused as malformed; others go on."""
    fields = ["queue", None, None, None, None, None, None, {1: "x"}]
    broken = Terminus(Raw(encode(Described(ULong(0x28), fields))), "queue")
    client.send(Attach(name="r", handle=1, role=True, source=broken))
    assert client.client.engine.is_closed
    other = client.world.connect()
    assert other.attach("queue", 0, receives=False).target is not None
