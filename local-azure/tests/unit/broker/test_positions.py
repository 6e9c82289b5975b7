"""Where a reader may start: within the log or at its end, by every kind of position, and never beyond it."""

from __future__ import annotations

import pytest

from local_azure.broker.amqp.encode import encode
from local_azure.broker.amqp.performatives import Detach, Terminus
from local_azure.broker.amqp.types import Described, Raw, Symbol, ULong
from local_azure.broker.config import Namespace
from local_azure.broker.entities import EventHubDescription
from local_azure.broker.eventhubs.partition import Partition
from unit.broker.world import BrokerWorld, Client, body

DECLARED = Namespace(event_hubs=(EventHubDescription(name="hub", retention_hours=1),))


@pytest.fixture
def world() -> BrokerWorld:
    """A fresh broker."""
    return BrokerWorld(DECLARED)


@pytest.fixture
def client(world: BrokerWorld) -> Client:
    """A connected client."""
    return world.connect()


def _source(selector: str) -> Terminus:
    address = "hub/ConsumerGroups/$Default/Partitions/0"
    name = Symbol("apache.org:selector-filter:string")
    filters = {name: Described(name, f"amqp.annotation.x-opt-{selector}")}
    fields = [address, None, None, None, None, None, None, filters]
    return Terminus(Raw(encode(Described(ULong(0x28), fields))), address, filters)


def _publish(client: Client, count: int) -> list[int]:
    """Send events, and give their offsets."""
    client.attach("hub/Partitions/0", 0, receives=False)
    for _ in range(count):
        client.publish(0, body(), settled=True)
    return [event.offset for event in client.world.broker.hubs["hub"].partitions[0].events]


@pytest.mark.parametrize("operator", [">", ">="])
@pytest.mark.parametrize("events", [0, 3])
def test_a_position_beyond_the_log_is_refused(client: Client, operator: str, events: int) -> None:
    """With the service's condition and words, so that nobody waits in silence under old checkpoints."""
    offsets = _publish(client, events)
    last_offset = offsets[-1] if offsets else -1
    for field, shown, last in (("sequence-number", "sequence number", events - 1), ("offset", "offset", last_offset)):
        beyond = last + 1
        answer = client.attach("", 5, receives=True, source=_source(f"{field} {operator} '{beyond}'"))
        assert answer.source is None
        error = client.take(Detach).error.value
        assert str(error[0]) == "com.microsoft:argument-error"
        assert error[1] == f"The supplied {shown} '{beyond}' is invalid. The last {shown} in the system is '{last}'"
        client.send(Detach(handle=5, closed=True))
        client.received.clear()


@pytest.mark.parametrize("selector", ["offset > '-1'", "offset > '@latest'", "sequence-number > '-1'"])
def test_the_ends_of_an_empty_log_are_positions(client: Client, selector: str) -> None:
    """They wait for the first event and get it."""
    assert client.attach("", 5, receives=True, source=_source(selector)).source is not None
    client.grant(5, 10)
    _publish(client, 1)
    assert len(client.messages()) == 1


def test_the_last_event_is_a_position(client: Client) -> None:
    """A checkpoint of a reader that is up to date."""
    offsets = _publish(client, 3)
    for handle, selector in ((5, "sequence-number > '2'"), (6, f"offset > '{offsets[-1]}'")):
        assert client.attach("", handle, receives=True, source=_source(selector)).source is not None
        client.grant(handle, 10)
    assert client.messages() == []
    client.publish(0, body(), settled=True)
    assert len(client.messages()) == 2


def test_a_checkpoint_outlives_the_events_it_names(world: BrokerWorld, client: Client) -> None:
    """Retention takes the events, not the numbers: what was reached stays a position."""
    offsets = _publish(client, 3)
    world.wait(3_700_000)
    assert not world.broker.hubs["hub"].partitions[0].events
    for handle, selector in ((5, "sequence-number > '2'"), (6, f"offset > '{offsets[-1]}'")):
        assert client.attach("", handle, receives=True, source=_source(selector)).source is not None


def test_a_restored_log_without_events_knows_how_far_it_came() -> None:
    """After a restart too."""
    log = Partition(1, "0")
    log.restore([], 3, 600)
    assert log.position("amqp.annotation.x-opt-offset > '500'") == 3
    assert log.position("amqp.annotation.x-opt-sequence-number > '2'") == 3
