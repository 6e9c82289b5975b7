"""Forgetting a person, with proof, on the stores of the app."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import pytest
from azure.eventhub import EventData
from azure.storage.blob.aio import ContainerClient

from functions.composition import Composition
from functions.composition.bronze import bronze_reader, bronze_writer
from functions.composition.claims import claim_store
from functions.composition.dead_letters import dead_letter_store, queue_drain
from functions.composition.encryption import SUBJECT_KEYS, token_keys, wrapper
from functions.composition.lake import lake_store
from functions.composition.pausing import set_aside
from functions.composition.platform import Platform, platform
from functions.composition.processing import processor
from functions.composition.read_models import VIEWS_TABLE, projector, row_cache, view_reader
from functions.composition.sending import lane_senders, publisher
from functions.composition.state import parking, state_store
from functions.composition.subscriptions import deliveries
from local.azurite import AzuriteEndpoints
from local_azure.testing.processes import BrokerProcess
from ops.dead_letters import redrive_of
from ops.erasing import DONE, WRONG, _erase, _parse, main
from ops.exporting import DONE as EXPORTED
from ops.exporting import INCOMPLETE as EXPORT_INCOMPLETE
from ops.exporting import _export
from ops.exporting import _parse as _exported
from ops.forgetting import HOLDS, HOLDS_NOTHING
from shared.classification import Classification, Restricted, Subject, Tokenized
from shared.dead_letters import Action, DeadLetter, Decision, Fate, Filters, GivenUp, Status, StoredLetter
from shared.lake.silver import SilverIngest, lines_of
from shared.lake.tables import Retention
from shared.messages import (
    Category,
    CloudEvent,
    Contract,
    Delivery,
    Envelope,
    ErrorCode,
    Failure,
    Headers,
    Integration,
    Lane,
    Registry,
    Reject,
)
from shared.pausing import SetAsideMessage
from shared.sending import BrokerMessage
from shared.settings import Settings
from shared.streams import Annotations, StreamEvent
from shared.subscriptions.deliveries import Delivery as Sent
from shared.tables import Query, Table
from shared.tokenization import TokenKeys
from shared.work import Work
from tests.integration.encryption.test_keys import secret_wrapper
from tests.unit.memory import MemoryLanes, MemoryPublisher
from tests.unit.shared.encryption.vault import MemorySecrets


class OwnStores(Platform):
    """Azurite and broker with tables and containers that no other test has."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._suffix = uuid4().hex[:12]

    def table(self, name: str, *, account: int = 0) -> Table:
        """A table of this test."""
        return super().table(f"{name}{self._suffix}", account=account)

    def container(self, name: str) -> ContainerClient:
        """A container of this test."""
        return super().container(f"{name}-{self._suffix}")

    def lake_container(self, name: str) -> ContainerClient:
        """A container of this test."""
        return super().lake_container(f"{name}-{self._suffix}")


class Visit(Contract):
    """A visit of somebody."""

    visit_id: str
    customer_id: Annotated[str | None, Restricted, Tokenized("customer"), Subject("customer")] = None
    mail: Annotated[str | None, Restricted, Tokenized("mail")] = None
    notes: Annotated[str | None, Restricted] = None


class Forwarding(MemoryLanes):
    """Remembers what a replay sends, too."""

    async def forward(self, lane: Lane, message: BrokerMessage) -> None:
        """What a lane's queue takes as it is."""
        raise AssertionError("nothing about an erased person is sent")


class App:
    """The app's stores, with two people in them."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.closed = True
        self.lanes = Forwarding()
        self.publisher = MemoryPublisher()
        visits = Integration("visits")

        @visits.handles("visit.made", key="visitId")
        async def make(visit: Visit, work: Work) -> None:
            if self.closed and visit.notes == "closed":
                raise Reject("closed")
            await work.save("visit", visit.visit_id, visit)
            if visit.notes != "quiet":
                work.publish("visit.seen", visit.model_copy(update={"notes": None}))

        @visits.projects("visit.seen", into="visits")
        def show(visit: Visit) -> Visit:
            return visit

        visits.silver("visit.seen", Visit)

        parts: dict[Any, Any] = {
            platform: OwnStores(settings),
            wrapper: secret_wrapper(),
            token_keys: TokenKeys(MemorySecrets(token_key=uuid4().hex * 2), "token-key"),
            lane_senders: self.lanes,
            publisher: self.publisher,
        }
        self.composition = Composition(settings, Registry([visits]), parts=parts)
        self.clients = self.composition.get(platform)
        self.events: list[StreamEvent] = []
        self.ingest = SilverIngest(
            self.composition.get(lake_store),
            lines_of([*visits.silvers]),
            log="events",
            retention=Retention(),
            now=lambda: datetime.now(UTC),
        )

    def message(self, visit: str, customer: str, *, accepted: datetime | None = None, **data: str) -> Delivery:
        """A message as its lane delivers it."""
        moment = accepted or datetime.now(UTC)
        said = {"visitId": visit, "customerId": customer, "mail": f"{customer}@example.com", **data}
        envelope = Envelope[dict[str, Any]](
            message_id=uuid4(), timestamp=moment, source="test", event_type="visit.made", version="1.0", data=said
        )
        headers = Headers(
            message_id=envelope.message_id,
            event_type="visit.made",
            version="1.0",
            source="test",
            key=visit,
            lane=Lane.NORMAL,
            correlation_id="c-1",
            first_attempt_at=moment,
        )
        return Delivery(
            body=envelope.model_dump_json(by_alias=True).encode(),
            properties={str(name): value for name, value in headers.to_properties().items()},
            message_id=headers.broker_id,
            sequence_number=1,
            delivery_count=1,
        )

    async def process(self, *messages: Delivery) -> None:
        """Run the handlers, and bring what they published to the read models and the event log."""
        for message in messages:
            await self.composition.get(processor).process(Lane.NORMAL, [message])
        bodies, self.publisher.facts = [one.body for one in self.publisher.facts], []
        beside = Annotations(enqueued=datetime.now(UTC), system={})
        events = [
            StreamEvent(body=body, partition="0", offset=str(number), sequence_number=number, annotations=beside)
            for number, body in enumerate(bodies, start=len(self.events))
        ]
        await self.composition.get(projector).project(events)
        self.events += events
        await self.composition.get(bronze_writer).write(events)
        await self.ingest.catch_up(self, lambda: 99.0)
        seen = [(CloudEvent.from_json(body), body.decode()) for body in bodies]
        await self.composition.get(deliveries).begin(
            [Sent.of("partner", event, text, now=datetime.now(UTC)) for event, text in seen]
        )
        producer = self.clients.producer()
        async with producer:
            if bodies:
                await producer.send_batch([EventData(body) for body in bodies], partition_id="0")

    async def find(self, name: str, value: str) -> list[str]:
        """The ids of the visits that an operator finds by a value."""
        reader = self.composition.get(view_reader)
        page = await reader.find("visits", name, value, level=Classification.RESTRICTED, top=10)
        assert page is not None
        return [row["visitId"] for row in page.rows]

    async def letters(self) -> list[StoredLetter]:
        """Every dead letter."""
        return [one async for one in self.composition.get(dead_letter_store).select(Filters())]

    async def partitions(self) -> list[str]:
        """Those of the event log."""
        return ["0"]

    async def read(self, partition: str, *, after: int | None) -> AsyncGenerator[list[StreamEvent], None]:
        """The event log's events."""
        assert partition == "0"
        if found := [one for one in self.events if after is None or one.sequence_number > after]:
            yield found

    async def export(self, folder: Path, customer: str, code: int = EXPORTED) -> Any:
        """What the command writes, and ends with."""
        known = _exported([customer, "--out", str(folder), "--by", "ada", "--reason", "asked for it"])
        assert await _export(known, self.composition) == code
        return json.loads((folder / "export.json").read_text(encoding="utf-8"))

    async def erase(self, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
        """The command's exit code and report."""
        known = _parse([*arguments, "--json"])
        code = await _erase(known, self.composition)
        return code, json.loads(capsys.readouterr().out)


@pytest.fixture
async def app(azurite: AzuriteEndpoints, emulator: BrokerProcess) -> AsyncIterator[App]:
    """On stores of its own."""
    settings = Settings.load(
        {
            "ServiceBus": str(emulator),
            "EventHubs": str(emulator),
            "State": azurite.connection_string,
            "Claims": azurite.connection_string,
            "Lake": azurite.connection_string,
            "KeyVault__vaultUri": "https://vault.example",
            "SLUICE_DATA_KEY": "secret:data-key",
            "SLUICE_TOKEN_KEY": "secret:token-key",
            "SLUICE_OPERATION_KEY": "k" * 40,
            "SLUICE_ENCRYPT_CLAIMS": "true",
            "SLUICE_STATE_BUCKETS": "2",
            "SLUICE_LAKE_CONTAINER": f"lake-{uuid4().hex}",
            "SLUICE_BRONZE_CONTAINER": f"bronze-{uuid4().hex}",
        }
    )
    for name in (settings.lake_container, settings.bronze_container):
        async with ContainerClient.from_connection_string(azurite.connection_string, name) as container:
            await container.create_container()
    made = App(settings)
    await made.composition.get(state_store).open()
    yield made
    await made.composition.close()


async def fill(app: App) -> None:
    """Everything that may hold something about a person, of two of them."""
    for customer in ("17850", "13047"):
        await app.process(
            app.message(f"seen-{customer}", customer),
            app.message(f"large-{customer}", customer, notes="x" * 900_000),
            app.message(f"dead-{customer}", customer, notes="closed"),
        )
        await app.composition.get(dead_letter_store).put(unread(customer))
        waiting, aside = app.message(f"waits-{customer}", customer), app.message(f"aside-{customer}", customer)
        later = datetime.now(UTC) + timedelta(hours=1)
        await app.composition.get(parking).park(
            f"waits-{customer}",
            waiting,
            message_id=str(waiting.properties["messageId"]),
            until=later,
            reason="later",
        )
        await app.composition.get(set_aside).put(
            [
                SetAsideMessage(
                    lane="normal",
                    integration="visits",
                    broker_id=aside.message_id,
                    sequence_number=1,
                    body=aside.body,
                    properties=aside.properties,
                    since=datetime.now(UTC),
                )
            ]
        )
        await app.composition.get(claim_store).put(uuid4(), aside.body)


def unread(customer: str) -> DeadLetter:
    """A message that breaks its contract, and is about somebody all the same."""
    now = datetime.now(UTC)
    return DeadLetter(
        identity=f"unread-{customer}",
        body=json.dumps({"data": {"customer_id": int(customer)}}).encode(),
        properties={},
        source="lane:normal",
        category="invalid",
        code="VALIDATION_ERROR",
        reason="wrong",
        attempts=1,
        first_failure=now,
        last_failure=now,
    )


HELD = {
    "state": 4,
    "read models": 4,
    "dead letters": 2,
    "claims": 1,
    "large values": 1,
    "webhook deliveries": 2,
    "silver": 1,
    "bronze": 2,
    "event log": 2,
}
"""Places that lead to each person: two states, what waits twice; two rows with an entry for the person; and so on."""


def test_nothing_is_stored_where_nobody_looks(project: Path) -> None:
    """Each table, container and hub that the app declares is looked into, or says why it has nothing of a person."""
    declared = json.loads((project / "infra" / "declarations.json").read_text(encoding="utf-8"))
    tables = [name for of in declared["tables"].values() for name in of]
    hubs = [one["name"] for one in declared["hubs"]]
    stored = {*tables, *hubs, *declared["containers"], *declared["lakeContainers"]}
    assert stored == HOLDS.keys() | HOLDS_NOTHING.keys()
    assert not HOLDS.keys() & HOLDS_NOTHING.keys()
    assert set(HOLDS.values()) == HELD.keys()


async def test_what_an_export_finds_an_erasure_removes(
    app: App, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The same places of the same stores, in clear before; afterwards nothing but events that nobody can decrypt."""
    await fill(app)
    before = await app.export(tmp_path / "before", "17850")
    assert Counter(one["store"] for one in before["found"]) == HELD
    assert before["unread"] == {}
    told = json.dumps(before["found"])
    assert "slp1." not in told
    assert "13047" not in told
    for store in HELD:
        assert any("17850" in json.dumps(one["content"]) for one in before["found"] if one["store"] == store), store
    csv.field_size_limit(2_000_000)
    with (tmp_path / "before" / "export.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {one["store"] for one in lines} == HELD.keys()
    assert ("silver", "17850@example.com") in {(one["store"], one["value"]) for one in lines}

    assert capsys.readouterr().out.startswith("export: 19 places")
    code, report = await app.erase(capsys, "17850", "--by", "ada", "--reason", "asked for it")
    assert (code, {one["store"]: one["found"] for one in report["before"]}) == (DONE, HELD)
    after = await app.export(tmp_path / "after", "17850")
    assert Counter(one["store"] for one in after["found"]) == {"event log": 2}
    assert all(one["content"]["data"]["mail"] is None for one in after["found"])
    assert "17850" not in json.dumps([one["content"]["data"]["customerId"] for one in after["found"]])


async def test_an_export_tells_the_rest_where_the_event_log_does_not_answer(
    app: App, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What can't be read in time is said, for a person must be answered all the same."""
    await fill(app)
    monkeypatch.setattr("ops.forgetting._QUIET_SECONDS", 0.0)
    told = await app.export(tmp_path / "some", "17850", EXPORT_INCOMPLETE)
    assert {**Counter(one["store"] for one in told["found"]), "event log": HELD["event log"]} == HELD
    assert told["unread"] == {"event log": 1}
    assert "event log can't be read" in capsys.readouterr().err


async def entries(app: App) -> list[str]:
    """The rows of the index, by whatever field."""
    table = app.clients.table(VIEWS_TABLE)
    found = [str(row["key"]) async for row in table.query(Query()) if "eventId" not in row]
    await table.close()
    return found


async def test_an_erasure_leaves_nothing_that_leads_to_the_person(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    """By the token of whatever field, by an index, in a message, a claim or a large value; for this person only."""
    await fill(app)
    assert await app.find("customerId", "17850") == ["large-17850", "seen-17850"]
    assert await app.find("mail", "17850@example.com") == ["large-17850", "seen-17850"]

    code, report = await app.erase(capsys, "17850", "--by", "ada", "--reason", "asked for it")
    assert {one["store"]: one["found"] for one in report["before"]} == HELD
    assert {one["store"]: one["found"] for one in report["after"]} == {
        **dict.fromkeys(HELD, 0),
        "event log": 2,
    }
    assert sum(one["openable"] for one in report["before"]) > 0
    assert sum(one["openable"] for one in report["after"]) == 0
    assert (code, report["proven"]) == (DONE, True)
    assert report["notReached"][0].startswith("2 events in event log keep tokens")
    assert "17850" not in json.dumps({**report, "before": [], "after": []})

    for name, value in (("customerId", "17850"), ("mail", "17850@example.com")):
        assert await app.find(name, value) == []
    assert sorted(await entries(app)) == ["large-13047"] * 2 + ["seen-13047"] * 2
    shown = await app.composition.get(row_cache).one("visits", "seen-17850", level=Classification.RESTRICTED)
    assert shown is not None
    row = json.loads(shown.body)
    assert (row["customerId"], row["mail"], row["$erased"]) == (None, None, ["/customerId", "/mail"])

    kept = [one async for chunk in app.composition.get(bronze_reader).read("0") for one in chunk]
    assert [one.sequence_number for one in kept] == list(range(len(app.events)))
    assert not any(one.unreadable for one in kept)
    assert [json.loads(one.body)["data"].get("customerId$token") is None for one in kept] == [True] * 2 + [False] * 2

    _, other = await app.erase(capsys, "13047", "--dry-run")
    assert {one["store"]: one["found"] for one in other["before"]} == HELD
    assert other["erased"] == []
    assert await app.find("customerId", "13047") == ["large-13047", "seen-13047"]

    rows = app.clients.table(SUBJECT_KEYS.name)
    found = [dict(row) async for row in rows.query(Query()) if row["RowKey"].startswith("audit:")]
    await rows.close()
    assert [(row["by"], row["reason"], row["action"]) for row in found] == [("ada", "asked for it", "erased")]
    assert "17850" not in json.dumps(found, default=str)


async def test_nothing_brings_an_erased_person_back(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    """No replay, no message that was accepted before, whether it waited in a lane, behind another or aside."""
    await fill(app)
    late = [app.message("late", "17850"), app.message("dies", "17850", notes="closed")]
    await app.process(late[1])
    (old,) = [one for one in await app.letters() if one.key == "dies"]
    body = await app.composition.get(dead_letter_store).body(old)
    await app.erase(capsys, "17850", "--by", "ada", "--reason", "asked for it")
    app.closed = False

    redrive, order = redrive_of(app.composition), Decision(by="bob", reason="again")
    for letter in [one for one in await app.letters() if "17850" in str(one.key) or one.key == "dies"]:
        assert (letter.status, letter.body_size) == (Status.DISCARDED, 0)
        assert (await redrive.replay(letter, order)).action is Action.SKIP_ERASED

    # One that the broker gave up meanwhile, with all that it said.
    known = DeadLetter.of_message(
        Lane.NORMAL,
        replace(late[1], body=body),
        Headers.from_properties(late[1].properties),
        Failure(Category.PERMANENT, ErrorCode.DEAD_LETTERED, "given up"),
        now=datetime.now(UTC),
        identity="another",
    )
    await app.composition.get(dead_letter_store).put(known)
    stored = await app.composition.get(dead_letter_store).get(known.id)
    assert stored is not None
    assert (await redrive.replay(stored, order)).action is Action.SKIP_ERASED

    turn = (await app.composition.get(parking).find(["waits-17850"]))["waits-17850"]
    waiting = await app.composition.get(parking).turn(turn)
    assert waiting is not None
    assert waiting.delivery.body == b""
    moved = Headers.from_properties(app.message("held", "17850", accepted=turn.since).properties).waited(7_200)
    held = app.message("held", "17850")  # by a pause, for so long that its first attempt counts as later
    later = {str(name): value for name, value in moved.to_properties().items() if name != "messageId"}
    held = replace(held, properties={**held.properties, **later})
    await app.process(late[0], waiting.delivery, held)
    given_up = app.message("given-up", "17850", accepted=turn.since)
    gone = replace(given_up, properties={**given_up.properties, "DeadLetterReason": "TTLExpiredException"})
    assert await app.composition.get(queue_drain).take(Lane.NORMAL, GivenUp(delivery=gone)) is Fate.STORED
    for key in ("late", "waits-17850", "held", "given-up"):
        (dead,) = [one for one in await app.letters() if one.key == key]
        assert dead.body_size == 0
        assert (await redrive.replay(dead, order)).action is Action.SKIP_ERASED
    assert await app.find("customerId", "17850") == []
    assert app.lanes.sent == []

    await app.process(app.message("new", "17850"))
    assert await app.find("customerId", "17850") == ["new"]


async def test_an_erasure_of_somebody_without_a_key_is_one_all_the_same(
    app: App, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing of theirs was ever stored, and what waits is refused."""
    early = app.message("early", "17850", accepted=datetime.now(UTC) - timedelta(minutes=1))
    code, report = await app.erase(capsys, "17850", "--by", "ada", "--reason", "asked for it")
    assert (code, report["proven"], report["erased"]) == (DONE, True, [])
    await app.process(early)
    (dead,) = await app.letters()
    assert (dead.code, dead.body_size) == ("SUBJECT_ERASED", 0)


def test_an_erasure_needs_a_reason_and_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is done on a slip of the hand."""
    assert main(["17850"], {}) == WRONG
    assert "--reason" in capsys.readouterr().err
    assert main(["17850", "--dry-run"], {}) == WRONG
    assert main([], {}) == WRONG
