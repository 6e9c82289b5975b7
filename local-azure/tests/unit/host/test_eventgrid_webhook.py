"""Event Grid's webhook protocol: handshakes, both schemas, and what is refused."""

import json
from typing import Any

import pytest

from local_azure.host.eventgrid.webhook import Delivery, Handshake, Refusal, read_request

NOTIFICATION = {"aeg-event-type": "Notification"}


def read(headers: dict[str, str], body: Any, method: str = "POST") -> Any:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else json.dumps(body)
    return read_request(method, headers, text)


def test_a_subscription_is_validated_by_its_code() -> None:
    event = {
        "id": "1",
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "data": {"validationCode": "abc"},
    }
    assert read({"aeg-event-type": "SubscriptionValidation"}, [event]) == Handshake('{"validationResponse":"abc"}')
    assert isinstance(read({"aeg-event-type": "SubscriptionValidation"}, [{"data": 1}]), Refusal)
    assert isinstance(read({"aeg-event-type": "SubscriptionValidation"}, []), Refusal)


def test_a_cloudevents_subscription_is_validated_by_options() -> None:
    answer = read({"webhook-request-origin": "eventgrid.azure.net"}, b"", "OPTIONS")
    assert dict(answer.headers)["WebHook-Allowed-Origin"] == "eventgrid.azure.net"
    assert read({}, b"", "OPTIONS") == answer


def test_events_come_as_an_array_or_as_one_cloudevent() -> None:
    assert read(NOTIFICATION, [{"id": "1"}, {"id": "2"}]) == Delivery(({"id": "1"}, {"id": "2"}))
    assert read(NOTIFICATION, {"specversion": "1.0", "id": "1"}) == Delivery(({"specversion": "1.0", "id": "1"},))
    assert read({"aeg-event-type": "Unsubscribe"}, b"") == Delivery(())


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"x"', b"\xff"])
def test_malformed_bodies_are_refused(body: bytes) -> None:
    assert read(NOTIFICATION, body) == Refusal(500)


def test_a_request_that_is_not_from_event_grid_is_refused() -> None:
    assert read({}, [{}]) == Refusal(400)
