"""What an Event Hubs function receives, through the real converters."""

from datetime import UTC, datetime
from typing import Any

import pytest
from azure.functions.eventhub import EventHubTriggerConverter

from local_azure.host.trigger_data import event_hubs
from local_azure.host.trigger_data.event_hubs import Partition, ReceivedEvent
from local_azure.host.trigger_data.values import Unbound

MOMENT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def event(number: int, **fields: Any) -> ReceivedEvent:
    return ReceivedEvent(
        body=b"%d" % number, sequence_number=number, offset=str(number * 10), enqueued_time=MOMENT, **fields
    )


def test_a_batch_has_properties_only_in_its_metadata() -> None:
    events = [event(1, properties={"id": "a"}), event(2, partition_key="k")]
    data, metadata = event_hubs.batch(events, Partition(event_hub="events", partition_id="3"), "BINARY")
    decoded: Any = EventHubTriggerConverter.decode(data, trigger_metadata=metadata)
    assert [each.get_body() for each in decoded] == [b"1", b"2"]
    assert [each.sequence_number for each in decoded] == [1, 2]
    assert [each.offset for each in decoded] == [10, 20]
    assert [each.partition_key for each in decoded] == [None, "k"]
    assert decoded[0].enqueued_time == datetime(2026, 3, 4, 5, 6, 7)  # noqa: DTZ001
    assert decoded[0].metadata["PropertiesArray"] == [{"id": "a"}, {}]
    assert decoded[0].metadata["PartitionContext"]["PartitionId"] == "3"


def test_an_offset_that_is_no_number_arrives_as_minus_one() -> None:
    """As with geo-replicated hubs."""
    replicated = ReceivedEvent(body=b"", offset="0:1:2", enqueued_time=MOMENT)
    data, metadata = event_hubs.batch([replicated], Partition(), "BINARY")
    decoded: Any = EventHubTriggerConverter.decode(data, trigger_metadata=metadata)
    assert decoded[0].offset == -1


def test_one_event() -> None:
    data, metadata = event_hubs.single(event(7, properties={"id": "x"}), Partition(), "BINARY")
    decoded: Any = EventHubTriggerConverter.decode(data, trigger_metadata=metadata)
    assert (decoded.get_body(), decoded.sequence_number, decoded.offset) == (b"7", 7, "70")
    assert decoded.metadata["Properties"] == {"id": "x"}


def test_an_amqp_value_fails_the_batch() -> None:
    """Before any code of the app."""
    with pytest.raises(Unbound, match="AMQP value"):
        event_hubs.batch([event(1), ReceivedEvent(body=None)], Partition(), "BINARY")
