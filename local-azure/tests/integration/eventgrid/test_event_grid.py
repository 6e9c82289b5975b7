"""Event Grid as a product: Microsoft's own client publishes, webhooks and queues are subscribed, dead letters come."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from azure.core.credentials import AzureKeyCredential, AzureSasCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent, EventGridPublisherClient, generate_sas
from azure.eventhub import EventHubConsumerClient
from azure.servicebus import ServiceBusClient
from azure.storage.blob import BlobServiceClient

from local_azure.eventgrid import EventGridError
from local_azure.testing import EventGrid, EventHubs, ManagedIdentity, Partner, ServiceBus, Services
from local_azure.testing.event_grid import EventGridTopic

CLOUD = "CloudEventSchemaV1_0"


def send(topic: EventGridTopic, *events: Any, credential: Any = None) -> None:
    """Publish with Microsoft's client."""
    with EventGridPublisherClient(topic.endpoint, credential or AzureKeyCredential(topic.key), retry_total=0) as client:
        client.send(list(events))


def event(**data: Any) -> CloudEvent[Any]:
    """A CloudEvent of an order."""
    return CloudEvent(source="/orders", type="order.accepted", subject="/orders/1", data=data)


def agrees(partner: Partner) -> None:
    """Have a webhook consent to CloudEvents."""
    partner.answers("OPTIONS", "/hook", status=200, headers={"WebHook-Allowed-Origin": "eventgrid.azure.net"})


def posted(partner: Partner) -> list[Any]:
    """What the webhook got."""
    return [one.json() for one in partner.calls("POST", "/hook")]


def test_a_webhook_is_asked_and_then_gets_cloud_events(event_grid: EventGrid, partner: Partner) -> None:
    agrees(partner)
    topic = event_grid.topic("orders", inputSchema=CLOUD)
    assert event_grid.webhook("orders", "to-shop", f"{partner.url}/hook", filter={"subjectBeginsWith": "/orders/"})
    send(topic, event(total=5), CloudEvent(source="/x", type="other", subject="/none"))
    event_grid.settled()
    (asked,) = partner.calls("OPTIONS")
    assert asked.headers["webhook-request-origin"] == "eventgrid.azure.net"
    (call,) = partner.calls("POST", "/hook")
    assert call.json()["data"] == {"total": 5}
    assert call.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert call.headers["webhook-request-origin"] == "eventgrid.azure.net"
    assert call.headers["aeg-event-type"] == "Notification"
    counted = event_grid.metrics("orders")
    assert (counted["PublishSuccessCount"], counted["MatchedEventCount"], counted["DeliverySuccessCount"]) == (2, 1, 1)


def test_the_own_schema_is_validated_by_hand_where_the_code_does_not_come_back(
    event_grid: EventGrid, partner: Partner
) -> None:
    """Nothing is delivered before its owner has opened the address; it counts once, and for ten minutes."""
    partner.answers("POST", "/hook", status=200)
    topic = event_grid.topic("grid")
    assert not event_grid.webhook("grid", "to-shop", f"{partner.url}/hook")
    send(topic, EventGridEvent(subject="/1", event_type="t", data={}, data_version="1"))
    ((validation,),) = posted(partner)
    assert validation["eventType"] == "Microsoft.EventGrid.SubscriptionValidationEvent"
    with urllib.request.urlopen(validation["data"]["validationUrl"]) as answer:
        assert answer.status == 200
    with pytest.raises(HTTPError) as refused, urllib.request.urlopen(validation["data"]["validationUrl"]):
        pass
    refused.value.close()
    assert refused.value.code == 404
    send(topic, EventGridEvent(subject="/2", event_type="t", data={}, data_version="1"))
    event_grid.settled()
    assert [one[0]["subject"] for one in posted(partner)] == ["", "/2"]


@pytest.mark.parametrize("status", [202, 200])
def test_a_webhook_without_consent_waits(event_grid: EventGrid, partner: Partner, status: int) -> None:
    """202 isn't the answer that the own schema wants, and no consent can be read from a status."""
    partner.answers("*", "/hook", status=status, json={"validationResponse": "x"})
    event_grid.topic("orders", inputSchema=CLOUD)
    assert not event_grid.webhook("orders", "to-shop", f"{partner.url}/hook")


def test_a_webhook_that_refuses_or_is_away_gets_no_subscription(event_grid: EventGrid, partner: Partner) -> None:
    partner.answers("*", "/hook", status=404)
    event_grid.topic("orders", inputSchema=CLOUD)
    with pytest.raises(EventGridError, match="handshake failed"):
        event_grid.webhook("orders", "to-shop", f"{partner.url}/hook?key=hidden")
    with pytest.raises(EventGridError) as refused:
        event_grid.webhook("orders", "to-shop", "http://127.0.0.1:9/?key=hidden")
    assert "hidden" not in str(refused.value)


def test_a_webhook_that_fails_is_tried_again_when_it_is_due(event_grid: EventGrid, partner: Partner) -> None:
    """The clock is moved; the count of earlier tries goes with the event."""
    agrees(partner)
    partner.answers("POST", "/hook", status=503, times=2)
    topic = event_grid.topic("orders", inputSchema=CLOUD)
    event_grid.webhook("orders", "to-shop", f"{partner.url}/hook")
    send(topic, event())
    for seconds in (0, 29, 1, 30):
        event_grid.move(seconds)
        event_grid.settled()
    counts = [one.headers["aeg-delivery-count"] for one in partner.calls("POST")]
    assert counts == ["0", "1", "2"]
    event_grid.move(86_400)
    event_grid.settled()
    assert len(partner.calls("POST")) == 3


def test_queues_topics_and_hubs_get_events_as_messages(
    event_grid: EventGrid, service_bus: ServiceBus, event_hubs: EventHubs
) -> None:
    queue, hub = service_bus.queue("from-grid"), event_hubs.hub("grid-hub")
    service_bus.topic("grid-topic", subscriptions=["all"])
    topic = event_grid.topic("orders", inputSchema=CLOUD)
    event_grid.queue("orders", "to-queue", queue)
    for name, kind, target in (("to-topic", "ServiceBusTopic", "topics/grid-topic"), ("to-hub", "EventHub", None)):
        resource = f"/local/{target or f'eventhubs/{hub}'}"
        destination = {"endpointType": kind, "properties": {"resourceId": resource}}
        event_grid.subscription("orders", name, destination=destination)
    send(topic, event(total=1))
    event_grid.settled()
    with ServiceBusClient.from_connection_string(service_bus.connection_string) as client:
        for receiver in (client.get_queue_receiver(queue), client.get_subscription_receiver("grid-topic", "all")):
            with receiver:
                (message,) = receiver.receive_messages(max_wait_time=10)
                assert json.loads(str(message))["data"] == {"total": 1}
                assert message.content_type == "application/cloudevents+json; charset=utf-8"
                assert (message.application_properties or {})[b"aeg-event-type"] == b"Notification"
                receiver.complete_message(message)
    found: list[Any] = []
    consumer = EventHubConsumerClient.from_connection_string(
        event_hubs.connection_string, consumer_group="$Default", eventhub_name=hub
    )

    def take(_: Any, batch: list[Any]) -> None:
        found.extend(json.loads(one.body_as_str()) for one in batch)
        consumer.close()

    consumer.receive_batch(take, partition_id="0", starting_position="-1")
    assert [one["data"] for one in found] == [{"total": 1}]


def test_a_queue_that_is_not_there_is_tried_again(event_grid: EventGrid, service_bus: ServiceBus) -> None:
    topic = event_grid.topic("orders", inputSchema=CLOUD)
    event_grid.queue("orders", "to-queue", "made-later")
    send(topic, event())
    event_grid.settled()
    assert event_grid.metrics("orders")["DeliveryAttemptFailCount"] == 1
    service_bus.queue("made-later")
    event_grid.move(300)
    event_grid.settled()
    assert event_grid.metrics("orders")["DeliverySuccessCount"] == 1


def test_who_may_publish(event_grid: EventGrid) -> None:
    """Keys and their tokens by the SDK; the SDK's exceptions say that the service's answers were understood."""
    topic = event_grid.topic("orders", inputSchema=CLOUD)
    later = datetime.now(UTC) + timedelta(hours=1)
    send(topic, event(), credential=AzureSasCredential(generate_sas(topic.endpoint, topic.key, later)))
    with pytest.raises(ClientAuthenticationError, match="key is invalid"):
        send(topic, event(), credential=AzureKeyCredential("c2VjcmV0"))
    expired = generate_sas(topic.endpoint, topic.key, datetime.now(UTC) - timedelta(hours=1))
    with pytest.raises(ClientAuthenticationError, match="expired"):
        send(topic, event(), credential=AzureSasCredential(expired))
    with pytest.raises(ResourceNotFoundError):
        send(EventGridTopic("none", topic.endpoint.replace("orders", "none"), topic.key), event())
    with pytest.raises(HttpResponseError) as refused:
        send(topic, EventGridEvent(subject="/2", event_type="t", data={}, data_version="1"))
    assert refused.value.status_code == 400
    with pytest.raises(HttpResponseError) as refused:
        send(topic, event(text="x" * 1_048_576))
    assert refused.value.status_code == 413
    assert event_grid.metrics("orders")["PublishSuccessCount"] == 1


@pytest.fixture
def services() -> Iterator[Services]:
    """A loop of one's own."""
    found = Services()
    yield found
    found.close()


def test_dead_letters_stand_in_the_container(services: Services, partner: Partner, azurite: Any) -> None:
    """Written with the storage SDK, read with it: the documented format under the documented name."""
    with BlobServiceClient.from_connection_string(azurite.connection_string) as blobs:
        container = blobs.create_container(f"undelivered-{time.time_ns()}")
        grid = EventGrid(services, storage=azurite.connection_string)
        agrees(partner)
        partner.answers("POST", "/hook", status=400)
        topic = grid.topic("orders", inputSchema=CLOUD)
        properties = {"resourceId": "/local", "blobContainerName": container.container_name}
        dead_letters = {"endpointType": "StorageBlob", "properties": properties}
        grid.webhook("orders", "to-shop", f"{partner.url}/hook", deadLetterDestination=dead_letters)
        send(topic, event(total=1), event(total=2))
        grid.settled()
        assert list(container.list_blob_names()) == []
        grid.move(300)
        grid.settled()
        (name,) = container.list_blob_names()
        assert name.startswith("orders/TO-SHOP/2")
        letters = json.loads(container.download_blob(name).readall())
        assert {one["data"]["total"] for one in letters} == {1, 2}
        assert {one["lastdeliveryoutcome"] for one in letters} == {"BadRequest"}
        container.delete_container()


def test_a_token_of_the_managed_identity_publishes(managed_identity: ManagedIdentity, tmp_path: Path) -> None:
    """By the command line, as a process: killed in between, it has what it took, and tries it again."""
    command = [sys.executable, "-m", "local_azure", "eventgrid", "--port", "0", "--data-dir", str(tmp_path)]
    command += ["--topic", "orders", "--identity", managed_identity.address.url]
    command += ["--tenant", managed_identity.tenant_id]

    def start() -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        return process, process.stdout.readline().strip().partition("eventgrid=")[2]

    def call(url: str, method: str, content: Any = None, **headers: str) -> int:
        data = None if content is None else json.dumps(content).encode()
        asked = urllib.request.Request(url, data, {k.replace("_", "-"): v for k, v in headers.items()}, method=method)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return int(answer.status)

    process, url = start()
    try:
        destination = {"endpointType": "ServiceBusQueue", "properties": {"resourceId": "/x/queues/none"}}
        assert call(f"{url}/-/topics/orders/eventSubscriptions/to-queue", "PUT", {"destination": destination}) == 201
        token = managed_identity.token("https://eventgrid.azure.net")
        published = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
        target = f"{url}/orders/api/events?api-version=2018-01-01"
        headers = {"Content_Type": "application/cloudevents+json", "Authorization": f"Bearer {token}"}
        assert call(target, "POST", published, **headers) == 200
        with pytest.raises(HTTPError) as refused:
            call(target, "POST", published, **{**headers, "Authorization": f"Bearer {token}x"})
        refused.value.close()
        assert refused.value.code == 401
        process.kill()
        process.wait()
        process, url = start()
        assert call(f"{url}/-/hurry", "POST") == 204
        with urllib.request.urlopen(f"{url}/-/topics/orders") as answer:
            shown = json.load(answer)
        assert shown["eventSubscriptions"] == ["to-queue"]
        assert _failed(url) >= 1
    finally:
        process.terminate()
        process.wait()


def _failed(url: str) -> int:
    """Wait for the first failed try after the start."""
    while True:
        with urllib.request.urlopen(f"{url}/-/topics/orders") as answer:
            if found := json.load(answer)["metrics"].get("DeliveryAttemptFailCount"):
                return int(found)
        time.sleep(0.02)
