"""What `GET /api/metrics` answers, as Prometheus reads it, and the rules and dashboard that are made for it."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from inspect import signature
from pathlib import Path
from typing import Annotated
from uuid import uuid4

import pytest

from functions.composition.processing import processor
from shared.authentication import api_key_entry
from shared.classification import Restricted
from shared.messages import Contract, Delivery, Integration, Registry, Reject, Retry
from shared.telemetry import BusinessCounter, exposition
from shared.telemetry.instruments import Counter as CounterInstrument
from shared.telemetry.metrics import enable, every
from shared.telemetry.prometheus import prometheus_name
from shared.testing import run as run_handler
from shared.work import Work

from .conftest import ENVIRONMENT, Running

_SAMPLE = re.compile(r"^([a-z_:]+)(\{.*\})? (\S+)$")
_METRIC = re.compile(r"\b[a-z]+(?:_[a-z0-9]+)+\b")


@pytest.fixture(autouse=True)
def counting() -> Iterator[None]:
    """All instruments are on."""
    enable()
    yield
    enable(False)


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus' own tool, as Debian has it; skipped where it isn't installed."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool not installed")
    return found


def run(
    promtool: str, *arguments: str, given: str = "", folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Its answer."""
    command = [promtool, *arguments]
    return subprocess.run(command, input=given, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


class Parcel(Contract):
    """What is sent."""

    parcel_id: str
    country: str = "DE"


def parcels(name: str) -> tuple[Integration, BusinessCounter]:
    """An integration that ends in every way."""
    made = Integration(name)
    weighed = made.counts("weighed", by=["country"], unit="{parcel}", description="Parcels that were weighed")

    @made.handles("parcel.weighed", key="parcelId")
    async def weigh(parcel: Parcel, work: Work) -> None:
        work.count(weighed, country=parcel.country)
        if parcel.parcel_id == "late":
            raise Retry(after=5)
        if parcel.parcel_id == "wrong":
            raise Reject("no such parcel")

    return made, weighed


async def deliver(app: Running) -> None:
    """What waits on the lanes."""
    waiting, app.lanes.sent = app.lanes.sent, []
    for number, sent in enumerate(waiting):
        properties = {str(name): value for name, value in sent.headers.to_properties().items()}
        delivery = Delivery(
            body=sent.body, properties=properties, message_id="", sequence_number=number, delivery_count=1
        )
        await app.composition.get(processor).process(sent.headers.lane, [delivery])


async def send(app: Running, parcel: str, **more: str) -> None:
    """One parcel."""
    envelope = {
        "messageId": str(uuid4()),
        "timestamp": "2026-01-05T08:00:00Z",
        "source": "scale",
        "eventType": "parcel.weighed",
        "version": "1.0",
        "data": {"parcelId": parcel, **more},
    }
    assert (await app.post("/api/messages", envelope)).status == 202


def samples(text: str) -> dict[str, float]:
    """Every sample by its name and labels."""
    found = [match for line in text.splitlines() if (match := _SAMPLE.match(line))]
    names = Counter(match[1] + (match[2] or "") for match in found)
    assert max(names.values(), default=1) == 1, "a sample twice"
    return {match[1] + (match[2] or ""): float(match[3]) for match in found}


def application(name: str, environment: Mapping[str, str] = ENVIRONMENT) -> Running:
    return Running(Registry([parcels(name)[0]]), {**environment, "SLUICE_METRICS": "true"})


async def test_what_became_of_messages_is_counted() -> None:
    """By lane, integration and outcome; what a handler counts, counts once its message is done."""
    app = application("parcels")
    for parcel in ("1", "2", "late", "wrong"):
        await send(app, parcel)
    await send(app, "3", country="FR")
    await deliver(app)
    answer = await app.get("/api/metrics")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    found = samples(answer.body.decode())
    of = 'messages_processed_total{integration="parcels",lane="normal",outcome='
    assert (found[f'{of}"done"}}'], found[f'{of}"retry"}}'], found[f'{of}"dead"}}']) == (3, 1, 1)
    assert found['message_processing_failures_total{category="transient",lane="normal"}'] == 1
    assert found['message_processing_duration_seconds_count{lane="normal",outcome="done"}'] == 3
    assert found['sluice_messages_attempts_count{lane="normal"}'] == 4
    assert found['sluice_messages_active{lane="normal"}'] == 0
    assert found['sluice_messages_received_total{lane="normal"}'] == 5
    assert (
        found[
            'messaging_process_duration_seconds_count{event_type="parcel.weighed",integration="parcels",outcome="done"}'
        ]
        == 3
    )
    assert found['parcels_weighed_total{country="DE"}'] == 2
    assert found['parcels_weighed_total{country="FR"}'] == 1
    assert found['http_server_request_duration_seconds_count{method="POST",route="/api/messages",status="202"}'] == 5
    assert found["sluice_handlers_limit"] > 0
    assert found["process_cpu_time_seconds_total"] > 0


async def test_a_path_that_is_no_route_is_no_label() -> None:
    """Whoever asks for what: a path may be anything."""
    app = application("paths")
    for number in range(3):
        await app.get(f"/api/nowhere/{number}")
    await app.get("/api/operations/made-up")
    found = samples((await app.get("/api/metrics")).body.decode())
    requests = 'http_server_request_duration_seconds_count{method="GET",route='
    assert found[f'{requests}"",status="404"}}'] == 3
    assert (
        found[
            'http_server_request_duration_seconds_count{method="GET",route="/api/operations/{operationId}",status="404"}'
        ]
        == 1
    )


async def test_metrics_are_for_operators_and_only_where_they_are_switched_on() -> None:
    """A stranger learns nothing, and without the setting there is no such route."""
    keys = {role: secrets.token_urlsafe(32) for role in ("reader", "operator")}
    entries = [api_key_entry(role, key, [role]) for role, key in keys.items()]
    app = application(
        "guarded", {**ENVIRONMENT, "SLUICE_AUTH": "required", "SLUICE_API_KEYS": f"[{','.join(entries)}]"}
    )
    answers = [await app.get("/api/metrics", **{"x-api-key": key}) for key in ("", *keys.values())]
    assert [answer.status for answer in answers] == [401, 403, 200]
    assert (await Running(Registry([])).get("/api/metrics")).status == 404


async def test_prometheus_reads_it_without_a_complaint(promtool: str) -> None:
    """Its own tool: names, types, help, hostile values."""
    app = application("hostile")
    await send(app, "1", country='"\\\n{}😀\ud800'.encode("utf-8", "replace").decode())
    await deliver(app)
    for one in every():
        match one.kind:
            case "counter":
                one.add(key='a"b\\c\nd')  # type: ignore[attr-defined]
            case "gauge":
                one.set(0.5, key="x")  # type: ignore[attr-defined]
            case _:
                one.record(0.5, key="x")  # type: ignore[attr-defined]
    text = exposition(every())
    samples(text)
    done = run(promtool, "check", "metrics", given=text)
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if not _is_of_the_units(line)]
    assert (done.returncode in (0, 3), complaints) == (True, [])


def _is_of_the_units(line: str) -> bool:
    """The lint's one opinion that OpenTelemetry doesn't share."""
    return "_ratio" in line and "base unit" in line


def test_the_alerts_fire_when_they_should(promtool: str, project: Path) -> None:
    """With the names and thresholds that are agreed, by Prometheus' own evaluation."""
    folder = project / "infra" / "monitoring"
    for command in (
        ["check", "rules", "alerts.yaml"],
        ["test", "rules", "alerts.test.yaml"],
        ["check", "config", "--syntax-only", "prometheus.yaml"],
    ):
        done = run(promtool, *command, folder=folder)
        assert done.returncode == 0, done.stdout + done.stderr


def test_rules_and_dashboard_ask_for_what_there_is(project: Path) -> None:
    """Every metric that they name is one of the app's, or a rule of theirs."""
    folder = project / "infra" / "monitoring"
    rules, dashboard = (
        (folder / "alerts.yaml").read_text(),
        json.loads((folder / "integration-overview.json").read_text()),
    )
    assert dashboard["title"] == "Integration Overview"
    assert [one["title"] for one in dashboard["panels"][:2]] == ["Message Throughput", "Processing Latency"]
    shown = [target["expr"] for one in dashboard["panels"] for target in one["targets"]]
    asked = [*shown, *re.findall(r"expr: (.*)", rules)]
    known = {prometheus_name(one) for one in every()}
    known |= {f"{name}_{part}" for name in known for part in ("bucket", "sum", "count")}
    words = {"histogram_quantile", "event_type"}
    assert {name for one in asked for name in _METRIC.findall(one)} - known - words == set()
    recorded = set(re.findall(r"record: (\S+)", rules))
    assert {name for one in asked for name in re.findall(r"sluice:[a-z0-9:]+", one)} <= recorded
    for one in dashboard["panels"]:
        assert one["gridPos"]["w"] == 12
    assert len({one["id"] for one in dashboard["panels"]}) == len(dashboard["panels"])


@pytest.mark.parametrize(
    ("name", "by", "unit"),
    [
        ("Placed", (), "{order}"),
        ("placed!", (), "{order}"),
        ("placed", ("orderId",), "{order}"),
        ("placed", ("country", "amount"), "{order}"),
        ("placed", ("counter",), "{order}"),
        ("placed", ("self",), "{order}"),
        ("placed", (), "orders"),
        ("placed", (), "€"),
    ],
)
def test_a_counter_that_is_not_well_formed_is_refused(name: str, by: tuple[str, ...], unit: str) -> None:
    """Where it is declared, so that the app doesn't start with it."""
    with pytest.raises(ValueError, match="counts"):
        Integration("orders-x").counts(name, by=by, unit=unit)


def test_every_attribute_that_may_be_declared_can_be_counted_by() -> None:
    """No name of them is that of a parameter on the way: each attempt of a message would fail of it."""
    parameters = {name for call in (Work.count, CounterInstrument.add) for name in signature(call).parameters}
    for name in parameters - {"attributes"}:
        with pytest.raises(ValueError, match="choose another name"):
            Integration("orders-x").counts("placed", by=[name])


def test_a_counter_has_one_description_and_its_attributes() -> None:
    """The same one may be declared twice, another one under its name not."""
    integration = Integration("once")
    made = integration.counts("placed", by=["country"], unit="{order}")
    assert integration.counts("placed", by=["country"], unit="{order}") == made
    with pytest.raises(ValueError, match="described twice"):
        integration.counts("placed", unit="EUR")


@pytest.mark.parametrize(
    ("amount", "attributes"),
    [(-1.0, {"country": "DE"}), (float("nan"), {"country": "DE"}), (1.0, {}), (1.0, {"x": "y"})],
)
async def test_what_can_not_be_counted_fails_its_message(amount: float, attributes: dict[str, str]) -> None:
    """By the handler that counts it, whose mistake it is."""
    integration = Integration("wrong")
    weighed = integration.counts("weighed", by=["country"])

    @integration.handles("parcel.weighed", key="parcelId")
    async def weigh(parcel: Parcel, work: Work) -> None:
        work.count(weighed, amount, **attributes)

    outcome = await run_handler(integration, "parcel.weighed", {"parcelId": "1"})
    assert outcome.failed is not None
    assert "wrong.weighed" in str(outcome.failed.error)


class Letter(Contract):
    """What holds a person's name."""

    letter_id: str
    name: Annotated[str | None, Restricted] = None


async def test_a_protected_value_is_no_attribute() -> None:
    """Even where a handler counts by it."""
    integration = Integration("letters")
    sent = integration.counts("sent", by=["to"])

    @integration.handles("parcel.weighed", key="letterId")
    async def weigh(letter: Letter, work: Work) -> None:
        work.count(sent, to=letter.name)

    app = Running(Registry([integration]), {**ENVIRONMENT, "SLUICE_METRICS": "true"})
    envelope = {
        "messageId": str(uuid4()),
        "timestamp": "2026-01-05T08:00:00Z",
        "source": "post",
        "eventType": "parcel.weighed",
        "version": "1.0",
        "data": {"letterId": "1", "name": "Ada Lovelace"},
    }
    assert (await app.post("/api/messages", envelope)).status == 202
    await deliver(app)
    text = (await app.get("/api/metrics")).body.decode()
    assert "letters_sent_total" in text
    assert "Lovelace" not in text
