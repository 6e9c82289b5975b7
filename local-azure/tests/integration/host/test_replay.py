"""What this host hands to the worker's converters, against what the real host sent: by name, by kind, by text."""

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from azure.eventhub.aio import EventHubProducerClient
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.amqp import AmqpAnnotatedMessage
from azure.storage.blob import BlobServiceClient, ContentSettings

from integration.broker.process import EmulatorProcess

from . import recorded as records
from .conftest import HostStarter, RunningHost, wait_for

QUEUES = ("single-binary", "single-plain", "single-string", "batch-binary", "batch-plain")
HUBS = ("batch", "plain", "single", "single-plain", "retry")


@pytest.fixture(scope="module")
def recording_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    """The entities of the app that was recorded."""
    queues: list[dict[str, Any]] = [{"Name": f"rec-{name}", "Properties": {}} for name in QUEUES]
    queues += [{"Name": f"rec-session-{name}", "Properties": {"RequiresSession": True}} for name in ("batch", "single")]
    topics = [{"Name": "rec-topic", "Properties": {}, "Subscriptions": [{"Name": "sub1", "Properties": {}}]}]
    bus = {"Namespaces": [{"Name": "sbemulatorns", "Queues": queues, "Topics": topics}], "Logging": {"Type": "File"}}
    entities = [{"Name": f"rec-hub-{name}", "PartitionCount": 1, "ConsumerGroups": []} for name in HUBS]
    hubs = {"NamespaceConfig": [{"Type": "EventHub", "Name": "emulatorNs1", "Entities": entities}]}
    configs = [{"UserConfig": bus}, {"UserConfig": {**hubs, "LoggingConfig": {"Type": "File"}}}]
    with EmulatorProcess(tmp_path_factory.mktemp("broker"), configs) as running:
        yield running


async def send_messages(broker: EmulatorProcess) -> None:
    full, bare = records.full_message, records.bare_message
    four = ("bare", "bare-text"), ("full", ""), ("binary", "binary"), ("empty", "empty")

    def batch(session: str | None = None) -> list[ServiceBusMessage]:
        return [full(session=session) if kind == "full" else bare(kind, name, session=session) for kind, name in four]

    singles = [full(), bare("bare", "bare-text"), bare("binary", "binary"), bare("empty", "empty")]
    plain = [('[1,2,"x"]', "array"), ('"text"', "json-string"), ("12.5", "number")]
    value = AmqpAnnotatedMessage(value_body="an AMQP value string", properties={"message_id": "value-string"})
    sent: dict[str, list[Any]] = {
        "rec-single-binary": singles,
        "rec-single-plain": [*singles, value],
        "rec-single-string": singles[:2],
        "rec-batch-binary": batch(),
        "rec-batch-plain": [full(), *(bare(text, name) for text, name in plain)],
        "rec-session-batch": batch("S-1"),
        "rec-session-single": [full(session="S-1")],
    }
    async with ServiceBusClient.from_connection_string(broker.connection_string) as client:
        for queue, messages in sent.items():
            async with client.get_queue_sender(queue) as sender:
                await sender.send_messages(messages)
        async with client.get_topic_sender("rec-topic") as sender:
            await sender.send_messages(full())


async def send_events(broker: EmulatorProcess) -> None:
    keyed = [records.full_event(), *(records.event(records.BODIES[kind]) for kind in ("bare", "binary", "empty"))]
    last = [records.event(records.BODIES["bare"], with_properties=True)]
    sent: list[tuple[str, list[Any], str | None]] = [
        ("batch", keyed, "pk-1"),
        ("batch", last, None),
        ("single", [records.full_event()], "pk-1"),
        ("single-plain", [records.full_event()], "pk-1"),
        ("retry", [records.event(b"fail me")], None),
    ]
    for hub, events, key in sent:
        producer = EventHubProducerClient.from_connection_string(
            broker.connection_string, eventhub_name=f"rec-hub-{hub}"
        )
        async with producer:
            await producer.send_batch(events, partition_key=key)


def store_blobs(connection: str) -> None:
    service = BlobServiceClient.from_connection_string(connection)
    blobs = [
        ("rec-in", "orders.json", records.BODIES["full"], "application/json"),
        ("rec-in", "sub/dir/data.bin", records.BODIES["binary"], "application/octet-stream"),
        ("rec-str", "orders.json", records.BODIES["full"], "application/json"),
    ]
    for container, name, body, kind in blobs:
        client = service.get_container_client(container)
        if not client.exists():
            client.create_container()
        metadata = {"Owner": "me", "lower": "x"} if name == "orders.json" else {}
        client.upload_blob(
            name, body, overwrite=True, metadata=metadata, content_settings=ContentSettings(content_type=kind)
        )


def start_by_hand(host: RunningHost, function: str, given: str) -> None:
    body = json.dumps({"input": given}).encode()
    request = urllib.request.Request(
        f"{host.url}/admin/functions/{function}", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 202


def compare(name: str, host: RunningHost, *, without: tuple[str, ...] = ()) -> list[str]:
    """Every difference between a file of recordings and what the host handed over."""
    ours = records.handed_over(host.log)
    found: list[str] = []
    for number, record in enumerate(records.recorded(name)):
        if record["function"] in without:
            continue
        where = f"{record['function']}[{number}]"
        expected = records.comparable(records.input_of(record))
        fitting = [
            each for each in ours
            if each["function"] == record["function"] and records.comparable(each["input"]) == expected
        ]  # fmt: skip
        if not fitting:
            inputs = [each["input"] for each in ours if each["function"] == record["function"]]
            found.append(f"{where}: no such input {expected}, here {inputs}")
            continue
        mine = fitting[0]
        ours.remove(mine)
        found += records.differences(
            where, records.comparable(record["trigger_metadata"]), records.comparable(mine["metadata"])
        )
        found += records.context_differences(where, record, mine["context"])
    return found


@pytest.fixture
def host(start_host: HostStarter, recording_broker: EmulatorProcess, azurite: Any) -> RunningHost:
    settings = {
        "ServiceBus": recording_broker.connection_string,
        "EventHubs": recording_broker.connection_string,
        "AzureWebJobsStorage": azurite.connection_string,
        "AzureFunctionsWebHost__hostid": "replay",
        "AzureFunctionsJobHost__extensions__serviceBus__minMessageBatchSize": "4",
        "AzureFunctionsJobHost__extensions__eventHubs__minEventBatchSize": "1",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=00000000-0000-0000-0000-000000000000",
    }
    asyncio.run(send_messages(recording_broker))
    asyncio.run(send_events(recording_broker))
    store_blobs(azurite.connection_string)
    return start_host.again(records.FOLDER / "app", **settings)


def test_messages_events_and_blobs(host: RunningHost) -> None:
    """Application Insights is configured, so that there are trace contexts."""
    expected = {"sb_single_binary": 4, "sb_single_plain": 5, "sb_batch_plain": 1, "sb_session_batch": 1, "eh_batch": 1,
                "eh_single_plain": 1, "eh_retry": 3, "blob_plain": 2, "blob_string": 1, "sb_topic": 1,
                "sb_session_single": 1, "sb_single_string": 2, "sb_batch_binary": 1, "eh_single": 1}  # fmt: skip

    def counted() -> dict[str, int]:
        seen = [each["function"] for each in records.handed_over(host.log)]
        return {name: seen.count(name) for name in expected}

    wait_for(lambda: counted() == expected, 40, "every function called")
    for function in ("sb_batch_binary", "sb_single_binary", "eh_batch"):
        start_by_hand(host, function, '{"x":1}')  # a batch then fails in the converter, in Azure as here
    expected |= {"sb_batch_binary": 2, "sb_single_binary": 5, "eh_batch": 2}
    wait_for(lambda: counted() == expected, 20, "those started by hand")
    found = [
        each
        for name in ("service-bus-single", "service-bus-batch", "event-hubs", "retries", "blob")
        for each in compare(name, host)
    ]
    assert records.unexplained(found, "session lock", "stack trace").splitlines() == []
