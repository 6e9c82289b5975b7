"""From the broker's own dead-letter queue to the store, and back to the lane, through host and command line."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from azure.eventhub import EventData
from azure.eventhub.aio import EventHubProducerClient
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient

import integrations
from functions.composition import Composition
from functions.composition.dead_letters import dead_letter_store
from functions.composition.state import state_store
from integration.host.conftest import HostStarter, wait_for
from local.azurite import AzuriteEndpoints
from local_azure.testing.processes import BrokerProcess
from ops.dead_letters import main, redrive_of
from shared.dead_letters import MAX_RETURNS, RETURNS, Decision, Filters, InboxRecords, Ramp, RedriveRun, Status
from shared.messages import Headers, Lane, discover, rfc3339
from shared.settings import Settings
from tests.scale import SCALE

APP = """
import integrations
from functions.composition import CAPABILITIES, Composition, capabilities_of, compose
from shared.messages import discover
from shared.settings import Settings

made = capabilities_of(Composition(Settings.load(), discover(integrations)), CAPABILITIES)
app = compose([one for one in made if one.name in ("processing", "read-models", "dead-letters", "jobs")])
"""


@pytest.fixture
def settings(azurite: AzuriteEndpoints, emulator: BrokerProcess, project: Path) -> dict[str, str]:
    """What the app and the command line read."""
    values = json.loads((project / "local.settings.sample.json").read_text())["Values"]
    broker, storage = emulator.connection_string, azurite.connection_string
    connections = {"ServiceBus": broker, "EventHubs": broker, "State": storage, "Claims": storage}
    return {
        **values,
        **connections,
        "AzureWebJobsStorage": storage,
        "SLUICE_OPERATION_KEY": "k" * 32,
        "SLUICE_AUTH": "none",
    }


@pytest.fixture
def start_host(tmp_path: Path) -> Iterator[HostStarter]:
    """Starts hosts and ends them."""
    starter = HostStarter(tmp_path)
    yield starter
    for host in starter.started:
        host.stop()


class CommandLine:
    """The operator's command line with the app's settings."""

    def __init__(self, settings: dict[str, str]) -> None:
        self._settings = settings

    def __call__(self, *arguments: str, code: int = 0) -> str:
        printed, said = io.StringIO(), io.StringIO()
        with redirect_stdout(printed), redirect_stderr(said):
            returned = main(list(arguments), self._settings)
        assert returned == code, (returned, printed.getvalue(), said.getvalue())
        return printed.getvalue() if code in (0, 1) else said.getvalue()

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code))


@pytest.fixture
def command_line(settings: dict[str, str]) -> CommandLine:
    return CommandLine(settings)


def order(number: str, *, returns: int = 0, **changes: Any) -> ServiceBusMessage:
    """An order's command as the API sends it, or as it came back from the dead-letter queue."""
    identity, now = uuid4(), datetime.now(UTC)
    data: dict[str, Any] = {
        "orderId": number,
        "placedAt": "2026-05-01T08:26:00Z",
        "customerId": "17850",
        "country": "United Kingdom",
        "lines": [{"sku": "85123A", "description": None, "quantity": 6, "unitPrice": 2.55}],
    }
    envelope = {
        "messageId": str(identity),
        "timestamp": now.isoformat(),
        "source": "test",
        "eventType": "order.placed",
        "version": "1.0",
        "data": {**data, **changes},
    }
    headers = Headers(
        message_id=identity,
        event_type="order.placed",
        version="1.0",
        source="test",
        key=number,
        lane=Lane.HIGH,
        correlation_id="c",
        first_attempt_at=now,
    )
    properties = headers.to_properties()
    if returns:
        properties[RETURNS] = returns
    return ServiceBusMessage(json.dumps(envelope).encode(), message_id=str(identity), application_properties=properties)


async def send(broker: str, queue: str, *messages: ServiceBusMessage) -> None:
    async with ServiceBusClient.from_connection_string(broker) as client, client.get_queue_sender(queue) as sender:
        await sender.send_messages(list(messages))


async def give_up(broker: str, queue: str, count: int) -> None:
    """Abandon what is in a queue until the broker gives it up."""
    async with ServiceBusClient.from_connection_string(broker) as client, client.get_queue_receiver(queue) as receiver:
        for _ in range(10 * count):
            for message in await receiver.receive_messages(max_message_count=1, max_wait_time=5):
                await receiver.abandon_message(message)
        assert not await receiver.peek_messages(max_message_count=1)


def until(condition: Callable[[], Any]) -> Any:
    return wait_for(condition, 60)


def test_what_the_broker_gave_up_is_stored_and_replayed(
    settings: dict[str, str], emulator: BrokerProcess, start_host: HostStarter, command_line: CommandLine
) -> None:
    """Ten deliveries in vain, again and again, and an expiry; the operator replays, and the orders are processed."""
    broker, mark = emulator.connection_string, uuid4().hex[:8]
    given_up, expired = order(f"{mark}-1", returns=MAX_RETURNS), order(f"{mark}-2")
    expired.time_to_live = timedelta(seconds=1)
    asyncio.run(send(broker, settings["SLUICE_LANE_HIGH"], given_up))
    asyncio.run(give_up(broker, settings["SLUICE_LANE_HIGH"], 1))
    asyncio.run(send(broker, settings["SLUICE_LANE_LOW"], expired))
    time.sleep(1.5)
    start_host(APP, None, **settings)

    def letter(message: ServiceBusMessage) -> Any:
        found = command_line.json("list", "--message-id", str(message.message_id), "--status", "any")["letters"]
        return found[0] if found else None

    first, second = until(lambda: letter(given_up)), until(lambda: letter(expired))
    assert (first["code"], first["lane"], first["key"]) == ("MAX_DELIVERIES_EXCEEDED", "high", f"{mark}-1")
    assert (second["code"], second["lane"], second["category"]) == ("MESSAGE_EXPIRED", "low", "expired")
    assert not {"DeadLetterReason", RETURNS} & set(first["properties"])

    planned = command_line.json("replay", first["id"], second["id"], "--dry-run")
    assert planned["actions"] == {"send to its lane": 2}
    report = command_line.json(
        "replay", first["id"][:12], second["id"], "--reason", "the partner is back", "--by", "operator"
    )
    assert report["handedOver"] == report["outcomes"]["done"] == 2
    replayed = letter(given_up)
    assert replayed["status"] == "replayed"
    assert [(note["action"], note["by"], note["reason"]) for note in replayed["history"]] == [
        ("replay", "operator", "the partner is back")
    ]


def test_a_refused_order_is_shown_replayed_in_vain_and_discarded(
    settings: dict[str, str],
    emulator: BrokerProcess,
    start_host: HostStarter,
    command_line: CommandLine,
    tmp_path: Path,
) -> None:
    broken = order(f"{uuid4().hex[:8]}-3", lines=[])
    asyncio.run(send(emulator.connection_string, settings["SLUICE_LANE_NORMAL"], broken))
    start_host(APP, None, **settings)
    identity = str(broken.message_id)
    found = until(lambda: command_line.json("list", "--message-id", identity)["letters"])
    assert found[0]["code"] == "VALIDATION_ERROR"

    shown = command_line("show", identity)
    assert identity in shown
    assert "[redacted]" in shown
    assert "17850" not in shown
    assert "add --reveal" in command_line("show", identity, "--body", str(tmp_path / "body"), code=2)
    assert "--reason is needed" in command_line("show", identity, "--reveal", code=2)
    seen = ("--reveal", "--reason", "the shop asked", "--by", "operator")
    assert "17850" in command_line("show", identity, *seen)
    command_line("show", identity, "--body", str(tmp_path / "body"), *seen)
    assert (tmp_path / "body").read_bytes() == b"".join(broken.body)

    assert "can't be written" in command_line("show", identity, "--body", str(tmp_path / "no" / "body"), *seen, code=2)

    report = command_line.json("replay", identity, "--reason", "try", "--by", "operator", code=1)
    assert report["outcomes"] == {"failed": 1}
    assert "1 of 1 failed again" in report["stopped"]
    command_line("discard", "--message-id", identity, "--reason", "no lines", "--by", "grace")
    for words in (("replay", identity), ("discard", identity), ("replay", "--message-id", str(uuid4()))):
        command_line(*words, "--reason", "again", code=1)  # nothing is replayed, nothing is discarded
    after = command_line.json("show", identity)
    assert after["status"] == "discarded"
    assert [note["action"] for note in after["history"]] == [
        *["revealed"] * 3,
        *("replay", "failed again", "discarded"),
    ]
    assert command_line.json("list", "--message-id", identity)["total"] == 0
    fingerprints = [group["fingerprint"] for group in command_line.json("groups", "--status", "any")["groups"]]
    assert after["fingerprint"] in fingerprints


def test_a_poison_event_is_parked_with_its_place_and_read_again_by_its_projection(
    settings: dict[str, str], emulator: BrokerProcess, start_host: HostStarter, command_line: CommandLine
) -> None:
    body = f"not json {uuid4()}".encode()
    asyncio.run(publish(emulator.connection_string, settings["SLUICE_EVENT_HUB"], "2", b"neither", body))
    start_host(APP, None, **settings)

    def parked() -> Any:
        letters = command_line.json("list", "--source", "events", "--code", "MALFORMED_JSON")["letters"]
        return [each for each in letters if each["position"]["partition"] == "2"] if len(letters) >= 2 else None

    letters = sorted(until(parked), key=lambda each: int(each["position"]["sequenceNumber"]))
    first, second = letters[-2:]
    assert second["position"]["sequenceNumber"] == first["position"]["sequenceNumber"] + 1
    assert second["position"]["offset"] not in ("", first["position"]["offset"])

    report = command_line.json("replay", second["id"], "--reason", "try", "--by", "operator", code=1)
    assert report["actions"] == {"project its event": 1}
    assert report["outcomes"] == {"failed": 1}
    shown = command_line.json("show", second["id"])
    assert shown["body"].startswith("[withheld")
    shown = command_line.json("show", second["id"], "--reveal", "--reason", "a test", "--by", "a test")
    assert shown["body"].encode() == body
    assert [note["action"] for note in shown["history"]] == ["replay", "failed again", "revealed"]


async def publish(broker: str, hub: str, partition: str, *bodies: bytes) -> None:
    async with EventHubProducerClient.from_connection_string(broker, eventhub_name=hub) as producer:
        batch = await producer.create_batch(partition_id=partition)
        for body in bodies:
            batch.add(EventData(body))
        await producer.send_batch(batch)


def test_a_replay_that_is_killed_half_way_is_finished_by_the_next(
    settings: dict[str, str],
    emulator: BrokerProcess,
    start_host: HostStarter,
    command_line: CommandLine,
    project: Path,
) -> None:
    """Thirty expired orders; SIGKILL while they are replayed; the next run, minutes later, brings the rest."""
    expired = [order(f"{uuid4().hex[:8]}-{number}") for number in range(30)]
    for message in expired:
        message.time_to_live = timedelta(milliseconds=500)
    asyncio.run(send(emulator.connection_string, settings["SLUICE_LANE_LOW"], *expired))
    time.sleep(1)
    start_host(APP, None, **settings)
    names = {str(message.message_id) for message in expired}

    def statuses(*more: str) -> Counter[str]:
        letters = command_line.json("list", "--code", "MESSAGE_EXPIRED", "--status", "any", "--limit", "999")["letters"]
        return Counter(each["status"] for each in letters if each["messageId"] in names)

    until(lambda: statuses()["open"] == 30)
    chosen = ["--code", "MESSAGE_EXPIRED", "--reason", "still wanted", "--by", "operator"]
    command = [sys.executable, "-m", "ops", "dead-letters", "replay", *chosen, "--rate", "10"]
    killed = subprocess.Popen(command, cwd=project, env={**os.environ, **settings}, stdout=subprocess.DEVNULL)
    until(lambda: statuses()["replayed"] >= 4)
    killed.kill()
    assert killed.wait(10) == -signal.SIGKILL
    assert 0 < statuses()["replayed"] < 30

    asyncio.run(finish(settings))
    assert statuses() == {"replayed": 30}
    assert asyncio.run(processed(settings, expired)) == 30


COMMANDS = re.compile(r"^python3 dev\.py dead-letters (.+)$", re.MULTILINE)


@pytest.mark.timeout(600)
def test_many_are_mended_and_replayed_by_the_three_commands_of_the_page(
    settings: dict[str, str],
    emulator: BrokerProcess,
    start_host: HostStarter,
    command_line: CommandLine,
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A shop sent orders without a country; the page's commands, word for word."""
    page = (project / "docs" / "dead-letters.md").read_text(encoding="utf-8")
    commands = COMMANDS.findall(page.partition("Many of the same kind")[2].partition("## ")[0])
    assert [command.split()[0] for command in commands] == ["groups", "edit", "replay"]
    count, since = 20 if SCALE <= 1 else 500, ("--since", rfc3339(datetime.now(UTC)))
    broken = [order(f"{uuid4().hex[:8]}-{number}", country="") for number in range(count)]
    for start in range(0, count, 100):
        asyncio.run(send(emulator.connection_string, settings["SLUICE_LANE_NORMAL"], *broken[start : start + 100]))
    start_host(APP, None, **settings)
    chosen = ("--code", "VALIDATION_ERROR", "--event-type", "order.placed", *since)

    def dead() -> bool:
        time.sleep(count / 200)  # a look reads all of them, and takes what the host needs
        return bool(command_line.json("list", *chosen, "--limit", "1")["total"] == count)

    wait_for(dead, 300)

    monkeypatch.chdir(tmp_path)
    Path("mend.json").write_text(json.dumps({"data": {"country": "United Kingdom"}}))
    found, mended, replayed = [[*shlex.split(command), *since] for command in commands]
    (group,) = [one for one in command_line.json(*found)["groups"] if one["code"] == "VALIDATION_ERROR"]
    assert group["open"] == count
    assert command_line.json(*mended)["actions"] == {"edited": count}
    report = command_line.json(*replayed)
    assert report["outcomes"] == {"done": count}
    assert asyncio.run(processed(settings, broken)) == count


async def finish(settings: dict[str, str]) -> None:
    """Another run, by a clock that is three minutes on."""
    later = timedelta(minutes=3)
    composition = Composition(Settings.load(settings), discover(integrations), now=lambda: datetime.now(UTC) + later)
    run = RedriveRun(redrive_of(composition), Ramp(rate=1_000), clock=time.monotonic)
    undecided = Filters(code="MESSAGE_EXPIRED", status=frozenset({Status.OPEN, Status.REPLAYING}))
    report = await run.replay(
        composition.get(dead_letter_store).select(undecided), Decision(by="grace", reason="go on")
    )
    await composition.close()
    assert report.stopped is None


async def processed(settings: dict[str, str], messages: list[ServiceBusMessage]) -> int:
    """How many of the messages the inbox knows as done."""
    composition = Composition(Settings.load(settings), discover(integrations))
    inbox = InboxRecords(composition.get(state_store))
    done = 0
    for message in messages:
        key = str((message.application_properties or {})["key"])
        row = await inbox.find(str(message.message_id), key)
        done += row is not None and row["status"] == "done"
    await composition.close()
    return done


def test_nothing_reachable_is_said_in_one_line(settings: dict[str, str]) -> None:
    nowhere = ";".join(
        "TableEndpoint=http://127.0.0.1:9/devstoreaccount1" if part.startswith("TableEndpoint=") else part
        for part in settings["State"].split(";")
    )
    began = time.monotonic()
    said = CommandLine({**settings, "State": nowhere})("list", code=3)
    assert "don't answer" in said
    assert "dev.py run" in said
    assert len(said.splitlines()) == 1
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["replay", "--reason", "x"], "say which dead letters"),
        (["replay", "--all"], "--reason is needed"),
        (["replay", "--all", "--reason", "x", "--rate", "0"], "rate"),
        (["list", "--since", "yesterday"], "'yesterday' is no moment"),
        (["show", "zz"], "no id of a dead letter"),
        (["--settings", "/nowhere.json", "list"], "not a settings file"),
    ],
)
def test_wrong_use_is_said_with_exit_code_2(command_line: CommandLine, arguments: list[str], said: str) -> None:
    assert said in command_line(*arguments, code=2)


def test_wrong_settings_are_said_with_exit_code_2(settings: dict[str, str]) -> None:
    assert "SLUICE_OPERATION_KEY" in CommandLine({**settings, "SLUICE_OPERATION_KEY": "short"})("list", code=2)


def test_it_is_a_program(project: Path, settings: dict[str, str]) -> None:
    command = [sys.executable, "-m", "ops", "dead-letters", "list", "--key", "nobody"]
    environment = {**os.environ, **settings}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "no dead letters match\n"
    assert done.stderr == ""


def test_a_letter_that_is_not_there_is_said_with_exit_code_1(command_line: CommandLine) -> None:
    command_line("show", "0123456789abcdef", code=1)
