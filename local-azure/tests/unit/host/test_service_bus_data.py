"""What a Service Bus function receives, through the real converters: their traps are the platform's."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.functions.servicebus import ServiceBusMessageInConverter

from local_azure.host.trigger_data import service_bus
from local_azure.host.trigger_data.service_bus import ReceivedMessage
from local_azure.host.trigger_data.values import Unbound

MOMENT = datetime(2026, 3, 4, 5, 6, 7, 120_000, tzinfo=UTC)


def message(body: bytes = b"{}", **fields: Any) -> ReceivedMessage:
    return ReceivedMessage(body=body, message_id="m", enqueued_time=MOMENT, **fields)


def decode_batch(messages: list[ReceivedMessage], data_type: str = "BINARY") -> Any:
    data, metadata = service_bus.batch(messages, data_type)
    return ServiceBusMessageInConverter.decode(data, trigger_metadata=metadata)


def decode_single(given: ReceivedMessage, data_type: str = "BINARY") -> Any:
    data, metadata = service_bus.single(given, data_type)
    return ServiceBusMessageInConverter.decode(data, trigger_metadata=metadata)


def test_a_batch_carries_bodies_and_application_properties_in_place() -> None:
    decoded = decode_batch([message(b"", application_properties={"n": i, "t": "x"}) for i in range(3)])
    assert [each.get_body() for each in decoded] == [b"", b"", b""]
    assert [each.application_properties for each in decoded] == [{"n": i, "t": "x"} for i in range(3)]
    assert [each.message_id for each in decoded] == ["m", "m", "m"]


def test_missing_strings_shift_to_the_wrong_message_in_a_batch() -> None:
    """The known bug: correlation ids and the like are not to be relied on."""
    decoded = decode_batch([message(), message(correlation_id="second's"), message()])
    assert [each.correlation_id for each in decoded] == ["second's", None, None]


def test_datetimes_arrive_as_naive_utc() -> None:
    for decoded in (decode_batch([message()])[0], decode_single(message())):
        assert decoded.enqueued_time_utc == datetime(2026, 3, 4, 5, 6, 7, 120_000)  # noqa: DTZ001
        assert decoded.enqueued_time_utc.tzinfo is None


def test_what_the_extension_never_sends_is_none_in_a_batch() -> None:
    decoded = decode_batch([message()])[0]
    assert decoded.state is None
    assert decoded.locked_until is None
    assert decoded.time_to_live is None
    assert decoded.dead_letter_reason is None


def test_the_transaction_partition_key_repeats_the_partition_key_in_a_batch() -> None:
    assert decode_batch([message(partition_key="k")])[0].transaction_partition_key == "k"


def test_one_empty_text_body_breaks_the_whole_batch() -> None:
    with pytest.raises(IndexError):
        decode_batch([message(b"a"), message(b"")], "STRING")


def test_a_text_body_forges_metadata_and_a_binary_one_cannot() -> None:
    forged = message(
        json.dumps({"messageid": "forged", "ApplicationProperties": {"role": "admin"}, "list": [1]}).encode()
    )
    text, binary = decode_single(forged, "UNDEFINED"), decode_single(forged)
    assert text.message_id == "forged"
    assert text.application_properties == {"role": "admin"}
    assert "list" not in text.metadata
    assert binary.message_id == "m"
    assert binary.application_properties == {}


def test_the_first_delivery_counts_as_one() -> None:
    assert decode_single(message()).delivery_count == 1
    assert decode_batch([message(delivery_count=2)])[0].delivery_count == 2


def test_property_values_travel_as_json() -> None:
    properties = {"when": MOMENT, "raw": b"text", "flag": True, "many": (1, 2)}
    decoded = decode_batch([message(application_properties=properties)])[0]
    assert decoded.application_properties == {
        "when": "2026-03-04T05:06:07.12Z", "raw": "dGV4dA==", "flag": True, "many": [1, 2],
    }  # fmt: skip


@pytest.mark.parametrize("bodies", [[b"{}", b"not json"], [b"{}", b""]])
def test_one_body_that_is_no_json_fails_a_batch_without_data_type(bodies: list[bytes]) -> None:
    with pytest.raises(Unbound, match="no JSON"):
        decode_batch([message(body) for body in bodies], "UNDEFINED")


def test_a_batch_without_data_type_is_one_json_array() -> None:
    decoded = decode_batch([message(b'{"a": 1.50}'), message(b'"text"'), message(b"[1]")], "UNDEFINED")
    assert [each.get_body() for each in decoded] == [b'{"a": 1.5}', b'"text"', b"[1]"]


def test_an_amqp_value_is_bound_as_a_text_only() -> None:
    """And never as bytes: the batch fails with it, before any code of the app."""
    text = replace(message(), body="a value")
    assert decode_single(text, "UNDEFINED").get_body() == b"a value"
    for given, data_type in ((text, "BINARY"), (replace(message(), body=None), "UNDEFINED")):
        with pytest.raises(Unbound, match="AMQP value"):
            decode_batch([message(), given], data_type)
        with pytest.raises(Unbound, match="AMQP value"):
            decode_single(given, data_type)


def test_a_message_of_ten_thousand_properties() -> None:
    many = {f"p{number}": number for number in range(10_000)}
    assert decode_batch([message(application_properties=many)])[0].application_properties == many
