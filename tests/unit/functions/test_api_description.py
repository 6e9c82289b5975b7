"""The description of the API: valid, complete, and such that a client made from it is pleasant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from shared.messages import Contract, Integration, Registry
from shared.work import Work

from .conftest import ENVIRONMENT, Running
from .samples import order
from .test_access import GUARDED

Document = dict[str, Any]
VERBS = {
    ("post", "/api/orders"): "createOrder",
    ("post", "/api/credit-notes"): "createCreditNote",
    ("post", "/api/messages"): "sendMessage",
    ("post", "/api/orders/bulk"): "createOrderBulk",
    ("post", "/api/credit-notes/bulk"): "createCreditNoteBulk",
    ("post", "/api/messages/bulk"): "sendMessages",
    ("get", "/api/operations/bulk/{bulkId}"): "getBulkOperation",
    ("put", "/api/uploads/bulk/{uploadId}/blocks/{number}"): "putBulkUploadBlock",
    ("get", "/api/operations/{operationId}"): "getOperation",
    ("get", "/api/orders/{key}"): "getOrder",
    ("get", "/api/credit-notes/{key}"): "getCreditNote",
    ("get", "/api/orders"): "findOrders",
    ("get", "/api/"): "getODataService",
    ("get", "/api/$metadata"): "getODataMetadata",
    ("get", "/api/credit-notes"): "findCreditNotes",
    ("get", "/api/health"): "getHealth",
    ("get", "/api/health/ready"): "getReadiness",
    ("post", "/api/uploads"): "openUpload",
    ("put", "/api/uploads/{uploadId}/blocks/{number}"): "putUploadBlock",
    ("get", "/api/usage"): "getUsage",
    ("post", "/api/subscriptions"): "createSubscription",
    ("get", "/api/subscriptions"): "listSubscriptions",
    ("get", "/api/subscriptions/{id}"): "getSubscription",
    ("patch", "/api/subscriptions/{id}"): "changeSubscription",
    ("delete", "/api/subscriptions/{id}"): "deleteSubscription",
    ("post", "/api/subscriptions/{id}/secret"): "rotateSubscriptionSecret",
    ("post", "/api/subscriptions/{id}/test"): "testSubscription",
    ("post", "/api/subscriptions/{id}/replay"): "replaySubscription",
    ("get", "/api/subscriptions/{id}/deliveries"): "listDeliveries",
    ("get", "/api/subscriptions/{id}/deliveries/{delivery}"): "getDelivery",
    ("post", "/api/subscriptions/{id}/deliveries/{delivery}/resend"): "resendDelivery",
    ("get", "/api/subscriptions/{id}/deliveries/{delivery}/payload"): "getDeliveryPayload",
    ("get", "/api/shipments/{key}"): "getShipment",
    ("post", "/api/webhooks/express"): "receiveExpress",
    ("post", "/api/webhooks/post"): "receivePost",
    ("get", "/api/delta-sharing/shares"): "listShares",
    ("get", "/api/delta-sharing/shares/{share}"): "getShare",
    ("get", "/api/delta-sharing/shares/{share}/schemas"): "listSchemas",
    ("get", "/api/delta-sharing/shares/{share}/all-tables"): "listAllTables",
    ("get", "/api/delta-sharing/shares/{share}/schemas/{schema}/tables"): "listTables",
    ("get", "/api/delta-sharing/shares/{share}/schemas/{schema}/tables/{table}/version"): "getTableVersion",
    ("get", "/api/delta-sharing/shares/{share}/schemas/{schema}/tables/{table}/metadata"): "getTableMetadata",
    ("post", "/api/delta-sharing/shares/{share}/schemas/{schema}/tables/{table}/query"): "queryTable",
    ("get", "/api/delta-sharing/shares/{share}/schemas/{schema}/tables/{table}/changes"): "getTableChanges",
}


@pytest.fixture
async def document(registry: Registry) -> Document:
    """As the app with callers serves it."""
    running = Running(registry, {**ENVIRONMENT, **GUARDED, "SLUICE_PUBLIC_URL": "https://api.example.org/shop"})
    found: Document = (await running.get("/api/openapi.json")).json
    return found


def operations(document: Document) -> Iterator[tuple[tuple[str, str], Document]]:
    """Method and path, and what is said of them."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield (method, path), operation


def test_it_is_valid(document: Document) -> None:
    """By a validator that isn't ours."""
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    assert document["servers"] == [{"url": "https://api.example.org/shop"}]


def test_operations_are_named_as_verbs(document: Document) -> None:
    """As a client's methods."""
    assert {place: one["operationId"] for place, one in operations(document)} == VERBS


def test_every_answer_that_may_come_is_named(document: Document) -> None:
    """401, 403 and 429 wherever somebody has to say who they are; headers on each."""
    for (_, path), operation in operations(document):
        is_open = operation.get("security") == []
        expected = {"400", "500", "503"} | (set() if is_open else {"401", "403", "429"})
        assert expected <= operation["responses"].keys(), path
        assert is_open == path.startswith(("/api/health", "/api/webhooks/"))
        for answer in operation["responses"].values():
            named = document["components"]["responses"].get(answer.get("$ref", "").rpartition("/")[2], answer)
            assert "X-Correlation-ID" in named["headers"]
    parts = document["components"]["responses"]
    assert "Retry-After" in parts["Unavailable"]["headers"]
    assert "Retry-After" in parts["TooManyRequests"]["headers"]
    assert "WWW-Authenticate" in parts["Unauthenticated"]["headers"]


async def test_what_was_accepted_links_to_its_operation(document: Document, running: Running) -> None:
    """And the headers that the link reads are sent."""
    accepted = document["paths"]["/api/orders"]["post"]["responses"]["202"]
    link = accepted["links"]["operation"]
    assert link["operationId"] == "getOperation"
    answer = await running.post("/api/orders", order())
    found = {name: answer.headers[text.rpartition(".")[2]] for name, text in link["parameters"].items()}
    assert answer.headers["location"] == f"/api/operations/{found['operationId']}?request={found['request']}"
    assert set(accepted["headers"]) <= {
        "Location",
        "Operation-Id",
        "Operation-Request",
        "Retry-After",
        "X-Correlation-ID",
    }


def test_parameters_that_are_needed_are_required(document: Document) -> None:
    """Every part of a path; of a query nothing, since there is more than one way to ask."""
    given = document["paths"]["/api/orders"]["get"]["parameters"]
    found = {one["name"]: one["required"] for one in given if one["in"] == "query"}
    options = ("filter", "select", "orderby", "top", "skip", "count", "expand", "skiptoken")
    names = [*(f"${name}" for name in options), "fields", "customerId", "top", "after"]
    assert found == dict.fromkeys(names, False)
    of_path = [one for one in document["paths"]["/api/orders/{key}"]["get"]["parameters"] if one.get("in") == "path"]
    assert [(one["name"], one["required"]) for one in of_path] == [("key", True)]


def test_event_types_are_enumerated(document: Document) -> None:
    """What `messages` takes is a choice of named messages, each with its event type."""
    schemas = document["components"]["schemas"]
    named = [one["$ref"].rpartition("/")[2] for one in schemas["Message"]["anyOf"]]
    assert named == ["OrderPlaced", "OrderCredited"]
    assert [schemas[name]["properties"]["eventType"]["const"] for name in named] == ["order.placed", "order.credited"]


def test_schemas_have_names_and_no_unions_without(document: Document) -> None:
    """A union of anonymous members becomes a class named by a number; an optional field is a list of types."""
    schemas = document["components"]["schemas"]
    assert {"Order", "OrderLine", "Accepted", "Error", "OrderPage", "OrderView", "Operation"} <= schemas.keys()
    assert schemas["Order"]["properties"]["customerId"]["type"] == ["string", "null"]
    assert all(re.fullmatch(r"[A-Z][A-Za-z0-9]+", name) for name in schemas)
    for name, schema in schemas.items():
        for union in _unions(schema):
            assert all("$ref" in one or one == {"type": "null"} for one in union), name
        for inner in _inner_objects(schema.get("properties", {})):
            assert "properties" not in inner, name


def _unions(node: Any) -> Iterator[list[Any]]:
    if isinstance(node, dict):
        yield from (node[word] for word in ("anyOf", "oneOf") if isinstance(node.get(word), list))
        for value in node.values():
            yield from _unions(value)


def _inner_objects(node: Any) -> Iterator[Document]:
    if isinstance(node, dict):
        for value in node.values():
            if isinstance(value, dict):
                yield value
                yield from _inner_objects(value)


def test_a_views_rows_have_a_schema(document: Document) -> None:
    """That of what is shown, with what is masked in it."""
    schemas = document["components"]["schemas"]
    assert schemas["OrderPage"]["properties"]["value"]["items"] == {"$ref": "#/components/schemas/OrderView"}
    view = schemas["OrderView"]["properties"]
    assert view["email"]["type"] == ["string", "null"]
    assert {"orderId", "total", "$masked", "$erased"} <= view.keys()


async def test_examples_hold_and_are_taken(document: Document, running: Running) -> None:
    """Those of bodies are sent, those of answers are of their schema."""
    seen = 0
    for answer in document["components"]["responses"].values():
        content = answer["content"]["application/json"]
        OAS31Validator({**content["schema"], "components": document["components"]}).validate(content["example"])
    for (method, path), operation in operations(document):
        content = operation.get("requestBody", {"content": {}})["content"].get("application/json", {})
        for example in content.get("examples", {}).values():
            assert (await running.post(path, example["value"])).status == 202, method
            seen += 1
    assert seen == 2


class Scan(Contract):
    """A scan of a parcel."""

    parcel_id: str
    place: str | None = None


async def test_two_versions_of_one_model_have_names_of_their_own() -> None:
    """Also a model that is both read and shown, and a view whose rows nobody described."""
    parcels = Integration("parcels")

    @parcels.handles("parcel.scanned", version="1.0", key="parcelId", route="scans")
    @parcels.handles("parcel.scanned", version="2.0", key="parcelId", route="v2/scans")
    async def scan(scan: Scan, work: Work) -> None: ...

    @parcels.projects("parcel.moved", into="parcels")
    def shown(moved: Scan) -> Scan:
        return moved

    document = (await Running(Registry([parcels])).get("/api/openapi.json")).json
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    names = {one["operationId"] for _, one in operations(document)}
    assert {"createScan", "createScanV20", "getParcel"} <= names
    assert {"Scan", "ParcelScanned", "ParcelScannedV20"} <= document["components"]["schemas"].keys()


async def test_an_app_without_integrations_is_described_too() -> None:
    """Nothing to send, nothing to read."""
    document = (await Running(Registry([])).get("/api/openapi.json")).json
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
