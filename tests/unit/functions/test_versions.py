"""One route takes several versions of a message, named in the envelope, a header or the media type."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from functions.composition.ingestion import intake
from shared.messages import Registry
from tests.unit.functions.conftest import Running
from tests.unit.shared.messages.test_versions import FirstPaid, payments

OLD = {"paymentId": "P-1", "amount": "9.90"}
NEW = {"paymentId": "P-1", "total": {"amount": "9.90", "currency": "EUR"}, "channel": "shop"}


@pytest.fixture
def app() -> Running:
    return Running(Registry([payments(FirstPaid)]))


def enveloped(version: str, data: Any) -> dict[str, Any]:
    return {
        "messageId": "9f0e2c6a-8f8e-4a52-9b5d-3d1a1a4a1b10",
        "timestamp": "2026-01-05T08:26:00Z",
        "source": "/shop",
        "eventType": "payment.made",
        "version": version,
        "data": data,
    }


async def test_the_version_is_that_of_the_envelope_the_header_or_the_media_type(app: Running) -> None:
    for path in ("/api/messages", "/api/payments"):
        for version, data in (("1.0", OLD), ("2.0", NEW)):
            assert (await app.post(path, enveloped(version, data))).status == 202
    assert (await app.post("/api/payments", NEW)).status == 202
    assert (await app.post("/api/payments", OLD, {"Message-Version": "1.0"})).status == 202
    assert (await app.post("/api/payments", OLD, kind="application/json; version=1.0")).status == 202
    event = {
        "specversion": "1.0",
        "id": "7",
        "type": "payment.made",
        "source": "/shop",
        "dataschema": "urn:payment.made:1.0",
        "data": OLD,
    }
    assert (await app.post("/api/messages", event, kind="application/cloudevents+json")).status == 202
    versions = [one.headers.version for one in app.lanes.sent]
    assert versions == ["1.0", "2.0", "1.0", "2.0", "2.0", "1.0", "1.0", "1.0"]
    assert json.loads(app.lanes.sent[5].body)["data"] == OLD, "it is stored as it was sent"
    assert {one.headers.key for one in app.lanes.sent} == {"P-1"}


async def test_what_breaks_its_own_version_is_refused_by_the_names_of_that_version(app: Running) -> None:
    answer = await app.post("/api/payments", {"paymentId": "P-1", "amount": 9}, {"Message-Version": "1.0"})
    assert (answer.status, answer.json["error"]["details"]["errors"][0]["field"]) == (400, "data.amount")
    answer = await app.post("/api/payments", OLD)
    assert answer.status == 400
    for version in ("3.0", "", "x" * 10_000):
        answer = await app.post("/api/payments", OLD, {"Message-Version": version})
        assert (answer.status, answer.json["error"]["code"]) == (400, "UNKNOWN_VERSION")
    twice = {**OLD, "payment_id": "P-2"}
    assert (await app.post("/api/payments", twice, {"Message-Version": "1.0"})).status == 400


async def test_fields_that_no_version_has_are_found_by_the_version_that_was_sent(app: Running) -> None:
    found = app.composition.get(intake)
    handler = app.composition.registry.handler("payment.made", "1.0")
    assert handler.as_sent(json.dumps(enveloped("1.0", OLD)).encode()) is not None
    command = await found.read(
        json.dumps(enveloped("1.0", {**OLD, "more": 1})).encode(), kind="application/json", route=None, asked_id=None
    )
    assert command.handler.version == "1.0"


async def test_every_version_is_described(app: Running) -> None:
    schemas = (await app.get("/api/openapi.json")).json["components"]["schemas"]
    assert schemas["PaymentMade"]["properties"]["data"] == {"$ref": "#/components/schemas/FirstPaid"}
    assert schemas["PaymentMadeV11"]["properties"]["data"] == {"type": "object", "additionalProperties": True}
    assert schemas["PaymentMadeV20"]["properties"]["data"] == {"$ref": "#/components/schemas/Paid"}


async def test_the_guide_runs(project: Path) -> None:
    guide = (project / "docs" / "versions.md").read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for snippet in re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL):
        exec(compile(snippet, "versions.md", "exec", dont_inherit=True), names)
    await names["test_every_version_is_read"]()
