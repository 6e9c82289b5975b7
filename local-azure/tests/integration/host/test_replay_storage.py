"""Timers and Event Grid functions against what the real host sent them, and its start messages."""

import json
import urllib.error
import urllib.request
from typing import Any

from azure.storage.blob import BlobServiceClient

from . import recorded as records
from .conftest import HostStarter, RunningHost, wait_for

NOWHERE = "Endpoint=sb://localhost:1;SharedAccessKeyName=x;SharedAccessKey=x;UseDevelopmentEmulator=true"


def start(start_host: HostStarter, azurite: Any, site: str) -> RunningHost:
    return start_host.again(
        records.FOLDER / "app",
        ServiceBus=NOWHERE,
        EventHubs=NOWHERE,
        AzureWebJobsStorage=azurite.connection_string,
        AzureFunctionsWebHost__hostid=site,
    )


def post(host: RunningHost, path: str, body: str, **headers: str) -> int:
    given = {"Content-Type": "application/json", **headers}
    request = urllib.request.Request(host.url + path, body.encode(), given)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def called(host: RunningHost, function: str) -> list[dict[str, Any]]:
    return [each for each in records.handed_over(host.log) if each["function"] == function and each["context"]]


def compare(record: dict[str, Any], handed: dict[str, Any], where: str) -> list[str]:
    expected, mine = records.comparable(records.input_of(record)), records.comparable(handed["input"])
    return [
        *records.differences(f"{where}.input", expected, mine),
        *records.differences(
            f"{where}.metadata", records.comparable(record["trigger_metadata"]), records.comparable(handed["metadata"])
        ),
        *records.context_differences(where, record, handed["context"]),
    ]


def test_timers(start_host: HostStarter, azurite: Any) -> None:
    """The first run ever, a run by a kept status, a past one made up for, one without monitor, one by hand."""
    recorded = records.recorded("timer")
    first = start(start_host, azurite, "replay-timers")
    wait_for(lambda: called(first, "timer_startup"))
    wait_for(lambda: called(first, "timer_20s"), 30)
    assert post(first, "/admin/functions/timer_20s", '{"input": "abc"}') == 202
    by_hand = wait_for(lambda: [each for each in called(first, "timer_20s") if "timer" in each["metadata"]])
    found = compare(recorded[0], called(first, "timer_startup")[0], "timer_startup first")
    found += compare(recorded[4], called(first, "timer_20s")[0], "timer_20s")
    found += compare(recorded[5], by_hand[0], "timer_20s by hand")
    assert first.stop() == 0
    service = BlobServiceClient.from_connection_string(azurite.connection_string)
    path = "timers/replay-timers/Host.Functions.timer_minute/status"
    status = json.loads(records.input_of(recorded[2])["json_text"])["ScheduleStatus"]
    service.get_blob_client("azure-webjobs-hosts", path).upload_blob(json.dumps(status), overwrite=True)
    again = start(start_host, azurite, "replay-timers")
    wait_for(lambda: called(again, "timer_startup") and called(again, "timer_minute"))
    found += compare(recorded[1], called(again, "timer_startup")[0], "timer_startup again")
    found += compare(recorded[2], called(again, "timer_minute")[0], "timer_minute past due")
    assert records.unexplained(found).splitlines() == []


def test_event_grid(start_host: HostStarter, azurite: Any) -> None:
    host = start(start_host, azurite, "replay-grid")
    found: list[str] = []
    for number, record in enumerate(records.recorded("event-grid")):
        body = records.input_of(record)["json_text"].replace("T05:08:09+00:00", "T07:08:09+02:00")
        post(host, "/runtime/webhooks/EventGrid?functionName=eg", body, **{"aeg-event-type": "Notification"})
        handed = wait_for(lambda number=number: called(host, "eg")[number:])  # type: ignore[misc]
        found += compare(record, handed[0], f"eg[{number}]")
    assert records.unexplained(found).splitlines() == []
