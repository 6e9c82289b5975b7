"""The plugin's fixtures, each through the unmodified SDK that a stranger's test would use."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.eventhub import EventData, EventHubConsumerClient, EventHubProducerClient
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.identity.aio import DefaultAzureCredential as AsyncDefaultAzureCredential
from azure.keyvault.keys import KeyClient
from azure.keyvault.secrets import SecretClient
from azure.keyvault.secrets.aio import SecretClient as AsyncSecretClient
from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusReceiveMode
from azure.servicebus.exceptions import MessagingEntityNotFoundError

from local_azure.testing import EventHubs, FunctionsApps, KeyVault, ManagedIdentity, ServiceBus

APP = """
import os

import azure.functions as func

app = func.FunctionApp()


@app.route("hello", auth_level=func.AuthLevel.ANONYMOUS)
def hello(req: func.HttpRequest) -> func.HttpResponse:
    return func.HttpResponse(os.environ["GREETING"])


@app.service_bus_queue_trigger("message", queue_name="work", connection="ServiceBus")
def work(message: func.ServiceBusMessage) -> None:
    print("worked on", message.get_body().decode(), flush=True)
"""


def send(bus: ServiceBus, entity: str, *bodies: bytes, topic: bool = False) -> None:
    with ServiceBusClient.from_connection_string(bus.connection_string) as client:
        sender = client.get_topic_sender(entity) if topic else client.get_queue_sender(entity)
        with sender:
            sender.send_messages([ServiceBusMessage(body) for body in bodies])


def received(bus: ServiceBus, entity: str, *, subscription: str = "", wait: float = 0.3) -> list[bytes]:
    """All that is there: bodies, taken away."""
    found: list[bytes] = []
    with ServiceBusClient.from_connection_string(bus.connection_string) as client:
        mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
        receiver = (
            client.get_subscription_receiver(entity, subscription, receive_mode=mode)
            if subscription
            else client.get_queue_receiver(entity, receive_mode=mode)
        )
        with receiver:
            while messages := receiver.receive_messages(100, max_wait_time=wait):
                found += [b"".join(message.body) for message in messages]
    return found


def test_a_queue_is_had_empty_each_time_it_is_asked_for(service_bus: ServiceBus) -> None:
    assert service_bus.queue("orders") == "orders"
    send(service_bus, "orders", b"1", b"2")
    assert received(service_bus, "orders") == [b"1", b"2"]
    send(service_bus, "orders", b"3")
    assert service_bus.queue("Orders") == "Orders"
    assert received(service_bus, "orders") == []


def test_properties_have_the_names_of_the_sdk(service_bus: ServiceBus) -> None:
    service_bus.queue("sessions", requires_session=True, lock_duration="PT5S", max_delivery_count=3)
    with ServiceBusClient.from_connection_string(service_bus.connection_string) as client:
        with client.get_queue_sender("sessions") as sender:
            sender.send_messages(ServiceBusMessage(b"x", session_id="a"))
        with client.get_queue_receiver("sessions", session_id="a") as receiver:
            assert len(receiver.receive_messages(max_wait_time=5)) == 1
            assert receiver.session.locked_until_utc is not None
            assert receiver.session.locked_until_utc - datetime.now(UTC) < timedelta(seconds=6)


@pytest.mark.parametrize(
    ("properties", "error", "says"),
    [
        ({"max_delivery_count": 0}, ValueError, "max_delivery_count: 0"),
        ({"lock_duration": timedelta(hours=1)}, ValueError, "lock_duration"),
        ({"lock_duration": "an hour"}, ValueError, "an hour"),
        ({"lock_time": 5}, TypeError, "lock_time"),
    ],
)
def test_properties_that_the_service_refuses_are_refused(
    service_bus: ServiceBus, properties: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        service_bus.queue("refused", **properties)


def test_topics_copy_to_their_subscriptions(service_bus: ServiceBus) -> None:
    service_bus.topic("news", subscriptions=["all"])
    service_bus.subscription("news", "none", sql_filter="1 = 0")
    send(service_bus, "news", b"x", topic=True)
    assert received(service_bus, "news", subscription="all", wait=5) == [b"x"]
    assert received(service_bus, "news", subscription="none") == []
    service_bus.topic("news")
    with pytest.raises(MessagingEntityNotFoundError):
        received(service_bus, "news", subscription="all")


def test_a_hub_is_had_empty_each_time_it_is_asked_for(event_hubs: EventHubs, service_bus: ServiceBus) -> None:
    assert event_hubs.connection_string == service_bus.connection_string
    assert event_hubs.hub("readings", partitions=4, consumer_groups=["lake"]) == "readings"
    with EventHubProducerClient.from_connection_string(
        event_hubs.connection_string, eventhub_name="readings"
    ) as producer:
        assert producer.get_partition_ids() == ["0", "1", "2", "3"]
        producer.send_batch([EventData(b"x")], partition_id="2")
        assert producer.get_partition_properties("2")["last_enqueued_sequence_number"] == 0
    with EventHubConsumerClient.from_connection_string(
        event_hubs.connection_string, "lake", eventhub_name="readings"
    ) as consumer:
        assert consumer.get_eventhub_properties()["eventhub_name"] == "readings"
    event_hubs.hub("readings", partitions=2)
    with EventHubProducerClient.from_connection_string(
        event_hubs.connection_string, eventhub_name="readings"
    ) as producer:
        assert producer.get_partition_ids() == ["0", "1"]


def test_a_queue_and_a_hub_have_names_of_their_own(event_hubs: EventHubs, service_bus: ServiceBus) -> None:
    event_hubs.hub("same")
    with pytest.raises(Exception, match="exists already"):
        service_bus.queue("same")
    service_bus.queue("other")
    with pytest.raises(Exception, match="exists already"):
        event_hubs.hub("other")


def test_secrets_are_read_with_the_managed_identity(key_vault: KeyVault) -> None:
    """No option leads the clients: the environment and the certificate do."""
    key_vault.set("password", "tr0ub4dor")
    with DefaultAzureCredential() as credential, SecretClient(key_vault.uri, credential) as client:
        assert client.get_secret("password").value == "tr0ub4dor"
        client.begin_delete_secret("password").wait()
        with pytest.raises(ResourceNotFoundError):
            client.get_secret("password")
        key_vault.set("password", "again")
        assert client.get_secret("password").value == "again"


async def test_secrets_are_read_by_the_async_clients(key_vault: KeyVault) -> None:
    key_vault.set("password", "tr0ub4dor")
    async with AsyncDefaultAzureCredential() as credential, AsyncSecretClient(key_vault.uri, credential) as client:
        assert (await client.get_secret("password")).value == "tr0ub4dor"


def test_the_identity_administers_the_vault(key_vault: KeyVault, managed_identity: ManagedIdentity) -> None:
    with (
        ManagedIdentityCredential(client_id=managed_identity.client_id) as credential,
        KeyClient(key_vault.uri, credential) as client,
    ):
        assert client.create_rsa_key("wrapping").name == "wrapping"


@pytest.mark.parametrize(("name", "value"), [("a b", "x"), ("", "x"), ("long", "x" * 25_601)])
def test_secrets_that_the_service_refuses_are_refused(key_vault: KeyVault, name: str, value: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        key_vault.set(name, value)


def test_credentials_are_led_to_the_identity_alone(managed_identity: ManagedIdentity) -> None:
    assert os.environ["IDENTITY_ENDPOINT"] == managed_identity.environment["IDENTITY_ENDPOINT"]
    assert os.environ["NO_PROXY"].endswith("127.0.0.1,localhost")


def test_a_function_app_works_on_the_queues_of_the_test(
    functions_app: FunctionsApps, service_bus: ServiceBus, tmp_path: Path
) -> None:
    (tmp_path / "function_app.py").write_text(APP)
    (tmp_path / "host.json").write_text(json.dumps({"version": "2.0"}))
    service_bus.queue("work")
    app = functions_app(tmp_path, ServiceBus=service_bus.connection_string, GREETING="hello")
    with urllib.request.urlopen(f"{app.url}/api/hello", timeout=10) as answer:
        assert answer.read() == b"hello"
    send(service_bus, "work", b"parcel")
    give_up = time.monotonic() + 20
    while "worked on parcel" not in app.log:
        assert time.monotonic() < give_up, app.log
        time.sleep(0.02)
    assert app.stop() == 0


def test_an_app_that_does_not_start_says_why(functions_app: FunctionsApps, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"host\.json is missing"):
        functions_app(tmp_path)
