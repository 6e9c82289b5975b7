"""What a topic takes, in both schemas; who may publish; what subscriptions may be described as."""

from __future__ import annotations

import base64
import hmac
import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_azure.eventgrid import EventGridError, EventSubscription, Schema, Topic
from local_azure.eventgrid.access import check_publisher
from local_azure.eventgrid.topics import LARGEST, operations, read_events
from unit.eventgrid.given import CLOUD, GRID_TYPE, ORDERS, cloud_event, grid_event, subscription

GRID = Topic(name="grid", schema=Schema.EVENT_GRID)
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)
URL = "http://127.0.0.1:5340/orders/api/events"


def read(content: Any, *, topic: Topic = ORDERS, kind: str = CLOUD) -> list[dict[str, Any]]:
    """Events of a request."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_events(body, kind, topic, published="2026-11-30T12:00:00Z")


def test_cloud_events_come_in_batches_and_alone() -> None:
    (timed,) = read([cloud_event(time="2026-11-30T11:00:00.1234567+01:00", tenant="a")])
    assert timed["time"].startswith("2026-11-30T11")
    assert timed["tenant"] == "a"
    (alone,) = read(cloud_event(data_base64="AA=="), kind="application/cloudevents+json")
    assert alone["time"] == "2026-11-30T12:00:00Z"
    assert read([]) == []


def test_the_own_schema_is_completed() -> None:
    (event,) = read([grid_event()], topic=GRID, kind=GRID_TYPE)
    assert event["topic"] == GRID.resource_id
    assert event["metadataVersion"] == "1"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[",
        b"[" * 100_000,
        b'[{"id": NaN}]',
        b'[{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": 1e999}]',
        b"\xff",
        {},
        cloud_event(),
        [1],
        [cloud_event(specversion="0.3")],
        [cloud_event(id="")],
        [cloud_event(type=1)],
        [cloud_event(time="yesterday")],
        [cloud_event(time="2026-13-01T00:00:00Z")],
        [cloud_event(Subject="x")],
        [cloud_event(**{"x" * 21: 1})],
        [cloud_event(), grid_event()],
        [cloud_event(data=json.loads("[" * 70 + "]" * 70))],
    ],
)
def test_what_is_no_cloud_event_is_refused_with_all_others(content: Any) -> None:
    with pytest.raises(EventGridError) as refused:
        read(content)
    told = refused.value.content()["error"]
    assert refused.value.status == 400
    assert told["code"] == "BadRequest"
    assert told["details"]
    assert told["message"].startswith("This resource is configured to receive event in 'CloudEventV10' schema.")


@pytest.mark.parametrize(
    "event",
    [
        cloud_event(),
        grid_event(subject=""),
        grid_event(eventTime=None),
        grid_event(dataVersion=1),
        grid_event(topic="another"),
        grid_event(metadataVersion="2"),
        grid_event(more=1),
    ],
)
def test_what_is_no_event_of_the_own_schema_is_refused(event: dict[str, Any]) -> None:
    with pytest.raises(EventGridError):
        read([event], topic=GRID, kind=GRID_TYPE)


def test_the_content_type_has_to_be_of_the_schema() -> None:
    with pytest.raises(EventGridError, match="content type"):
        read([cloud_event()], kind=GRID_TYPE)
    with pytest.raises(EventGridError, match="content type"):
        read([grid_event()], topic=GRID, kind=CLOUD)


def test_a_megabyte_is_the_limit_and_64_kilobytes_are_an_operation() -> None:
    room = LARGEST - len(json.dumps([cloud_event(data="")]))
    assert len(read([cloud_event(data="x" * room)])) == 1
    with pytest.raises(EventGridError) as refused:
        read([cloud_event(data="x" * (room + 1))])
    assert refused.value.status == 413
    assert [operations(size) for size in (0, 65_536, 65_537, LARGEST)] == [1, 1, 2, 16]


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    for topic, kind in ((ORDERS, CLOUD), (ORDERS, "application/cloudevents+json"), (GRID, GRID_TYPE)):
        with suppress(EventGridError):
            read(body, topic=topic, kind=kind)


def token(key: str, *, resource: str = URL, until: str = "11/30/2026 12:00:01 PM") -> str:
    """A shared access signature."""
    unsigned = f"r={quote(resource, safe='')}&e={quote(until, safe='')}"
    signature = base64.b64encode(hmac.digest(base64.b64decode(key), unsigned.encode(), "sha256"))
    return f"{unsigned}&s={quote(signature, safe='')}"


async def check(topic: Topic = ORDERS, /, **headers: str) -> None:
    """Whether a request with these headers may publish."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def bearer(given: str) -> bool:
        return given == "genuine"

    await check_publisher(named, URL, topic, now=NOON, bearer=bearer)


async def test_keys_tokens_and_identities() -> None:
    await check(aeg_sas_key=ORDERS.keys[1])
    await check(aeg_sas_token=token(ORDERS.keys[0]))
    await check(authorization=f"SharedAccessSignature {token(ORDERS.keys[0], until='2026-11-30 12:00:01+00:00')}")
    await check(aeg_sas_token=token(ORDERS.keys[0], until="11/30/2026, 12:00:01 PM", resource=URL[:-7]))
    await check(authorization="Bearer genuine")
    await check(Topic(name="strict", local_auth=False), authorization="Bearer genuine")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"aeg_sas_key": ""}, 401),
        ({"aeg_sas_key": "\udcff"}, 401),
        ({"aeg_sas_key": ORDERS.keys[0][:-1]}, 401),
        ({"aeg_sas_token": ORDERS.keys[0]}, 400),
        ({"aeg_sas_token": token(GRID.keys[0])}, 401),
        ({"aeg_sas_token": token(ORDERS.keys[0], until="11/30/2026 12:00:00 PM")}, 401),
        ({"aeg_sas_token": token(ORDERS.keys[0], until="tomorrow")}, 401),
        ({"aeg_sas_token": token(ORDERS.keys[0], resource="http://127.0.0.1:5340/other/api/events")}, 401),
        ({"aeg_sas_token": token(ORDERS.keys[0], resource=URL[:-1])}, 401),
        ({"authorization": "Bearer forged"}, 401),
    ],
)
async def test_who_may_not_publish(headers: dict[str, str], status: int) -> None:
    with pytest.raises(EventGridError) as refused:
        await check(**headers)
    assert refused.value.status == status


async def test_a_topic_without_local_authentication_takes_no_key() -> None:
    strict = Topic(name="strict", local_auth=False)
    with pytest.raises(EventGridError, match="disableLocalAuth"):
        await check(strict, aeg_sas_key=strict.keys[0])


def attribute(name: str = "x-key", **properties: Any) -> dict[str, Any]:
    """A static delivery attribute."""
    return {"name": name, "type": "Static", "properties": properties or {"value": "secret", "isSecret": True}}


@pytest.mark.parametrize(
    "content",
    [
        1,
        {},
        {"destination": {"endpointType": "HybridConnection"}},
        {"destination": {"endpointType": ["WebHook"], "properties": {}}},
        {"eventDeliverySchema": ["CloudEventSchemaV1_0"]},
        {"destination": {"endpointType": "WebHook", "properties": {"endpointUrl": "http://shop.example/"}}},
        {"destination": {"endpointType": "WebHook", "properties": {"endpointUrl": "https://["}}},
        {"destination": {"endpointType": "ServiceBusQueue", "properties": {"resourceId": "orders"}}},
        {"eventDeliverySchema": "EventGridSchema"},
        {"retryPolicy": {"maxDeliveryAttempts": 31}},
        {"retryPolicy": {"maxDeliveryAttempts": True}},
        {"retryPolicy": {"eventTimeToLiveInMinutes": 0}},
        {"deadLetterDestination": {"endpointType": "Queue"}},
        {"deadLetterDestination": {"endpointType": "StorageBlob", "properties": {"blobContainerName": "A"}}},
        {"expires": 1},
    ],
)
def test_a_subscription_that_the_service_refuses(content: Any) -> None:
    webhook = {"endpointType": "WebHook", "properties": {"endpointUrl": "https://shop.example/hook"}}
    complete = {"destination": webhook, **content} if isinstance(content, dict) and content else content
    with pytest.raises(EventGridError):
        EventSubscription.read("to-shop", complete, ORDERS)


@pytest.mark.parametrize(
    "webhook",
    [
        {"maxEventsPerBatch": 5_001},
        {"maxEventsPerBatch": 0},
        {"preferredBatchSizeInKilobytes": 1_025},
        {"deliveryAttributeMappings": [attribute()] * 11},
        {"deliveryAttributeMappings": [attribute("aeg-event-type")]},
        {"deliveryAttributeMappings": [attribute("x y")]},
        {"deliveryAttributeMappings": [attribute(value="a\r\nb")]},
        {"deliveryAttributeMappings": [attribute(value="x" * 4_097)]},
        {"resourceId": "x"},
    ],
)
def test_a_webhook_that_the_service_refuses(webhook: dict[str, Any]) -> None:
    with pytest.raises(EventGridError):
        subscription(**webhook)


@pytest.mark.parametrize("name", ["", "ab", "x" * 51, "a_b", "a/b"])
def test_a_topic_has_a_name_of_the_service(name: str) -> None:
    with pytest.raises(EventGridError):
        Topic(name=name)


@pytest.mark.parametrize(
    "content", [1, {"x": 1}, {"inputSchema": "x"}, {"inputSchema": ["x"]}, {"keys": ["?"]}, {"disableLocalAuth": 1}]
)
def test_a_topic_that_the_service_refuses(content: Any) -> None:
    with pytest.raises(EventGridError):
        Topic.read("orders", content)


def test_a_secret_is_in_no_text() -> None:
    found = subscription(deliveryAttributeMappings=[attribute()], endpointUrl="https://shop.example/?key=hidden")
    assert "secret" not in repr(found)
    assert "hidden" not in repr(found)
    assert ORDERS.keys[0] not in repr(ORDERS)
