"""Service Bus and Event Hubs functions against a real broker and real storage."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.servicebus import ServiceBusMessage, ServiceBusSubQueue
from azure.servicebus.aio import ServiceBusClient
from azure.storage.blob import ContainerClient

from integration.broker.process import EmulatorProcess
from integration.host.conftest import HostStarter, RunningHost, wait_for

SERVICE_BUS = """
import asyncio, json, logging, os, typing
import azure.functions as func
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

app = func.FunctionApp()

def tell(event, **facts):
    logging.info(json.dumps({"event": event, **facts}))

BINARY = {"connection": "ServiceBus", "data_type": "binary"}

@app.service_bus_queue_trigger(arg_name="msgs", queue_name="%QUEUE%", cardinality="many", **BINARY)
async def many(msgs: typing.List[func.ServiceBusMessage]) -> None:
    tell("many", ids=[m.message_id for m in msgs], counts=[m.delivery_count for m in msgs])
    if any(b"poison" in m.get_body() for m in msgs):
        raise ValueError("poison")

@app.service_bus_queue_trigger(arg_name="msg", queue_name="more", connection="ServiceBus", data_type="binary")
async def one(msg: func.ServiceBusMessage) -> None:
    tell("begin", id=msg.message_id)
    await asyncio.sleep(8 if msg.get_body() == b"long" else 0)
    tell("end", id=msg.message_id, count=msg.delivery_count)

@app.service_bus_queue_trigger(
    arg_name="msgs", queue_name="sessions", cardinality="many", is_sessions_enabled=True, **BINARY
)
async def session(msgs: typing.List[func.ServiceBusMessage]) -> None:
    tell("session", sessions=sorted({m.session_id for m in msgs}), bodies=[m.get_body().decode() for m in msgs])
    if msgs[0].get_body() == b"more":
        await send_more(msgs[0].session_id)

async def send_more(session_id: str) -> None:
    async with ServiceBusClient.from_connection_string(os.environ["ServiceBus"]) as client:
        async with client.get_queue_sender("sessions") as sender:
            for number in range(5):
                await sender.send_messages(ServiceBusMessage(f"{number}", session_id=session_id))

@app.service_bus_topic_trigger(arg_name="msg", topic_name="news", subscription_name="all", **BINARY)
def news(msg: func.ServiceBusMessage) -> None:
    tell("news", body=msg.get_body().decode())
"""

EVENT_HUBS = """
import json, logging, time, typing
import azure.functions as func

app = func.FunctionApp()

@app.event_hub_message_trigger(
    arg_name="events", event_hub_name="%HUB%", connection="EventHubs", cardinality="many", data_type="binary",
    consumer_group="group",
)
@app.retry(strategy="fixed_delay", max_retry_count="2", delay_interval="00:00:01")
async def view(events: typing.List[func.EventHubEvent], context: func.Context) -> None:
    bodies = [e.get_body().decode() for e in events]
    logging.info(json.dumps({"event": "view", "bodies": bodies, "retry": context.retry_context.retry_count}))
    if "poison" in bodies:
        raise ValueError("poison")
"""
BATCHES_OF_TEN = {"extensions": {"serviceBus": {"maxMessageBatchSize": 10, "maxConcurrentCalls": 4}}}


async def send(
    broker: EmulatorProcess, queue: str, messages: Iterable[ServiceBusMessage], *, topic: bool = False, pause: float = 0
) -> None:
    """All at once, or one after the other with pauses between them, in seconds."""
    async with ServiceBusClient.from_connection_string(broker.connection_string) as client:
        sender = client.get_topic_sender(queue) if topic else client.get_queue_sender(queue)
        async with sender:
            for each in messages if pause else [list(messages)]:
                await sender.send_messages(each)
                await asyncio.sleep(pause)


async def publish(broker: EmulatorProcess, hub: str, bodies: Iterable[str], key: str = "k") -> None:
    await publish_by_key(broker, hub, {key: bodies})


async def publish_by_key(broker: EmulatorProcess, hub: str, bodies: Mapping[str, Iterable[str]]) -> None:
    """All over one connection: to make one costs the client a tenth of a second, and a second on a busy machine."""
    async with EventHubProducerClient.from_connection_string(broker.connection_string, eventhub_name=hub) as producer:
        for key, each in bodies.items():
            await producer.send_batch([EventData(body) for body in each], partition_key=key)


def service_bus(start_host: HostStarter, broker: EmulatorProcess) -> RunningHost:
    return start_host(SERVICE_BUS, BATCHES_OF_TEN, ServiceBus=broker.connection_string, QUEUE="work")


def event_hubs(
    start_host: HostStarter, broker: EmulatorProcess, azurite: Any, hub: str, instance: str = "one", **more: str
) -> RunningHost:
    settings = {"EventHubs": broker.connection_string, "AzureWebJobsStorage": azurite.connection_string, "HUB": hub}
    return start_host(EVENT_HUBS, None, "--instance", instance, **settings, **more)


def ids_of(host: RunningHost) -> list[str]:
    return [each for record in host.records("many") for each in record["ids"]]


def bodies_of(host: RunningHost) -> list[str]:
    return [each for record in host.records("view") for each in record["bodies"]]


def test_batches_are_bounded_and_completed(start_host: HostStarter, broker: EmulatorProcess) -> None:
    asyncio.run(send(broker, "work", [ServiceBusMessage("{}", message_id=str(number)) for number in range(35)]))
    host = service_bus(start_host, broker)
    wait_for(lambda: len(ids_of(host)) >= 35)
    assert sorted(ids_of(host), key=int) == [str(number) for number in range(35)]
    assert max(len(record["ids"]) for record in host.records("many")) == 10
    assert host.stop() == 0


def test_a_failed_batch_is_abandoned_whole_until_the_broker_gives_it_up(
    start_host: HostStarter, broker: EmulatorProcess
) -> None:
    """The innocent go to the dead-letter queue with the poison: the platform knows no per-message result."""
    asyncio.run(
        send(broker, "work", [ServiceBusMessage("poison", message_id="p"), ServiceBusMessage("ok", message_id="q")])
    )
    host = service_bus(start_host, broker)
    wait_for(lambda: len(host.records("many")) >= 3)

    async def dead() -> set[str | None]:
        async with ServiceBusClient.from_connection_string(broker.connection_string) as client:
            receiver = client.get_queue_receiver("work", sub_queue=ServiceBusSubQueue.DEAD_LETTER)
            async with receiver:
                messages = await receiver.receive_messages(max_message_count=2, max_wait_time=5)
                for message in messages:
                    await receiver.complete_message(message)
                return {message.message_id for message in messages}

    assert asyncio.run(dead()) == {"p", "q"}
    assert [record["counts"] for record in host.records("many")] == [[1, 1], [2, 2], [3, 3]]


def test_one_message_at_a_time_keeps_its_lock_and_lets_others_pass(
    start_host: HostStarter, broker: EmulatorProcess
) -> None:
    """Eight seconds of work under a lock of five."""
    messages = [
        ServiceBusMessage("long", message_id="long"),
        *(ServiceBusMessage("x", message_id=str(n)) for n in range(6)),
    ]
    asyncio.run(send(broker, "more", messages))
    host = service_bus(start_host, broker)
    wait_for(lambda: len(host.records("end")) >= 7)
    ends = host.records("end")
    assert ends[-1] == {"event": "end", "id": "long", "count": 1}
    assert host.stop() == 0
    assert len(host.records("begin")) == 7


def test_sessions_and_topics(start_host: HostStarter, broker: EmulatorProcess) -> None:
    asyncio.run(send(broker, "sessions", [ServiceBusMessage(f"{n}", session_id=f"s{n % 2}") for n in range(6)]))
    asyncio.run(send(broker, "news", [ServiceBusMessage("hello")], topic=True))
    host = service_bus(start_host, broker)
    wait_for(lambda: sum(len(record["bodies"]) for record in host.records("session")) == 6)
    seen: dict[str, list[str]] = {}
    for record in host.records("session"):
        assert len(record["sessions"]) == 1
        seen.setdefault(record["sessions"][0], []).extend(record["bodies"])
    assert seen == {"s0": ["0", "2", "4"], "s1": ["1", "3", "5"]}
    wait_for(lambda: host.records("news"))


def test_what_comes_into_a_session_while_its_batch_is_processed_keeps_its_order(
    start_host: HostStarter, broker: EmulatorProcess
) -> None:
    """The broker must not send it ahead of the next receive: the client would give back the first of it."""
    sessions = [f"busy{number}" for number in range(5)]
    asyncio.run(send(broker, "sessions", [ServiceBusMessage("more", session_id=each) for each in sessions]))
    host = service_bus(start_host, broker)
    wait_for(lambda: sum(len(record["bodies"]) for record in host.records("session")) == 30, 60.0)
    seen: dict[str, list[str]] = {}
    for record in host.records("session"):
        seen.setdefault(record["sessions"][0], []).extend(record["bodies"])
    assert seen == {each: ["more", "0", "1", "2", "3", "4"] for each in sessions}


def test_sigterm_settles_the_batch_that_runs(start_host: HostStarter, broker: EmulatorProcess) -> None:
    asyncio.run(send(broker, "more", [ServiceBusMessage("long", message_id="last")]))
    host = service_bus(start_host, broker)
    wait_for(lambda: host.records("begin"))
    assert host.stop() == 0
    assert host.records("end")
    again = service_bus(start_host, broker)
    with pytest.raises(AssertionError):
        wait_for(lambda: again.records("begin"), 6.0)


def test_events_arrive_in_order_and_only_once_over_restarts(
    start_host: HostStarter, broker: EmulatorProcess, azurite: Any
) -> None:
    asyncio.run(publish(broker, "events", [str(number) for number in range(250)]))
    host = event_hubs(start_host, broker, azurite, "events")
    wait_for(lambda: len(bodies_of(host)) >= 250)
    assert bodies_of(host) == [str(number) for number in range(250)]
    assert max(len(record["bodies"]) for record in host.records("view")) <= 100
    assert host.stop() == 0
    asyncio.run(publish(broker, "events", ["later"]))
    again = event_hubs(start_host, broker, azurite, "events")
    wait_for(lambda: bodies_of(again))
    assert bodies_of(again) == ["later"]


def test_a_killed_instance_goes_on_at_once_under_its_name(
    start_host: HostStarter, broker: EmulatorProcess, azurite: Any
) -> None:
    """It does not wait two minutes for its own ownership to expire."""
    asyncio.run(publish(broker, "crash", ["a"]))
    host = event_hubs(start_host, broker, azurite, "crash")
    wait_for(lambda: bodies_of(host))
    host.stop(signal.SIGKILL)
    asyncio.run(publish_by_key(broker, "crash", {key: [key] for key in ("k", "l", "m", "n")}))
    again = event_hubs(start_host, broker, azurite, "crash")
    wait_for(lambda: {"k", "l", "m", "n"} <= set(bodies_of(again)), 15.0)


def test_another_instance_takes_over_when_ownership_expires(
    start_host: HostStarter, broker: EmulatorProcess, azurite: Any
) -> None:
    quick = {
        "AzureFunctionsJobHost__extensions__eventHubs__loadBalancingUpdateInterval": "00:00:01",
        "AzureFunctionsJobHost__extensions__eventHubs__partitionOwnershipExpirationInterval": "00:00:03",
    }
    hosts = [event_hubs(start_host, broker, azurite, "shared", name, **quick) for name in ("left", "right")]
    keys = [str(number) for number in range(40)]

    def publish_all(suffix: str) -> None:
        asyncio.run(publish_by_key(broker, "shared", {key: [f"{key}{suffix}"] for key in keys}))

    expected: set[str] = set()
    for suffix in ("a0", "a1", "a2", "a3", "a4"):  # a busy machine may let an ownership expire before the events come
        wait_for(lambda: _shares(azurite, "shared") == {"left": 2, "right": 2})
        publish_all(suffix)
        expected.update(f"{key}{suffix}" for key in keys)
        wait_for(lambda: {body for host in hosts for body in bodies_of(host)} == expected)
        if all(bodies_of(host) for host in hosts):
            break
    assert all(bodies_of(host) for host in hosts)
    hosts[0].stop(signal.SIGKILL)
    publish_all("b")
    wait_for(lambda: {f"{key}b" for key in keys} <= set(bodies_of(hosts[1])))


def _shares(azurite: Any, hub: str) -> Counter[str]:
    """How many partitions each instance owns, as the blobs of the checkpoint store say."""
    with ContainerClient.from_connection_string(azurite.connection_string, "azure-webjobs-eventhub") as container:
        blobs = [blob for blob in container.list_blobs(include=["metadata"]) if f"/{hub}/group/ownership/" in blob.name]
        return Counter(blob.metadata["ownerid"] for blob in blobs)


def test_a_batch_that_keeps_failing_is_checkpointed_after_its_retries(
    start_host: HostStarter, broker: EmulatorProcess, azurite: Any
) -> None:
    """The trap that makes functions park poison events themselves."""
    asyncio.run(publish(broker, "poison", ["poison"]))
    host = event_hubs(start_host, broker, azurite, "poison")
    wait_for(lambda: len(host.records("view")) >= 3)
    asyncio.run(publish(broker, "poison", ["next"]))
    wait_for(lambda: "next" in bodies_of(host))
    assert [(record["bodies"], record["retry"]) for record in host.records("view")] == [
        (["poison"], 0), (["poison"], 1), (["poison"], 2), (["next"], 0),
    ]  # fmt: skip


def test_listeners_outlive_the_broker(start_host: HostStarter, broker: EmulatorProcess, azurite: Any) -> None:
    settings = {
        "EventHubs": broker.connection_string,
        "AzureWebJobsStorage": azurite.connection_string,
        "HUB": "events",
    }
    queues = service_bus(start_host, broker)
    hubs = start_host(EVENT_HUBS, None, "--instance", "one", **settings)
    asyncio.run(send(broker, "work", [ServiceBusMessage("{}", message_id="before")]))
    asyncio.run(publish(broker, "events", ["before"]))
    wait_for(lambda: "before" in ids_of(queues) and "before" in bodies_of(hubs), 60.0)
    broker.kill()
    wait_for(lambda: "lost its source" in queues.log)
    broker.start()
    asyncio.run(send(broker, "work", [ServiceBusMessage("{}", message_id="after")]))
    asyncio.run(publish(broker, "events", ["after"]))
    wait_for(lambda: "after" in ids_of(queues) and "after" in bodies_of(hubs), 30.0)
    assert json.dumps("before") not in json.dumps(ids_of(queues)[1:])


def test_a_minimum_gathers_messages_for_a_while(start_host: HostStarter, broker: EmulatorProcess) -> None:
    options = {"minMessageBatchSize": 5, "maxMessageBatchSize": 10, "maxBatchWaitTime": "00:00:04"}
    settings = {"ServiceBus": broker.connection_string, "QUEUE": "work"}
    host = start_host(SERVICE_BUS, {"extensions": {"serviceBus": options}}, **settings)
    messages = [ServiceBusMessage("{}", message_id=f"{number}") for number in range(5)]
    asyncio.run(send(broker, "work", messages, pause=0.1))
    wait_for(lambda: host.records("many"))
    asyncio.run(send(broker, "work", [ServiceBusMessage("{}", message_id="alone")]))
    wait_for(lambda: "alone" in ids_of(host))
    assert [len(record["ids"]) for record in host.records("many")] == [5, 1]
