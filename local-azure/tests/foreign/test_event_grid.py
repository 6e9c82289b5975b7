"""Event Grid through a client of another language, with a key and with a signature that it makes."""

from __future__ import annotations

from typing import Any

import pytest

from foreign.driver import Driver, Refused
from foreign.spoken import spoken_by
from local_azure.testing import EventGrid

EVENTS: dict[str, list[dict[str, Any]]] = {
    "CloudEvent": [{"id": str(n), "source": "/js", "type": "made", "data": {"n": n}} for n in range(2)],
    "EventGrid": [
        {"id": str(n), "subject": "/js", "eventType": "made", "dataVersion": "1", "data": {"n": n}} for n in range(2)
    ],
}
SCHEMAS = {"CloudEvent": "CloudEventSchemaV1_0", "EventGrid": "EventGridSchema"}


@spoken_by("javascript")
@pytest.mark.parametrize("schema", EVENTS)
def test_events_are_published(client: Driver, event_grid: EventGrid, schema: str) -> None:
    """By key, by a signature of an hour; what the service refuses has the SDK's own errors."""
    topic = event_grid.topic("from-javascript", inputSchema=SCHEMAS[schema])
    given = {"endpoint": topic.endpoint, "schema": schema, "events": EVENTS[schema]}
    client.call("eg_publish", key=topic.key, **given)
    client.call("eg_publish", key=topic.key, signed=3_600, **given)
    assert event_grid.metrics(topic.name)["PublishSuccessCount"] == 4
    other = next(one for one in EVENTS if one != schema)
    for wrong, code in (
        ({"key": "c2VjcmV0"}, "unauthorized"),
        ({"key": topic.key, "signed": -3_600}, "unauthorized"),
        ({"key": topic.key, "schema": other, "events": EVENTS[other]}, "bad-request"),
        ({"key": topic.key, "endpoint": topic.endpoint.replace("from", "to")}, "not-found"),
    ):
        with pytest.raises(Refused) as refused:
            client.call("eg_publish", **{**given, **wrong})
        assert refused.value.code == code
