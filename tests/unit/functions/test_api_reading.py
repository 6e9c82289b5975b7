"""Reading: operations, read models, health, and what the API says of itself."""

from __future__ import annotations

import base64
import json
import secrets
import time
from typing import Any, ClassVar
from uuid import UUID

import pytest
from azure.core.exceptions import ServiceRequestError
from starlette.responses import Response

from functions.batches import delivery_of
from functions.composition import Composition, authentication
from functions.composition.health import reports
from functions.composition.processing import processor
from functions.composition.read_models import projector
from shared.authentication import api_key_entry
from shared.health import Check, Component, Health, Identity, Monitor, Status
from shared.messages import CloudEvent, Contract, Delivery, Integration, Registry
from shared.settings import Settings
from shared.streams import StreamEvent
from tests.unit.asgi import Answer, ask
from tests.unit.memory import Sent

from .conftest import ENVIRONMENT, Running
from .samples import MESSAGE_ID, credit_note, envelope, order


def delivered(sent: Sent) -> Delivery:
    """What the lane's trigger would hand over."""
    properties = {str(name): value for name, value in sent.headers.to_properties().items()}
    return Delivery(body=sent.body, properties=properties, message_id="", sequence_number=1, delivery_count=1)


async def work_off(running: Running) -> None:
    """Process what waits in the lanes, then project what was published."""
    waiting, running.lanes.sent = running.lanes.sent, []
    for sent in waiting:
        await running.composition.get(processor).process(sent.headers.lane, [delivered(sent)])
    events = [
        StreamEvent(body=fact.body, partition="0", offset=str(number), sequence_number=number)
        for number, fact in enumerate(running.publisher.facts)
    ]
    await running.composition.get(projector).project(events)


@pytest.mark.parametrize(
    ("path", "data", "shown"),
    [
        ("/api/orders", order(), "/api/orders/536365"),
        ("/api/credit-notes", credit_note(), "/api/credit-notes/C536379"),
    ],
)
async def test_a_message_can_be_followed_to_its_row(
    running: Running, path: str, data: dict[str, Any], shown: str
) -> None:
    """Accepted, succeeded, shown."""
    answer = await running.post(path, data, {"Idempotency-Key": MESSAGE_ID})
    location = answer.headers["location"]
    before = await running.get(location)
    assert (before.status, before.json["status"], before.json["acknowledgment"]["processed"]) == (
        200,
        "accepted",
        False,
    )
    assert (await running.get(shown)).status == 404
    await work_off(running)
    after = await running.get(location)
    assert (after.json["status"], after.json["messageId"]) == ("succeeded", MESSAGE_ID)
    assert after.json["acknowledgment"] == {"received": True, "processed": True, "stored": True}
    row = await running.get(shown)
    assert (row.status, row.headers["content-type"]) == (200, "application/json")
    assert row.json["status"] == "accepted"
    assert row.json["lineCount"] == len(data["lines"])


async def test_an_orders_row_has_its_decimal_total(running: Running) -> None:
    """6 × 2.55 + 6 × 3.39, as text."""
    await running.post("/api/orders", order())
    await work_off(running)
    row = (await running.get("/api/orders/536365")).json
    assert (row["total"], row["units"], row["guest"]) == ("35.64", 12, False)


async def test_a_missing_customer_is_a_guest(running: Running) -> None:
    """Null or left out."""
    without = order(orderId="2")
    del without["customerId"]
    for data in (order(orderId="1", customerId=None), without):
        await running.post("/api/orders", data)
    await work_off(running)
    for key in "12":
        row = (await running.get(f"/api/orders/{key}")).json
        assert (row["guest"], row["customerId"]) == (True, None)


async def test_a_dead_messages_operation_says_why(running: Running) -> None:
    """Failed, with the code and the reason."""
    first = await running.post("/api/orders", order())
    running.lanes.sent[0].body = b"broken on the way"
    await work_off(running)
    answer = await running.get(first.headers["location"])
    assert (answer.status, answer.json["status"]) == (200, "failed")
    assert answer.json["error"]["code"] == "VALIDATION_ERROR"


async def test_made_up_operations_do_not_exist(running: Running) -> None:
    """Cut, lengthened, bit by bit changed, signed by another key: one answer for all."""
    location = (await running.post("/api/orders", order())).headers["location"]
    prefix, _, true = location.rpartition("/")
    raw = base64.urlsafe_b64decode(true)
    flipped = [
        base64.urlsafe_b64encode(raw[:n] + bytes([raw[n] ^ (1 << bit)]) + raw[n + 1 :]).decode()
        for n in range(len(raw))
        for bit in (0, 7)
    ]
    made_up = [true[:-1], true[:-4], true + "A", true + "AAAA", true + "=", true.lower(), "x", "%00", "é", MESSAGE_ID]
    for text in [*flipped, *made_up]:
        answer = await running.get(f"{prefix}/{text}")
        assert answer.status == 404
        assert answer.json["error"]["code"] == "NOT_FOUND"
    assert running.state.finds == 0
    assert (await running.get(location)).status == 200


@pytest.mark.parametrize("key", ["unknown", "ä", "😀" * 128, "x" * 129, "x" * 10_000, "a b", "'", "%", "..", "\x00"])
async def test_a_row_that_is_not_there_is_404(running: Running, key: str) -> None:
    """Whatever is asked for."""
    answer = await running.get(f"/api/orders/{key}")
    assert (answer.status, answer.json["error"]["code"]) == (404, "NOT_FOUND")
    assert len(answer.body) < 2_000


async def test_reading_while_storage_is_away_is_503(running: Running) -> None:
    """To be asked again; nothing is said of sending again."""
    location = (await running.post("/api/orders", order())).headers["location"]
    running.state.broken = running.views.broken = ServiceRequestError("x")
    for path in (location, "/api/orders/1"):
        answer = await running.get(path)
        assert (answer.status, answer.json["retryable"]) == (503, True)
        assert "Send it again" not in answer.json["error"]["message"]


async def test_health_answers_without_asking_anybody(running: Running) -> None:
    """The process is there."""
    running.lanes.broken = running.state.broken = ServiceRequestError("x")
    answer = await running.get("/api/health")
    assert (answer.status, answer.json["status"]) == (200, "Healthy")


async def test_readiness_asks_what_a_message_needs(registry: Registry) -> None:
    """All are there, and are asked once for two who read."""
    app = Running(registry)
    answer = await app.get("/api/health/ready")
    assert answer.status == 200
    assert {part["name"] for part in answer.json["components"]} == {"service-bus", "state", "claims"}
    assert {part["status"] for part in answer.json["components"]} == {"Healthy"}
    await app.get("/api/health/ready")
    assert (app.lanes.probes, app.state.probes, app.claims.probes) == (1, 1, 1)


async def test_readiness_names_what_is_away_and_nothing_else(registry: Registry) -> None:
    """Not the address, not the exception's words."""
    app = Running(registry)
    app.lanes.broken = ConnectionError("secret-host:5672 refused")
    answer = await app.get("/api/health/ready")
    assert answer.status == 503
    by_name = {part["name"]: part["status"] for part in answer.json["components"]}
    assert by_name == {"service-bus": "Unhealthy", "state": "Healthy", "claims": "Healthy"}
    assert b"secret" not in answer.body


async def test_an_instance_without_its_claims_stays_in_use(registry: Registry) -> None:
    """Small messages need none; both away are too much."""
    app = Running(registry)
    app.claims.broken = ConnectionError("x")
    answer = await app.get("/api/health/ready")
    assert (answer.status, answer.json["status"]) == (200, "Degraded")
    app = app.another()
    app.state.broken = ConnectionError("x")
    assert (await app.get("/api/health/ready")).status == 503


async def test_readiness_tells_what_other_apps_report(registry: Registry) -> None:
    """Under their names, with their figures."""
    app = Running(registry)
    behind = Component(name="read-models", status=Status.DEGRADED, description="Slow.", data={"behind": "12 events"})
    unknown = Component(name="made-up", status=Status.HEALTHY, description="")
    await app.composition.get(reports).write([behind, unknown])
    answer = await app.get("/api/health/ready")
    assert (answer.status, answer.json["status"]) == (200, "Degraded")
    found = {part["name"]: part for part in answer.json["components"]}
    assert found.keys() == {"service-bus", "state", "claims", "read-models"}
    assert found["read-models"]["description"] == "Slow."
    assert found["read-models"]["data"].keys() == {"behind", "age"}


async def test_what_is_away_elsewhere_takes_no_instance_out_of_use(registry: Registry) -> None:
    """Whatever it weighs, and beside what is away here: commands are accepted, and events go out later."""
    app = Running(registry)
    names = ["event-hubs", "lanes", "read-models"]
    away = [Component(name=name, status=Status.UNHEALTHY, description="Away.") for name in names]
    await app.composition.get(reports).write(away)
    app.claims.broken = ConnectionError("x")
    answer = await app.get("/api/health/ready")
    assert (answer.status, answer.json["status"]) == (200, "Degraded")
    assert {one["name"] for one in answer.json["components"] if one["status"] == "Unhealthy"} == {*names, "claims"}


async def test_why_something_is_away_is_told_to_operators(registry: Registry) -> None:
    """Everybody else, whatever they present, learns what is away and no more."""
    keys = {role: secrets.token_urlsafe(32) for role in ("reader", "operator")}
    entries = [api_key_entry(role, key, [role]) for role, key in keys.items()]
    environment = ENVIRONMENT | {"SLUICE_AUTH": "required", "SLUICE_API_KEYS": f"[{','.join(entries)}]"}
    app = Running(registry, {**environment, "SLUICE_RELEASE": "2026.11.30-1"})
    app.lanes.broken = ConnectionError("x")
    told = [await app.get("/api/health/ready", **{"x-api-key": key}) for key in ("", "wrong", *keys.values())]
    assert {answer.status for answer in told} == {503}
    described = [{part["name"]: part for part in answer.json["components"]}["service-bus"] for answer in told]
    assert described[:3] == [{"name": "service-bus", "status": "Unhealthy", "description": "Can't be reached."}] * 3
    assert described[3]["description"] == "ConnectionError: can't be reached."
    assert described[3]["data"]["threshold"] == "1500ms"
    assert [(one.json["version"], one.json["release"]) for one in told] == [("0.1.0", "2026.11.30-1")] * 4


async def test_readiness_is_degraded_while_the_issuer_is_away() -> None:
    """Callers with known keys are let in: the instance stays in use, and says for how long."""
    environment = {**ENVIRONMENT, "SLUICE_AUTH_ISSUER": "http://127.0.0.1:9/tenant", "SLUICE_AUTH_AUDIENCE": "api"}
    environment.pop("SLUICE_AUTH", None)
    composition = Composition(Settings.load(environment), Registry([]))
    checks = {name: Check.of(one) for name, one in authentication.capability(composition).probes.items()}

    async def ready() -> Response:
        monitor = Monitor(checks)
        answer = await Health(monitor, Identity(), now=composition.now).ready(details=True)
        await monitor.close()
        return answer

    answer = await ready()
    keys = composition.get(authentication.signing_keys)
    assert keys is not None
    found = json.loads(bytes(answer.body))
    assert (answer.status_code, found["status"]) == (200, "Degraded")
    assert found["components"][0]["name"] == "issuer"
    assert "callers with tokens are answered with 503" in found["components"][0]["description"]

    keys._fetched = time.monotonic() - 86_000
    found = json.loads(bytes((await ready()).body))
    await composition.close()
    assert "known keys stay valid for 40" in found["components"][0]["description"]


def _resolved(document: Any, node: dict[str, Any]) -> Any:
    """What a reference points to."""
    for step in node["$ref"].removeprefix("#/").split("/"):
        document = document[step]
    return document


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in _references(value)]
    return [found for value in node for found in _references(value)] if isinstance(node, list) else []


async def test_the_description_is_openapi_and_lists_every_route(running: Running) -> None:
    """Each operation has an id of its own, answers, declared path parameters, and no reference to nowhere."""
    answer = await running.get("/api/openapi.json")
    document = answer.json
    assert answer.status == 200
    assert document["openapi"].startswith("3.1")
    assert document["info"].keys() >= {"title", "version"}
    listed = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert listed == {
        ("POST", "/api/messages/bulk"),
        ("POST", "/api/orders/bulk"),
        ("POST", "/api/credit-notes/bulk"),
        ("GET", "/api/operations/bulk/{bulkId}"),
        ("PUT", "/api/uploads/bulk/{uploadId}/blocks/{number}"),
        ("GET", "/api/usage"),
        ("POST", "/api/subscriptions"),
        ("GET", "/api/subscriptions"),
        ("GET", "/api/subscriptions/{id}"),
        ("PATCH", "/api/subscriptions/{id}"),
        ("DELETE", "/api/subscriptions/{id}"),
        ("POST", "/api/subscriptions/{id}/secret"),
        ("POST", "/api/subscriptions/{id}/test"),
        ("POST", "/api/subscriptions/{id}/replay"),
        ("GET", "/api/subscriptions/{id}/deliveries"),
        ("GET", "/api/subscriptions/{id}/deliveries/{delivery}"),
        ("POST", "/api/subscriptions/{id}/deliveries/{delivery}/resend"),
        ("GET", "/api/subscriptions/{id}/deliveries/{delivery}/payload"),
        ("GET", "/api/shipments/{key}"),
        ("POST", "/api/webhooks/express"),
        ("POST", "/api/webhooks/post"),
        ("POST", "/api/messages"),
        ("POST", "/api/orders"),
        ("POST", "/api/credit-notes"),
        ("POST", "/api/messages/bulk"),
        ("POST", "/api/orders/bulk"),
        ("POST", "/api/credit-notes/bulk"),
        ("GET", "/api/operations/bulk/{bulkId}"),
        ("PUT", "/api/uploads/bulk/{uploadId}/blocks/{number}"),
        ("POST", "/api/uploads"),
        ("PUT", "/api/uploads/{uploadId}/blocks/{number}"),
        ("GET", "/api/orders"),
        ("GET", "/api/"),
        ("GET", "/api/$metadata"),
        ("GET", "/api/credit-notes"),
        ("GET", "/api/orders/{key}"),
        ("GET", "/api/credit-notes/{key}"),
        ("GET", "/api/operations/{operationId}"),
        ("GET", "/api/delta-sharing/shares"),
        ("GET", "/api/delta-sharing/shares/{share}"),
        ("GET", "/api/delta-sharing/shares/{share}/all-tables"),
        ("GET", "/api/delta-sharing/shares/{share}/schemas"),
        ("GET", "/api/delta-sharing/shares/{share}/schemas/{schema}/tables"),
        ("GET", "/api/delta-sharing/shares/{share}/schemas/{schema}/tables/{table}/changes"),
        ("GET", "/api/delta-sharing/shares/{share}/schemas/{schema}/tables/{table}/metadata"),
        ("GET", "/api/delta-sharing/shares/{share}/schemas/{schema}/tables/{table}/version"),
        ("POST", "/api/delta-sharing/shares/{share}/schemas/{schema}/tables/{table}/query"),
        ("GET", "/api/health"),
        ("GET", "/api/health/ready"),
    }
    operations = [(path, one) for path, methods in document["paths"].items() for one in methods.values()]
    assert len({one["operationId"] for _, one in operations}) == len(operations)
    for path, operation in operations:
        assert operation["responses"]
        assert all(response["description"] for response in operation["responses"].values())
        parameters = {one["name"] for one in operation.get("parameters", []) if one["in"] == "path"}
        assert parameters == {part[1:-1] for part in path.split("/") if part.startswith("{")}
    for reference in _references(document):
        target = document
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]


async def test_the_description_tells_the_orders_contract(running: Running) -> None:
    """The bare form with its JSON names, beside the envelope and the CloudEvent."""
    document = (await running.get("/api/openapi.json")).json
    content = document["paths"]["/api/orders"]["post"]["requestBody"]["content"]
    assert content.keys() == {"application/json", "application/cloudevents+json"}
    _, bare, _ = (_resolved(document, one) for one in content["application/json"]["schema"]["anyOf"])
    assert {"orderId", "placedAt", "lines"} <= bare["properties"].keys()
    line = _resolved(document, bare["properties"]["lines"]["items"])
    assert line["properties"]["quantity"]["exclusiveMinimum"] == 0


class Folder(Contract):
    """A model that holds itself."""

    name: str
    inside: tuple[Folder, ...] = ()


async def test_a_model_that_holds_itself_is_described_once() -> None:
    """A tree in a contract doesn't stop the start."""
    folders = Integration("folders")

    @folders.handles("folder.made", key="name")
    async def make(folder: Folder, work: object) -> None: ...

    document = (await Running(Registry([folders])).get("/api/openapi.json")).json
    inside = document["components"]["schemas"]["Folder"]["properties"]["inside"]
    assert inside["items"] == {"$ref": "#/components/schemas/Folder"}


async def test_the_docs_page_is_there(running: Running) -> None:
    """For people."""
    answer = await running.get("/api/docs")
    assert (answer.status, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")


async def test_every_answer_carries_the_correlation_id(running: Running) -> None:
    """Errors and reads too."""
    paths = ("/api/health", "/api/nowhere", "/api/orders/1", "/api/openapi.json")
    answers: list[Answer] = [
        await ask(running.asgi, "GET", path, headers={"X-Correlation-ID": "c-9"}) for path in paths
    ]
    assert {answer.headers["x-correlation-id"] for answer in answers} == {"c-9"}


async def test_facts_keep_their_message_and_their_key(running: Running) -> None:
    """Distinct ids of one message, the aggregate as subject."""
    await running.post("/api/messages", envelope(), {"X-Correlation-ID": "c-1"})
    await work_off(running)
    (fact,) = [CloudEvent.from_json(fact.body) for fact in running.publisher.facts]
    assert (fact.id, fact.type, fact.subject) == (f"{MESSAGE_ID}:0", "order.accepted", "536365")
    assert fact.correlation_id == "c-1"
    assert UUID(fact.id.partition(":")[0])


def test_a_delivery_is_read_from_what_no_host_shifts() -> None:
    """Body and application properties."""
    import azure.functions as func

    class Message(func.ServiceBusMessage):
        """The little of a Service Bus message that is relied on."""

        application_properties: ClassVar[dict[str, Any]] = {"messageId": MESSAGE_ID}
        message_id = None  # type: ignore[assignment]
        sequence_number = None
        delivery_count = None

        def get_body(self) -> bytes:
            return b"{}"

    delivery = delivery_of(Message())
    assert delivery == Delivery(
        body=b"{}", properties={"messageId": MESSAGE_ID}, message_id="", sequence_number=0, delivery_count=1
    )
