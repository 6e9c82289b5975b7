"""Timer, blob and Event Grid functions against real storage."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient

from integration.host.conftest import HostStarter, RunningHost, wait_for

TIMERS = """
import json, logging
import azure.functions as func

app = func.FunctionApp()

@app.timer_trigger(arg_name="timer", schedule="* * * * * *")
async def each_second(timer: func.TimerRequest) -> None:
    logging.info(json.dumps({"event": "tick"}))

@app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%")
def yearly(timer: func.TimerRequest) -> None:
    logging.info(json.dumps({"event": "yearly", "past_due": timer.past_due}))

@app.timer_trigger(arg_name="timer", schedule="0 0 0 1 1 *", run_on_startup=True)
@app.retry(strategy="fixed_delay", max_retry_count="1", delay_interval="00:00:00")
def at_start(timer: func.TimerRequest, context: func.Context) -> None:
    logging.info(json.dumps({"event": "at_start", "retry": context.retry_context.retry_count}))
    raise ValueError("always")
"""

BLOBS = """
import json, logging
import azure.functions as func

app = func.FunctionApp()

def tell(event, **facts):
    logging.info(json.dumps({"event": event, **facts}))

@app.blob_trigger(arg_name="blob", path="incoming/{name}.csv", connection="AzureWebJobsStorage")
async def scanned(blob: func.InputStream) -> None:
    content = blob.read().decode()
    tell("scanned", name=blob.name, content=content, length=blob.length)
    if content == "poison":
        raise ValueError("poison")

@app.blob_trigger(arg_name="blob", path="told/{name}", connection="AzureWebJobsStorage", source="EventGrid")
async def told(blob: func.InputStream) -> None:
    tell("told", name=blob.name)

@app.event_grid_trigger(arg_name="event")
async def grid(event: func.EventGridEvent) -> None:
    tell("grid", id=event.id, kind=type(event).__name__, data=event.get_json())
    if event.id == "bad":
        raise ValueError("bad")
"""


def start(
    start_host: HostStarter, app: str, azurite: Any, site: str, instance: str = "one", **more: str
) -> RunningHost:
    """`site` keeps the receipts and leases of one test apart from those of another."""
    settings = {"AzureWebJobsStorage": azurite.connection_string, "AzureFunctionsWebHost__hostid": site}
    host_json = {"extensions": {"blobs": {"poisonBlobThreshold": 2}}}
    return start_host(app, host_json, "--instance", instance, **settings, **more)


def deliver(host: RunningHost, webhook: str, function: str, body: Any, kind: str = "Notification") -> tuple[int, bytes]:
    url = f"{host.url}/runtime/webhooks/{webhook}?functionName={function}"
    request = urllib.request.Request(url, json.dumps(body).encode(), {"aeg-event-type": kind})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def blobs(azurite: Any, container: str) -> Any:
    service = BlobServiceClient.from_connection_string(azurite.connection_string)
    client = service.get_container_client(container)
    if not client.exists():
        client.create_container()
    return client


def test_a_timer_runs_on_one_instance_only(start_host: HostStarter, azurite: Any) -> None:
    """And the other takes over when that one ends."""
    settings = {"SCHEDULE": "0 0 0 1 1 *"}
    first = start(start_host, TIMERS, azurite, "timers-one", "left", **settings)
    wait_for(lambda: len(first.records("tick")) >= 2)
    second = start(start_host, TIMERS, azurite, "timers-one", "right", **settings)
    before = len(first.records("tick"))
    wait_for(lambda: len(first.records("tick")) >= before + 2)
    assert not second.records("tick")
    assert first.stop() == 0
    wait_for(lambda: second.records("tick"))
    assert [record["retry"] for record in first.records("at_start")] == [0, 1]


def test_a_run_missed_while_the_host_was_down_is_made_up_for(start_host: HostStarter, azurite: Any) -> None:
    host = start(start_host, TIMERS, azurite, "timers-two", SCHEDULE="0 0 0 1 1 *")
    path = "timers/timers-two/Host.Functions.yearly/status"
    status = blobs(azurite, "azure-webjobs-hosts").get_blob_client(path)
    wait_for(status.exists)
    assert host.stop() == 0
    assert not host.records("yearly")
    long_ago = {"Last": "2020-01-01T00:00:00+00:00", "Next": "2021-01-01T00:00:00+00:00"}
    status.upload_blob(json.dumps(long_ago), overwrite=True)
    again = start(start_host, TIMERS, azurite, "timers-two", SCHEDULE="0 0 0 1 1 *")
    wait_for(lambda: again.records("yearly"))
    assert again.records("yearly") == [{"event": "yearly", "past_due": True}]


def test_a_timer_can_be_run_by_hand(start_host: HostStarter, azurite: Any) -> None:
    host = start(start_host, TIMERS, azurite, "timers-three", SCHEDULE="0 0 0 1 1 *")
    request = urllib.request.Request(
        f"{host.url}/admin/functions/yearly", b'{"input": ""}', {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        assert response.status == 202
    wait_for(lambda: host.records("yearly"))


def test_a_wrong_schedule_stops_the_start(start_host: HostStarter, azurite: Any) -> None:
    settings = {"AzureWebJobsStorage": azurite.connection_string, "SCHEDULE": "0 0 25 * * *"}
    host = start_host.spawn(start_host.write(TIMERS), **settings)
    assert host.wait() == 2
    assert host.log.splitlines()[-1] == "error: function yearly: hour 25 is not between 0 and 23"


def test_each_version_of_a_blob_once_also_over_restarts(start_host: HostStarter, azurite: Any) -> None:
    container = blobs(azurite, "incoming")
    container.upload_blob("a/1.csv", b"one")
    container.upload_blob("ignored.txt", b"no")
    host = start(start_host, BLOBS, azurite, "blobs-one")
    wait_for(lambda: host.records("scanned"))
    container.upload_blob("a/1.csv", b"changed", overwrite=True)
    wait_for(lambda: len(host.records("scanned")) == 2)
    assert host.stop() == 0
    assert [(r["name"], r["content"], r["length"]) for r in host.records("scanned")] == [
        ("incoming/a/1.csv", "one", 3), ("incoming/a/1.csv", "changed", 7),
    ]  # fmt: skip
    container.upload_blob("2.csv", b"two")
    again = start(start_host, BLOBS, azurite, "blobs-one")
    wait_for(lambda: again.records("scanned"))
    assert [record["content"] for record in again.records("scanned")] == ["two"]


def test_a_poison_blob_is_given_up(start_host: HostStarter, azurite: Any) -> None:
    blobs(azurite, "incoming").upload_blob("poison.csv", b"poison", overwrite=True)
    host = start(start_host, BLOBS, azurite, "blobs-two")
    wait_for(lambda: "gives it up" in host.log)
    assert sum(record["content"] == "poison" for record in host.records("scanned")) == 2


def test_event_grid_tells_of_blobs(start_host: HostStarter, azurite: Any) -> None:
    container = blobs(azurite, "told")
    url = container.upload_blob("x/y.bin", b"1").url
    host = start(start_host, BLOBS, azurite, "blobs-three")
    event = {"id": "1", "eventType": "Microsoft.Storage.BlobCreated", "data": {"url": url}}
    assert deliver(host, "blobs", "Host.Functions.told", [event])[0] == 202
    assert deliver(host, "blobs", "Host.Functions.told", [event])[0] == 202
    assert host.records("told") == [{"event": "told", "name": "told/x/y.bin"}]


def test_event_grid_deliveries(start_host: HostStarter, azurite: Any) -> None:
    host = start(start_host, BLOBS, azurite, "blobs-four")
    handshake = [{"id": "1", "data": {"validationCode": "abc"}}]
    assert deliver(host, "eventgrid", "grid", handshake, "SubscriptionValidation") == (
        200,
        b'{"validationResponse":"abc"}',
    )
    classic = {"id": "1", "topic": "t", "subject": "s", "eventType": "e", "eventTime": "2026-01-01T00:00:00Z",
               "data": {"a": 1}, "dataVersion": "1"}  # fmt: skip
    cloud = {"specversion": "1.0", "id": "2", "source": "/s", "type": "t", "data": {"b": 2}}
    assert deliver(host, "eventgrid", "grid", [classic, cloud])[0] == 202
    assert sorted((r["id"], r["kind"]) for r in host.records("grid")) == [("1", "EventGridEvent"), ("2", "CloudEvent")]
    assert deliver(host, "eventgrid", "grid", [{**classic, "id": "bad"}, classic])[0] == 500
    assert deliver(host, "eventgrid", "grid", [classic], "Nonsense")[0] == 400
    assert deliver(host, "eventgrid", "scanned", [classic])[0] == 404


@pytest.mark.parametrize("missing", ["AzureWebJobsStorage", "SCHEDULE"])
def test_what_a_timer_needs_is_named(start_host: HostStarter, azurite: Any, missing: str) -> None:
    settings = {"AzureWebJobsStorage": azurite.connection_string, "SCHEDULE": "0 0 0 1 1 *"} | {missing: ""}
    host = start_host.spawn(start_host.write(TIMERS), **settings)
    assert host.wait() == 2
    assert missing in host.log.splitlines()[-1]
