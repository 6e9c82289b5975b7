"""Events of a hub as the host hands them over: each with what its sender put beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping

import azure.functions as func
from azure.functions.meta import Datum

from functions.batches import stream_events


def batch(metadata: Mapping[str, object]) -> list[func.EventHubEvent]:
    """Two events with the metadata of their batch, which the host writes as JSON."""
    data = {name: Datum(json.dumps(value), "json") for name, value in metadata.items()}
    return [func.EventHubEvent(body=body, trigger_metadata=data) for body in (b"one", b"two")]


def test_each_event_has_its_own_properties() -> None:
    one, two = stream_events(batch({"PropertiesArray": [{"id": "1"}, {}], "PartitionContext": {"PartitionId": "3"}}))
    assert (one.body, one.properties, one.partition) == (b"one", {"id": "1"}, "3")
    assert (two.body, two.properties, two.partition) == (b"two", {}, "3")


def test_properties_that_are_not_those_of_the_batch_are_nobodys() -> None:
    for beside in ([{"id": "1"}], None, "x"):
        assert [one.properties for one in stream_events(batch({"PropertiesArray": beside}))] == [{}, {}]
    assert stream_events([]) == []
