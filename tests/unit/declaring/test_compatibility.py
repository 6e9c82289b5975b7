"""A change of the API's description is refused exactly where it breaks clients."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from local.declaring.compatibility import breaking
from local.declaring.writing import Written, broken_by

Document = dict[str, Any]
ORDER = {
    "type": "object",
    "required": ["orderId", "country"],
    "properties": {
        "orderId": {"type": "string", "maxLength": 20},
        "country": {"type": ["string", "null"], "enum": ["DE", "FR", None]},
        "note": {"type": "string"},
        "lines": {"type": "array", "items": {"$ref": "#/components/schemas/Line"}},
    },
}
BASE: Document = {
    "openapi": "3.1.0",
    "info": {"title": "Shop", "version": "1"},
    "paths": {
        "/orders": {
            "post": {
                "parameters": [{"name": "dry", "in": "query", "required": False, "schema": {"type": "boolean"}}],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Order"}},
                        "text/csv": {"schema": {"type": "string"}},
                    },
                },
                "responses": {"202": {"description": "Kept."}},
            }
        },
        "/orders/{key}": {
            "get": {
                "parameters": [{"name": "key", "in": "path", "required": True, "schema": {"type": "string"}}],
                "responses": {
                    "200": {
                        "description": "Found.",
                        "headers": {"ETag": {"schema": {"type": "string"}}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Row"}}},
                    }
                },
            }
        },
    },
    "components": {
        "schemas": {
            "Order": ORDER,
            "Row": copy.deepcopy(ORDER),
            "Line": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string", "minLength": 1}}},
        }
    },
}
POST = ("paths", "/orders", "post")
GET = ("paths", "/orders/{key}", "get")
SENT = ("components", "schemas", "Order")
READ = ("components", "schemas", "Row")


def at(document: Document, *path: Any) -> Any:
    """A place in a document."""
    for step in path:
        document = document[step]
    return document


Change = Callable[[Document], object]
BREAKING: dict[str, tuple[Change, str]] = {
    "a path goes": (lambda one: one["paths"].pop("/orders"), "api-path-removed-without-deprecation"),
    "a method goes": (lambda one: one["paths"]["/orders"].pop("post"), "api-removed-without-deprecation"),
    "a parameter goes": (lambda one: at(one, *POST)["parameters"].clear(), "request-parameter-removed"),
    "a parameter is needed": (
        lambda one: at(one, *POST, "parameters", 0).update(required=True),
        "request-parameter-became-required",
    ),
    "a new parameter is needed": (
        lambda one: at(one, *POST)["parameters"].append(
            {"name": "x", "in": "query", "required": True, "schema": {"type": "string"}}
        ),
        "new-required-request-parameter",
    ),
    "a parameter is another type": (
        lambda one: at(one, *POST, "parameters", 0).update(schema={"type": "integer"}),
        "request-parameter-type-changed",
    ),
    "a media type goes": (
        lambda one: at(one, *POST, "requestBody", "content").pop("text/csv"),
        "request-body-media-type-removed",
    ),
    "a field is needed": (lambda one: at(one, *SENT)["required"].append("note"), "request-property-became-required"),
    "a new field is needed": (
        lambda one: (at(one, *SENT)["required"].append("x"), at(one, *SENT)["properties"].update(x={})),
        "new-required-request-property",
    ),
    "a value isn't taken any more": (
        lambda one: at(one, *SENT, "properties", "country")["enum"].remove("FR"),
        "request-property-enum-value-removed",
    ),
    "less is taken": (
        lambda one: at(one, *SENT, "properties", "orderId").update(maxLength=10),
        "request-property-max-length-decreased",
    ),
    "null isn't taken": (
        lambda one: at(one, *SENT, "properties", "country").update(type="string"),
        "request-property-became-not-nullable",
    ),
    "a form is asked for": (
        lambda one: at(one, *SENT, "properties", "note").update(pattern="^a"),
        "request-property-pattern-added",
    ),
    "unknown fields are refused": (
        lambda one: at(one, *SENT).update(additionalProperties=False),
        "request-additional-properties-disallowed",
    ),
    "deep down more is asked for": (
        lambda one: at(one, "components", "schemas", "Line", "properties", "sku").update(minLength=3),
        "request-property-min-length-increased",
    ),
    "a field may be missing": (
        lambda one: at(one, *READ)["required"].remove("orderId"),
        "response-property-became-optional",
    ),
    "a needed field goes": (
        lambda one: (at(one, *READ)["required"].remove("orderId"), at(one, *READ)["properties"].pop("orderId")),
        "response-required-property-removed",
    ),
    "a field that may be there goes": (
        lambda one: at(one, *READ)["properties"].pop("note"),
        "response-optional-property-removed",
    ),
    "a field may be null": (
        lambda one: at(one, *READ, "properties", "note").update(type=["string", "null"]),
        "response-property-became-nullable",
    ),
    "a field is another type": (
        lambda one: at(one, *READ, "properties", "note").update(type="integer"),
        "response-property-type-changed",
    ),
    "a status goes": (
        lambda one: at(one, *POST)["responses"].update({"200": at(one, *POST)["responses"].pop("202")}),
        "response-success-status-removed",
    ),
    "a header goes": (lambda one: at(one, *GET, "responses", "200")["headers"].clear(), "response-header-removed"),
    "another media type comes": (
        lambda one: at(one, *GET, "responses", "200").update(content={"text/csv": {}}),
        "response-media-type-removed",
    ),
}
HARMLESS: dict[str, Change] = {
    "nothing": lambda one: None,
    "a path": lambda one: one["paths"].update({"/new": {"get": {"responses": {"200": {"description": ""}}}}}),
    "a parameter that may be given": lambda one: at(one, *POST)["parameters"].append(
        {"name": "x", "in": "query", "schema": {"type": "string"}}
    ),
    "a field that may be sent": lambda one: at(one, *SENT)["properties"].update(x={"type": "string"}),
    "a field that is read": lambda one: (
        at(one, *READ)["properties"].update(x={"type": "string"}),
        at(one, *READ)["required"].append("x"),
    ),
    "more is taken": lambda one: at(one, *SENT, "properties", "orderId").update(maxLength=50),
    "less is read": lambda one: at(one, *READ, "properties", "orderId").update(maxLength=10),
    "a field needn't be sent": lambda one: at(one, *SENT)["required"].remove("country"),
    "a status": lambda one: at(one, *POST)["responses"].update({"429": {"description": ""}}),
    "another name in a path": lambda one: (
        one["paths"].update({"/orders/{id}": one["paths"].pop("/orders/{key}")}),
        at(one, "paths", "/orders/{id}", "get", "parameters", 0).update(name="id"),
    ),
    "another form of the body": lambda one: at(one, *POST, "requestBody", "content", "application/json").update(
        schema={"anyOf": [{"$ref": "#/components/schemas/Line"}, {"$ref": "#/components/schemas/Order"}]}
    ),
    "other words": lambda one: one["info"].update(title="Another"),
    "a schema by another name": lambda one: (
        one["components"]["schemas"].update(Purchase=one["components"]["schemas"]["Order"]),
        at(one, *POST, "requestBody", "content", "application/json").update(
            {"schema": {"$ref": "#/components/schemas/Purchase"}}
        ),
    ),
}


def changed(change: Change) -> Document:
    """The base with a change."""
    document = copy.deepcopy(BASE)
    change(document)
    return document


@pytest.mark.parametrize("name", BREAKING)
def test_what_breaks_clients_is_named(name: str) -> None:
    change, rule = BREAKING[name]
    assert rule in {one.rule for one in breaking(BASE, changed(change))}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_only_adds_breaks_nobody(name: str) -> None:
    assert breaking(BASE, changed(HARMLESS[name])) == []


def test_a_schema_that_holds_itself_is_compared_once() -> None:
    def grow(one: Document) -> None:
        one["components"]["schemas"]["Line"]["properties"]["parts"] = {"$ref": "#/components/schemas/Line"}

    first = changed(grow)
    second = copy.deepcopy(first)
    at(second, "components", "schemas", "Line")["required"].append("parts")
    found = breaking(first, second)
    assert {one.rule for one in found} == {"request-property-became-required"}
    assert len(found) < 5


def test_the_kept_description_breaks_nothing_of_itself(project: Path) -> None:
    kept = json.loads((project / "infra" / "openapi.json").read_text(encoding="utf-8"))
    assert breaking(kept, kept) == []
    without = copy.deepcopy(kept)
    del without["components"]["schemas"]["Accepted"]["properties"]["messageId"]
    without["components"]["schemas"]["Accepted"]["required"].remove("messageId")
    assert {one.rule for one in breaking(kept, without)} == {"response-required-property-removed"}


def test_declaring_refuses_what_breaks_clients(project: Path, tmp_path: Path) -> None:
    """Whatever has become of the project's own description meanwhile."""
    kept = json.loads((project / "infra" / "openapi.json").read_text(encoding="utf-8"))
    (tmp_path / "infra").mkdir()
    file = tmp_path / "infra" / "openapi.json"
    written = Written("infra/openapi.json", json.dumps(kept))
    assert broken_by([written], tmp_path) == [], "the first description breaks nobody"
    file.write_text(json.dumps(kept), encoding="utf-8")
    assert broken_by([written], tmp_path) == []
    method = kept["paths"]["/api/usage"].pop("get")
    kept["paths"]["/api/usage"]["post"] = method
    changed_text = Written("infra/openapi.json", json.dumps(kept))
    assert broken_by([changed_text], tmp_path) == ["GET /api/usage: api-removed-without-deprecation"]


OTHERWISE = frozenset(
    {
        # Here an unknown query parameter is refused, so that one which goes breaks who sends it; oasdiff warns.
        "a parameter goes",
        "unknown fields are refused",
        "a field that may be there goes",
        "a header goes",
        "a form is asked for",
    }
)


def test_oasdiff_sees_it_so_too(tmp_path: Path) -> None:
    """Skipped where it isn't installed; what it judges otherwise is named above."""
    oasdiff = shutil.which("oasdiff")
    if oasdiff is None:
        pytest.skip("oasdiff not installed")
    judged = {}
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(BASE), encoding="utf-8")
    for name, change in {**{name: change for name, (change, _) in BREAKING.items()}, **HARMLESS}.items():
        new.write_text(json.dumps(changed(change)), encoding="utf-8")
        command = [oasdiff, "breaking", str(old), str(new), "--fail-on", "ERR", "--format", "json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode in (0, 1), done.stderr
        judged[name] = done.returncode == 1
    expected = {name: name in BREAKING for name in judged if name not in OTHERWISE}
    assert {name: judged[name] for name in expected} == expected
